"""Providers kept in step with the file, the environment and the operator's changes."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from aifactory.kernel import audit
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import FieldError, Invalid
from aifactory.kernel.problems import camel
from aifactory.resources.prices_found import find_price
from aifactory.resources.providers import (
    LOCAL,
    NO_PRICE,
    OPENAI,
    OPENAI_STANZA,
    BadProviders,
    Fault,
    ModelPrice,
    NewModel,
    NewProvider,
    ProvidersFile,
    check_provider,
    dotted,
    has_key,
    read_providers,
    stated_price,
)
from aifactory.resources.queries import processes
from aifactory.resources.queries import providers as queries

log = structlog.get_logger()

PricedModels = dict[str, tuple[NewModel, ModelPrice]]


class AtStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a starting process brings along, read and priced; ``file`` None: it names no file."""

    file: ProvidersFile | None
    models: dict[str, PricedModels]
    openai: PricedModels | None
    environ: Mapping[str, str]


def price_models(name: str, provider: NewProvider, *, stated: str) -> tuple[PricedModels, list[Fault]]:
    """Return the models that have a price, their own or a known one, and a fault for each other one.

    ``stated`` is the source of prices that the entries state themselves. Slow at the first call.
    """
    priced, faults = {}, []
    for model, entry in provider.models.items():
        price = stated_price(entry, stated) or find_price(name, model, provider.base_url)
        if price is None:
            faults.append(Fault(path=("models", model), code="unknown_price", message=NO_PRICE))
        else:
            priced[model] = (entry, price)
    return priced, faults


def read_start(path: Path | None, environ: Mapping[str, str]) -> AtStart:
    """Read and price the file, and the ready stanza if its key is there. Raises BadProviders."""
    file = None if path is None else _read_file(path)
    models = {}
    for name, provider in () if file is None else file.providers.items():
        models[name], faults = price_models(name, provider, stated="providers file")
        for fault in faults:
            raise BadProviders(f"{dotted(('providers', name, *fault.path))}: {fault.message}")
    openai = None
    if OPENAI_STANZA.key_present(environ):
        openai, _ = price_models(OPENAI, OPENAI_STANZA, stated="built in")
    return AtStart(file=file, models=models, openai=openai, environ=environ)


def _read_file(path: Path) -> ProvidersFile:
    try:
        return read_providers(path.read_text("utf-8"))
    except OSError as error:
        message = f"It can't be read: {error.strerror or error}. Name a readable file, or unset the variable."
        raise BadProviders(message) from error
    except UnicodeDecodeError as error:
        raise BadProviders("It is not UTF-8; store it as UTF-8.") from error


async def register(tx: Tx, start: AtStart) -> None:
    """Bring the tables into step with the file and the environment.

    Circuits, pools' levels and usage stay. What vanished from the file becomes inactive; without a file,
    what an earlier one defined stays as it is. While other processes live nothing is taken away: they may
    have what this one lacks. Raises BadProviders.
    """
    await queries.lock_registry(tx)
    alone = not await processes.living(tx)
    before = await _definitions(tx)
    known = {row["provider"]: row for row in await queries.lock_providers(tx)}
    if start.file is not None:
        await _register_file(tx, start.file, start, known, alone=alone)
    defined = () if start.file is None else start.file.providers
    source = known[OPENAI]["source"] if OPENAI in known else None
    taken = source == "file" and (start.file is None or not alone)
    if OPENAI not in defined and source != "api" and not taken:
        if start.openai is not None:
            await queries.store_provider(tx, OPENAI, OPENAI_STANZA, source="built_in", key_present=True)
            await queries.store_models(tx, OPENAI, start.openai, source="built_in")
        elif source is not None and alone:
            await queries.deactivate(tx, OPENAI)
    await note_keys(tx, start.environ, alone=alone)
    await _record_changes(tx, before, await _definitions(tx))
    rows = [row for row in await queries.list_providers(tx) if row["active"] and row["provider"] != LOCAL]
    without = [row["provider"] for row in rows if not has_key(row["api_key_variable"], start.environ)]
    log.info("providers.registered", active=[row["provider"] for row in rows], without_key=without)


_DEFINED = ("title", "base_url", "api_key_variable", "source", "active", "profile", "structured", "streaming",
            "connect_seconds", "first_token_seconds", "idle_seconds", "simulated")  # fmt: skip
_MODEL_DEFINED = ("model", "pool", "active", "source", "context_tokens", "max_output_tokens", "price_source",
                  "input_nano_per_million", "cached_nano_per_million", "output_nano_per_million")  # fmt: skip


async def _definitions(tx: Tx) -> dict[str, dict[str, Any]]:
    """Return what defines each provider and its models, for the audit log."""
    models: dict[str, list[dict[str, Any]]] = {}
    for row in await queries.list_models(tx):
        models.setdefault(row["provider"], []).append({name: row[name] for name in _MODEL_DEFINED})
    return {
        row["provider"]: {name: row[name] for name in _DEFINED} | {"models": models.get(row["provider"], [])}
        for row in await queries.list_providers(tx)
    }


async def _record_changes(
    tx: Tx, before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> None:
    for name, definition in after.items():
        if definition != before.get(name):
            await audit.record(
                tx,
                actor="system",
                action="provider.registered",
                object_kind="provider",
                object_id=name,
                before=before.get(name),
                after=definition,
            )


async def note_keys(tx: Tx, environ: Mapping[str, str], *, alone: bool) -> None:
    """Note the keys that a process has; one that is alone also notes which are missing."""
    changed = {}
    for row in await queries.list_providers(tx):
        present = has_key(row["api_key_variable"], environ)
        if present is not row["key_present"] and (present or alone):
            changed[row["provider"]] = present
    if changed:
        await queries.set_keys_present(tx, changed)
        tx.after_commit(partial(log.info, "providers.keys", present=changed))


async def _register_file(
    tx: Tx, file: ProvidersFile, start: AtStart, known: Mapping[str, Any], *, alone: bool
) -> None:
    for name, pool in file.pools.items():
        await queries.insert_missing_pool(tx, name, pool)
    pools = await queries.pool_names(tx)
    for name, provider in file.providers.items():
        for fault in unknown_pools(provider, pools):
            raise BadProviders(f"{dotted(('providers', name, *fault.path))}: {fault.message}")
        key_present = provider.key_present(start.environ) or _was_present(known.get(name), provider)
        await queries.store_provider(tx, name, provider, source="file", key_present=key_present)
        await queries.store_models(tx, name, start.models[name], source="file", all_of_them=alone)
    for name, row in known.items():
        if row["source"] == "file" and name not in file.providers and alone:
            await queries.deactivate(tx, name)


def _was_present(row: Any | None, provider: NewProvider) -> bool:
    """Whether some process had the key that a provider needs, when that was last noted."""
    return row is not None and row["key_present"] and row["api_key_variable"] == provider.api_key_variable


def unknown_pools(provider: NewProvider, pools: set[str]) -> list[Fault]:
    """Return a fault for each model on a pool that does not exist. Pure."""
    return [
        Fault(
            path=("models", model, "pool"),
            code="unknown_pool",
            message=f"There is no such pool; there are {', '.join(sorted(pools))}. A table [pools.NAME] in "
            "the providers file makes one.",
        )
        for model, entry in provider.models.items()
        if entry.pool not in pools
    ]


def price_input(name: str, provider: NewProvider) -> PricedModels:
    """Check a provider that comes over HTTP, and price its models. Slow at first. Raises Invalid."""
    refuse(provider, list(check_provider(name, provider)))
    priced, faults = price_models(name, provider, stated="set by the operator")
    refuse(provider, faults)
    return priced


def why_read_only(name: str, source: str, *, has_file: bool) -> str | None:
    """Say where a provider is changed, if not here; a file that is named no more owns nothing. Pure."""
    if name == LOCAL:
        return "This is the offline generator, which is built in; its work costs what the pool compute costs."
    if source == "built_in":
        return (
            "This provider is built in: unset OPENAI_API_KEY to switch it off, or define it in a providers "
            "file to change it, and start again."
        )
    if source == "file" and has_file:
        return (
            f"The providers file defines {name}: change it there (active = false switches it off) and start "
            "again."
        )
    return None


async def put_provider(
    tx: Tx, name: str, provider: NewProvider, models: PricedModels, environ: Mapping[str, str]
) -> None:
    """Store a provider of the operator's with its models. Raises Invalid for an unknown pool."""
    refuse(provider, unknown_pools(provider, await queries.pool_names(tx)))
    before = await queries.find_provider(tx, name)
    key_present = provider.key_present(environ) or _was_present(before, provider)
    await queries.store_provider(tx, name, provider, source="api", key_present=key_present)
    await queries.store_models(tx, name, models, source="api")


def refuse(provider: NewProvider, faults: list[Fault]) -> None:
    """Raise Invalid with a JSON Pointer for each fault, if there is one. Pure."""
    if not faults:
        return
    names = list(provider.models)
    errors = tuple(
        FieldError(pointer=_pointer(fault.path, names), code=fault.code, message=fault.message)
        for fault in faults[:20]
    )
    first = errors[0]
    raise Invalid(f"{first.pointer or '/name'}: {first.message}", errors=errors)


def _pointer(path: tuple[str, ...], models: list[str]) -> str:
    """Return where a fault is in a body, whose models are a list."""
    steps: list[Any] = list(path)
    if len(steps) > 1 and steps[0] == "models":
        steps[1] = models.index(steps[1])
    return "".join(f"/{camel(str(step))}" for step in steps)
