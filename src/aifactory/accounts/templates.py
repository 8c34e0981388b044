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
from aifactory.kernel.errors import AppError, Invalid, invalid
from aifactory.kernel.etags import check_version
from aifactory.kernel.ids import new_id
from aifactory.kernel.principal import Principal
from aifactory.resources.interface import FlowStage, NamedTemplate, Resources, Tier

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class NewTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a master template to store."""

    name: str
    title: str
    description: str
    flow: tuple[FlowStage, ...]
    active: bool = True


async def get_template(tx: Tx, name: str) -> NamedTemplate:
    """Return the newest active version. Raises TemplateNotFound, which lists near names."""
    found = await queries.find_active_flow(tx, name)
    if found is None:
        raise await _not_found(tx, name)
    version, flow = found
    return NamedTemplate(name=name, version=version, flow=read_flow(flow))


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
    await queries.lock_template(tx, new.name)
    if await queries.find_newest_template(tx, new.name) is not None:
        raise TemplateExists("This name is taken; PUT a new version of it.")
    return await _store(tx, resources=resources, new=new, before=None, actor=actor)


async def replace_template(
    tx: Tx, *, resources: Resources, new: NewTemplate, if_match: str | None, actor: Principal
) -> MasterTemplateRow:
    """Store the next version. Raises TemplateNotFound, VersionChanged or Invalid."""
    await queries.lock_template(tx, new.name)
    newest = await queries.find_newest_template(tx, new.name)
    if newest is None:
        raise await _not_found(tx, new.name)
    check_version(if_match, newest.version)
    before = _shown(newest)
    if not new.active:
        await queries.deactivate_template(tx, new.name)
    return await _store(tx, resources=resources, new=new, before=before, actor=actor)


def read_flow(stored: list[Any]) -> tuple[FlowStage, ...]:
    """Return a stored flow."""
    return msgspec.convert(stored, tuple[FlowStage, ...])


def check_flow(flow: tuple[FlowStage, ...]) -> None:
    """Refuse open objects that are too deep or too wide; whoever prices the flow checks the rest.

    Pure. Raises Invalid.
    """
    for index, stage in enumerate(flow):
        check_parameters(stage.params_override, f"/flow/{index}/paramsOverride")
        if stage.condition is not None:
            check_parameters(stage.condition, f"/flow/{index}/condition")


def _check_name(at: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise invalid(at, "bad_name", f"{at}: a-z, 0-9, _ . - only, at most 64, starting with a letter.")


async def _store(
    tx: Tx, *, resources: Resources, new: NewTemplate, before: dict[str, Any] | None, actor: Principal
) -> MasterTemplateRow:
    _check_name("/name", new.name)
    check_flow(new.flow)
    try:
        async with tx.savepoint():
            await resources.describe_flow(tx, new.flow, Tier.ENTERPRISE)
    except Invalid:
        raise
    except AppError as error:
        if error.status >= 500:
            raise
        raise invalid("/flow", error.code, f"The flow can't run: {error.detail}") from error
    row = MasterTemplateRow(
        id=new_id(),
        name=new.name,
        version=1 if before is None else before["version"] + 1,
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
        before=before,
        after=_shown(row),
    )
    return row


def _shown(row: MasterTemplateRow) -> dict[str, Any]:
    """Return what the audit log tells of a version."""
    shown = ("version", "title", "description", "active", "flow")
    return {name: getattr(row, name) for name in shown}


async def _not_found(tx: Tx, name: str) -> TemplateNotFound:
    names = await queries.list_template_names(tx)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or sorted(names)[:5]
    return TemplateNotFound(
        f"There is no template with this name. Near ones: {', '.join(near) or 'none'}.", near_names=near
    )
