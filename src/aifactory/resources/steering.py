"""The operator's edits of pools, queues and tiers. The caller's transaction, never a commit.

Each edit waits for its turn and honours ``If-Match``. What it changed is in the audit log, and whichever
process may start more now is told.
"""

from uuid import UUID

import msgspec

from aifactory.kernel import audit
from aifactory.kernel.audit import Told
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Conflict, NotFound, invalid
from aifactory.kernel.etags import check_if_match, etag_of
from aifactory.kernel.ids import ClientId, parse_id
from aifactory.kernel.problems import camel
from aifactory.resources.interface import Tier
from aifactory.resources.pool_schemas import PoolInput, PoolSettings, PoolView, pool_terms, pool_view
from aifactory.resources.queries import control, control_edit, pool_uses, views
from aifactory.resources.queries import tick as tick_queries
from aifactory.resources.queries.control_edit import PoolWork
from aifactory.resources.queries.pool_uses import Reach
from aifactory.resources.queue_schemas import (
    QueueInput,
    QueueSettings,
    TierInput,
    TierSettings,
    TierView,
    queue_terms,
    tier_terms,
    tier_view,
)
from aifactory.resources.schemas import QueueDepth, part_of, queue_depth_of
from aifactory.resources.terms import PoolTerms, check_pool_name, check_shares, check_tier

MOST_NAMED = 10


class PoolNotFound(NotFound):
    """No pool has this name; PUT makes one."""

    code, title = "pool_not_found", "There is no such pool"


class PoolInUse(Conflict):
    """Something names the pool: ``models``, quotas, unfinished executions, or the client that it is for."""

    code, title = "pool_in_use", "This pool is used"


class WorkOutgrown(Conflict):
    """``stuckJobs`` wait that the pool would be too small for, or shut to; ``force=true`` insists."""

    code, title = "work_outgrown", "Work waits that would never start"


class QueueNotFound(NotFound):
    """There are five queues: immediate, fast, normal, batch, deferred."""

    code, title = "queue_not_found", "There is no such queue"


class TierNotFound(NotFound):
    """There are four tiers: enterprise, premium, standard, basic."""

    code, title = "tier_not_found", "There is no such tier"


# Pools.


async def list_pools(tx: Tx) -> list[PoolView]:
    """Return the pools by name."""
    return await _pools(tx, await control_edit.pool_work(tx))


async def get_pool(tx: Tx, name: str) -> PoolView:
    """Return a pool. Raises PoolNotFound."""
    return await _get_pool(tx, name, await control_edit.pool_work(tx))


async def put_pool(
    tx: Tx, name: str, asked: PoolInput, *, if_match: str | None, force: bool, actor: str
) -> tuple[PoolView, bool]:
    """Create a pool, or replace its settings; tell whether it is new.

    Raises Invalid, VersionChanged, or WorkOutgrown unless ``force``.
    """
    check_pool_name(name)
    await control_edit.lock_control(tx)
    terms = pool_terms(asked, await _dedicated(tx, asked.dedicated_client_id))
    work = await control_edit.pool_work(tx)
    known = {view.pool: view for view in await _pools(tx, work)}
    before = part_of(known[name], PoolSettings) if name in known else None
    check_if_match(if_match, None if before is None else etag_of(before))
    if before is not None and not force:
        await _check_outgrown(
            tx,
            name,
            before=_reach(before, before.dedicated_client_id),
            after=_reach(terms, asked.dedicated_client_id),
        )
    row = await control_edit.find_pool(tx, name)  # locked last: reading the queue takes a while
    if row is None:
        await control_edit.insert_pool(tx, name, terms)
    else:
        await control_edit.update_pool(tx, row, terms)
        if row["price_nano_per_million"] != terms.price_nano_per_million:
            await control_edit.reprice_models(tx, name, terms.price_nano_per_million)
    view = await _get_pool(tx, name, work)
    await _note(tx, actor, "pool.stored", "pool", name, before, part_of(view, PoolSettings))
    return view, row is None


async def _check_outgrown(tx: Tx, name: str, *, before: Reach, after: Reach) -> None:
    """Raise WorkOutgrown when jobs wait that can start from the pool and could not when it is changed."""
    is_as_large = after.urgent >= before.urgent and after.other >= before.other
    if is_as_large and after.client_id in (None, before.client_id):
        return
    stuck = await pool_uses.count_outgrown(tx, name, before=before, after=after)
    if stuck:
        raise WorkOutgrown(
            f"Waiting jobs that would never start: {stuck:,}. Let them run, cancel their executions, or send "
            "force=true: they then wait until the pool is large enough and open to them, or for their "
            "deadline.",
            stuckJobs=stuck,
        )


def _reach(pool: PoolSettings | PoolTerms, dedicated: str | None) -> Reach:
    capacity = pool.capacity
    return Reach(
        urgent=capacity,
        other=capacity - capacity * pool.reserved_percent // 100,
        client_id=None if dedicated is None else parse_id("client", dedicated),
    )


async def delete_pool(tx: Tx, name: str, *, if_match: str | None, actor: str) -> None:
    """Delete a pool that nothing uses. Raises PoolNotFound, VersionChanged or PoolInUse."""
    await control_edit.lock_control(tx)
    await pool_uses.lock_pool(tx, name)
    before = part_of(await _get_pool(tx, name, {}), PoolSettings)
    check_if_match(if_match, etag_of(before))
    uses = await pool_uses.find_uses(tx, name)
    told = msgspec.structs.asdict(uses) | {"dedicated_client_id": before.dedicated_client_id}
    if any(told.values()):
        named = ", ".join(f"{camel(kind)}: {_in_words(value)}" for kind, value in told.items() if value)
        raise PoolInUse(f"Something names this pool, and must be rid of it first: {named}.", **told)
    await pool_uses.delete_pool(tx, name)
    await _note(tx, actor, "pool.deleted", "pool", name, before, None)


def _in_words(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    return ", ".join(value[:MOST_NAMED]) + (" …" if len(value) > MOST_NAMED else "")


async def pause_pool(tx: Tx, name: str, *, paused: bool, actor: str) -> PoolView:
    """Let nothing more start from a pool, or let it go on. Raises PoolNotFound."""
    await control_edit.lock_control(tx)
    work = await control_edit.pool_work(tx)
    await control_edit.find_pool(tx, name)
    before = part_of(await _get_pool(tx, name, work), PoolSettings)
    await control_edit.set_pool_paused(tx, name, paused=paused)
    view = await _get_pool(tx, name, work)
    action = "pool.paused" if paused else "pool.resumed"
    await _note(tx, actor, action, "pool", name, before, part_of(view, PoolSettings))
    return view


async def _get_pool(tx: Tx, name: str, work: dict[str, PoolWork]) -> PoolView:
    for view in await _pools(tx, work):
        if view.pool == name:
            return view
    raise PoolNotFound("There is no pool with this name; GET /admin/pools lists them.")


async def _pools(tx: Tx, work: dict[str, PoolWork]) -> list[PoolView]:
    prices = await control_edit.pool_prices(tx)
    return [
        pool_view(
            gate,
            unit,
            price_nano_per_million=prices[gate.pool],
            work=work.get(gate.pool, PoolWork()),
            now=tx.now,
        )
        for gate, unit in await tick_queries.read_pools(tx)
    ]


async def _dedicated(tx: Tx, text: str | None) -> UUID | None:
    """Return the client that a pool is to be dedicated to. Raises Invalid unless it is an enterprise one."""
    if text is None:
        return None
    named = parse_id("client", text)
    if named is not None:
        await control.lock_client(tx, ClientId(named))  # its tier stays
    client = None if named is None else await control.find_client(tx, ClientId(named))
    if client is None:
        raise invalid("/dedicatedClientId", "unknown_client", "There is no client with this id.")
    if client.tier is not Tier.ENTERPRISE:
        message = f"Pools are dedicated to enterprise clients only; this one's tier is {client.tier}."
        raise invalid("/dedicatedClientId", "not_enterprise", message)
    return client.client_id


# Queues.


async def list_queues(tx: Tx) -> list[QueueDepth]:
    """Return the queues from the top."""
    return [queue_depth_of(row, tx.now) for row in await views.queue_depths(tx, None)]


async def get_queue(tx: Tx, name: str) -> QueueDepth:
    """Return a queue. Raises QueueNotFound."""
    for queue in await list_queues(tx):
        if queue.queue == name:
            return queue
    raise QueueNotFound("There is no queue with this name; GET /admin/queues lists them.")


async def put_queue(tx: Tx, name: str, asked: QueueInput, *, if_match: str | None, actor: str) -> QueueDepth:
    """Replace a queue's terms. Raises QueueNotFound, Invalid, VersionChanged."""
    await control_edit.lock_control(tx)
    before = part_of(await get_queue(tx, name), QueueSettings)
    check_if_match(if_match, etag_of(before))
    terms = queue_terms(asked)
    check_shares(name, terms, [one.share_percent for one in await list_queues(tx) if one.queue != name])
    await control_edit.update_queue(tx, name, terms)
    queue = await get_queue(tx, name)
    await _note(tx, actor, "queue.stored", "queue", name, before, part_of(queue, QueueSettings))
    return queue


async def pause_queue(tx: Tx, name: str, *, paused: bool, actor: str) -> QueueDepth:
    """Let nothing more start from a queue, or let it go on. Raises QueueNotFound."""
    await control_edit.lock_control(tx)
    before = {"paused": (await get_queue(tx, name)).paused}
    await control_edit.set_queue_paused(tx, name, paused=paused)
    action = "queue.paused" if paused else "queue.resumed"
    await _note(tx, actor, action, "queue", name, before, {"paused": paused})
    return await get_queue(tx, name)


# Tiers.


async def list_tiers(tx: Tx) -> list[TierView]:
    """Return the tiers, the highest first."""
    return [tier_view(row) for row in await control_edit.list_tiers(tx)]


async def get_tier(tx: Tx, name: str) -> TierView:
    """Return a tier. Raises TierNotFound."""
    for tier in await list_tiers(tx):
        if tier.tier == name:
            return tier
    raise TierNotFound("There is no tier with this name; GET /admin/tiers lists them.")


async def put_tier(tx: Tx, name: str, asked: TierInput, *, if_match: str | None, actor: str) -> TierView:
    """Replace what a tier gives. Raises TierNotFound, Invalid, VersionChanged."""
    await control_edit.lock_control(tx)
    tier = await get_tier(tx, name)
    before = part_of(tier, TierSettings)
    check_if_match(if_match, etag_of(before))
    terms = tier_terms(asked)
    check_tier(tier.tier, terms)
    await control_edit.update_tier(tx, tier.tier, terms)
    tier = await get_tier(tx, name)
    await _note(tx, actor, "tier.stored", "tier", name, before, part_of(tier, TierSettings))
    return tier


# All of them.


async def _note(tx: Tx, actor: str, action: str, kind: str, name: str, before: Told, after: Told) -> None:
    """Write down what was changed, and let whichever process see whether more can start now."""
    await audit.record_change(
        tx, actor=actor, action=action, object_kind=kind, object_id=name, before=before, after=after
    )
    tx.announce("work")
