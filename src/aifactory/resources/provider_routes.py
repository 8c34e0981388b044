"""HTTP of model providers: what there is, how it fares, the operator's own ones; their part of health."""

import os
from typing import Any

import anyio.to_thread
from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from aifactory.kernel import audit
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.etags import check_version, version_etag
from aifactory.kernel.health import HealthCheck, PartHealth
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.page import Page
from aifactory.kernel.principal import OPERATOR_READERS, OPERATORS, Principal
from aifactory.resources import provider_store
from aifactory.resources.circuit import circuit_state
from aifactory.resources.interface import ProviderNotFound, ProviderReadOnly
from aifactory.resources.provider_schemas import (
    ProviderInput,
    ProviderView,
    defined_by,
    provider_of,
    provider_view,
)
from aifactory.resources.queries import providers as queries
from aifactory.resources.queries import tick as tick_queries
from aifactory.settings import Settings

AnyRequest = Request[Any, Any, Any]


@get("/admin/providers", roles=OPERATOR_READERS, tags=["Providers"])
async def list_providers(
    db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Page[ProviderView]:
    """List providers with models, prices, circuit and pools; whether the key is there, never the key."""
    async with db.begin() as tx:
        views = await _views(tx, await queries.list_providers(tx), settings)
    return Page(data=views, has_more=False, next_cursor=None)


@get("/admin/providers/{name:str}", roles=OPERATOR_READERS, tags=["Providers"])
async def get_provider(
    name: FromPath[str], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[ProviderView]:
    """Show a provider; its ETag is for ``If-Match``."""
    async with db.begin() as tx:
        return _answer(await _get(tx, name, settings))


@put(
    "/admin/providers/{name:str}",
    roles=OPERATORS,
    tags=["Providers"],
    refusals=[409, 412],
    also={201: ("A new provider.", ProviderView)},
)
async def put_provider(
    request: AnyRequest,
    name: FromPath[str],
    data: JSONBody[ProviderInput],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    principal: NamedDependency[Principal],
) -> Response[ProviderView]:
    """Create or replace a provider with all of its models; those left out become inactive.

    ``active: false`` switches it off. Prices hold for calls that start from now on. ``If-Match`` with the
    ETag guards against races. What is built in, or defined by the providers file, is changed there: 409.
    """
    provider = provider_of(data)
    models = await anyio.to_thread.run_sync(provider_store.price_input, name, provider)
    async with db.begin() as tx:
        await queries.lock_registry(tx)
        before = await _find(tx, name, settings)
        if before is not None and (where := _where_changed(before.name, before.source, settings)):
            raise ProviderReadOnly(where, source=before.source)
        check_version(request.headers.get("if-match"), None if before is None else before.version)
        await provider_store.put_provider(tx, name, provider, models, os.environ)
        after = await _get(tx, name, settings)
        await audit.record(
            tx,
            actor=principal.label,
            action="provider.stored",
            object_kind="provider",
            object_id=name,
            before=None if before is None else defined_by(before),
            after=defined_by(after),
        )
    return _answer(after, status=201 if before is None else 200)


@post("/admin/providers/{name:str}/reset", roles=OPERATORS, status_code=200, tags=["Providers"])
async def reset_provider(
    name: FromPath[str],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    principal: NamedDependency[Principal],
) -> Response[ProviderView]:
    """Close a provider's circuit now, as after a successful call."""
    async with db.begin() as tx:
        before = await _get(tx, name, settings)
        await queries.close_circuit(tx, name)
        after = await _get(tx, name, settings)
        await audit.record(
            tx,
            actor=principal.label,
            action="provider.reset",
            object_kind="provider",
            object_id=name,
            before={"circuit": before.circuit.state, "failures": before.circuit.failures},
            after={"circuit": after.circuit.state, "failures": after.circuit.failures},
        )
    return _answer(after)


def _answer(view: ProviderView, *, status: int = 200) -> Response[ProviderView]:
    return JsonResponse(view, status_code=status, headers={"ETag": version_etag(view.version)})


async def _get(tx: Tx, name: str, settings: Settings) -> ProviderView:
    found = await _find(tx, name, settings)
    if found is None:
        raise ProviderNotFound("There is no provider with this name; GET /admin/providers lists them.")
    return found


async def _find(tx: Tx, name: str, settings: Settings) -> ProviderView | None:
    row = await queries.find_provider(tx, name)
    return None if row is None else (await _views(tx, [row], settings))[0]


async def _views(tx: Tx, rows: list[Any], settings: Settings) -> list[ProviderView]:
    models = await queries.list_models(tx, rows[0]["provider"] if len(rows) == 1 else None)
    pools = await tick_queries.read_pools(tx)
    return [
        provider_view(
            row,
            models,
            pools,
            read_only=_where_changed(row["provider"], row["source"], settings) is not None,
            now=tx.now,
        )
        for row in rows
    ]


def _where_changed(name: str, source: str, settings: Settings) -> str | None:
    return provider_store.why_read_only(name, source, has_file=settings.providers_file is not None)


def providers_check(database: Database) -> HealthCheck:
    """Return a check that says of each active provider whether it can be called now.

    None of them is needed to be ready: work waits, goes elsewhere or is done offline.
    """

    async def check() -> PartHealth:
        async with database.begin() as tx:
            rows = await queries.reachability(tx)
        states = {
            row["provider"]: f"circuit {circuit_state(row, tx.now).replace('_', '-')}"
            if row["key_present"]
            else "no key"
            for row in rows
        }
        shown = {name: "reachable" if state == "circuit closed" else state for name, state in states.items()}
        return PartHealth(ok=_none_down(shown), needed=False, detail=shown)

    return check


def _none_down(states: dict[str, str]) -> bool:
    return not any(state in ("circuit open", "no key") for state in states.values())


ROUTES: list[HTTPRouteHandler] = [list_providers, get_provider, put_provider, reset_provider]
