"""The deciders of the proof of the gates: real processes with an engine each, whose jobs end at once.

``python -m prove.decider URL SLOTS`` starts them; all die with whoever holds its standard input.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import anyio
import structlog

from aifactory.kernel.db import Database
from aifactory.kernel.notices import Notices
from aifactory.resources.engine import Engine
from aifactory.resources.interface import (
    Emit,
    Job,
    JobFault,
    Line,
    Outcome,
    ResolvedStage,
    Route,
    StageInputs,
    Usage,
)
from prove.plain_worker import PlainWorker, line_of
from prove.pools import hop_of

_AGAIN = JobFault(code="flaky", message="Again.", retryable=True, retry_after_seconds=0.0)
_BROKEN = JobFault(code="broken", message="No.", retryable=False)


def route_of(name: str) -> Route:
    """Return the route over one pool, or two of them; each start needs a unit of one behind an ``&``."""
    name, _, further = name.partition("&")
    hops = tuple(hop_of(pool) for pool in name.split("+"))
    return Route(hops=hops, further_pools=(further,) if further else ())


def an_outcome(chance: random.Random) -> Outcome:
    """Return how a call ends: most are well; some are tried again, some are lost, a few cost too much."""
    usage = Usage(input_units=chance.randint(100, 300), output_units=chance.randint(0, 200))
    kind = chance.choices(("well", "again", "broken", "unknown", "greedy"), (900, 50, 20, 15, 15))[0]
    if kind == "well":
        return Outcome(usage=usage)
    if kind == "greedy":
        return Outcome(usage=Usage(input_units=chance.randint(400, 900), output_units=200))
    if kind == "unknown":
        return Outcome(usage=None, fault=_AGAIN)
    return Outcome(usage=usage, fault=_AGAIN if kind == "again" else _BROKEN)


class InstantWorker(PlainWorker):
    """One phase of as many jobs as asked; each ends at once."""

    def __init__(self) -> None:
        self.chance = random.Random()

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """See ``Worker.estimate``."""
        route = route_of(resolved.parameters["route"])
        needs = dict.fromkeys(route.further_pools, 1)
        return [line_of("write", resolved.parameters["jobs"], route, needs=needs)]

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """End at once."""
        return an_outcome(self.chance)


class Deciders:
    """Processes that decide, each started again after its death."""

    def __init__(self, url: str, slots: int) -> None:
        self.pids: list[int] = []
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "prove.decider", url, str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self) -> None:
        """Start one more."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(b"start\n")
        self._nursery.stdin.flush()
        self.pids.append(int(self._nursery.stdout.readline()))

    def kill(self, pid: int) -> None:
        """End one as the kernel does, and start another."""
        self.pids.remove(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.start()

    def end(self) -> None:
        """End all of them at once."""
        self._nursery.communicate()


@contextlib.asynccontextmanager
async def open_deciders(url: str, count: int, *, slots: int) -> AsyncIterator[Deciders]:
    """Start so many, of so many slots each; all end with the block."""
    deciders = Deciders(url, slots)
    try:
        for _ in range(count):
            await asyncio.to_thread(deciders.start)
        yield deciders
    finally:
        deciders.end()


async def decide(url: str, slots: int) -> None:
    """Run an engine until somebody ends it."""
    database = Database(url=url, pool_size=6)
    engine = Engine(
        database=database,
        workers={"granulation": InstantWorker()},
        slots=slots,
        local_slots=1,
        grace_seconds=1,
        environ={},
    )
    notices = Notices(database=database)
    database.on_tell = notices.tell
    async with engine.start():
        await anyio.sleep_forever()


def rear(url: str, slots: int) -> None:
    """Start a decider for every line that comes in, and say its process id; when no more can come, end all.

    Each is forked off this process, which has read all the code: a new one is at work at once.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are to be gone at once
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            random.seed()
            anyio.run(decide, url, slots)
        print(pid, flush=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rear(sys.argv[1], int(sys.argv[2]))
