"""The ASGI application: OpenAI's routes, and those that steer and read the simulation."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import msgspec

from devprovider.calls import Call, CallLog
from devprovider.completions import Completions, check_key, no_such_model, own_headers
from devprovider.errors import ApiError
from devprovider.exchange import Event, Exchange
from devprovider.settings import Settings, SettingsError, changed

_log = logging.getLogger("devprovider")
CREATED = 1_700_000_000


class Provider:
    """Routes requests; settings may be changed from any thread."""

    def __init__(self, *, settings: Settings, log: CallLog | None = None) -> None:
        self.completions = Completions(settings=settings, log=log or CallLog())
        self._first_settings = settings
        self._open: set[Exchange] = set()

    @property
    def settings(self) -> Settings:
        """What holds from the next call on."""
        return self.completions.settings

    def calls(self) -> list[Call]:
        """The book of calls."""
        return self.completions.log.all()

    def configure(self, values: dict[str, Any]) -> None:
        """Change settings by name, nested ones merged; raises SettingsError."""
        self.completions.configure(changed(self.settings, values))

    def reset(self) -> None:
        """The first settings again, no calls, no memory."""
        self.completions.configure(self._first_settings)
        self.completions.forget()

    def leave(self) -> None:
        """End all open answers as if their clients had left; only from the server's loop."""
        for exchange in self._open:
            exchange.gone.set()

    async def __call__(
        self,
        scope: Event,
        receive: Callable[[], Awaitable[Event]],
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        """ASGI's entry."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope=scope, receive=receive, send=send)
        request_id = f"req_sim_{uuid4().hex}"
        self._open.add(exchange)
        try:
            await self._route(exchange, request_id)
        except ApiError as error:
            await exchange.reply(error.status, error.body(), [*own_headers(request_id), *error.headers])
        except Exception:
            # A fault of the simulation itself, never one that was asked for: say so and go on serving.
            _log.exception("devprovider failed")
            if not exchange.started:
                broken = ApiError(500, "The simulation itself failed; see its log.", type="server_error")
                await exchange.reply(broken.status, broken.body(), own_headers(request_id))
        finally:
            self._open.discard(exchange)

    async def _route(self, exchange: Exchange, request_id: str) -> None:
        method, path = exchange.method, exchange.path.rstrip("/")
        if (method, path) == ("POST", "/v1/chat/completions"):
            await self.completions.serve(exchange, request_id)
        elif method == "GET" and path.startswith("/v1/models"):
            check_key(exchange, self.settings)
            await exchange.reply(200, self._models(path.removeprefix("/v1/models")), own_headers(request_id))
        elif path.startswith("/_sim/"):
            await exchange.reply(200, await self._steer(exchange, path), own_headers(request_id))
        else:
            raise ApiError(404, f"Invalid URL ({method} {exchange.path})")

    def _models(self, rest: str) -> dict[str, Any]:
        listed = [
            {"id": model.id, "object": "model", "created": CREATED, "owned_by": "simulated"}
            for model in self.settings.models
        ]
        name = rest.lstrip("/")
        if not name:
            return {"object": "list", "data": listed}
        found = next((one for one in listed if one["id"] == name), None)
        if found is None:
            raise no_such_model(name)
        return found

    async def _steer(self, exchange: Exchange, path: str) -> Any:
        asked = (exchange.method, path)
        if asked == ("GET", "/_sim/calls"):
            return self.calls()
        if asked == ("GET", "/_sim/settings"):
            return self.settings
        if asked == ("PUT", "/_sim/settings"):
            try:
                self.configure(msgspec.json.decode(await exchange.read(2**20), type=dict[str, Any]))
            except (msgspec.DecodeError, SettingsError) as error:
                raise ApiError(400, str(error)) from error
            return self.settings
        if asked == ("POST", "/_sim/reset"):
            self.reset()
            return self.settings
        raise ApiError(404, f"Invalid URL ({exchange.method} {exchange.path})")
