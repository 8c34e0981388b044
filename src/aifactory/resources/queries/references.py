"""Stored bytes that stages give each other, whoever made them; a client's own only."""

from collections.abc import Iterable
from uuid import UUID

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId


async def owned(tx: Tx, client_id: ClientId, data_ids: Iterable[UUID]) -> set[DataId]:
    """Return those of some references that a client has, results of steps included."""
    rows = await tx.raw.fetch(
        "SELECT id FROM data_references WHERE client_id = $1 AND id = ANY($2)", client_id, list(data_ids)
    )
    return {DataId(row["id"]) for row in rows}
