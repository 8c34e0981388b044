"""Master templates: reading, checking and storing flows."""

import difflib
import re
from typing import Any

import msgspec

from aifactory.accounts import queries
from aifactory.accounts.interface import TemplateExists, TemplateNotFound
from aifactory.accounts.models import MasterTemplateRow
from aifactory.accounts.parameters import check_parameters
from aifactory.kernel import audit
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError, VersionChanged, invalid
from aifactory.kernel.ids import new_id
from aifactory.kernel.principal import Principal
from aifactory.resources.interface import FlowStage, NamedTemplate, Resources, Tier

MAX_STAGES = 10

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_POINTER = re.compile(r"/(?:request|stages/(?P<stage>\d+))(?:/(?:[^~/]|~[01])*)*")
_ON_FAILURE = ("fail", "skip", "continue_partial", "offline")
_OPERATORS = ("eq", "ne", "gt", "ge", "lt", "le", "exists", "in")


class NewTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a master template to store."""

    name: str
    title: str
    description: str
    flow: tuple[FlowStage, ...]
    active: bool = True


async def get_template(tx: Tx, name: str) -> NamedTemplate:
    """Return the newest active version. Raises TemplateNotFound, which lists near names."""
    row = await queries.find_template(tx, name)
    if row is None:
        raise await _not_found(tx, name)
    return NamedTemplate(name=row.name, version=row.version, flow=read_flow(row.flow))


async def get_template_row(tx: Tx, name: str, version: int | None = None) -> MasterTemplateRow:
    """Return a version of a template, by default the newest active one. Raises TemplateNotFound."""
    row = await queries.find_template(tx, name, version)
    if row is None:
        raise await _not_found(tx, name)
    return row


async def create_template(
    tx: Tx, *, resources: Resources, new: NewTemplate, actor: Principal
) -> MasterTemplateRow:
    """Store version 1. Raises TemplateExists or Invalid."""
    if await queries.find_newest_template(tx, new.name) is not None:
        raise TemplateExists("This name is taken; PUT a new version of it.")
    return await _store(tx, resources=resources, new=new, version=1, actor=actor)


async def replace_template(
    tx: Tx, *, resources: Resources, new: NewTemplate, expected: int | None, actor: Principal
) -> MasterTemplateRow:
    """Store the next version. Raises TemplateNotFound, VersionChanged or Invalid."""
    newest = await queries.find_newest_template(tx, new.name, lock=True)
    if newest is None:
        raise await _not_found(tx, new.name)
    if expected is not None and expected != newest.version:
        raise VersionChanged(
            f"The newest version is {newest.version}, not {expected}; read it again.",
            current_version=newest.version,
        )
    if not new.active:
        await queries.deactivate_template(tx, new.name)
    return await _store(tx, resources=resources, new=new, version=newest.version + 1, actor=actor)


def read_flow(stored: list[Any]) -> tuple[FlowStage, ...]:
    """Return a stored flow."""
    return msgspec.convert(stored, tuple[FlowStage, ...])


def check_flow(flow: tuple[FlowStage, ...]) -> None:
    """Check what can be checked without the workers. Pure. Raises Invalid."""
    if not 1 <= len(flow) <= MAX_STAGES:
        raise invalid("/flow", "out_of_range", f"A flow has 1 to {MAX_STAGES} stages.")
    for index, stage in enumerate(flow):
        at = f"/flow/{index}"
        for field, name in (
            ("worker", stage.worker),
            ("templateRef", stage.template_ref),
            ("action", stage.action),
        ):
            _check_name(f"{at}/{field}", name)
        if not 0 <= stage.retries <= 10:
            raise invalid(f"{at}/retries", "out_of_range", f"{at}/retries: 0 to 10.")
        if stage.on_failure not in _ON_FAILURE:
            message = f"{at}/onFailure: one of {', '.join(_ON_FAILURE)}."
            raise invalid(f"{at}/onFailure", "invalid_value", message)
        check_parameters(stage.params_override, f"{at}/paramsOverride")
        for target, source in stage.input_mapping.items():
            _check_pointer(f"{at}/inputMapping/{target}", source, index)
        if stage.condition is not None:
            check_parameters(stage.condition, f"{at}/condition")
            _check_condition(f"{at}/condition", stage.condition, index)


def _check_name(at: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise invalid(at, "bad_name", f"{at}: a-z, 0-9, _ . - only, at most 64, starting with a letter.")


def _check_pointer(at: str, pointer: Any, stage: int) -> None:
    match = _POINTER.fullmatch(pointer) if isinstance(pointer, str) and len(pointer) <= 300 else None
    if match is None or (match["stage"] is not None and int(match["stage"]) >= stage):
        raise invalid(at, "bad_pointer", f"{at}: a JSON Pointer into /request or an earlier /stages/N.")


def _check_condition(at: str, condition: Any, stage: int) -> None:
    if not isinstance(condition, dict):
        raise invalid(at, "bad_condition", f"{at}: {{path, op, value}}, or and/or with a list of them.")
    keys = set(condition)
    if keys in ({"and"}, {"or"}):
        key = keys.pop()
        inner = condition[key]
        if not isinstance(inner, list) or not inner:
            raise invalid(f"{at}/{key}", "bad_condition", f"{at}/{key}: a list of conditions.")
        for index, part in enumerate(inner):
            _check_condition(f"{at}/{key}/{index}", part, stage)
        return
    if not {"path", "op"} <= keys <= {"path", "op", "value"} or condition["op"] not in _OPERATORS:
        raise invalid(at, "bad_condition", f"{at}: path, op ({', '.join(_OPERATORS)}) and value.")
    _check_pointer(f"{at}/path", condition["path"], stage)


async def _store(
    tx: Tx, *, resources: Resources, new: NewTemplate, version: int, actor: Principal
) -> MasterTemplateRow:
    _check_name("/name", new.name)
    check_flow(new.flow)
    try:
        async with tx.savepoint():
            await resources.describe_flow(tx, new.flow, Tier.ENTERPRISE)
    except AppError as error:
        if error.status >= 500:
            raise
        raise invalid("/flow", error.code, f"The flow can't run: {error.detail}") from error
    row = MasterTemplateRow(
        id=new_id(),
        name=new.name,
        version=version,
        title=new.title,
        description=new.description,
        flow=msgspec.to_builtins(new.flow),
        active=new.active,
        created_at=tx.now,
    )
    tx.session.add(row)
    await tx.flush()
    await audit.record(
        tx,
        actor=actor.label,
        action="template.stored",
        object_kind="master_template",
        object_id=new.name,
        after={"version": version, "active": new.active, "flow": row.flow},
    )
    return row


async def _not_found(tx: Tx, name: str) -> TemplateNotFound:
    names = await queries.list_template_names(tx)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or sorted(names)[:5]
    return TemplateNotFound(
        f"There is no template with this name. Near ones: {', '.join(near) or 'none'}.", near_names=near
    )
