"""Who is calling: API keys, workers' secrets, session tokens and cookies become a Principal."""

import hmac
from datetime import timedelta
from typing import Any

import msgspec
from litestar.connection import ASGIConnection

from aifactory.accounts import cookies, credential_queries, keys, queries, user_queries
from aifactory.kernel.allowance import Allowance, rate_limited
from aifactory.kernel.db import Database
from aifactory.kernel.errors import NotAuthenticated
from aifactory.kernel.guard import SAFE_METHODS, SESSION_HEADER
from aifactory.kernel.ids import ClientId, KeyId, SessionId, UserId
from aifactory.kernel.principal import Principal, Role
from aifactory.kernel.visitors import Proxies

WORKER_HEADER = "x-worker-id"

_TOKEN, _KEY, _SECRET, _COOKIE = "a session token", "an API key", "a worker's secret", "a session cookie"
_USE_NOTED_EVERY = timedelta(minutes=1)


class AccountsAuthenticator:
    """Checks credentials against the database, one statement each; ``metrics_token`` without it."""

    def __init__(
        self, *, database: Database, proxies: Proxies | None = None, metrics_token: str | None = None
    ) -> None:
        self.database = database
        self.proxies = proxies or Proxies()
        self.metrics_token = metrics_token

    async def authenticate(
        self, connection: ASGIConnection[Any, Any, Any, Any], *, counts: bool = False
    ) -> Principal | None:
        """Return the caller, or None without a credential; ``counts``: as one API request more.

        Raises NotAuthenticated, also for two credentials at once, CsrfFailed, RateLimited and
        DatabaseUnavailable.
        """
        found = _credentials(connection, self._cookie(connection))
        if len(found) > 1:
            kinds = ", ".join(sorted(kind for kind, _ in found))
            raise NotAuthenticated(f"Send one credential; this request has {len(found)}: {kinds}.")
        for kind, text in found:
            if kind == _COOKIE:
                return await self._check_cookie(connection, text, counts)
            if kind == _SECRET:
                return await self._check_worker(text, connection.headers.get(WORKER_HEADER), counts)
            if kind == _KEY and self._is_metrics_token(text):
                return Principal(role=Role.MONITOR)
            return await (self._check_key(text, counts) if kind == _KEY else self._check_token(text, counts))
        return None

    def _is_metrics_token(self, text: str) -> bool:
        wanted = self.metrics_token
        return wanted is not None and hmac.compare_digest(text.encode(), wanted.encode())

    async def _check_key(self, text: str, counts: bool) -> Principal:
        """Return a key's client; an impossible key costs no look-up."""
        key = keys.parse_key(text)
        if key is None:
            raise _unknown_key()
        async with self.database.lend() as raw:
            counted = await queries.find_key(raw, key, offset=self.database.clock_offset, counts=counts)
            if counted is None or not keys.same_secret(key, counted[0]["secret_sha256"]):
                raise _unknown_key()
            found, now = counted[0], counted[0]["now"]
            if found["revoked_at"] is not None or (found["expires_at"] and found["expires_at"] <= now):
                raise NotAuthenticated("This API key has expired or was revoked; make a new one.")
            left = _admitted(counted[1], counts)
            noted = found["last_used_at"]
            if noted is None or noted < now - _USE_NOTED_EVERY:
                await queries.note_key_used(raw, found["id"], now, now - _USE_NOTED_EVERY)
        return Principal(
            role=Role.CLIENT,
            client_id=ClientId(found["client_id"]),
            key_id=KeyId(found["id"]),
            scopes=frozenset(found["scopes"]),
            allowance=left,
        )

    async def _check_worker(self, text: str, worker: str | None, counts: bool) -> Principal:
        """Return the outside worker that has this secret and says its name."""
        secret = keys.parse_key(text, keys.WORKER_SECRET)
        if secret is None:
            raise _unknown_worker()
        async with self.database.lend() as raw:
            counted = await credential_queries.find_secret(
                raw, secret, worker, offset=self.database.clock_offset, counts=counts
            )
            if counted is None or not keys.same_secret(secret, counted[0]["secret_sha256"]):
                raise _unknown_worker()
            found, now = counted[0], counted[0]["now"]
            if found["worker"] != worker:
                raise NotAuthenticated("Send the name of the worker that has this secret as X-Worker-ID.")
            if found["revoked_at"] is not None or (found["expires_at"] and found["expires_at"] <= now):
                raise NotAuthenticated("This worker's secret has expired, was replaced or was revoked.")
            left = _admitted(counted[1], counts)
            noted = found["last_used_at"]
            if noted is None or noted < now - _USE_NOTED_EVERY:
                await credential_queries.note_use(raw, found["id"], now, now - _USE_NOTED_EVERY)
        scopes = frozenset(found["scopes"])
        return Principal(role=Role.WORKER, worker=found["worker"], scopes=scopes, allowance=left)

    def _cookie(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
        if "cookie" not in connection.headers:
            return None
        return connection.cookies.get(cookies.cookie_name(self.proxies.visitor(connection.scope)))

    async def _check_cookie(
        self, connection: ASGIConnection[Any, Any, Any, Any], token: str, counts: bool
    ) -> Principal:
        visitor = self.proxies.visitor(connection.scope)
        try:
            principal = await self._check_token(token, counts)
        except NotAuthenticated as error:
            error.headers["Set-Cookie"] = cookies.no_cookie(visitor)  # pages can't remove it themselves
            raise
        if connection.scope.get("method") not in SAFE_METHODS:
            cookies.check_csrf(connection.headers, visitor, token)
        return msgspec.structs.replace(principal, csrf_token=cookies.csrf_token(token))

    async def _check_token(self, text: str, counts: bool) -> Principal:
        """Return a session's user."""
        sha256 = keys.token_sha256(text)
        if sha256 is None:
            raise _ended_session()
        async with self.database.lend() as raw:
            counted = await user_queries.find_session(
                raw, sha256, offset=self.database.clock_offset, counts=counts
            )
        if counted is None:
            raise _ended_session()
        found = counted[0]
        if found["ended_at"] is not None or not found["active"] or found["expires_at"] <= found["now"]:
            raise _ended_session()
        client_id = found["client_id"]
        return Principal(
            role=Role(found["role"]),
            client_id=None if client_id is None else ClientId(client_id),
            user_id=UserId(found["user_id"]),
            session_id=SessionId(found["id"]),
            allowance=_admitted(counted[1], counts),
        )


def _credentials(connection: ASGIConnection[Any, Any, Any, Any], cookie: str | None) -> set[tuple[str, str]]:
    """Return every credential that a request has, with its kind; the same key twice is one."""
    headers = connection.headers
    given = [(_COOKIE, cookie)]
    given += [(_TOKEN, text) for text in headers.getall(SESSION_HEADER, [])]
    given += [(_KEY, text) for text in headers.getall("x-api-key", [])]
    for bearer in map(_bearer, headers.getall("authorization", [])):
        given.append((_SECRET if (bearer or "").startswith(f"{keys.WORKER_SECRET}_") else _KEY, bearer))
    return {(kind, text) for kind, text in given if text}


def _admitted(left: Allowance, counts: bool) -> Allowance | None:
    """Return what a good credential has left if the request was counted. Raises RateLimited."""
    if not counts:
        return None
    if left.wait_seconds is not None:
        raise rate_limited(left)
    return left


def _bearer(authorization: str) -> str | None:
    scheme, _, credential = authorization.partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def _unknown_key() -> NotAuthenticated:
    return NotAuthenticated("This API key is not known; check that it was copied whole.")


def _ended_session() -> NotAuthenticated:
    return NotAuthenticated("This session is not known or has ended; log in again.")


def _unknown_worker() -> NotAuthenticated:
    return NotAuthenticated("This worker's secret is not known; check that it was copied whole.")
