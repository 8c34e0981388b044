"""Apps that go from world to world: looking through all routes takes Litestar a fifth of a second of CPU.

What differs between two apps of ``create_app`` is exchanged: dependencies, state, lifespan, and the routes
that are closures. An app that nobody has holds nothing of the world before, and answers nothing.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

import aifactory.app
from aifactory.app import _App


class _Kept:
    """An app with what it was before ``create_app`` went on with it."""

    def __init__(self, given: dict[str, Any]) -> None:
        lifespan = len(given["lifespan"])
        self.app = app = _App(**given)
        self.asgi_handler = app.asgi_handler
        self.own_lifespan = app._lifespan_managers[lifespan:]
        places = {_place(handler) for handler in given["route_handlers"] if _is_closure(handler)}
        self.closures = [handler for handler in _handlers(app) if _place(handler) in places]

    def give(self, given: dict[str, Any]) -> None:
        """Put the parts of a world in."""
        for name, provide in self.app.dependencies.items():
            provide.dependency = given["dependencies"][name].dependency
        functions = {_place(handler): handler.fn for handler in given["route_handlers"]}
        for handler in self.closures:
            handler._fn = functions[_place(handler)]
        self.app.state = given["state"]
        self.app._lifespan_managers = [*given["lifespan"], *self.own_lifespan]

    def empty(self) -> None:
        """Let go of the world."""
        for provide in self.app.dependencies.values():
            provide.dependency = _gone
        for handler in self.closures:
            handler._fn = _gone
        self.app.state = State()
        self.app._lifespan_managers = []
        self.app.asgi_handler = self.asgi_handler


_free: dict[Any, list[_Kept]] = {}


@contextlib.contextmanager
def lent_app(build: Callable[[], Litestar]) -> Iterator[Litestar]:
    """Lend an app as ``build`` makes it, until the end of the block; nobody else has it meanwhile."""
    taken: list[tuple[Any, _Kept]] = []

    def take(**given: Any) -> Litestar:
        key = _key(given)
        free = _free.setdefault(key, [])
        if free:
            kept = free.pop()
            kept.give(given)
        else:
            kept = _Kept(given)
        taken.append((key, kept))
        return kept.app

    with mock.patch.object(aifactory.app, "_App", take):
        app = build()
    try:
        yield app
    finally:
        for key, kept in taken:
            kept.empty()
            _free[key].append(kept)


def _key(given: dict[str, Any]) -> Any:
    """What two apps have in common if one can become the other: the same routes and the same names."""
    routes = tuple((_place(handler), handler.fn.__code__) for handler in given["route_handlers"])
    return routes, tuple(sorted(given["dependencies"])), tuple(sorted(given))


def _handlers(app: Litestar) -> Iterator[HTTPRouteHandler]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from route.route_handlers


def _place(handler: Any) -> tuple[Any, ...]:
    return tuple(sorted(handler.paths)), tuple(sorted(handler.http_methods))


def _is_closure(handler: Any) -> bool:
    """Tell whether a route is made anew for each app, with what it needs in its closure."""
    return handler.fn.__closure__ is not None


def _gone() -> None:
    raise AssertionError("this app's world has ended")
