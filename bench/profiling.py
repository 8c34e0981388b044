"""Where the time of a process goes for each job: processor time, functions, statements of PostgreSQL.

Two ways, one at a time, since each costs time itself: this process is stopped every millisecond of its
processor time and asked where it is; or PostgreSQL logs the duration of every statement.
"""

import contextlib
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import FrameType

import msgspec
import psutil  # type: ignore[import-untyped]

from aifactory.kernel.db import Database

EVERY_SECONDS = 0.001
LISTED = 60
_SAID = re.compile(
    r"LOG:  duration: (?P<ms>[\d.]+) ms  (?P<step>parse|bind|execute|statement)[^:]*: (?P<sql>.*)"
)
_PLACES = (
    f"{Path(__file__).parents[1]}/src/aifactory/",
    f"{Path(__file__).parents[1]}/",
    f"{Path(re.__file__).parents[1]}/",
)


class Sampler:
    """Counts where this process is, in every millisecond of its processor time."""

    def __init__(self) -> None:
        self.samples = 0
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to look."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _: int, frame: FrameType | None) -> None:
        self.samples += 1
        seen: set[str] = set()
        while frame is not None:
            name = _name(frame)
            if not seen:
                self.own[name] += 1
            if name not in seen:
                self.within[name] += 1
                seen.add(name)
            frame = frame.f_back


def _name(frame: FrameType) -> str:
    code = frame.f_code
    path = code.co_filename
    _, is_installed, inside = path.partition("site-packages/")
    short = inside if is_installed else path
    for place in _PLACES:
        short = short.removeprefix(place)
    return f"{short}:{code.co_qualname}"


class Statement(msgspec.Struct, kw_only=True):
    """How often a statement ran, and its milliseconds in the server: planning and all the rest."""

    runs: int = 0
    parse_ms: float = 0.0
    bind_ms: float = 0.0
    execute_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """Return all of its time."""
        return self.parse_ms + self.bind_ms + self.execute_ms


def read_statements(lines: Iterable[str]) -> dict[str, Statement]:
    """Add up what a server has logged with ``log_min_duration_statement = 0``, by the statement's text."""
    found: dict[str, Statement] = {}
    said: re.Match[str] | None = None
    text: list[str] = []

    def end() -> None:
        if said is None:
            return
        one = found.setdefault(" ".join(" ".join(text).split()), Statement())
        step, ms = said["step"], float(said["ms"])
        if step == "parse":
            one.parse_ms += ms
        elif step == "bind":
            one.bind_ms += ms
        else:
            one.execute_ms += ms
            one.runs += 1

    for line in lines:
        if line.startswith("\t"):
            text.append(line)
            continue
        end()
        said = _SAID.search(line)
        text = [said["sql"]] if said else []
    end()
    return found


@contextlib.asynccontextmanager
async def watched(database: Database, *, log: str) -> AsyncIterator[Callable[[int], str]]:
    """Watch this process, or with a ``log`` the server's statements; gives what reports on so many jobs."""
    async with database.lend() as connection:
        backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    server = backend.parent()
    assert server is not None
    sampler, offset = Sampler(), _size(log)
    server_before, here_before, began = _server_seconds(server), time.process_time(), time.perf_counter()
    if not log:
        sampler.start()
    spent: dict[str, float] = {}

    def report(jobs: int) -> str:
        lines = [
            f"{jobs:,} jobs, {jobs / spent['wall']:,.0f} jobs/s while watched; for 1,000 jobs:",
            f"  {spent['wall'] / jobs * 1e6:9.1f} ms passed",
            f"  {spent['here'] / jobs * 1e6:9.1f} ms of processor in this process",
            f"  {spent['server'] / jobs * 1e6:9.1f} ms of processor in PostgreSQL's processes",
        ]
        lines += _of_log(log, offset, jobs) if log else _of_samples(sampler, spent["here"], jobs)
        return "\n".join(lines)

    try:
        yield report
    finally:
        sampler.stop()
        spent["wall"] = time.perf_counter() - began
        spent["here"] = time.process_time() - here_before
        spent["server"] = _server_seconds(server) - server_before


def _size(log: str) -> int:
    return Path(log).stat().st_size if log else 0


def _server_seconds(server: psutil.Process) -> float:
    """Return the processor seconds of a server's processes, of those that have ended too."""
    own = server.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in server.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return float(total)


def _of_samples(sampler: Sampler, seconds: float, jobs: int) -> list[str]:
    each = seconds / max(1, sampler.samples) / jobs * 1e6
    lines = []
    for title, counts in (
        ("in the function itself (and in compiled code that it calls)", sampler.own),
        ("in the function and all that it calls", sampler.within),
    ):
        lines += [
            "",
            f"ms of processor of this process for 1,000 jobs, {title}; {sampler.samples:,} samples:",
        ]
        lines += [f"  {count * each:9.1f}  {name}" for name, count in counts.most_common(LISTED)]
    return lines


def _of_log(log: str, offset: int, jobs: int) -> list[str]:
    with open(log, encoding="utf-8", errors="replace") as said:
        said.seek(offset)
        found = read_statements(said)
    per = 1000 / jobs
    runs = sum(one.runs for one in found.values())
    total = sum(one.total_ms for one in found.values())
    lines = [
        "",
        f"{runs * per:,.1f} statements for 1,000 jobs, {total * per:,.1f} ms in the server, waits included;",
        "for 1,000 jobs: runs, ms in all, ms of that to bind and plan; ms a run; statement",
    ]
    ranked = sorted(found.items(), key=lambda item: -item[1].total_ms)
    for text, one in ranked[:LISTED]:
        each = one.total_ms / max(1, one.runs)
        figures = f"{one.runs * per:8.1f} {one.total_ms * per:8.1f} {one.bind_ms * per:7.1f} {each:8.3f}"
        lines.append(f"  {figures}  {text[:110]}")
    return lines
