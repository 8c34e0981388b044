"""A workload, described or recorded, played as it is or with changes. Pure."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from aifactory.resources.simulation.described import Stream, tasks_of
from aifactory.resources.simulation.ground import Ground
from aifactory.resources.simulation.playing import Played, Player
from aifactory.resources.simulation.reading import (
    BadWorkload,
    changed,
    ground_of,
    read_toml,
    settings_of,
    workload_of,
)
from aifactory.resources.simulation.recorded import FORM, Header, tasks_recorded
from aifactory.resources.simulation.tasks import Task


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What can be played: its tables, as they are written, and for recorded work its executions."""

    tables: dict[str, Any]
    recorded: tuple[bytes, ...] | None = None

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Return the named changes to try."""
        found: dict[str, dict[str, Any]] = self.tables.get("changes", {})
        return found


def described(text: str) -> Workload:
    """Return the workload of a TOML file. Raises BadWorkload."""
    workload = Workload(tables=read_toml(text))
    workload_of(workload.tables)
    return workload


def recorded(text: bytes) -> Workload:
    """Return the workload of a record. Raises BadWorkload."""
    lines = tuple(text.splitlines())
    try:
        header = msgspec.json.decode(lines[0] if lines else b"", type=Header)
    except msgspec.MsgspecError as error:
        raise BadWorkload(f"line 1: {error}.") from error
    if header.form != FORM:
        raise BadWorkload(f"line 1: The form is {header.form!r}, and only {FORM!r} is known.")
    return Workload(tables=header.ground, recorded=lines)


def with_settings(workload: Workload, names: list[str], settings: Mapping[str, Any]) -> Workload:
    """Return a workload with named changes and with settings by path. Raises BadWorkload."""
    tables = workload.tables
    for name in names:
        if name not in workload.changes:
            known = ", ".join(workload.changes) or "none"
            raise BadWorkload(f"There is no change {name!r}; the file has {known}.")
        tables = changed(tables, settings_of(workload.changes[name]))
    return Workload(tables=changed(tables, settings), recorded=workload.recorded)


def told_changes(workload: Workload, names: list[str], settings: Mapping[str, Any]) -> list[str]:
    """Return the values that changes set, a line each."""
    named = [(f"{name}: ", settings_of(workload.changes[name])) for name in names]
    return [
        f"{by}{path} = {value}" for by, values in (*named, ("", settings)) for path, value in values.items()
    ]


def play(workload: Workload, *, seed: int | None = None, window: timedelta | None = None) -> Played:
    """Play a workload to its end. Raises BadWorkload."""
    ground, tasks = _opened(workload, seed)
    try:
        return Player(ground, tasks, window=window).play()
    except OverflowError as error:
        raise BadWorkload("It would go on beyond the year 9999: jobs are too long, or too many.") from error


def _opened(workload: Workload, seed: int | None) -> tuple[Ground, Iterator[Task]]:
    if workload.recorded is not None:
        ground = ground_of({name: table for name, table in workload.tables.items() if name != "changes"})
        return ground, tasks_recorded(ground, workload.recorded)
    found = workload_of(workload.tables)
    streams: list[Stream] = found.streams
    return found.ground, tasks_of(found.ground, streams, found.ground.run.seed if seed is None else seed)
