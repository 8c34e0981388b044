"""HTTP of availability: what a client could use now, and whether a request could start."""

from datetime import datetime
from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import MAX_SOURCE_BODY
from aifactory.kernel.ids import ClientId, text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import MONEY_READERS, OPERATOR_READERS, READERS, Principal
from aifactory.resources import availability_schemas as schemas
from aifactory.resources import start_check
from aifactory.resources.estimate_routes import estimate_body
from aifactory.resources.gates import PoolGate
from aifactory.resources.interface import RequestBook, Resources
from aifactory.resources.interface.http import named_client
from aifactory.resources.off_peak import OffPeak
from aifactory.resources.pool_schemas import floor_micro, pool_fields, requests_left, spendable_units
from aifactory.resources.queries import availability, control_edit
from aifactory.resources.queries import quotas as quota_queries
from aifactory.resources.queries import tick as tick_queries
from aifactory.resources.schemas import ExecuteInput
from aifactory.settings import Settings


@get("/api/resources/availability", roles=READERS, tags=["Resources"], refusals=[404])
async def get_availability(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    client_id: Annotated[str | None, QueryParameter(name="clientId")] = None,
) -> schemas.Availability:
    """Show the pools that a client may use as they stand now, its running jobs and its quotas.

    An operator sees every pool or, with ``clientId``, what that client would see.
    """
    async with db.begin() as tx:
        named = await named_client(tx, resources, client_id, principal)
        pools = await tick_queries.read_pools(tx)
        urgent = await control_edit.pools_with_urgent_work(tx)
        running = {} if named is None else await availability.running_by_pool(tx, named)
        own = None if named is None else await _own_limits(tx, named, sum(running.values()))
    return schemas.Availability(
        pools=[
            _available(gate, unit, running.get(gate.pool, 0), tx.now, urgent_waits=gate.pool in urgent)
            for gate, unit in pools
            if named is None or gate.dedicated_client_id in (None, named)
        ],
        client=own,
    )


def _available(
    gate: PoolGate, unit: str, running: int, now: datetime, *, urgent_waits: bool
) -> schemas.AvailablePool:
    return schemas.AvailablePool(
        **pool_fields(gate, unit),
        spendable=spendable_units(gate, floor_micro(gate, now, urgent_waits=urgent_waits)),
        requests_per_minute=gate.requests_per_minute,
        requests_left=requests_left(gate),
        dedicated=gate.dedicated_client_id is not None,
        own_running=running,
    )


async def _own_limits(tx: Tx, client_id: ClientId, running: int) -> schemas.OwnLimits:
    terms = await availability.client_terms(tx, client_id)
    quotas = await quota_queries.quotas_of(tx, client_id)
    return schemas.OwnLimits(
        client_id=text_id("client", client_id),
        running=running,
        max_running=terms["max_running"],
        suspended=terms["suspended"],
        quotas=[
            schemas.QuotaState(
                pool=quota.pool,
                period=quota.period,
                limit=quota.units_limit,
                used=quota.units_used,
                left=max(0, quota.units_limit - quota.units_used),
                resets_at=quota.period_end,
            )
            for quota in quotas
        ],
    )


@post(
    "/api/resources/check",
    roles=MONEY_READERS,
    scope="read",
    status_code=200,
    tags=["Resources"],
    request_max_body_size=MAX_SOURCE_BODY,
    refusals=[404],
)
async def check_resources(
    data: JSONBody[ExecuteInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    settings: NamedDependency[Settings],
    principal: NamedDependency[Principal],
) -> schemas.ResourceCheck:
    """Say whether a request would be taken, whether it could start at once, and every gate in its way.

    Takes what ``/api/execute`` takes; stores nothing and holds nothing. It looks at units, request slots,
    caps, quotas, pauses and circuits by the scheduler's own rules, but not at whoever else waits.
    """
    async with db.begin() as tx:
        new, found = await estimate_body(tx, data, resources, book, principal)
        off_peak = OffPeak(window=settings.off_peak, zone=settings.time_zone)
        operator = principal.role in OPERATOR_READERS
        blocked = await start_check.blocked_by(tx, new, found, off_peak, operator=operator)
    return schemas.ResourceCheck(
        can_start_now=not any(one.first for one in blocked),
        fits=found.fits,
        required_tier=found.required_tier,
        estimated_cost_usd=usd(found.quote.estimated_nano),
        worst_cost_usd=usd(found.quote.worst_nano),
        blocked_by=blocked,
    )


ROUTES: list[HTTPRouteHandler] = [get_availability, check_resources]
