"""Every route that the documentation names is a route of the application."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PATHS: dict[str, dict[str, Any]] = msgspec.json.decode((ROOT / "docs" / "openapi.json").read_bytes())["paths"]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
OWN_HOST = r"https?://(?:127\.0\.0\.1|localhost)(?::\d+)?"
# Not inside another address or a file's path; a query is cut off.
NAMED = re.compile(
    rf"(?:\b(?P<method>{'|'.join(METHODS)})\s+)?(?:{OWN_HOST}|(?<![\w./:]))"
    r"(?P<path>/(?:api|admin|requests|clients|health)(?:/[\w{}-]+)*)(?!/|\w|\.\w)"
)


def named(text: str) -> list[tuple[str | None, str]]:
    return [(found["method"], found["path"]) for found in NAMED.finditer(text)]


def unknown(method: str | None, path: str) -> bool:
    """A parameter may have any name, or be an example of a value."""
    shape = re.sub(r"\{[^}]+\}", "{}", path)
    known = {re.sub(r"\{[^}]+\}", "{}", one): set(methods) for one, methods in PATHS.items()}
    return shape not in known or (method is not None and method.lower() not in known[shape])


PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_route_that_a_page_names_exists(page: Path) -> None:
    assert [one for one in named(page.read_text("utf-8")) if unknown(*one)] == []


def test_routes_are_found_in_words_and_in_commands() -> None:
    assert named("`PUT /api/admin/providers/{name}` or curl http://127.0.0.1:8400/requests?limit=1") == [
        ("PUT", "/api/admin/providers/{name}"),
        (None, "/requests"),
    ]
    assert named("https://api.example.com/v1, https://x.com/api/y, src/api/routes.py, /api/v1.json") == []
    assert sum(len(named(page.read_text("utf-8"))) for page in PAGES) >= 8


def test_a_wrong_route_or_method_is_noticed() -> None:
    assert unknown("GET", "/api/admin/providers")
    assert unknown("DELETE", "/health")
    assert not unknown("GET", "/api/jobs/{anyName}/repairs")
