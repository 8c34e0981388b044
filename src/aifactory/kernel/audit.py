"""The audit log: who changed what, in the transaction of the change."""

from typing import Any

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import new_id

_INSERT = """
INSERT INTO audit_log (id, at, actor, action, object_kind, object_id, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def record(
    tx: Tx,
    *,
    actor: str,
    action: str,
    object_kind: str,
    object_id: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write one line of the audit log; never give it a secret."""
    await tx.raw.execute(
        _INSERT,
        new_id(),
        tx.now,
        actor,
        action,
        object_kind,
        object_id,
        None if before is None else encode_json(before),
        None if after is None else encode_json(after),
    )
