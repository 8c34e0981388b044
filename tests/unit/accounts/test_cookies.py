"""Cookies and the proof against other sites' pages."""

import pytest

from aifactory.accounts import cookies, keys
from aifactory.accounts.cookies import CsrfFailed
from aifactory.accounts.sessions import SESSION_LASTS
from aifactory.kernel.visitors import Visitor

PLAIN = Visitor(address="9.9.9.9", secure=False, host="factory.example:8400")
SECURE = Visitor(address="9.9.9.9", secure=True, host="factory.example")
TOKEN = keys.make_token()


def test_a_cookie_is_for_this_host_alone_and_for_no_script() -> None:
    attributes = "Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"
    assert cookies.session_cookie(TOKEN, PLAIN, lasts=SESSION_LASTS) == (
        f"aifactory_session={TOKEN}; {attributes}"
    )
    assert cookies.session_cookie(TOKEN, SECURE, lasts=SESSION_LASTS) == (
        f"__Host-aifactory_session={TOKEN}; {attributes}; Secure"
    )
    assert "Max-Age=0" in cookies.no_cookie(SECURE)


def test_the_csrf_token_belongs_to_its_session_and_does_not_show_it() -> None:
    token = cookies.csrf_token(TOKEN)
    assert token == cookies.csrf_token(TOKEN) != cookies.csrf_token(keys.make_token())
    assert len(token) == 43
    cookies.check_csrf({"x-csrf-token": token}, PLAIN, TOKEN)


@pytest.mark.parametrize(
    "given",
    [None, "", "x", cookies.csrf_token(keys.make_token()), "é" * 43, TOKEN],
    ids=["none", "empty", "short", "another session's", "not ASCII", "the session's own token"],
)
def test_a_wrong_csrf_token_is_refused(given: str | None) -> None:
    with pytest.raises(CsrfFailed):
        cookies.check_csrf({} if given is None else {"x-csrf-token": given}, PLAIN, TOKEN)


@pytest.mark.parametrize(
    ("headers", "visitor"),
    [
        ({}, PLAIN),
        ({"sec-fetch-site": "same-origin"}, PLAIN),
        ({"sec-fetch-site": "none"}, PLAIN),
        ({"origin": "http://factory.example:8400"}, PLAIN),
        ({"origin": "https://FACTORY.example"}, SECURE),
    ],
)
def test_our_own_pages_are_let_in(headers: dict[str, str], visitor: Visitor) -> None:
    cookies.check_same_site(headers, visitor)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "", "origin": "http://factory.example:8400"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://factory.example"},
        {"origin": "http://factory.example:8400.evil.example"},
    ],
)
def test_pages_of_other_sites_are_kept_out(headers: dict[str, str]) -> None:
    with pytest.raises(CsrfFailed):
        cookies.check_same_site(headers, PLAIN)
    with pytest.raises(CsrfFailed):
        cookies.check_csrf({**headers, "x-csrf-token": cookies.csrf_token(TOKEN)}, PLAIN, TOKEN)
