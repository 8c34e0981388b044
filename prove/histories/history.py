"""One history: rounds of steps by a seed, everything checked after each; then all must come to an end."""

import contextlib
import random
from collections.abc import AsyncIterator, Collection, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from aifactory.kernel.db import Database
from aifactory.resources.interface import Outcome, Usage
from prove.histories.steering import Death, Fault, run_together
from prove.histories.steps import ACTIONS, an_outcome
from prove.histories.world import Member, World

FAULTY = 0.4
DRAINING_ROUNDS = 120


class Story(msgspec.Struct, kw_only=True):
    """What a history did, and the first thing that did not hold."""

    seed: int
    deaths: float = 0.0
    rounds: int = 0
    steps: int = 0
    cuts: int = 0
    kills: int = 0
    starts: int = 0
    executions: int = 0
    broken: list[str] = []
    tale: list[str] = []

    def told(self) -> str:
        """Return how to see it again, what broke, and what was done last."""
        again = f"python -m prove histories --seed {self.seed} --rounds {self.rounds} --minutes 0"
        return "\n".join([again, *self.tale[-6:], *self.broken[:8]])


@contextlib.asynccontextmanager
async def open_world(database: Database) -> AsyncIterator[World]:
    """Build a world on a migrated database that nothing else uses."""
    monitor = await database.own_connection()
    try:
        async with anyio.create_task_group() as tasks:
            world = World(database=database, tasks=tasks, monitor=monitor)
            try:
                await world.set_up()
                yield world
            finally:
                await world.close()
                tasks.cancel_scope.cancel()
    finally:
        await monitor.close()


async def tell(
    database: Database,
    seed: int,
    rounds: int,
    *,
    actions: Collection[str] = tuple(ACTIONS),
    deaths: float = 0.06,
) -> Story:
    """Play so many rounds, or until something does not hold; ``deaths``: of processes, in each round."""
    story, chance = Story(seed=seed, deaths=deaths), random.Random(seed)
    random.seed(seed)  # the pauses between retries are drawn there
    async with open_world(database) as world:
        for _ in range(rounds):
            await _play(world, story, chance, actions)
            if story.broken:
                break
        else:
            try:
                await _come_to_an_end(world, story, chance)
            except Exception as error:
                story.broken.append(f"error: nothing comes to an end: {error!r}")
        story.starts = world.judge.starts
        story.executions = await world.monitor.fetchval("SELECT count(*) FROM executions")
    return story


async def _play(world: World, story: Story, chance: random.Random, actions: Collection[str]) -> None:
    """Play one round: time passes, jobs end, somebody dies, and up to three steps run at once."""
    story.rounds += 1
    await _pass_time(world, story, chance)
    for _ in range(chance.randint(0, 3)):
        world.answer(chance, an_outcome(chance))
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    wanted = _choose(world, chance, actions)
    story.tale.append(f"{story.rounds}: " + ", ".join(_named(name, fault) for name, _, fault, _ in wanted))
    ended = await run_together(
        [(name, action, fault) for name, action, fault, _ in wanted], chance=chance, monitor=world.monitor
    )
    for one, (name, _, _, member) in zip(ended, wanted, strict=True):
        story.steps += 1
        world.lengths[name] = max(one.step.statements, world.lengths.get(name, 0) * 3 // 4)
        story.cuts += one.step.died
        if one.error is not None:
            story.broken.append(f"error: {name} ended with {one.error!r} of {one.error.__cause__!r}")
        if one.killed and member is not None:
            story.kills += 1
            await world.replace(member)
    story.broken += await world.check()


async def _pass_time(world: World, story: Story, chance: random.Random) -> None:
    """Let time pass; now and then more than a lease lasts, and somebody's session go."""
    await world.advance(chance.choice((0.0, 0.3, 2.0, 2.0, 7.0, 25.0)))
    die = chance.random()
    member = chance.choice(world.members)
    if die < story.deaths / 2:
        story.kills += 1
        story.tale.append(f"{story.rounds}: a process is killed")
        await world.replace(member)
    elif die < story.deaths:
        story.tale.append(f"{story.rounds}: a process loses its session")
        await world.lose_session(member)


Wanted = tuple[str, Coroutine[Any, Any, Any], Fault | None, Member | None]


def _choose(world: World, chance: random.Random, actions: Collection[str]) -> list[Wanted]:
    """Choose steps, each of another process, and perhaps one that dies."""
    free = list(world.members)
    chance.shuffle(free)
    wanted: list[Wanted] = []
    names = sorted(actions)
    weights = [ACTIONS[name][0] for name in names]
    count = chance.choices((1, 2, 3), (50, 35, 15))[0]
    dies = chance.randrange(count) if chance.random() < FAULTY else None
    for number in range(count):
        name = chance.choices(names, weights)[0]
        _, of_member, act = ACTIONS[name]
        member = free.pop() if of_member else None
        fault = _fault(world, chance, name, of_member=of_member) if number == dies else None
        action = act(world, member or world.members[0], random.Random(chance.random()))
        wanted.append((name, _as_coroutine(action), fault, member))
    return wanted


def _as_coroutine(action: Any) -> Coroutine[Any, Any, Any]:
    coroutine: Coroutine[Any, Any, Any] = action
    return coroutine


def _fault(world: World, chance: random.Random, name: str, *, of_member: bool) -> Fault:
    """Let a step die at one of its statements, its last one, the commit, more often than others."""
    length = max(2, world.lengths.get(name, 20))
    return Fault(
        statement=length if chance.random() < 0.25 else chance.randint(1, length),
        after=chance.random() < 0.5,
        death=Death.KILLED if of_member and chance.random() < 0.3 else Death.CUT,
    )


def _named(name: str, fault: Fault | None) -> str:
    if fault is None:
        return name
    return f"{name} ({fault.death} {'after' if fault.after else 'at'} statement {fault.statement})"


async def _come_to_an_end(world: World, story: Story, chance: random.Random) -> None:
    """Lift every limit and let the fleet work on: nothing may be left, and nothing held."""
    await world.lift_limits()
    for _ in range(DRAINING_ROUNDS):
        await world.advance(4)
        for member in world.members:
            for _ in range(2):  # the first round of a taken lease only learns that
                await member.engine.lease.round()
            await member.engine.maintenance.rescue()
            await member.engine.maintenance.expire()
            await member.engine.tick()
            await anyio.lowlevel.checkpoint()
            while world.answer(chance, Outcome(output={}, usage=Usage(input_units=100, output_units=50))):
                await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            await member.engine.runner.settle_ended()
        if not await world.monitor.fetchval("SELECT count(*) FROM executions WHERE finished_at IS NULL"):
            break
    story.broken += await world.check() + await world.check_end()
