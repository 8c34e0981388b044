"""Where the server is, who is calling, and how HTTP's outcomes are told apart."""

import os
from collections.abc import Mapping
from typing import Any

import httpx2
import msgspec

from aifactory.client.errors import AuthError, Invalid
from aifactory.client.exchange import Answer, Broken, Call

DEFAULT_URL = "http://127.0.0.1:8400"
URL_VARIABLE, KEY_VARIABLE = "AIFACTORY_URL", "AIFACTORY_API_KEY"
SESSION_HEADER = "x-bitware-session-token"
CONNECT_SECONDS = 10.0


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """An address and the headers of every request there."""

    url: str
    headers: dict[str, str]
    timeout: float

    def __repr__(self) -> str:
        """Show the address only: the headers hold the credential."""
        return f"Connection(url={self.url!r})"


def connect(
    url: str | None,
    api_key: str | None,
    session_token: str | None,
    timeout: float,
    environ: Mapping[str, str] = os.environ,
) -> Connection:
    """Settle the address and the credential; what is not given comes from the environment.

    Raises Invalid for an address that is none, AuthError for a credential that no header can hold.
    """
    address = (url or environ.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
    try:
        parsed = httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError) as error:
        raise Invalid(f"{address!r} is no address: {error}.", code="bad_url") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise Invalid(f"{address!r} is no address like {DEFAULT_URL}.", code="bad_url")
    if parsed.userinfo:
        raise Invalid("The address holds a password; give the key as api_key instead.", code="bad_url")
    headers = {"User-Agent": "aifactory-python", "Accept": "application/json"}
    key = (api_key or ("" if session_token else environ.get(KEY_VARIABLE)) or "").strip()
    if key:
        headers["X-API-Key"] = _header_value(key)
    if session_token:
        headers[SESSION_HEADER] = _header_value(session_token.strip())
    return Connection(url=address, headers=headers, timeout=timeout)


def _header_value(secret: str) -> str:
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise AuthError("This is no API key: it has spaces or unusual characters.", code="bad_key")
    return secret


def request_arguments(connection: Connection, call: Call) -> dict[str, Any]:
    """Return the arguments of ``build_request``."""
    read_seconds = connection.timeout if call.read_seconds is None else call.read_seconds
    return {
        "method": call.method,
        "url": connection.url + call.path,
        "params": call.query or None,
        "headers": connection.headers | call.headers,
        "content": call.body,
        "timeout": httpx2.Timeout(connection.timeout, connect=CONNECT_SECONDS, read=read_seconds),
    }


def answer_of(response: httpx2.Response, body: bytes) -> Answer:
    """Return a response as an answer."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=body)


def broken_by(error: Exception) -> Broken:
    """Tell how a connection failed. Raises the error again when trying again can't help."""
    if isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol):
        raise error
    unreached = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
    return Broken(reason=str(error) or type(error).__name__, unreached=unreached)


# What a lost or senseless connection raises.
FAULTS = (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError)
