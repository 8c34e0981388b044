"""How a measure is taken: each system in a process of its own, one after the other, in changing order."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import OURS, Row
from bench.servers import Server

REPOSITORY = Path(__file__).parents[1]
PEERS = ("PgQueuer", "Procrastinate")
CHILD_SECONDS = 1800.0
_FORGOTTEN = ("AIFACTORY_", "PGQUEUER_", "PROCRASTINATE_", "PGHOST", "PGUSER", "PGPORT", "PGDATABASE")


class ChildFailed(Exception):
    """A process of a measure ended with an error; the text is the end of what it said."""


class Best(msgspec.Struct, kw_only=True):
    """The settings that a sweep found best for each system, and what it found, in words."""

    settings: dict[str, dict[str, Any]] = {}
    notes: list[str] = []


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What a measure works with. ``peers``: the interpreter that has them, None where there is none."""

    server: Server
    quick: bool
    peers: Path | None
    best: Best

    @property
    def systems(self) -> tuple[str, ...]:
        """Return who is measured."""
        return (OURS, *PEERS) if self.peers else (OURS,)

    @property
    def rounds(self) -> int:
        """Return how often a measure is repeated."""
        return 1 if self.quick else 3

    def turns(self, rounds: int | None = None) -> Iterator[str]:
        """Give the systems round by round, each round led by another one."""
        for turn in range(rounds or self.rounds):
            yield from rotated(self.systems, turn)

    def ours(self, work: str, **arguments: Any) -> Any:
        """Run a coroutine function of ours, ``module:function``, on a fresh database; return its result."""
        with self.server.database(ours=True) as dsn:
            return self.ours_on(dsn, work, **arguments)

    def ours_on(self, dsn: str, work: str, **arguments: Any) -> Any:
        """Run a coroutine function of ours on this database; return its result."""
        return run_child([sys.executable, "-m", "bench.child", work], {"dsn": dsn, **arguments})

    def alone(self, work: str, **arguments: Any) -> Any:
        """Run a coroutine function of ours that needs no database; return its result."""
        return run_child([sys.executable, "-m", "bench.child", work], arguments)

    def peer(
        self,
        name: str,
        *calls: tuple[str, dict[str, Any]],
        settings: Mapping[str, Any] | None = None,
        connections: int = 4,
    ) -> list[Any]:
        """Make calls on a peer that was just installed in a fresh database; return what each returned."""
        assert self.peers is not None
        if settings is None:
            settings = self.best.settings.get(name, {})
        with self.server.database(ours=False) as dsn:
            wanted = {
                "peer": name,
                "dsn": dsn,
                "settings": dict(settings),
                "connections": connections,
                "calls": [("install", {}), *calls],
            }
            done = run_child([str(self.peers), "-m", "bench.peers.child"], wanted)
        return [one["returned"] for one in done[1:]]


def rotated(systems: Sequence[str], turn: int) -> list[str]:
    """Return the systems beginning with another one each turn."""
    first = turn % len(systems)
    return [*systems[first:], *systems[:first]]


def run_child(command: Sequence[str], wanted: Mapping[str, Any]) -> Any:
    """Run a process to its end; return the JSON that it printed last. Raises ChildFailed."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FORGOTTEN) and name != "PYTHONDONTWRITEBYTECODE"
    }
    done = subprocess.run(
        command,
        input=json.dumps(wanted) + "\n",
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=CHILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ChildFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, what it needs, and how."""

    name: str
    shows: str
    run: Callable[[Bench], "Sequence[Row]"]
