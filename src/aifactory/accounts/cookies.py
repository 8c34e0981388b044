"""The session's cookie, and the proof that a request with it comes from our own pages. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta

from aifactory.kernel.errors import NotAllowed
from aifactory.kernel.visitors import Visitor

CSRF_HEADER = "x-csrf-token"


class CsrfFailed(NotAllowed):
    """A change by cookie lacks the right ``X-CSRF-Token``, or comes from another site's page."""

    code, title = "csrf_failed", "This request may come from another site"


def cookie_name(visitor: Visitor) -> str:
    """Return the cookie's name; ``__Host-`` keeps other hosts of the domain from planting one."""
    return "__Host-aifactory_session" if visitor.secure else "aifactory_session"


def session_cookie(token: str, visitor: Visitor, *, lasts: timedelta) -> str:
    """Return ``Set-Cookie`` for a session. Lax, so that a link in a mail finds its reader logged in."""
    parts = [
        f"{cookie_name(visitor)}={token}",
        "Path=/",
        f"Max-Age={int(lasts.total_seconds())}",
        "HttpOnly",
        "SameSite=Lax",
    ]
    return "; ".join([*parts, "Secure"] if visitor.secure else parts)


def no_cookie(visitor: Visitor) -> str:
    """Return the ``Set-Cookie`` that removes it."""
    return session_cookie("", visitor, lasts=timedelta())


def csrf_token(token: str) -> str:
    """Return a session's CSRF token: derived, stored nowhere, and telling nothing of the session's."""
    digest = hmac.digest(token.encode(), b"aifactory csrf token", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_same_site(headers: Mapping[str, str], visitor: Visitor) -> None:
    """Refuse what a browser says comes from elsewhere. Raises CsrfFailed."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise CsrfFailed("Your browser says that another site's page asks for this.")
        return
    origin = headers.get("origin")  # older browsers send only this
    if origin is not None and _host_of(origin) != visitor.host:
        raise CsrfFailed("The Origin of this request is another site.")


def check_csrf(headers: Mapping[str, str], visitor: Visitor, token: str) -> None:
    """Refuse a change that the session's own page did not ask for. Raises CsrfFailed."""
    check_same_site(headers, visitor)
    given = headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), csrf_token(token).encode()):
        raise CsrfFailed("Send the session's csrfToken (GET /auth/session) as X-CSRF-Token.")


def _host_of(origin: str) -> str:
    return origin.partition("://")[2].lower()
