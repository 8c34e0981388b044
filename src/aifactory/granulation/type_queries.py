"""The SQL of structure types; no decisions."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.granulation.specs import StructureSpec
from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.page import PageRequest


class StoredType(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a structure type that an operator made."""

    id: UUID
    structure_type: str
    version: int
    active: bool
    created_at: datetime
    spec: StructureSpec


_COLUMNS = "id, structure_type, version, active, created_at, spec"
_NEWEST = f"SELECT DISTINCT ON (structure_type) {_COLUMNS} FROM structure_types"


def _type_of(row: Any) -> StoredType:
    return msgspec.convert(dict(row), StoredType)


async def lock_type(tx: Tx, name: str) -> None:
    """Let one change of a structure type at a time happen, also before there is one."""
    await tx.raw.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('aifactory.structure_types.' || $1, 0))", name
    )


async def find_newest_type(tx: Tx, name: str) -> StoredType | None:
    """Return the newest version of a structure type, active or not."""
    row = await tx.raw.fetchrow(
        f"SELECT {_COLUMNS} FROM structure_types WHERE structure_type = $1 ORDER BY version DESC LIMIT 1",
        name,
    )
    return None if row is None else _type_of(row)


async def newest_types(tx: Tx, names: Collection[str]) -> list[StoredType]:
    """Return the newest version of each of some structure types, active or not."""
    rows = await tx.raw.fetch(
        f"{_NEWEST} WHERE structure_type = ANY($1::text[]) ORDER BY structure_type, version DESC", list(names)
    )
    return [_type_of(row) for row in rows]


async def active_names(tx: Tx) -> list[str]:
    """Return the names of all structure types in use that an operator made."""
    rows = await tx.raw.fetch(
        "SELECT DISTINCT structure_type FROM structure_types WHERE active ORDER BY structure_type"
    )
    return [row["structure_type"] for row in rows]


async def list_type_versions(tx: Tx, name: str, page: PageRequest) -> list[StoredType]:
    """Return one more than a page of a structure type's versions, newest first."""
    rows = await tx.raw.fetch(
        f"""
        SELECT {_COLUMNS} FROM structure_types
        WHERE structure_type = $1 AND ($2::uuid IS NULL OR version < (
            SELECT version FROM structure_types WHERE id = $2))
        ORDER BY version DESC LIMIT $3
        """,
        name,
        page.before,
        page.limit + 1,
    )
    return [_type_of(row) for row in rows]


async def insert_type(tx: Tx, stored: StoredType) -> None:
    """Store a version of a structure type; its spec as it was written, fields in their order."""
    await tx.raw.execute(
        f"INSERT INTO structure_types ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)",
        stored.id,
        stored.structure_type,
        stored.version,
        stored.active,
        stored.created_at,
        encode_json(stored.spec),
    )


async def deactivate_type(tx: Tx, name: str) -> None:
    """Take every version of a structure type out of use; what runs keeps its own."""
    await tx.raw.execute(
        "UPDATE structure_types SET active = false WHERE structure_type = $1 AND active", name
    )
