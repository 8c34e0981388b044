"""Stored bytes: uploads and sources of clients, results of steps."""

from datetime import datetime
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId
from aifactory.kernel.page import Page, PageRequest, page_of
from aifactory.resources.blobs import Blob
from aifactory.resources.interface import StoredData

_DESCRIBED = """
    id, client_id, name, media_type, bytes AS size_bytes, stored_bytes, words, sha256, created_at,
    expires_at, erased_at, erasure"""
_IN_USE = """
    EXISTS (SELECT FROM stage_executions s
            WHERE s.inputs ->> 'source' = d.id::text AND s.inputs ->> 'source' IS NOT NULL
              AND s.finished_at IS NULL)"""


async def insert_data(
    tx: Tx,
    *,
    data_id: DataId,
    client_id: ClientId,
    kind: str,
    name: str,
    media_type: str,
    blob: Blob,
    words: int,
    expires_at: datetime | None,
) -> DataId:
    """Store bytes as they were packed."""
    await tx.raw.execute(
        """
        INSERT INTO data_references (id, client_id, kind, name, media_type, encoding, bytes, words, sha256,
            content, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        data_id,
        client_id,
        kind,
        name,
        media_type,
        blob.encoding,
        blob.size_bytes,
        words,
        blob.sha256,
        blob.content,
        tx.now,
        expires_at,
    )
    return data_id


async def uploaded(tx: Tx, client_id: ClientId) -> tuple[int, int]:
    """Return how many uploads of a client there are, and how many bytes they take; the erased take none."""
    row: Any = await tx.raw.fetchrow(
        """
        SELECT count(*) AS uploads, coalesce(sum(stored_bytes), 0)::bigint AS stored_bytes
        FROM data_references
        WHERE client_id = $1 AND kind = 'upload' AND kind <> 'step' AND stored_bytes > 0
        """,
        client_id,
    )
    return row["uploads"], row["stored_bytes"]


async def find_data(tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> StoredData | None:
    """Describe what a client gave to store, of one client or of any; results of steps are not shown."""
    row = await tx.raw.fetchrow(
        f"""
        SELECT {_DESCRIBED} FROM data_references
        WHERE id = $1 AND ($2::uuid IS NULL OR client_id = $2) AND kind <> 'step'
        """,
        data_id,
        client_id,
    )
    return None if row is None else StoredData(**dict(row))


async def list_data(tx: Tx, *, client_id: ClientId | None, page: PageRequest) -> Page[StoredData]:
    """List what clients gave to store, newest first."""
    rows = await tx.raw.fetch(
        f"""
        SELECT {_DESCRIBED} FROM data_references
        WHERE kind <> 'step' AND ($1::uuid IS NULL OR client_id = $1) AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        client_id,
        page.before,
        page.limit + 1,
    )
    return page_of([StoredData(**dict(row)) for row in rows], [row["id"] for row in rows], page)


async def load_blobs(tx: Tx, data_ids: list[DataId]) -> dict[DataId, Blob]:
    """Return stored bytes by id, as they are stored."""
    rows: list[Any] = await tx.raw.fetch(
        """
        SELECT id, encoding, bytes, sha256, content FROM data_references
        WHERE id = ANY($1) AND erased_at IS NULL
        """,
        data_ids,
    )
    return {
        row["id"]: Blob(
            encoding=row["encoding"],
            content=row["content"],
            size_bytes=row["bytes"],
            sha256=row["sha256"],
        )
        for row in rows
    }


async def keep_until(
    tx: Tx, *, client_id: ClientId, data_id: DataId, until: datetime, afterwards: datetime
) -> bool:
    """Hold stored bytes against deletion until this transaction ends; False if they are gone.

    If they would expire before ``until``, they expire ``afterwards``: later, so that this writes seldom.
    """
    found = await tx.raw.fetchval(
        """
        SELECT id FROM data_references WHERE id = $1 AND client_id = $2 AND erased_at IS NULL FOR KEY SHARE
        """,
        data_id,
        client_id,
    )
    await tx.raw.execute(
        "UPDATE data_references SET expires_at = $3 WHERE id = $1 AND expires_at < $2",
        data_id,
        until,
        afterwards,
    )
    return found is not None


async def lock_data(tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> bool:
    """Lock what a client gave to store, so that no submission takes it; False if there is none."""
    found = await tx.raw.fetchval(
        """
        SELECT id FROM data_references
        WHERE id = $1 AND ($2::uuid IS NULL OR client_id = $2) AND kind <> 'step' FOR UPDATE
        """,
        data_id,
        client_id,
    )
    return found is not None


async def delete_unused(tx: Tx, data_ids: list[DataId]) -> int:
    """Delete locked bytes that no unfinished execution needs. Returns how many."""
    rows = await tx.raw.fetch(
        f"DELETE FROM data_references d WHERE d.id = ANY($1) AND NOT {_IN_USE} RETURNING d.id", data_ids
    )
    return len(rows)


async def delete_expired(tx: Tx, limit: int) -> int:
    """Delete bytes whose time is over and that nobody needs or is deleting. Returns how many.

    Locked first and looked at in a second statement, which sees a submission that came between.
    """
    rows = await tx.raw.fetch(
        f"""
        SELECT d.id FROM data_references d WHERE d.expires_at <= $1 AND NOT {_IN_USE}
        ORDER BY d.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
        tx.now,
        limit,
    )
    return await delete_unused(tx, [row["id"] for row in rows])
