"""``python -m prove [faults speed fleet gates …]``: proofs at full size, and which promises were
kept."""

import argparse
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import msgspec
import structlog

from aifactory.kernel.money import usd
from prove import budgets, fairness, faults, fleet, gates, ledger, litellm, plans, speed, stop
from prove.databases import Databases, open_databases
from prove.histories.exploring import explore
from prove.proxy import VERSION

LEAST_FINE = 0.995
MOST_PATCHES = 0.10
LEAST_RATIO = 4.0
_WITHIN_SECONDS = 3600.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    executions: int
    fleet_executions: int
    kills: int
    entries: int
    seed: int
    trials: int
    folder: Path
    starts: int
    deciders: int
    gates_folder: Path
    rounds: int
    minutes: float
    queued: int


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """A proof's report as a table, its first row the head, and the promises that were broken."""

    table: Sequence[Sequence[object]]
    broken: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What is proved, what it needs, and how it runs."""

    shows: str
    needs: str
    run: Callable[[Databases, Options], Awaitable[Proven]]


async def _faults(databases: Databases, options: Options) -> Proven:
    async with databases.fresh() as database:
        report = await faults.run(database, options.executions, within_seconds=_WITHIN_SECONDS)
    books = report.books
    promises = {
        f"{report.fine:.1%} ended well, at least {LEAST_FINE:.1%} must": report.fine >= LEAST_FINE,
        f"{report.stuck} executions are stuck": report.stuck == 0,
        f"{report.depth_missed} results are not as deep as asked": report.depth_missed == 0,
        f"patches took {report.patch_share:.1%} of the tokens": report.patch_share <= MOST_PATCHES,
        f"{report.audit_differences} differences in the audit": report.audit_differences == 0,
    }
    rows = {
        "executions": report.executions,
        "ended": counted(report.by_state),
        "ended well": f"{report.fine:.1%}",
        "stuck": report.stuck,
        "depth missed": report.depth_missed,
        "calls": report.calls,
        "calls with a fault": f"{report.faulty_calls} ({report.faulty_calls / max(1, report.calls):.1%})",
        "tokens": report.tokens,
        "of repair patches": f"{report.patch_tokens} ({report.patch_share:.1%})",
        "of discarded answers": report.discarded_tokens,
        "calls paid": f"{books.paid_calls}, {usd(books.paid_nano)} USD",
        "served and lost": books.unpaid_served_calls,
        "refused": books.refused_calls,
        "differences to the provider's book": len(books.differences),
        "differences in the audit": report.audit_differences,
    }
    return Proven(table=[("", ""), *rows.items()], broken=(*_kept(promises), *books.differences))


async def _fleet(databases: Databases, options: Options) -> Proven:
    async with databases.fresh() as database:
        report = await fleet.run(database, options.fleet_executions, options.kills)
    books = report.books
    promises = {
        f"{report.kills} processes were killed, {options.kills} were to be": report.kills == options.kills,
        f"{report.audit_differences} differences in the audit": report.audit_differences == 0,
    }
    rows = {
        "processes": fleet.PROCESSES,
        "killed": report.kills,
        "executions": report.executions,
        "ended": counted(report.by_state),
        "submissions sent": report.submissions_sent,
        "attempts": report.attempts,
        "of them lost": report.lost_attempts,
        "events": report.events,
        "connections of followers": report.connections,
        "calls paid": f"{books.paid_calls}, {usd(books.paid_nano)} USD",
        "served and lost": books.unpaid_served_calls,
        "differences to the provider's book": len(books.differences),
        "differences in the audit": report.audit_differences,
    }
    return Proven(table=[("", ""), *rows.items()], broken=(*_kept(promises), *report.broken))


async def _ledger(databases: Databases, options: Options) -> Proven:
    async with databases.fresh() as database:
        report = await ledger.run(database, options.entries, seed=options.seed)
    seconds, found = report.clean.seconds, len(report.clean.differences)
    slowest = sorted(report.clean.checks.items(), key=lambda one: -one[1])[:6]
    promises = {
        f"{found} differences were found where there are none": found == 0,
        f"planted were {report.planted}, found {report.found}": report.found == report.planted,
        f"the audit took {seconds:.0f} s, at most {ledger.MOST_SECONDS:.0f} are promised": (
            seconds <= ledger.MOST_SECONDS
        ),
    }
    rows = {
        "entries": f"{report.entries:,}",
        "executions": f"{report.executions:,}",
        "megabytes": f"{report.megabytes:,}",
        "seconds to fill": f"{report.fill_seconds:.0f}",
        "seconds of the audit, by two connections": f"{seconds:.1f}",
        **{f"of them {check} and what comes with it": f"{taken:.1f}" for check, taken in slowest},
        "differences": found,
        "planted and found": f"{len(report.planted)} and {len(report.found)}",
    }
    return Proven(table=[("", ""), *rows.items()], broken=_kept(promises))


async def _budgets(databases: Databases, options: Options) -> Proven:
    async with databases.fresh() as database:
        report = await budgets.run(database, options.trials)
    promises = {f"{report.differences} differences in the audit": report.differences == 0}
    rows = {
        "trials": report.trials,
        "submissions at once in each": budgets.AT_ONCE,
        "admitted": report.admitted,
        "refused": counted(report.refused),
        "cancelled meanwhile": report.cancelled,
        "settled meanwhile": report.settled,
        "cut off by a time limit": report.cut_off,
        "differences in the audit": report.differences,
        "violations": len(report.violations),
    }
    return Proven(table=[("", ""), *rows.items()], broken=(*_kept(promises), *report.violations[:20]))


async def _gates(_: Databases, options: Options) -> Proven:
    async with gates.open_place(options.gates_folder) as database:
        terms = gates.Terms(starts=options.starts, deciders=options.deciders)
        report = await gates.run(database, terms, lambda line: print(line, flush=True))
    promises = {f"{report.starts} starts, {options.starts} were to be": report.starts >= options.starts}
    rows = {
        "deciders": options.deciders,
        "starts": report.starts,
        "killed": report.kills,
        "connections cut": report.cuts,
        "attempts": report.attempts,
        "of them lost": report.lost_attempts,
        "executions submitted": report.submitted,
        "refused for want of money": report.refused.total(),
        **{f"{gate} shut, at a look": f"{count / report.looks:.1f}" for gate, count in report.full.items()},
        "jobs at once, of the cap, at the most": f"{report.fullest:.0%}",
        "seconds": f"{report.seconds:.0f}",
        "violations": len(report.broken),
    }
    return Proven(table=[("", ""), *rows.items()], broken=(*_kept(promises), *report.broken[:20]))


async def _histories(databases: Databases, options: Options) -> Proven:
    found = await explore(databases, first=options.seed, rounds=options.rounds, seconds=options.minutes * 60)
    rows = {
        "histories": found.histories,
        "steps": found.steps,
        "steps that died": found.cuts,
        "processes killed": found.kills,
        "executions": found.executions,
        "starts": found.starts,
        "histories that did not hold": len(found.broken),
    }
    return Proven(table=[("", ""), *rows.items()], broken=tuple(found.broken))


async def _plans(databases: Databases, options: Options) -> Proven:
    async with databases.fresh() as database:
        report = await plans.run(database, many=options.queued, history=options.queued)
    few, many = plans.totals(report.few), plans.totals(report.many)
    head = ("work", "statements", "blocks: few queued", "many", "rows of large tables: few queued", "many")
    rows = [
        (work, statements, few[work][1], blocks, few[work][2], read)
        for work, (statements, blocks, read) in many.items()
    ]
    queued = (
        f"{report.queued:,} queued, {report.history:,} in history",
        f"{report.fill_seconds:.0f} s to fill",
    )
    return Proven(table=[head, *rows, (*queued, "", "", "", "")], broken=report.broken[:20])


async def _fairness(databases: Databases, _: Options) -> Proven:
    async with databases.fresh() as database:
        tables = await fairness.run(database, fairness.Terms())
    for one in tables:
        print(f"\n{one.title}\n\n{as_table(one.rows)}", flush=True)
    kept = [("tables", "broken promises")] + [(one.title, len(one.broken)) for one in tables]
    return Proven(table=kept, broken=tuple(words for one in tables for words in one.broken))


async def _stop(databases: Databases, _: Options) -> Proven:
    async with databases.fresh() as database:
        report = await stop.run(database)
    after = report.after_last_call_seconds
    promises = {
        f"it took {after:.1f} s after the last call, at most {stop.LONGEST_SECONDS:g} are promised": (
            after <= stop.LONGEST_SECONDS
        )
    }
    rows = {
        "calls in flight": report.calls_in_flight,
        "open streams": stop.STREAMS,
        "streams that went on to the end": report.streams,
        "seconds from SIGTERM to the end": f"{report.seconds:.1f}",
        "of them after the last call": f"{after:.1f}",
    }
    return Proven(table=[("", ""), *rows.items()], broken=(*_kept(promises), *report.broken))


async def _speed(databases: Databases, _: Options) -> Proven:
    async with databases.fresh() as database:
        report = await speed.run(database)
    rows = [
        ("", "seconds", "calls", "tokens"),
        ("parallel", f"{report.parallel_seconds:.1f}", report.calls, report.parallel_tokens),
        ("one call", f"{report.one_call_seconds:.1f}", 1, report.one_call_tokens),
    ]
    words = f"{report.nodes} nodes: {report.ratio:.1f} times faster"
    promises = {f"{words}, at least {LEAST_RATIO:g} times is promised": report.ratio >= LEAST_RATIO}
    return Proven(table=[*rows, (words, "", "", "")], broken=_kept(promises))


async def _litellm(databases: Databases, options: Options) -> Proven:
    report = await litellm.run(databases, folder=options.folder)
    head = ("case", "executions", "calls", "usage", "tokens", "billed", "paid", "lost", "circuit", "books")
    rows = [
        (
            row.name,
            counted(row.states),
            counted(row.outcomes),
            row.usage_arrived,
            row.tokens,
            f"{usd(row.billed_nano):.6f}",
            f"{usd(row.books.paid_nano):.6f}",
            row.books.unpaid_served_calls,
            row.circuit,
            "differ" if row.books.differences else "equal",
        )
        for row in report.rows
    ]
    return Proven(table=[head, *rows], broken=report.broken)


def _kept(promises: dict[str, bool]) -> tuple[str, ...]:
    """Return the words of the promises that were not kept."""
    return tuple(words for words, is_kept in promises.items() if not is_kept)


def counted(counts: dict[str, int]) -> str:
    """Return counts in words: ``3 succeeded, 1 partial``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


PROOFS = {
    "faults": Proof(
        shows="executions against a provider of whose calls every fifth fails",
        needs="3 to 10 minutes, 200 MB of disk",
        run=_faults,
    ),
    "speed": Proof(
        shows="a course of 170 nodes in parallel and in one long call",
        needs="8 minutes, 150 MB of disk",
        run=_speed,
    ),
    "fleet": Proof(
        shows="three processes on one database, one of them killed again and again, every event followed",
        needs="7 to 20 minutes, 500 MB of disk",
        run=_fleet,
    ),
    "budgets": Proof(
        shows="200 submissions at once on tight budgets, again and again: never over a limit, nobody denied",
        needs="10 to 30 minutes, 500 MB of disk",
        run=_budgets,
    ),
    "gates": Proof(
        shows="a million starts by 8 deciders that are killed all the time: caps, units, slots, budgets hold",
        needs=f"30 to 60 minutes, 6 GB of disk in {gates.PLACE}, where it goes on if it is interrupted",
        run=_gates,
    ),
    "histories": Proof(
        shows="random histories: steps interleaved statement by statement, deaths between any two statements",
        needs="10 minutes (--minutes), 200 MB of disk",
        run=_histories,
    ),
    "plans": Proof(
        shows="what every statement of the hot paths reads with a million jobs queued and stale statistics",
        needs="3 to 10 minutes, 4 GB of disk",
        run=_plans,
    ),
    "fairness": Proof(
        shows="who gets how much: small behind large, equal clients, tiers, the guard, queues, the reserve",
        needs="2 to 5 minutes, 400 MB of disk",
        run=_fairness,
    ),
    "stop": Proof(
        shows="SIGTERM with calls in flight and 50 open streams, and the next start",
        needs="1 minute, 100 MB of disk",
        run=_stop,
    ),
    "ledger": Proof(
        shows="every balance rebuilt from 10 million ledger entries, and three differences found",
        needs="10 to 20 minutes, 20 GB of disk",
        run=_ledger,
    ),
    "litellm": Proof(
        shows=f"the LiteLLM proxy {VERSION} between AI Factory and the simulated provider",
        needs="4 minutes, 750 MB of disk; the first time it installs LiteLLM from the package index",
        run=_litellm,
    ),
}


async def _run(names: Sequence[str], options: Options) -> int:
    broken = 0
    async with open_databases() as databases:
        for name in names:
            proof, started = PROOFS[name], time.monotonic()
            print(f"\n{name}: {proof.shows}. It needs {proof.needs}.", flush=True)
            proven = await proof.run(databases, options)
            print(as_table(proven.table))
            print(f"{time.monotonic() - started:.0f} s.", *proven.broken, sep="\nBROKEN: ", flush=True)
            broken += len(proven.broken)
    print(f"\n{broken} promises broken." if broken else "\nEvery promise was kept.")
    return 1 if broken else 0


def as_table(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as a Markdown table with straight columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*texts, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in texts
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def main() -> int:
    """Run the proofs that are named; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="prove", description=__doc__)
    parser.add_argument(
        "proofs", nargs="*", default=["faults", "speed", "fleet", "stop"], help=", ".join(PROOFS)
    )
    parser.add_argument("--executions", type=int, default=200, help="how many `faults` runs")
    parser.add_argument("--fleet-executions", type=int, default=2000, help="how many `fleet` runs")
    parser.add_argument("--kills", type=int, default=20, help="how often `fleet` kills a process")
    parser.add_argument("--entries", type=int, default=ledger.ENTRIES, help="how many `ledger` fills")
    parser.add_argument(
        "--seed", type=int, default=1, help="where `ledger` plants, and the first of `histories`"
    )
    parser.add_argument("--trials", type=int, default=1000, help="how many `budgets` runs")
    parser.add_argument("--starts", type=int, default=1_000_000, help="how many `gates` counts")
    parser.add_argument("--deciders", type=int, default=8, help="how many `gates` runs")
    parser.add_argument("--gates-folder", type=Path, default=gates.PLACE, help="where `gates` is kept")
    parser.add_argument("--rounds", type=int, default=80, help="how long each of the `histories` is")
    parser.add_argument("--minutes", type=float, default=10, help="how long `histories` looks")
    parser.add_argument("--queued", type=int, default=1_000_000, help="how many jobs `plans` queues")
    parser.add_argument("--folder", type=Path, default=litellm.CACHE, help="where `litellm` is installed")
    asked = parser.parse_args()
    if unknown := [name for name in asked.proofs if name not in PROOFS]:
        parser.error(f"no such proof: {', '.join(unknown)}; there are {', '.join(PROOFS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for name in asked.proofs:
        print(f"{name}: {PROOFS[name].needs}")
    return anyio.run(_run, asked.proofs, _options(asked))


def _options(asked: argparse.Namespace) -> Options:
    return Options(
        executions=asked.executions,
        fleet_executions=asked.fleet_executions,
        kills=asked.kills,
        trials=asked.trials,
        entries=asked.entries,
        seed=asked.seed,
        folder=asked.folder,
        starts=asked.starts,
        deciders=asked.deciders,
        gates_folder=asked.gates_folder,
        rounds=asked.rounds,
        minutes=asked.minutes,
        queued=asked.queued,
    )


# Local steps run in worker processes, which import this module again.
if __name__ == "__main__":
    sys.exit(main())
