"""Histories of one seed after the other, each on a database of its own, until the time is over."""

import time
from collections.abc import Callable

import msgspec

from prove.databases import Databases
from prove.histories.history import tell


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
