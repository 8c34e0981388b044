"""``python -m bench [names] [--quick]``: the measures, beside the peers where there are any.

``python -m bench report [FILE …]`` writes a run's result into docs/benchmarks.md, beside it as JSON;
of several runs of the same machine, the newest last, the newest figures of each measure.
"""

import argparse
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import (
    buckets,
    claim,
    drain,
    enqueue,
    hot,
    http_api,
    idle,
    machine,
    plan,
    report,
    simulate,
    streams,
)
from bench.figures import Measured
from bench.running import REPOSITORY, Bench, Best, ChildFailed
from bench.servers import open_server

#: In this order: the sweep of the drain comes first.
MEASURES = {
    one.MEASURE.name: one.MEASURE
    for one in (drain, enqueue, hot, idle, claim, http_api, buckets, simulate, plan, streams)
}
PLACE = REPOSITORY / ".cache" / "bench"
PEERS = REPOSITORY / ".cache" / "bench-peers" / "bin" / "python"
DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"
KEPT = REPOSITORY / "docs" / "benchmarks.json"


def main() -> int:
    """Measure and print, or report; 1 when something could not be measured."""
    parser = _parser()
    asked = parser.parse_args()
    if asked.measures[:1] == ["report"]:
        return _report([Path(path) for path in asked.measures[1:]] or [PLACE / "latest.json"])
    if unknown := [name for name in asked.measures if name not in MEASURES]:
        parser.error(f"no such measure: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing of the server stays
    peers = None if asked.ours else _peers()
    with open_server(PLACE) as server:
        bench = Bench(server=server, quick=asked.quick, peers=peers, best=Best())
        if asked.profile:
            print(drain.profile(bench, slots=asked.slots, jobs=asked.jobs, executions=asked.executions))
            return 0
        result = _measure(bench, asked.measures or list(MEASURES))
    print("", *result.best, "", report.as_first_table(result), sep="\n")
    print(f"\n{report.goals_of(result)} {result.seconds / 60:.1f} minutes; {PLACE / 'latest.json'}")
    return 1 if result.failed else 0


def _measure(bench: Bench, names: list[str]) -> report.Result:
    """Take the measures; what is there by then is stored after each."""
    began = time.monotonic()
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    described = machine.describe(bench, PLACE)
    print(*(f"{name}: {words}" for name, words in described.items()), sep="\n", flush=True)
    done: list[Measured] = []
    failed: dict[str, str] = {}
    left_out = tuple(name for name in MEASURES if name not in names)
    while True:
        result = report.Result(
            at=at,
            quick=bench.quick,
            seconds=time.monotonic() - began,
            machine=described,
            measured=tuple(done),
            best=tuple(bench.best.notes),
            failed=failed,
            left_out=left_out,
            to_come=tuple(names),
        )
        (PLACE / "latest.json").write_bytes(report.write_result(result))
        if not names:
            return result
        name, *names = names
        print(f"\n{name}: {MEASURES[name].shows}", flush=True)
        started = time.monotonic()
        try:
            rows = tuple(MEASURES[name].run(bench))
        except Exception as error:  # whatever it is: the measures after it still have their turn
            failed[name] = (
                str(error) if isinstance(error, ChildFailed) else f"{type(error).__name__}: {error}"
            )
            traceback.print_exc()
            print(f"NOT MEASURED: {failed[name]}", flush=True)
            continue
        done.append(Measured(measure=name, seconds=time.monotonic() - started, rows=rows))
        print(report.as_text(done[-1]), f"{done[-1].seconds:.0f} s", sep="\n", flush=True)


def _report(paths: Sequence[Path]) -> int:
    """Write the results of runs, the newest last, into the document, and keep them beside that."""
    try:
        result = report.joined([report.read_result(path.read_bytes()) for path in paths])
    except (OSError, msgspec.DecodeError, ValueError) as error:
        print(f"{', '.join(map(str, paths))}: no results to write down: {error}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(report.placed(DOCUMENT.read_text(), report.as_markdown(result)))
    KEPT.write_bytes(report.write_result(result) + b"\n")
    print(f"{DOCUMENT.relative_to(REPOSITORY)} has the results of {result.at}.")
    return 0


def _peers() -> Path | None:
    """Return the interpreter that has the peers, if it has them."""
    code = "import pgqueuer, procrastinate, psycopg, uvloop"
    done = PEERS.exists() and subprocess.run([PEERS, "-c", code], capture_output=True, check=False)
    if not done or done.returncode:
        print("The peers are not installed (`make bench` does that): ours is measured alone.", flush=True)
        return None
    return PEERS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("measures", nargs="*", help=f"{', '.join(MEASURES)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="smaller, each measure once: for a first look")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    parser.add_argument("--profile", action="store_true", help="only show where our time goes in a drain")
    parser.add_argument("--slots", type=int, default=256, help="of the profile (256)")
    parser.add_argument("--jobs", type=int, default=drain.TREE, help="of an execution in the profile (20)")
    parser.add_argument("--executions", type=int, default=drain.MIX, help="of the profile (400)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
