"""What a client is doing now."""

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId


async def count_running_jobs(tx: Tx, client_id: ClientId) -> int:
    """Count a client's jobs that run now; the fleet's slots bound how many there can be."""
    return await tx.raw.fetchval(  # type: ignore[no-any-return]
        "SELECT count(*) FROM running_jobs WHERE client_id = $1", client_id
    )
