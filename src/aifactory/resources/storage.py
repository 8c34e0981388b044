"""Data references: packed when stored, checked whenever they are read, kept while work needs them."""

from datetime import datetime, timedelta
from functools import partial

import anyio.to_thread
import structlog

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, new_id, text_id
from aifactory.resources.blobs import Blob, Damaged, pack, unpack
from aifactory.resources.interface import (
    DataDamaged,
    DataInUse,
    DataNotFound,
    StorageFull,
    StoredData,
)
from aifactory.resources.queries import data as queries

log = structlog.get_logger()

UPLOAD, SOURCE, STEP = "upload", "source", "step"

KEPT = timedelta(days=30)
MAX_UPLOADS = 10_000
MAX_UPLOADED_BYTES = 1024**3
IN_A_THREAD_FROM = 256 * 1024

_EXTENDED_BY = timedelta(days=1)
UNKNOWN = "There is no data with this reference; POST /api/data makes one."


def count_words(content: bytes) -> int:
    """Return how many words a source has: they bound what work on it costs."""
    return len(content.split())


async def pack_aside(content: bytes) -> Blob:
    """Pack; what is large in a thread, so that others are answered meanwhile."""
    if len(content) < IN_A_THREAD_FROM:
        return pack(content)
    return await anyio.to_thread.run_sync(pack, content)


async def upload(
    tx: Tx, *, client_id: ClientId, name: str, media_type: str, blob: Blob, words: int
) -> StoredData:
    """Store what a client uploads; it is kept 30 days after its last use. Raises StorageFull.

    Twins that are stored at the same moment may pass the limit together: it keeps a disk, not a promise.
    """
    uploads, stored_bytes = await queries.uploaded(tx, client_id)
    if uploads >= MAX_UPLOADS or stored_bytes + len(blob.content) > MAX_UPLOADED_BYTES:
        raise StorageFull(
            f"{uploads:,} uploads take {stored_bytes / 1024**2:,.0f} MiB, and at most {MAX_UPLOADS:,} with "
            f"{MAX_UPLOADED_BYTES / 1024**2:,.0f} MiB are kept; DELETE /api/data/{{id}} removes one."
        )
    data_id = await queries.insert_data(
        tx,
        data_id=DataId(new_id()),
        client_id=client_id,
        kind=UPLOAD,
        name=name,
        media_type=media_type,
        blob=blob,
        words=words,
        expires_at=tx.now + KEPT,
    )
    return await get(tx, client_id=client_id, data_id=data_id)


async def store(
    tx: Tx,
    *,
    client_id: ClientId,
    kind: str,
    name: str,
    media_type: str,
    content: bytes,
    expires_at: datetime | None = None,
    data_id: DataId | None = None,
) -> DataId:
    """Store a request's source (kept with it), or a step's result (until it expires)."""
    return await queries.insert_data(
        tx,
        data_id=data_id or DataId(new_id()),
        client_id=client_id,
        kind=kind,
        name=name,
        media_type=media_type,
        blob=await pack_aside(content),
        words=0 if kind == STEP else count_words(content),
        expires_at=expires_at,
    )


async def get(tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> StoredData:
    """Describe what a client gave to store. Raises DataNotFound."""
    found = await queries.find_data(tx, client_id=client_id, data_id=data_id)
    if found is None:
        raise DataNotFound(UNKNOWN)
    return found


async def keep(tx: Tx, *, client_id: ClientId, data_id: DataId, deadline: datetime) -> None:
    """Keep what work until ``deadline`` needs, and 30 days more. Raises DataNotFound if it has gone."""
    until = max(tx.now, deadline) + KEPT
    kept = await queries.keep_until(
        tx, client_id=client_id, data_id=data_id, until=until, afterwards=until + _EXTENDED_BY
    )
    if not kept:
        raise DataNotFound(UNKNOWN)


async def load(tx: Tx, data_id: DataId) -> bytes:
    """Return stored bytes as they were given. Raises DataNotFound or DataDamaged."""
    blobs = await queries.load_blobs(tx, [data_id])
    if data_id not in blobs:
        raise DataNotFound("This data is not stored any more.")
    content = await _unpack_aside(data_id, blobs[data_id])
    if content is None:
        raise DataDamaged(
            "What is stored under this reference is damaged. Upload it again; the operator was told.",
            data_ref=text_id("data", data_id),
        )
    return content


async def load_intact(tx: Tx, data_ids: list[DataId]) -> dict[DataId, bytes]:
    """Return stored bytes by id; left out is what is gone or damaged."""
    if not data_ids:
        return {}
    blobs = await queries.load_blobs(tx, data_ids)
    loaded = {data_id: await _unpack_aside(data_id, blob) for data_id, blob in blobs.items()}
    return {data_id: content for data_id, content in loaded.items() if content is not None}


async def _unpack_aside(data_id: DataId, blob: Blob) -> bytes | None:
    """Unpack, what is large in a thread; what is damaged is told, by name, and is None."""
    try:
        if blob.size_bytes < IN_A_THREAD_FROM:
            return unpack(blob)
        return await anyio.to_thread.run_sync(partial(unpack, blob))
    except Damaged as error:
        log.error("data.damaged", data_id=text_id("data", data_id), reason=str(error))
        return None


async def delete(tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> None:
    """Delete what a client gave to store. Raises DataNotFound, or DataInUse while work needs it."""
    if not await queries.lock_data(tx, client_id=client_id, data_id=data_id):
        raise DataNotFound(UNKNOWN)
    if not await queries.delete_unused(tx, [data_id]):
        raise DataInUse("An unfinished execution works from this data; wait for its end, or cancel it.")
