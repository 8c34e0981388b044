"""Histories of one seed after the other, each on a database of its own, until the time is over."""

import argparse
import contextlib
import logging
import time
from collections.abc import Callable, Iterator

import msgspec
import structlog

from prove.databases import Databases
from prove.histories.history import tell
from prove.reporting import SEED, Option, Proof, Proven, proven


class Explored(msgspec.Struct, kw_only=True):
    """What so many histories did, and those that did not hold, as text with how to see them again."""

    histories: int = 0
    steps: int = 0
    cuts: int = 0
    kills: int = 0
    executions: int = 0
    starts: int = 0
    broken: list[str] = []


async def explore(
    databases: Databases, *, first: int, rounds: int, seconds: float, say: Callable[[str], None] = print
) -> Explored:
    """Tell at least one history, and more from seeds in turn while there is time."""
    found, ends, seed = Explored(), time.monotonic() + seconds, first
    while not found.histories or time.monotonic() < ends:
        async with databases.fresh() as database:
            story = await tell(database, seed, rounds)
        found.histories += 1
        found.steps += story.steps
        found.cuts += story.cuts
        found.kills += story.kills
        found.executions += story.executions
        found.starts += story.starts
        if story.broken:
            found.broken.append(story.told())
            say(story.told())
        seed += 1
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: that statements fail is what a history is made of."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    with _quiet():
        found = await explore(databases, first=asked.seed, rounds=asked.rounds, seconds=asked.minutes * 60)
    rows = {
        "histories": found.histories,
        "steps": found.steps,
        "steps that died": found.cuts,
        "processes killed": found.kills,
        "executions": found.executions,
        "starts": found.starts,
        "histories that did not hold": len(found.broken),
    }
    return proven(rows, broken=found.broken)


PROOF = Proof(
    name="histories",
    shows="random histories: steps interleaved statement by statement, deaths between any two statements",
    needs="10 minutes (--minutes), 200 MB of disk",
    options=(
        SEED,
        Option(name="rounds", default=80, help="how long each of the `histories` is"),
        Option(name="minutes", default=10.0, help="how long `histories` looks"),
    ),
    run=_prove,
)
