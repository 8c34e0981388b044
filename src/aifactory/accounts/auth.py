"""Who is calling: API keys and session tokens become a Principal."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
from litestar.connection import ASGIConnection

from aifactory.accounts import keys, queries
from aifactory.kernel.db import CONNECTION_FAULTS, Database, DatabaseUnavailable
from aifactory.kernel.errors import NotAuthenticated
from aifactory.kernel.http import SESSION_HEADER
from aifactory.kernel.ids import ClientId, KeyId, SessionId, UserId
from aifactory.kernel.principal import Principal, Role

_USE_NOTED_EVERY = timedelta(minutes=1)


class AccountsAuthenticator:
    """Checks credentials against the database, one statement each."""

    def __init__(self, *, database: Database) -> None:
        self.database = database

    async def authenticate(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Principal | None:
        """Return the caller, or None without a credential. Raises NotAuthenticated, DatabaseUnavailable."""
        headers = connection.headers
        token = headers.get(SESSION_HEADER)
        key = headers.get("x-api-key") or _bearer(headers.get("authorization"))
        if token and key:
            raise NotAuthenticated("Send one credential: an API key or a session token.")
        if token:
            return await self.check_token(token)
        return await self.check_key(key) if key else None

    async def check_key(self, text: str) -> Principal:
        """Return a key's client; an impossible key costs no look-up. Raises NotAuthenticated."""
        key = keys.parse_key(text)
        if key is None:
            raise _unknown_key()
        async with self._connection() as raw:
            found = await queries.find_key(raw, key.public_id)
            if found is None or not keys.same_secret(key, found["secret_sha256"]):
                raise _unknown_key()
            now = found["now"] + self.database.clock_offset
            if found["revoked_at"] is not None or (found["expires_at"] and found["expires_at"] <= now):
                raise NotAuthenticated("This API key has expired or was revoked; make a new one.")
            noted = found["last_used_at"]
            if noted is None or noted < now - _USE_NOTED_EVERY:
                await queries.note_key_used(raw, found["id"], now, now - _USE_NOTED_EVERY)
        return Principal(
            role=Role.CLIENT,
            client_id=ClientId(found["client_id"]),
            key_id=KeyId(found["id"]),
            scopes=frozenset(found["scopes"]),
        )

    async def check_token(self, text: str) -> Principal:
        """Return a session's user. Raises NotAuthenticated."""
        sha256 = keys.token_sha256(text)
        if sha256 is None:
            raise _ended_session()
        async with self._connection() as raw:
            found = await queries.find_session(raw, sha256)
        if found is None or found["ended_at"] is not None or not found["active"]:
            raise _ended_session()
        if found["expires_at"] <= found["now"] + self.database.clock_offset:
            raise _ended_session()
        client_id = found["client_id"]
        return Principal(
            role=Role(found["role"]),
            client_id=None if client_id is None else ClientId(client_id),
            user_id=UserId(found["user_id"]),
            session_id=SessionId(found["id"]),
        )

    @contextlib.asynccontextmanager
    async def _connection(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """Lend a pooled connection outside any transaction."""
        try:
            async with self.database.engine.connect() as connection:
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                try:
                    yield raw
                finally:
                    if raw.is_closed():
                        await connection.invalidate()
        except CONNECTION_FAULTS as error:
            raise DatabaseUnavailable(
                "The database can't be reached; try again shortly.", headers={"Retry-After": "1"}
            ) from error


def _bearer(authorization: str | None) -> str | None:
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def _unknown_key() -> NotAuthenticated:
    return NotAuthenticated("This API key is not known; check that it was copied whole.")


def _ended_session() -> NotAuthenticated:
    return NotAuthenticated("This session is not known or has ended; log in again.")
