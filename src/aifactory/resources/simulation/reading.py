"""Reading a workload: as written, with changes made to it, and what is wrong by its place. Pure."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import available_timezones

import msgspec

from aifactory.resources.providers import dotted
from aifactory.resources.simulation.described import Arrivals, Phase, Spread, Stream, starts_of
from aifactory.resources.simulation.ground import MOST_USD, QUEUES, TIERS, Ground, names_of, providers_of

Path = tuple[str, ...]
_MOST_CLIENTS = 10_000
_MOST_STARTS = 10_000_000
_YEARS = range(1970, 3000)
_NO_MONEY = f"This must be 0 to {MOST_USD:,} dollars."
_T = TypeVar("_T")


class WorkSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is played on the ground: streams of work; and named changes to try."""

    streams: list[Stream] = []
    changes: dict[str, dict[str, Any]] = {}


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A workload as it is written."""

    ground: Ground
    streams: list[Stream]
    changes: dict[str, dict[str, Any]]


class BadWorkload(Exception):
    """The workload can't be played; the text names the field and says what is wrong."""


def read_toml(text: str) -> dict[str, Any]:
    """Return the tables of a file. Raises BadWorkload."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise BadWorkload(f"It is not TOML: {error}.") from error


def workload_of(tables: Mapping[str, Any]) -> Described:
    """Return the workload that is written in tables. Raises BadWorkload."""
    work = {name: tables[name] for name in ("streams", "changes") if name in tables}
    written = _as(WorkSpec, work)
    ground = ground_of({name: table for name, table in tables.items() if name not in work})
    for n, stream in enumerate(written.streams):
        for path, message in _stream_faults(ground, stream):
            raise BadWorkload(f"{dotted(('streams', str(n), *path))}: {message}")
    _check_amount(ground, written.streams)
    return Described(ground=ground, streams=written.streams, changes=written.changes)


def _check_amount(ground: Ground, streams: list[Stream]) -> None:
    """Refuse what nobody would wait for: a million starts are played in about a minute."""
    starts = [starts_of(ground, stream) for stream in streams]
    if sum(starts) > _MOST_STARTS:
        most = starts.index(max(starts))
        raise BadWorkload(
            f"streams.{most}: It comes to about {starts[most]:,.0f} starts of jobs (executions × jobs × "
            f"tries, for all of its clients), and no more than {_MOST_STARTS:,} are played in all."
        )


def ground_of(tables: Mapping[str, Any]) -> Ground:
    """Return the ground that is written in tables. Raises BadWorkload."""
    ground = _as(Ground, tables)
    for path, message in (*_client_faults(ground), *_ground_faults(ground)):
        raise BadWorkload(f"{dotted(path)}: {message}")
    return ground


def _as(kind: type[_T], tables: Mapping[str, Any]) -> _T:
    try:
        return msgspec.convert(tables, kind, strict=False)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        steps = re.findall(r"[^.\[\]]+|\[\.\.\.\]", place.rstrip("`"))
        path = _spelled_out(kind, tables, str(error), steps)
        raise BadWorkload(f"{dotted(path) or 'the file'}: {message}.") from error


def _spelled_out(kind: type[Any], tables: Mapping[str, Any], said: str, steps: list[str]) -> Path:
    """Return the path of a fault with the names of its tables, which are told as ``[...]``.

    A name is found by leaving all others out: with it alone the same is wrong.
    """
    for place, step in enumerate(steps):
        if step != "[...]":
            continue
        for name in list(_at(tables, steps[:place])):
            alone = deepcopy(dict(tables))
            within = _at(alone, steps[:place])
            for other in [other for other in within if other != name]:
                del within[other]
            try:
                msgspec.convert(alone, kind, strict=False)
            except msgspec.ValidationError as error:
                if str(error) == said:
                    tables, steps[place] = alone, str(name)
                    break
    return tuple("…" if step == "[...]" else step for step in steps)


def _at(tables: Any, steps: Iterable[str]) -> Any:
    """Return what is at a path; lists are gone into by number."""
    for step in steps:
        tables = tables[int(step)] if isinstance(tables, list) else tables[step]
    return tables


def _stream_faults(ground: Ground, stream: Stream) -> Iterator[tuple[Path, str]]:
    if not names_of(ground, stream.clients):
        yield ("clients",), f"{stream.clients!r} is no name in [[clients]]."
    if fault := _arrival_fault(stream.arrivals):
        yield ("arrivals",), fault
    for n, phase in enumerate(stream.phases):
        at = ("phases", str(n))
        for field in ("hops", "further_pools"):
            for pool in getattr(phase, field):
                if pool not in ground.pools:
                    yield (*at, field), _no_pool(ground, pool)
        for field in ("jobs", "output", "seconds"):
            if fault := _spread_fault(getattr(phase, field)):
                yield (*at, field), fault
        yield from _size_faults(at, ground, phase)


def _no_pool(ground: Ground, pool: str) -> str:
    return f"{pool!r} is not in [pools]: {', '.join(sorted(ground.pools)) or 'there are none'}."


def _ground_faults(ground: Ground) -> Iterator[tuple[Path, str]]:
    for n, quota in enumerate(ground.quotas):
        if quota.pool not in ground.pools:
            yield ("quotas", str(n), "pool"), _no_pool(ground, quota.pool)
        if not names_of(ground, quota.clients):
            yield ("quotas", str(n), "clients"), f"{quota.clients!r} is no name in [[clients]]."
    for n, outage in enumerate(ground.outages):
        if outage.since.tzinfo is None or outage.until.tzinfo is None or outage.since >= outage.until:
            yield ("outages", str(n)), "from and to need a time zone (2026-01-05T09:00:00Z), from first."
        if outage.provider not in providers_of(ground).values():
            yield ("outages", str(n), "provider"), f"No pool is of the provider {outage.provider!r}."
    if ground.run.start.tzinfo is None:
        yield ("run", "start"), "This needs a time zone, like 2026-01-05T08:00:00Z."
    if ground.run.start.year not in _YEARS:
        yield ("run", "start"), f"The year must be {_YEARS[0]} to {_YEARS[-1]}."
    for name, pool in ground.pools.items():
        if pool.dedicated_client is not None and not names_of(ground, pool.dedicated_client):
            yield ("pools", name, "dedicated_client"), f"{pool.dedicated_client!r} is no client."
        for field in ("input", "output", "cached"):
            if _is_no_money(getattr(pool.price, field)):
                yield ("pools", name, "price", field), _NO_MONEY
    for name, tier in ground.tiers.items():
        if _is_no_money(tier.monthly_budget_usd):
            yield ("tiers", name, "monthly_budget_usd"), _NO_MONEY
    for queue in ground.queues:
        if queue not in QUEUES:
            yield ("queues", queue), f"The queues are {', '.join(QUEUES)}."


def _is_no_money(usd: Decimal | None) -> bool:
    return usd is not None and not (usd.is_finite() and 0 <= usd <= MOST_USD)


def _client_faults(ground: Ground) -> Iterator[tuple[Path, str]]:
    names = [name for spec in ground.clients for name in spec.names]
    if len(names) > _MOST_CLIENTS:
        yield ("clients",), f"{len(names):,} clients are more than {_MOST_CLIENTS:,}."
    if len(set(names)) < len(names):
        yield ("clients",), "Two clients have the same name."
    for n, spec in enumerate(ground.clients):
        if spec.tier not in TIERS | ground.tiers:
            yield ("clients", str(n), "tier"), f"{spec.tier!r} is no tier: {', '.join(TIERS | ground.tiers)}."
        if _is_no_money(spec.budget_usd):
            yield ("clients", str(n), "budget_usd"), _NO_MONEY
        if spec.time_zone not in available_timezones():
            yield ("clients", str(n), "time_zone"), f"{spec.time_zone!r} is no time zone."


def _arrival_fault(arrivals: Arrivals) -> str | None:
    kinds = ("backlog", "every_seconds", "poisson_per_hour", "poisson_per_day")
    if sum(getattr(arrivals, kind) is not None for kind in kinds) != 1:
        return f"Give one of {', '.join(kinds)}."
    if arrivals.by_hour is not None and not (arrivals.poisson_per_day and sum(arrivals.by_hour)):
        return "by_hour needs poisson_per_day, and an hour that is not 0."
    return None


def _spread_fault(given: float | Spread | None) -> str | None:
    if not isinstance(given, Spread):
        return None
    forms = (("mean", "cv"), ("median", "p95"), ("min", "max"))
    said = {name for name in given.__struct_fields__ if getattr(given, name) is not None}
    if said not in ({"mean"}, *map(set, forms)):
        return "Give mean (and cv), or median and p95, or min and max."
    if given.median is not None and not 0 < given.median <= (given.p95 or 0):
        return "The median must be over 0 and at most p95."
    if given.min is not None and given.min > (given.max or 0):
        return "min must be at most max."
    return None


def _size_faults(path: Path, ground: Ground, phase: Phase) -> Iterator[tuple[Path, str]]:
    """What no pool will ever hold would wait for ever: a server refuses it when it is submitted."""
    units = phase.input + phase.output_limit
    takes = [("output_limit", pool, units) for pool in phase.hops]
    takes += [("further_pools", pool, needed) for pool, needed in phase.further_pools.items()]
    for field, pool, needed in takes:
        spec = ground.pools[pool]
        usable = spec.capacity - spec.capacity * spec.reserved_percent // 100
        if needed > usable:
            message = f"A job takes {needed:,} units, and {pool} gives one job {usable:,} at most."
            yield (*path, field), message


# Changes.


def changed(tables: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with values set by dotted paths. Raises BadWorkload for a path that is not there."""
    copy = deepcopy(dict(tables))
    for path, value in settings.items():
        _set(copy, path.split("."), value, path)
    return copy


def settings_of(change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a change written as tables as values by dotted paths."""
    found: dict[str, Any] = {}
    for name, value in change.items():
        if isinstance(value, dict):
            found |= {f"{name}.{below}": inner for below, inner in settings_of(value).items()}
        else:
            found[name] = value
    return found


def setting(text: str) -> tuple[str, Any]:
    """Return a path and a value written as ``path=value``; the value is TOML, or else text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise BadWorkload(f"{text!r} is no change; write it like pools.gpt.refill_per_second=300.")
    try:
        return path.strip(), tomllib.loads(f"value = {value}", parse_float=Decimal)["value"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()


def _set(within: Any, steps: list[str], value: Any, path: str) -> None:
    """Set a value below tables; names may have dots, and lists are gone into by ``name`` or number."""
    if not steps:
        raise BadWorkload(f"{path}: this is a table; name a value in it, like {path}.….")
    if isinstance(within, list):
        matches = [one for n, one in enumerate(within) if steps[0] in (str(n), one.get("name"))]
        for one in matches:
            _set(one, steps[1:], value, path)
        if not matches:
            raise BadWorkload(f"{path}: there is no {steps[0]!r}.")
        return None
    for length in range(len(steps), 0, -1):
        name = ".".join(steps[:length])
        if length == len(steps) and (name in within or length == 1):
            within[name] = value
            return None
        if isinstance(within.get(name), dict | list):
            return _set(within[name], steps[length:], value, path)
    raise BadWorkload(f"{path}: there is no {steps[0]!r} in the workload.")
