"""Worker templates: finding, checking and storing them. The caller's transaction, never a commit."""

import difflib
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.granulation import template_queries as queries
from aifactory.granulation.parameter_schema import (
    check_against_schema,
    check_schema,
    merge_parameters,
    schema_of_type,
)
from aifactory.granulation.parameters import Validation, read_parameters
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.template_queries import WorkerTemplate
from aifactory.granulation.types import find_type, known_types
from aifactory.kernel import audit
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Conflict, Invalid, NotFound, invalid
from aifactory.kernel.etags import check_version
from aifactory.kernel.ids import new_id
from aifactory.kernel.principal import Principal
from aifactory.resources.interface import Tier

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_MOST_UNITS = 10_000_000

ModelName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z")]
Tokens = Annotated[int, Meta(ge=1, le=_MOST_UNITS)]


class WorkerTemplateNotFound(NotFound):
    """No active worker template has such a name; ``nearNames`` lists similar ones."""

    code, title = "worker_template_not_found", "There is no such worker template"


class WorkerTemplateExists(Conflict):
    """The name is taken; PUT makes a new version."""

    code, title = "worker_template_exists", "This worker template exists already"


class TemplateContent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a version of a worker template says.

    ``tokens…`` are the size of its outline, ``maxInputTokens`` bounds the prompt of one call, ``models`` are
    names or ``provider/name`` from the cheapest to the best (empty: every usable one). ``parameterSchema``
    may only restrict further what the structure type takes; empty: the type's own.
    """

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    description: Annotated[str, Meta(max_length=2000)] = ""
    structure_type: Annotated[str, Meta(min_length=1, max_length=40)]
    minimum_tier: Tier
    tier_reason: Annotated[str, Meta(min_length=1, max_length=500)]
    tokens_min: Tokens
    tokens_avg: Tokens
    tokens_max: Tokens
    max_input_tokens: Tokens = 8_000
    expected_seconds: Annotated[int, Meta(ge=1, le=86_400)]
    memory_mb: Annotated[int, Meta(ge=1, le=1_048_576)]
    default_parameters: dict[str, Any] = {}
    parameter_schema: dict[str, Any] = {}
    validation: Validation = Validation()
    models: Annotated[tuple[ModelName, ...], Meta(max_length=50)] = ()
    offline_fallback: bool = True


async def match_template(tx: Tx, name: str, tier: Tier) -> WorkerTemplate:
    """Return the active template that a name means: that name, else a structure type's most used template,
    else the most used whose name contains it. Raises WorkerTemplateNotFound, which lists near names.

    Where a name is not exact, a template that the tier allows goes before one that it does not.
    """
    found = await queries.find_template(tx, name)
    if found is None and name:
        found = await queries.find_similar_template(tx, name, tier)
    if found is None:
        raise await _not_found(tx, name)
    return found


def effective_parameters(
    template: WorkerTemplate, spec: StructureSpec, parameters: dict[str, Any], override: dict[str, Any]
) -> dict[str, Any]:
    """Merge the template's defaults, the client's parameters and the stage's, and check the outcome. Pure.

    Raises Invalid with pointers below ``/parameters``.
    """
    defaults = {**template.default_parameters, "validation": template.validation}
    merged = merge_parameters(defaults, parameters, override)
    read_parameters(merged, spec)
    check_against_schema(merged, template.parameter_schema)
    return merged


async def create_template(tx: Tx, *, name: str, content: TemplateContent, actor: Principal) -> WorkerTemplate:
    """Store version 1. Raises WorkerTemplateExists or Invalid."""
    if not _NAME.fullmatch(name):
        raise invalid("/name", "bad_name", "/name: a-z, 0-9, _ . - only, at most 64, starting with a letter.")
    await queries.lock_template(tx, name)
    if await queries.find_newest_template(tx, name) is not None:
        raise WorkerTemplateExists("This name is taken; PUT a new version of it.")
    return await _store(tx, name, content, before=None, active=True, actor=actor)


async def replace_template(
    tx: Tx,
    *,
    name: str,
    content: TemplateContent,
    active: bool,
    if_match: str | None,
    actor: Principal,
) -> WorkerTemplate:
    """Store the next version; inactive, it takes the template out of use.

    Raises WorkerTemplateNotFound, VersionChanged or Invalid.
    """
    await queries.lock_template(tx, name)
    newest = await queries.find_newest_template(tx, name)
    if newest is None:
        raise await _not_found(tx, name)
    check_version(if_match, newest.version)
    if not active:
        await queries.deactivate_template(tx, name)
    return await _store(tx, name, content, before=newest, active=active, actor=actor)


def check_content(content: TemplateContent, spec: StructureSpec) -> None:
    """Check a template of a structure type by itself. Pure. Raises Invalid with pointers."""
    if not content.tokens_min <= content.tokens_avg <= content.tokens_max:
        raise invalid(
            "/tokensAvg", "out_of_order", "tokensMin, tokensAvg and tokensMax must not fall in this order."
        )
    if len(set(content.models)) != len(content.models):
        raise invalid("/models", "duplicate", "/models: every model once.")
    for name in ("source", "validation"):
        if name in content.default_parameters:
            raise invalid(
                f"/defaultParameters/{name}",
                "not_a_default",
                f"/defaultParameters/{name}: "
                + ("a source belongs to a request." if name == "source" else "it has a field of its own."),
            )
    check_schema(content.parameter_schema)
    _check_defaults(content, spec)


def _check_defaults(content: TemplateContent, spec: StructureSpec) -> None:
    """The defaults alone must do: prices and lists are made from them."""
    validation = msgspec.to_builtins(content.validation)
    try:
        read_parameters({**content.default_parameters, "validation": validation}, spec)
        check_against_schema(
            {**content.default_parameters, "validation": validation}, content.parameter_schema
        )
    except Invalid as refusal:
        errors = tuple(
            msgspec.structs.replace(
                fault, pointer=fault.pointer.replace("/parameters", "/defaultParameters", 1)
            )
            for fault in refusal.errors
        )
        detail = "; ".join(f"{fault.pointer}: {fault.message}" for fault in errors)
        raise Invalid(f"The default parameters alone must be acceptable. {detail}", errors=errors) from None


async def _store(
    tx: Tx,
    name: str,
    content: TemplateContent,
    *,
    before: WorkerTemplate | None,
    active: bool,
    actor: Principal,
) -> WorkerTemplate:
    spec = await find_type(tx, content.structure_type)
    if spec is None:
        known = ", ".join(await known_types(tx))
        raise invalid("/structureType", "unknown_type", f"/structureType: one of {known}.")
    check_content(content, spec)
    fields = {one: getattr(content, one) for one in content.__struct_fields__}
    fields |= {
        "validation": {"enabled": True, "level": 1, "threshold": 60.0}
        | msgspec.to_builtins(content.validation),
        "parameter_schema": content.parameter_schema or schema_of_type(spec),
    }
    stored = WorkerTemplate(
        id=new_id(),
        name=name,
        version=1 if before is None else before.version + 1,
        active=active,
        uses=0,
        created_at=tx.now,
        **fields,
    )
    await queries.insert_template(tx, stored)
    await audit.record(
        tx,
        actor=actor.label,
        action="worker_template.stored",
        object_kind="worker_template",
        object_id=name,
        before=None if before is None else _audited(before),
        after=_audited(stored),
    )
    return stored


def _audited(template: WorkerTemplate) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(template)
    return {name: value for name, value in told.items() if name not in ("id", "name", "uses", "created_at")}


async def _not_found(tx: Tx, name: str) -> WorkerTemplateNotFound:
    names = await queries.template_names(tx)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
    return WorkerTemplateNotFound(
        f"There is no worker template with this name. Near ones: {', '.join(near) or 'none'}.",
        near_names=near,
    )
