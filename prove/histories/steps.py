"""The steps of a history: what chance may do to a fleet, each by the code that a real one runs."""

import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec

from aifactory.kernel.db import DatabaseUnavailable
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import RequestId, new_id
from aifactory.resources.interface import (
    ExecutionNotFound,
    FlowStage,
    JobFault,
    NewExecution,
    Outcome,
    Signal,
    Urgency,
    Usage,
)
from prove.histories.world import CAPACITY, REFILL, Member, World

Action = Callable[[World, Member, random.Random], Awaitable[Any]]


async def submit(world: World, _: Member, chance: random.Random) -> None:
    """Submit work of a client; a refusal is an answer too."""
    client = chance.choice(world.clients)
    new = NewExecution(
        request_id=RequestId(new_id()),
        client_id=client.client_id,
        key_id=None,
        template="history",
        template_version=1,
        flow=(FlowStage(worker="granulation", template_ref="history"),),
        parameters={
            "jobs": chance.randint(1, 4),
            "route": chance.choice(("one", "one", "two", "spare", "local")),
        },
        urgency=chance.choice(list(Urgency)),
    )
    later, ends = chance.random() < 0.15, chance.random() < 0.2
    seconds = chance.randint(5, 60)
    try:
        async with world.database.begin() as tx:
            if later:
                new = msgspec.structs.replace(new, run_after=tx.now + timedelta(seconds=seconds))
            if ends:
                new = msgspec.structs.replace(new, deadline=tx.now + timedelta(seconds=2 * seconds))
            submitted = await world.service.submit(tx, new)
            world.submitted.append(submitted.execution_id)
    except DatabaseUnavailable:
        raise
    except AppError as refusal:
        world.refusals[refusal.code] = world.refusals.get(refusal.code, 0) + 1


async def tick(world: World, member: Member, _: random.Random) -> None:
    """Let a process claim and start."""
    await member.engine.tick()


async def claim(world: World, member: Member, _: random.Random) -> None:
    """Let a process claim and then know nothing of it: the answer to its commit never came."""
    runner = member.engine.runner
    slots = runner.free_slots(local=False)
    if slots:
        await member.engine.scheduler.tick(slots=1, local_slots=0, idle=runner.idle)


async def settle(world: World, member: Member, _: random.Random) -> None:
    """Settle what ended in a process."""
    await member.engine.runner.settle_ended()


async def cancel(world: World, _: Member, chance: random.Random) -> None:
    """Cancel one of the latest executions, ended or not."""
    if world.submitted:
        execution_id = chance.choice(world.submitted[-6:])
        with contextlib.suppress(ExecutionNotFound):  # its submission was rolled back
            async with world.database.begin() as tx:
                await world.service.cancel(tx, execution_id)


async def rescue(world: World, member: Member, _: random.Random) -> None:
    """Let a process look for the dead."""
    await member.engine.maintenance.rescue()


async def maintain(world: World, member: Member, _: random.Random) -> None:
    """Let a process do a whole round of upkeep."""
    await member.engine.maintenance.round()


async def expire(world: World, member: Member, _: random.Random) -> None:
    """Let a process end what is past its deadline."""
    await member.engine.maintenance.expire()


async def close_lanes(world: World, member: Member, _: random.Random) -> None:
    """Let a process close empty lanes."""
    await member.engine.maintenance._close_lanes()


async def renew(world: World, member: Member, _: random.Random) -> None:
    """Renew a lease, or come back as a new process after it was taken."""
    await member.engine.lease.round()


async def edit_client(world: World, _: Member, chance: random.Random) -> None:
    """Change a client's cap, budget or suspension."""
    index = chance.randrange(len(world.clients))
    changed = msgspec.structs.replace(
        world.clients[index],
        max_running=chance.randint(0, 5),
        monthly_budget_nano=chance.choice((2_000_000, 5_000_000, 9_000_000, 20_000_000)),
        suspended=chance.random() < 0.15,
    )
    world.note_edit(changed)
    async with world.database.begin() as tx:
        await world.service.set_client(tx, changed)
    world.clients[index] = changed


_EDIT_POOL = """
    UPDATE resource_pools SET capacity = $2::int, refill_per_second = $3, paused = $4,
        as_of = greatest(as_of, $5), level_micro = least($2::bigint * 1000000, capacity::bigint * 1000000,
            level_micro + refill_per_second
                * greatest(0, trunc(extract(epoch FROM $5 - as_of) * 1000000)))::bigint,
        requests_micro = coalesce(least(requests_per_minute * 1000000::bigint, requests_micro
            + div(requests_per_minute
                * greatest(0, trunc(extract(epoch FROM $5 - as_of) * 1000000)), 60)), 0)::bigint
    WHERE pool = $1
    """


async def edit_pool(world: World, _: Member, chance: random.Random) -> None:
    """Change a pool's size and speed, or pause it."""
    pool = chance.choice(("test", "spare"))
    capacity, refill = chance.choice((600, CAPACITY)), chance.choice((5, REFILL, 4 * REFILL))
    paused = chance.random() < 0.2
    async with world.database.begin() as tx:
        await tx.raw.execute(_EDIT_POOL, pool, capacity, refill, paused, tx.now)


async def pause_queue(world: World, _: Member, chance: random.Random) -> None:
    """Pause a queue, or let it go on."""
    queue, paused = chance.choice(("immediate", "normal", "batch")), chance.random() < 0.3
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE queues SET paused = $2 WHERE queue = $1", queue, paused)


ACTIONS: dict[str, tuple[int, bool, Action]] = {
    # weight, whether it is a process's, what it does
    "submit": (22, False, submit),
    "tick": (26, True, tick),
    "claim": (2, True, claim),
    "settle": (24, True, settle),
    "cancel": (6, False, cancel),
    "rescue": (6, True, rescue),
    "maintain": (4, True, maintain),
    "expire": (3, True, expire),
    "close_lanes": (2, True, close_lanes),
    "renew": (4, True, renew),
    "edit_client": (5, False, edit_client),
    "edit_pool": (3, False, edit_pool),
    "pause_queue": (2, False, pause_queue),
}


def an_outcome(chance: random.Random) -> Outcome:
    """Return how a call may end."""
    usage = Usage(input_units=chance.randint(1, 300), output_units=chance.randint(0, 200))
    kind = chance.choices(("well", "again", "broken", "limited", "unknown", "greedy"), (60, 14, 6, 6, 8, 6))[
        0
    ]
    if kind == "well":
        return Outcome(output={"it": "is done"}, usage=usage)
    if kind == "greedy":  # more than was held for it
        return Outcome(output={}, usage=Usage(input_units=900, output_units=chance.randint(0, 200)))
    fault = JobFault(code="flaky", message="Again.", retryable=kind != "broken", retry_after_seconds=0.0)
    if kind == "limited":
        fault = JobFault(code="rate_limited", message="HTTP 429", retryable=True)
        return Outcome(
            usage=Usage(), fault=fault, signal=Signal(blocked_seconds=float(chance.randint(1, 20)))
        )
    return Outcome(usage=None if kind == "unknown" else usage, fault=fault)
