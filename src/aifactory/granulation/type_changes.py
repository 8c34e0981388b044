"""Storing structure types of an operator's own. The caller's transaction, never a commit."""

from typing import Any

import msgspec

from aifactory.granulation import type_queries as queries
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.type_checks import check_type
from aifactory.granulation.type_queries import StoredType
from aifactory.granulation.types import is_built_in, type_not_found
from aifactory.kernel import audit
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Conflict, invalid
from aifactory.kernel.etags import check_version
from aifactory.kernel.ids import new_id
from aifactory.kernel.principal import Principal


class StructureTypeExists(Conflict):
    """The name is taken; PUT makes a new version."""

    code, title = "structure_type_exists", "This structure type exists already"


class BuiltInType(Conflict):
    """It comes with the package and can't be changed; a type of another name can be made."""

    code, title = "built_in_type", "This structure type comes with the package"


async def create_type(tx: Tx, *, spec: StructureSpec, actor: Principal) -> StoredType:
    """Store version 1. Raises StructureTypeExists, BuiltInType or Invalid."""
    _refuse_built_in(spec.type)
    check_type(spec)
    await queries.lock_type(tx, spec.type)
    if await queries.find_newest_type(tx, spec.type) is not None:
        raise StructureTypeExists("This name is taken; PUT a new version of it.")
    return await _store(tx, spec, before=None, active=True, actor=actor)


async def replace_type(
    tx: Tx, *, name: str, spec: StructureSpec, active: bool, if_match: str | None, actor: Principal
) -> StoredType:
    """Store the next version; inactive, it takes the type out of use. What runs keeps its own.

    Raises StructureTypeNotFound, BuiltInType, VersionChanged or Invalid.
    """
    _refuse_built_in(name)
    await queries.lock_type(tx, name)
    newest = await queries.find_newest_type(tx, name)
    if newest is None:
        raise await type_not_found(tx, name)
    check_version(if_match, newest.version)
    if spec.type != name:
        raise invalid("/type", "wrong_type", f"/type: it says {spec.type[:80]}; a name can't be changed.")
    check_type(spec)
    if not active:
        await queries.deactivate_type(tx, name)
    return await _store(tx, spec, before=newest, active=active, actor=actor)


def _refuse_built_in(name: str) -> None:
    if is_built_in(name):
        raise BuiltInType(f"{name} comes with the package and stays as it is; choose another name.")


async def _store(
    tx: Tx, spec: StructureSpec, *, before: StoredType | None, active: bool, actor: Principal
) -> StoredType:
    stored = StoredType(
        id=new_id(),
        structure_type=spec.type,
        version=1 if before is None else before.version + 1,
        active=active,
        created_at=tx.now,
        spec=spec,
    )
    await queries.insert_type(tx, stored)
    await audit.record(
        tx,
        actor=actor.label,
        action="structure_type.stored",
        object_kind="structure_type",
        object_id=spec.type,
        before=None if before is None else _audited(before),
        after=_audited(stored),
    )
    return stored


def _audited(stored: StoredType) -> dict[str, Any]:
    return {
        "version": stored.version,
        "active": stored.active,
        "spec": msgspec.to_builtins(stored.spec),
    }
