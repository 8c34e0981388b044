"""HTTP of the metrics."""

from decimal import Decimal
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from aifactory.kernel.db import Database
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import MONITORS
from aifactory.resources.metrics import FleetCollector, samples_of
from aifactory.resources.queries import fleet


class ClientCost(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a client has spent and holds in its present month."""

    client_id: str
    spent_usd: Decimal
    held_usd: Decimal


class MetricsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The metrics as JSON, with what has too many values for a label: costs by client, the dearest 100."""

    process: dict[str, list[dict[str, Any]]]
    fleet: dict[str, list[dict[str, Any]]]
    cost_by_client: list[ClientCost]


@get(
    "/metrics",
    roles=MONITORS,
    tags=["Health"],
    gives=["text/plain"],
    also={200: ("Prometheus text, or JSON with Accept: application/json.", MetricsView)},
)
async def get_metrics(request: Request[Any, Any, Any], db: NamedDependency[Database]) -> Response[Any]:
    """Show this process's counters and the fleet's gauges: Prometheus text, or JSON if that is accepted."""
    async with db.begin() as tx:
        now = await fleet.fleet_now(tx)
        costs = await fleet.costliest_clients(tx)
    gauges = CollectorRegistry()
    gauges.register(FleetCollector(now))
    if "application/json" in request.headers.get("accept", ""):
        return JsonResponse(
            MetricsView(
                process=samples_of(iter(REGISTRY.collect())),
                fleet=samples_of(iter(gauges.collect())),
                cost_by_client=[
                    ClientCost(
                        client_id=text_id("client", row["client_id"]),
                        spent_usd=usd(row["spent_nano"]),
                        held_usd=usd(row["held_nano"]),
                    )
                    for row in costs
                ],
            )
        )
    text = generate_latest(REGISTRY) + generate_latest(gauges)
    return JsonResponse(text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


ROUTES: list[HTTPRouteHandler] = [get_metrics]
