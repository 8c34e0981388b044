"""Hostile values at every place of a body, and which of these bodies must go over HTTP to be seen.

All routes decode their bodies by the same function, into their own type: what it refuses never gets to the
route. So that function refuses all of them here, one after another, and a few take the long way as well.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from aifactory.kernel.errors import AppError
from aifactory.kernel.http import _decoder, encode
from aifactory.kernel.problems import decode_strictly, problem_members

UNPRINTABLE = ["a\x00b", "a\x1bb", "\ud800"]  #: refused wherever they stand
FOREIGN = [
    None,
    True,
    -1,
    2**31,
    2**63,
    10**400,
    1e308,
    "",
    "x" * 100_000,
    "../../etc/passwd",
    "' OR 1=1 --",
    [],
    {},
    [[[[[[[[[[1]]]]]]]]]],
    {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}},
]


class Hostile(msgspec.Struct, frozen=True, kw_only=True):
    """A body with a hostile value somewhere, and the members of the problem that its decoding answers."""

    place: tuple[Any, ...]
    value: Any
    content: bytes
    problem: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.place}: {ascii(self.value)[:40]}"


def to_be_sent(app: Litestar, route: str, body: Any, *, turn: int = 0) -> tuple[list[Hostile], list[Hostile]]:
    """Return what decoding refuses, two at each place in turn, and all that gets to the route.

    Asserts that decoding refuses what is unprintable, and fails by no other error than a refusal.
    """
    kind = body_type(app, route)
    refused, decoded = list[Hostile](), list[Hostile]()
    for number, place in enumerate(places(body), start=turn):
        unprintable = [_decode(kind, body, place, value) for value in UNPRINTABLE]
        assert all(one.problem for one in unprintable), place
        foreign = [_decode(kind, body, place, value) for value in FOREIGN]
        decoded += [one for one in foreign if one.problem is None]
        for all_refused in (unprintable, [one for one in foreign if one.problem is not None]):
            refused += all_refused[number % (len(all_refused) or 1) :][:1]
    return refused, decoded


def body_type(app: Litestar, name: str) -> Any:
    """Return the type that a route ("POST /path") decodes its body into."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                if f"{method} {route.path_format}" == name:
                    return handler.parsed_fn_signature.parameters["data"].annotation
    raise LookupError(name)


def _decode(kind: Any, body: Any, place: tuple[Any, ...], value: Any) -> Hostile:
    content, problem = replaced(body, place, value), None
    try:
        decode_strictly(content, _decoder(kind))
    except AppError as refusal:
        problem = json.loads(encode(problem_members(refusal, instance="", request_id="")))
    assert problem is None or 400 <= problem["status"] < 500, (place, value)
    return Hostile(place=place, value=value, content=content, problem=problem)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within a body."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> bytes:
    changed = copy.deepcopy(body)
    target = changed
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return json.dumps(changed).encode()
