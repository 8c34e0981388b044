"""The audit log's lines about rows of accounts."""

from aifactory.accounts.models import ApiKeyRow, ClientRow, UserRow, WorkerCredentialRow
from aifactory.accounts.webhook_models import WebhookRow
from aifactory.kernel import audit
from aifactory.kernel.audit import Told
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import text_id

_KINDS = {  # with the prefix of the public id
    ClientRow: ("client", "client"),
    ApiKeyRow: ("api_key", "key"),
    WorkerCredentialRow: ("worker_credential", "wcred"),
    UserRow: ("user", "user"),
    WebhookRow: ("webhook", "whk"),
}


async def record_row(
    tx: Tx,
    actor: str,
    action: str,
    row: ClientRow | ApiKeyRow | WorkerCredentialRow | UserRow | WebhookRow,
    *,
    before: Told = None,
    after: Told = None,
) -> None:
    """Send a row to the database, and write down what was done to it; never give it a secret."""
    kind, prefix = _KINDS[type(row)]
    object_id = text_id(prefix, row.id)
    await tx.flush()
    await audit.record(
        tx,
        actor=actor,
        action=action,
        object_kind=kind,
        object_id=object_id,
        before=before,
        after=after,
    )
