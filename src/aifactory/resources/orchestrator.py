"""The Orchestrator's handshake: work is checked, its money held for a minute, and then run or let go.

What is held is a submitted execution none of whose jobs is due: its hold is in the ledger and on the budget
like any other. Its deadline is the end of the promise, so that maintenance ends it, whoever has crashed.
Units of pools and places under caps are looked at but not taken: they are taken by the tick alone.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.kernel.clock import rfc3339
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Conflict, NotFound, Unavailable
from aifactory.kernel.ids import new_id, text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import Principal
from aifactory.resources import estimates
from aifactory.resources.interface import (
    Estimate,
    ExceedsPool,
    ExceedsQuota,
    ExecutionState,
    MoneyRefused,
    NewRequest,
    QueueFull,
    RequestBook,
    Resources,
)
from aifactory.resources.orchestrator_schemas import HandshakeView, Needs
from aifactory.resources.queries import handshakes as queries
from aifactory.resources.queries import tick as tick_queries
from aifactory.resources.queries import views
from aifactory.resources.queries.handshakes import Handshake
from aifactory.resources.queries.quotas import quotas_of
from aifactory.resources.submission import DEFAULT_DEADLINE

HELD_FOR = timedelta(seconds=60)

_EXPIRED = "The promise of this handshake is over; shake hands again."


class HandshakeNotFound(NotFound):
    """No handshake was made under this ``executionId``, or somebody else's was."""

    code, title = "handshake_not_found", "There is no such handshake"


class HandshakeExpired(Conflict):
    """The hold is released 60 s after the handshake, or when its execution is cancelled; make another one."""

    code, title = "handshake_expired", "This handshake is over"


class HandshakeHeld(Conflict):
    """This ``executionId`` holds other work; process that, or wait until the hold is over."""

    code, title = "handshake_held", "This executionId holds other work"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A handshake as it was asked for: by whom, under which name, for what."""

    scope: str
    name: str | None
    body_sha256: bytes
    timeout_ms: int
    request: NewRequest


class Refused(Exception):
    """A handshake is not made: ``reason`` is pool, cap or budget."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def scope_of(caller: Principal) -> str:
    """Return whose handshakes a caller may see: the client's, or the operator's or worker's own."""
    return caller.stored_name if caller.client_id is None else f"client:{caller.client_id}"


async def shake_hands(tx: Tx, *, resources: Resources, book: RequestBook, asked: Asked) -> HandshakeView:
    """Promise work and hold its money, or say why not; the same handshake again is the same promise.

    Raises HandshakeHeld, and what a submission raises for work that can't be done at all.
    """
    if asked.name is not None:
        await queries.lock_name(tx, asked.scope, asked.name)
        if (held := await _still_held(tx, asked, asked.name)) is not None:
            return msgspec.convert(held.answer, HandshakeView)
    described = (await book.check_request(tx, asked.request)).new
    found = None
    try:
        found = await _estimate(tx, resources, described)
        await _check_room(tx, found)
        async with tx.savepoint():
            return await _hold(tx, resources, book, asked, found)
    except Refused as refusal:
        name = asked.name or text_id("exec", new_id())
        return _view(name, described.flow[0].worker, found, tx.now, refusal=refusal)


async def _still_held(tx: Tx, asked: Asked, name: str) -> Handshake | None:
    held = await queries.find_handshake(tx, scope=asked.scope, name=name)
    if held is None or held.processed_at is not None or held.expires_at <= tx.now:
        return None
    state, _ = await views.lock_state(tx, held.execution_id)
    if state.final:
        return None
    if held.body_sha256 != asked.body_sha256:
        until = rfc3339(held.expires_at)
        raise HandshakeHeld(f"This executionId holds other work until {until}; process that, or wait.")
    return held


async def _estimate(tx: Tx, resources: Resources, described: Any) -> Estimate:
    try:
        return await resources.estimate(tx, described)
    except (ExceedsPool, ExceedsQuota, Unavailable) as error:
        raise Refused("pool", error.detail) from error


async def _check_room(tx: Tx, found: Estimate) -> None:
    """Refuse work that could not start while it is promised."""
    until = tx.now + HELD_FOR
    quotas = await quotas_of(tx, found.client_id)
    for need in estimates.pool_needs(found, await tick_queries.read_pools(tx), tx.now):
        if need.available_at is None or need.available_at > until:
            why = (need.obstacle or "low").replace("_", " ")
            raise Refused("pool", f"Pool {need.gate.pool} is {why}: it can't start this within a minute.")
        for quota in quotas:
            if quota.pool == need.gate.pool and quota.lacks(need.largest_job_units, until):
                opens = f"it opens at {rfc3339(quota.period_end)}"
                raise Refused("pool", f"Your {quota.period}'s quota of {quota.pool} is used up: {opens}.")
    running, most = await queries.running_and_most(tx, found.client_id)
    if running >= most:
        raise Refused("cap", f"{running} jobs of this client run, and no more may at once.")


async def _hold(
    tx: Tx, resources: Resources, book: RequestBook, asked: Asked, found: Estimate
) -> HandshakeView:
    until = tx.now + HELD_FOR
    new = await book.open_request(tx, asked.request)
    try:
        submitted = await resources.submit(
            tx, msgspec.structs.replace(new, hold_until=until, run_after=None, deadline=None)
        )
    except (MoneyRefused, QueueFull) as error:
        raise Refused("budget", error.detail) from error
    except (ExceedsPool, ExceedsQuota) as error:
        raise Refused("pool", error.detail) from error
    name = asked.name or text_id("exec", submitted.execution_id)
    view = _view(name, new.flow[0].worker, found, tx.now, expires_at=until)
    await queries.insert_handshake(
        tx,
        Handshake(
            id=new_id(),
            scope=asked.scope,
            name=name,
            body_sha256=asked.body_sha256,
            execution_id=submitted.execution_id,
            timeout_ms=asked.timeout_ms,
            answer=msgspec.to_builtins(view),
            created_at=tx.now,
            expires_at=until,
            processed_at=None,
        ),
    )
    return view


def _view(
    name: str,
    worker: str,
    found: Estimate | None,
    now: datetime,
    *,
    refusal: Refused | None = None,
    expires_at: datetime | None = None,
) -> HandshakeView:
    stages = () if found is None else found.stages
    lines = [priced.line for stage in stages for priced in stage.lines]
    seconds = [stage.expected_seconds for stage in stages if stage.expected_seconds is not None]
    memory = [stage.memory_mb for stage in stages if stage.memory_mb is not None]
    return HandshakeView(
        execution_id=name,
        worker_id=worker,
        accepted=refusal is None,
        reason=msgspec.UNSET if refusal is None else refusal.reason,
        detail=msgspec.UNSET if refusal is None else refusal.detail,
        estimated_completion_ms=sum(seconds) * 1000 if seconds else None,
        resource_requirements=Needs(
            cpu=int(any(line.route.local for line in lines)),
            memory=max(memory, default=None),
            api_calls=sum(line.count for line in lines if not line.route.local),
        ),
        held_cost_usd=usd(0 if refusal is not None or found is None else found.quote.worst_nano),
        expires_at=None if expires_at is None else rfc3339(expires_at),
    )


async def begin(tx: Tx, *, scope: str, name: str) -> Handshake:
    """Let held work run; what runs already, or has ended since, is left as it is.

    Raises HandshakeNotFound, or HandshakeExpired when the hold is over.
    """
    held = await get_handshake(tx, scope=scope, name=name)
    state, _ = await views.lock_state(tx, held.execution_id)
    held = await get_handshake(tx, scope=scope, name=name)  # as it is now that nobody else can change it
    if held.processed_at is not None:
        return held
    if state.final or held.expires_at <= tx.now:
        ended = state if state.final else ExecutionState.EXPIRED
        raise HandshakeExpired(_EXPIRED, current_state=ended)
    await queries.release(tx, held, tx.now + DEFAULT_DEADLINE)
    tx.tell("work", (held.execution_id,))
    return msgspec.structs.replace(held, processed_at=tx.now)


async def get_handshake(tx: Tx, *, scope: str, name: str) -> Handshake:
    """Return the newest handshake of a name. Raises HandshakeNotFound."""
    held = await queries.find_handshake(tx, scope=scope, name=name)
    if held is None:
        raise HandshakeNotFound("There is no handshake with this executionId; POST /api/handshake makes one.")
    return held
