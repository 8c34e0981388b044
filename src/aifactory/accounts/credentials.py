"""Workers' credentials, one secret each: fetch, decide, store. The caller's transaction, never a commit."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.accounts import credential_queries, keys
from aifactory.accounts.audit_rows import record_row
from aifactory.accounts.interface import CredentialNotFound, WorkerHasCredential
from aifactory.accounts.models import WorkerCredentialRow
from aifactory.kernel import ids
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import CredentialId


class NewCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential to make. ``overlap``: how long the present one still works; None: there must be none."""

    worker: str
    scopes: list[str]
    expires_at: datetime | None
    overlap: timedelta | None


async def create_credential(
    tx: Tx, new: NewCredential, *, actor: str
) -> tuple[WorkerCredentialRow, keys.ApiKey]:
    """Make a worker's secret; its text is only in what is returned. Raises WorkerHasCredential or Invalid."""
    keys.check_end(new.expires_at, tx.now, what="secret")
    await credential_queries.lock_worker(tx, new.worker)
    await credential_queries.retire_expired(tx, new.worker)
    live = await credential_queries.list_live(tx, new.worker)
    if live and new.overlap is None:
        raise WorkerHasCredential(
            f"The worker {new.worker} has a secret already; send overlapMs to replace it, or delete it."
        )
    replaced = [(row, _shown(row)) for row in live]
    _let_expire(live, new.overlap or timedelta(), tx.now)
    await tx.flush()
    for old, before in replaced:
        await record_row(tx, actor, "worker_credential.replaced", old, before=before, after=_shown(old))
    secret = keys.make_key(keys.WORKER_SECRET)
    row = WorkerCredentialRow(
        id=ids.new_id(),
        worker=new.worker,
        public_id=secret.public_id,
        secret_sha256=secret.sha256,
        scopes=sorted(set(new.scopes)),
        created_at=tx.now,
        expires_at=new.expires_at,
    )
    tx.session.add(row)
    action = "worker_credential.rotated" if live else "worker_credential.created"
    await record_row(tx, actor, action, row, after=_shown(row))
    return row, secret


async def revoke_credential(tx: Tx, credential_id: CredentialId, *, actor: str) -> None:
    """End a secret now; ending it twice changes nothing. Raises CredentialNotFound."""
    row = await credential_queries.find_credential(tx, credential_id)
    if row is None:
        raise CredentialNotFound("There is no worker credential with this id.")
    if row.revoked_at is None:
        before = _shown(row)
        row.revoked_at = tx.now
        await record_row(tx, actor, "worker_credential.revoked", row, before=before, after=_shown(row))


def _let_expire(live: list[WorkerCredentialRow], overlap: timedelta, now: datetime) -> None:
    """Give the current secret its last hours; one that was replaced before ends now."""
    for row in live:
        ends = now if row.replaced_at is not None else now + overlap
        row.expires_at = ends if row.expires_at is None else min(row.expires_at, ends)
        row.replaced_at = row.replaced_at or now


def _shown(row: WorkerCredentialRow) -> dict[str, Any]:
    """Return what the audit log tells of a credential: never the secret."""
    return {
        "worker": row.worker,
        "scopes": list(row.scopes),
        "expires_at": row.expires_at,
        "replaced_at": row.replaced_at,
        "revoked_at": row.revoked_at,
    }
