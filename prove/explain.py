"""What is told of waiting jobs against what became of them: start, band and gate, and what asking costs.

The live engine works on loads of real seconds while random jobs are asked about at random moments. Every
answer is judged by the real start; one that gives no start is wrong. What began while it was asked about is
no case, nor what was foretold for after the end of its profile and has not begun by then.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime

import anyio
import msgspec

from aifactory.kernel.db import Database
from prove import explain_gates
from prove.databases import Databases
from prove.explain_load import PROFILES, Asked, Profile, Round, open_load
from prove.explain_still import StillLoad
from prove.reporting import Option, Proof, Proven, as_table, not_kept
from prove.turns import StillTime

LEAST_RIGHT, MOST_OFF, MOST_SECONDS_OFF = 0.8, 0.30, 0.5
_SPANS = ((0.0, 1.0), (1.0, 5.0), (5.0, 20.0), (20.0, 1e9))
FORM = Option(
    name="explain-form",
    default="full",
    help="of `explain`: `full`, `quick` (a minute), or `still`, without the machine's delays",
)
SEED = Option(name="explain-seed", default=5, help="of `explain`: where the chance of its loads begins")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How long a profile is measured, in seconds; ``dense``: asked a second while the cost is measured."""

    profiles: tuple[Profile, ...] = PROFILES
    warm: float = 30.0  #: what has come is a rate by then
    asking: float = 30.0
    a_second: float = 4.0
    rest: float = 28.0
    turns: float = 3.5
    dense: float = 20.0


FULL = Terms()
QUICK = Terms(
    profiles=(msgspec.structs.replace(PROFILES[0], window=2), PROFILES[2]),
    warm=15.0,
    asking=6.0,
    a_second=6.0,
    rest=6.0,
    turns=1.5,
)


class Foretold(msgspec.Struct, frozen=True, kw_only=True):
    """One answer and what came: seconds from the answer on. ``wait`` None: it had not begun when it ended."""

    asked: Asked
    start: float | None
    earliest: float | None
    latest: float | None
    wait: float

    @property
    def right(self) -> bool:
        """Whether the start was foretold within 30 % of the wait, or half a second."""
        off = None if self.start is None else abs(self.start - self.wait)
        return off is not None and off <= max(MOST_OFF * self.wait, MOST_SECONDS_OFF)

    @property
    def in_band(self) -> bool:
        """Whether the real start lies in the band that was told."""
        if self.earliest is None or self.wait < self.earliest:
            return False
        return self.latest is None or self.wait <= self.latest


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile gave; ``dense``: seconds of each answer while it was asked all the time."""

    foretold: Sequence[Foretold]
    open: int
    dense: Sequence[float] = ()
    rounds: Sequence[Round] = ()
    late: Sequence[float] = ()  #: seconds by which the process woke too late


async def measure(database: Database, profile: Profile, terms: Terms, seed: int) -> Measured:
    """Ask while a profile runs; then, until all may have begun, ask much and not at all in turns."""
    async with open_load(database, profile, backlog_seconds=15, seed=seed) as load:
        await anyio.sleep(terms.warm)
        await load.keep_asking(terms.a_second, terms.asking)
        asked, load.asked = load.asked, []
        load.rounds.clear()
        for _ in range(round(terms.rest / terms.turns / 2)):
            load.polled = True
            await load.keep_asking(terms.dense, terms.turns)
            load.polled = False
            await anyio.sleep(terms.turns)
        starts, now = await load.starts(asked)
        foretold = [judged(one, starts.get(one.job_id), now) for one in asked]
    return Measured(
        foretold=[one for one in foretold if one is not None],
        open=foretold.count(None),
        dense=[one.took for one in load.asked],
        rounds=load.rounds,
        late=load.late,
    )


async def foresee(url: str, profile: Profile, terms: Terms, seed: int) -> Measured:
    """Ask while a profile runs in a time of its own, which stands still while anything is decided."""
    time = StillTime(url=url)
    try:
        load = StillLoad(time, profile, seed=seed)
        await load.prepare(backlog_seconds=15)
        await load.run(warm=terms.warm, asking=terms.asking, a_second=terms.a_second, rest=terms.rest)
        starts, now = await load.starts(load.asked)
    finally:
        await time.close()
    foretold = [judged(one, starts.get(one.job_id), now) for one in load.asked]
    return Measured(
        foretold=[one for one in foretold if one is not None],
        open=foretold.count(None),
    )


def judged(asked: Asked, started: datetime | None, now: datetime) -> Foretold | None:
    """Return an answer with what came of it by now; None: it has not begun, and was foretold for later."""
    told = asked.told
    found = Foretold(
        asked=asked,
        start=_seconds(told.as_of, told.estimated_start),
        earliest=_seconds(told.as_of, told.earliest_start),
        latest=_seconds(told.as_of, told.latest_start),
        wait=max(0.0, _seconds(told.as_of, started or now) or 0.0),
    )
    if started is None and found.start is not None and (found.right or found.start > found.wait):
        return None
    return found


def _seconds(since: datetime, moment: datetime | None) -> float | None:
    return None if moment is None else (moment - since).total_seconds()


# The report.


def _share(ones: Sequence[bool]) -> str:
    return f"{100 * sum(ones) / len(ones):.0f} %" if ones else "–"


def _ms(seconds: Sequence[float]) -> tuple[str, str]:
    """Return the median and the 95th percentile in milliseconds."""
    if len(seconds) < 2:
        return "–", "–"
    return f"{1000 * statistics.median(seconds):.1f}", f"{1000 * statistics.quantiles(seconds, n=20)[18]:.1f}"


def accuracy(measured: Mapping[str, Measured]) -> list[tuple[object, ...]]:
    """Return a row for each profile, one for all, and where the misses are."""
    rows: list[tuple[object, ...]] = [
        (
            "answers about",
            "answers",
            "median wait",
            "start within 30 % or 0.5 s",
            "in the band",
            "not yet begun",
        )
    ]
    found = [one for each in measured.values() for one in each.foretold]
    for name, each in measured.items():
        rows.append(_row(name, each.foretold, each.open))
    rows.append(_row("**all**", found, sum(each.open for each in measured.values())))
    for low, high in _SPANS:
        words = f"waits of {low:g} to {high:g} s" if high < 1e6 else f"longer waits than {low:g} s"
        rows.append(_row(words, [one for one in found if low <= one.wait < high]))
    for words in ("queue", "tier", "basis"):
        groups: dict[str, list[Foretold]] = {}
        for one in found:
            groups.setdefault(f"{words} {_kind(one, words)}", []).append(one)
        rows += [_row(name, group) for name, group in sorted(groups.items())]
    rows.append(_row("foretold too early", [one for one in found if (one.start or 0.0) < one.wait]))
    rows.append(_row("foretold too late", [one for one in found if (one.start or 0.0) > one.wait]))
    return rows


def _kind(one: Foretold, words: str) -> object:
    told = one.asked.told
    if words == "tier":
        return None if told.priority is None else f"of {told.priority.tier:g} points"
    return told.queue if words == "queue" else told.basis


def _row(name: str, found: Sequence[Foretold], still_open: int = 0) -> tuple[object, ...]:
    wait = f"{statistics.median(one.wait for one in found):.1f} s" if found else "–"
    return (
        name,
        len(found),
        wait,
        _share([one.right for one in found]),
        _share([one.in_band for one in found]),
        still_open,
    )


def cost(measured: Mapping[str, Measured]) -> list[tuple[object, ...]]:
    """Return what an answer takes, the scheduler's rounds with and without, and the machine's delay."""
    rows: list[tuple[object, ...]] = [("profile", "what", "count", "p50 ms", "p95 ms")]
    for name, each in measured.items():
        seconds = {
            "an answer": each.dense,
            "a round of the scheduler meanwhile": [one.seconds for one in each.rounds if one.polled],
            "one while nobody asks": [one.seconds for one in each.rounds if not one.polled],
            "the machine: how late a sleep ends": each.late,
        }
        rows += [(name, what, len(some), *_ms(some)) for what, some in seconds.items()]
    return rows


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    terms, seed = QUICK if asked.explain_form == "quick" else FULL, asked.explain_seed
    async with databases.fresh() as database:
        gates = await explain_gates.run(database)
    print(f"\nThe told gate of scripted situations\n\n{as_table(explain_gates.table(gates))}", flush=True)
    measured = {}
    for profile in terms.profiles:
        async with databases.fresh() as database:
            if asked.explain_form == "still":
                measured[profile.name] = await foresee(database.url, profile, terms, seed)
            else:
                measured[profile.name] = await measure(database, profile, terms, seed)
    if asked.explain_form != "still":  # where time stands still while anything is decided
        print(
            f"\nWhat asking {terms.dense:g} times a second costs\n\n{as_table(cost(measured))}\n", flush=True
        )
    found = [one for each in measured.values() for one in each.foretold]
    promises = {
        "every scripted situation is told by its gate": all(one.right for one in gates),
        f"{100 * LEAST_RIGHT:g} % of the starts are foretold within 30 % or half a second": len(found) > 0
        and sum(one.right for one in found) >= LEAST_RIGHT * len(found),
    }
    return Proven(table=accuracy(measured), broken=not_kept(promises))


PROOF = Proof(
    name="explain",
    shows="the told gate in every situation, and the told start of jobs under load, by what became of them",
    needs="10 minutes of a machine with little else to do, or one with --explain-form quick; 200 MB of disk",
    options=(FORM, SEED),
    run=_prove,
)
