"""Clients and their API keys: fetch, decide, store. The caller's transaction, never a commit."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.accounts import keys, queries
from aifactory.accounts.audit_rows import record_row
from aifactory.accounts.interface import KeyNotFound, KeyNotLive, TooManyKeys
from aifactory.accounts.models import ApiKeyRow, ClientRow
from aifactory.kernel import ids
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotAllowed, invalid
from aifactory.kernel.ids import ClientId, KeyId
from aifactory.kernel.money import usd
from aifactory.kernel.principal import Principal
from aifactory.resources.interface import ClientLimits, ClientNotFound, Resources, Tier

MAX_LIVE_KEYS = 50  # twice as many while keys that were rotated still work


class NewClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client to make; limits left out are its tier's."""

    name: str
    contact: str
    tier: Tier
    time_zone: str = "UTC"
    max_running: int | None = None
    monthly_budget_nano: int | None = None
    requests_per_minute: int | None = None


async def create_client(
    tx: Tx, *, resources: Resources, new: NewClient, actor: str
) -> tuple[ClientRow, ClientLimits]:
    """Store a client with its tier and limits."""
    row = ClientRow(id=ids.new_id(), name=new.name, contact=new.contact, created_at=tx.now)
    tx.session.add(row)
    await tx.flush()
    limits = ClientLimits(
        client_id=ClientId(row.id),
        name=new.name,
        tier=new.tier,
        time_zone=new.time_zone,
        max_running=new.max_running,
        monthly_budget_nano=new.monthly_budget_nano,
        requests_per_minute=new.requests_per_minute,
    )
    await _set_limits(tx, resources, limits)
    await record_row(tx, actor, "client.created", row, after=_shown_client(row, limits))
    return row, limits


async def change_client(
    tx: Tx, *, resources: Resources, client_id: ClientId, changes: dict[str, Any], actor: str
) -> tuple[ClientRow, ClientLimits]:
    """Change a client's name, contact, or what ``ClientLimits`` names. Raises ClientNotFound."""
    row = await get_client(tx, client_id, lock=True)
    before = await resources.get_client(tx, client_id, lock=True)
    shown_before = _shown_client(row, before)
    row.name = changes.get("name", row.name)
    row.contact = changes.pop("contact", row.contact)
    limits = msgspec.structs.replace(before, **changes)
    await _set_limits(tx, resources, limits)
    after = _shown_client(row, limits)
    await record_row(tx, actor, "client.changed", row, before=shown_before, after=after)
    return row, limits


async def get_client(tx: Tx, client_id: ClientId, *, lock: bool = False) -> ClientRow:
    """Return a client. Raises ClientNotFound."""
    row = await queries.find_client(tx, client_id, lock=lock)
    if row is None:
        raise ClientNotFound("There is no client with this id.")
    return row


async def _set_limits(tx: Tx, resources: Resources, limits: ClientLimits) -> None:
    if limits.tier is Tier.ENTERPRISE and limits.monthly_budget_nano is None:
        message = "An enterprise client needs limits.monthlyBudgetUsd."
        raise invalid("/limits/monthlyBudgetUsd", "missing_field", message)
    await resources.set_client(tx, limits)


def _shown_client(row: ClientRow, limits: ClientLimits) -> dict[str, Any]:
    """Return what the audit log tells of a client."""
    told: dict[str, Any] = msgspec.to_builtins(limits)
    nano = told.pop("monthly_budget_nano")
    del told["client_id"]
    return told | {"monthly_usd": None if nano is None else usd(nano), "contact": row.contact}


# API keys.


async def create_key(
    tx: Tx,
    *,
    client_id: ClientId,
    name: str,
    scopes: list[str],
    expires_at: datetime | None,
    actor: Principal,
) -> tuple[ApiKeyRow, keys.ApiKey]:
    """Make a key; its text is only in what is returned. Raises ClientNotFound, NotAllowed, TooManyKeys."""
    await get_client(tx, client_id, lock=True)
    if actor.key_id is not None and not set(scopes) <= actor.scopes:
        raise NotAllowed("A key can't make a key that may do more than itself.")
    keys.check_end(expires_at, tx.now, what="key")
    if await queries.count_live_keys(tx, client_id) >= MAX_LIVE_KEYS:
        raise TooManyKeys(f"A client may have {MAX_LIVE_KEYS} live keys; revoke one.")
    return await _store_key(
        tx,
        client_id=client_id,
        name=name,
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
        actor=actor.label,
    )


async def rotate_key(
    tx: Tx,
    *,
    resources: Resources,
    client_id: ClientId,
    key_id: KeyId,
    overlap: timedelta,
    actor: Principal,
) -> tuple[ApiKeyRow, keys.ApiKey]:
    """Make a key like this one, which itself ends after ``overlap``; both count on the same budget.

    Raises ClientNotFound, KeyNotFound, KeyNotLive, NotAllowed, TooManyKeys.
    """
    await get_client(tx, client_id, lock=True)
    old = await _get_key(tx, client_id=client_id, key_id=key_id)
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= tx.now):
        raise KeyNotLive("This key has expired or was revoked; make a new one.")
    if actor.key_id is not None and not set(old.scopes) <= actor.scopes:
        raise NotAllowed("A key can't rotate a key that may do more than itself.")
    if await queries.count_live_keys(tx, client_id) >= 2 * MAX_LIVE_KEYS:
        raise TooManyKeys(
            f"A client may have {2 * MAX_LIVE_KEYS} live keys, rotated ones included; revoke one of these."
        )
    expires_at, before = old.expires_at, _shown_key(old)
    ends = tx.now + overlap
    old.expires_at = ends if expires_at is None else min(expires_at, ends)
    row, key = await _store_key(
        tx,
        client_id=client_id,
        name=old.name,
        scopes=list(old.scopes),
        expires_at=expires_at,
        actor=actor.label,
    )
    await resources.inherit_key_budget(tx, old=KeyId(old.id), new=KeyId(row.id))
    after = _shown_key(old) | {"replaced_by": ids.text_id("key", row.id)}
    await record_row(tx, actor.label, "api_key.rotated", old, before=before, after=after)
    return row, key


async def revoke_key(tx: Tx, *, client_id: ClientId, key_id: KeyId, actor: str) -> None:
    """End a key now; ending it twice changes nothing. Raises KeyNotFound."""
    row = await _get_key(tx, client_id=client_id, key_id=key_id)
    if row.revoked_at is None:
        before = _shown_key(row)
        row.revoked_at = tx.now
        await record_row(tx, actor, "api_key.revoked", row, before=before, after=_shown_key(row))


async def seed_key(tx: Tx, *, client_id: ClientId, name: str) -> keys.ApiKey:
    """Make the first key of a new client."""
    _, key = await _store_key(
        tx,
        client_id=client_id,
        name=name,
        scopes=["read", "write"],
        expires_at=None,
        actor="system",
    )
    return key


async def _get_key(tx: Tx, *, client_id: ClientId, key_id: KeyId) -> ApiKeyRow:
    row = await queries.find_client_key(tx, client_id=client_id, key_id=key_id, lock=True)
    if row is None:
        raise KeyNotFound("There is no key with this id.")
    return row


async def _store_key(
    tx: Tx,
    *,
    client_id: ClientId,
    name: str,
    scopes: list[str],
    expires_at: datetime | None,
    actor: str,
) -> tuple[ApiKeyRow, keys.ApiKey]:
    key = keys.make_key()
    row = ApiKeyRow(
        id=ids.new_id(),
        client_id=client_id,
        name=name,
        public_id=key.public_id,
        secret_sha256=key.sha256,
        scopes=scopes,
        created_at=tx.now,
        expires_at=expires_at,
    )
    tx.session.add(row)
    await record_row(tx, actor, "api_key.created", row, after=_shown_key(row))
    return row, key


def _shown_key(row: ApiKeyRow) -> dict[str, Any]:
    """Return what the audit log tells of a key: never the secret."""
    return {
        "client": ids.text_id("client", row.client_id),
        "name": row.name,
        "scopes": list(row.scopes),
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
    }
