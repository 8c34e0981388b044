"""``python -m bench.granulation [names] [--quick]``: what granulation promises, measured on this machine.

``python -m bench.granulation report [FILE]`` writes a run's result into docs/granulation.md.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.granulation import headings, items, mutations, report, segments, separation, speed, sweep
from bench.granulation.figures import Measure
from bench.running import REPOSITORY

MEASURES: dict[str, Callable[..., Measure]] = {
    "speed": speed.measure,
    "segments": segments.measure,
    "headings": headings.measure,
    "corpus": sweep.measure,
    "items": sweep.measure_items,
    "flaws": items.measure,
    "mutations": mutations.measure,
    "separation": separation.measure,
}
PLACE = REPOSITORY / ".cache" / "bench-granulation"
DOCUMENT = REPOSITORY / "docs" / "granulation.md"


def main() -> int:
    """Measure and print, or report; 2 for a name that is no measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.granulation")
    parser.add_argument("measures", nargs="*", help=f"{', '.join(MEASURES)}; or: report [FILE]")
    parser.add_argument("--quick", action="store_true", help="fewer texts: under a minute")
    asked = parser.parse_args()
    if asked.measures[:1] == ["report"]:
        return _report(Path(asked.measures[1]) if asked.measures[1:] else PLACE / "latest.json")
    if unknown := [name for name in asked.measures if name not in MEASURES]:
        parser.error(f"no such measure: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    result = _measure(asked.measures or list(MEASURES), quick=asked.quick)
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    print(f"\n{sum(result.seconds.values()):.0f} s; {PLACE / 'latest.json'}")
    return 0


def _measure(names: list[str], *, quick: bool) -> report.Result:
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = _machine()
    measures, seconds = [], {}
    for name in names:
        began = time.monotonic()
        measures.append(MEASURES[name](quick=quick))
        seconds[name] = time.monotonic() - began
        print(report.as_text(measures[-1], seconds[name]), "", sep="\n", flush=True)
    return report.Result(at=at, quick=quick, machine=machine, seconds=seconds, measures=tuple(measures))


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": f"{os.cpu_count()}, one used",
        "load before": " ".join(f"{one:.1f}" for one in os.getloadavg()),
    }


def _report(path: Path) -> int:
    """Write a run's result into the document."""
    try:
        result = msgspec.json.decode(path.read_bytes(), type=report.Result)
    except (OSError, msgspec.DecodeError) as error:
        print(f"{path} is no result of a run: {error}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(report.placed(DOCUMENT.read_text(), report.as_markdown(result)))
    print(f"written: {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
