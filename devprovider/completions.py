"""Chat completions: admit, write, spoil, deliver at the set speed, and bill what was read and written."""

import math
import time
from collections import Counter
from datetime import UTC, datetime
from threading import Event
from typing import Any
from uuid import uuid4

import msgspec

from devprovider import draw
from devprovider.calls import Call, CallLog
from devprovider.delivery import Delivered, Plan, deliver
from devprovider.errors import ApiError
from devprovider.exchange import Exchange, Header
from devprovider.faults import REFUSAL, fault_of, in_fence, refused, without_json, wrongly_typed
from devprovider.limits import Limits, Verdict, duration
from devprovider.prices import cost_nano
from devprovider.requests import ChatRequest, check_size, read_request
from devprovider.settings import Model, Settings
from devprovider.tokens import PrefixCache, count_tokens, cut_tokens
from devprovider.writing.answering import prompt_hash, write

REFUSED_FAULTS = ("rate_limited", "server_error")


class _Billing(msgspec.Struct, kw_only=True):
    """What is known of a call so far; written down at its end, whatever happens."""

    id: str
    client_request_id: str
    at: datetime
    started: float
    model: str = ""
    status: int = 500
    fault: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    prompt_hash: str = ""
    priced: Model | None = None
    delivered: Delivered = Delivered()


class Completions:
    """Serves chat completions; keeps the limits, the prompts seen and the book of calls."""

    def __init__(self, *, settings: Settings, log: CallLog) -> None:
        self.log = log
        self.arrived = Event()
        self.configure(settings)
        self.forget()

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next call on; their script starts anew."""
        self.settings = settings
        self._script = list(settings.script)

    def forget(self) -> None:
        """As if no call had been made."""
        self._limits = Limits()
        self._cache = PrefixCache()
        self._seen: Counter[str] = Counter()
        self.arrived.clear()
        self.log.clear()

    async def serve(self, exchange: Exchange, request_id: str) -> None:
        """Answer one request and write it down."""
        billing = _Billing(
            id=request_id,
            client_request_id=exchange.headers.get("x-client-request-id", ""),
            at=datetime.now(UTC),
            started=time.monotonic(),
        )
        try:
            await self._serve(exchange, billing)
        except ApiError as error:
            billing.status, billing.fault = error.status, error.fault or billing.fault
            await exchange.reply(error.status, error.body(), [*own_headers(request_id), *error.headers])
        finally:
            self.log.add(_call(billing))

    async def _serve(self, exchange: Exchange, billing: _Billing) -> None:
        settings = self.settings
        check_key(exchange, settings)
        request = read_request(await exchange.read(settings.max_request_bytes))
        self.arrived.set()
        billing.model = request.model
        model = settings.model(request.model)
        if model is None:
            raise no_such_model(request.model)
        check_size(request, model)
        billing.prompt_hash = prompt_hash(request.messages, request.schema)
        chance = (settings.seed, billing.prompt_hash, request.model, self._count(billing.prompt_hash))
        billing.fault = self._script.pop(0) if self._script else fault_of(settings.faults, model.id, *chance)
        if billing.fault in REFUSED_FAULTS:
            raise refused(billing.fault, settings.faults, *chance)
        plan = _plan(request, model, settings, billing.fault, "/".join(map(str, chance)))
        billing.prompt_tokens = request.prompt_tokens
        verdict = self._limits.admit(model, request.prompt_tokens + plan.tokens, billing.started)
        if not verdict.allowed:
            billing.fault = ""
            raise _over_limit(model, verdict, request.prompt_tokens + plan.tokens)
        read = request.text(schema_first=settings.schema_cached_first)
        cached = self._cache.cached_tokens(model.id, read, settings.cache_least_tokens)
        billing.cached_tokens, billing.priced, billing.status = cached, model, 200
        headers = [*own_headers(billing.id), *verdict.headers]
        envelope = _envelope(request, billing, plan, cached)
        async with exchange.watched():
            billing.delivered = await deliver(exchange, plan, envelope, headers, settings)
        if billing.delivered.left and billing.fault != "hang":
            billing.fault = "client_left"

    def _count(self, name: str) -> int:
        """How often a prompt was seen before."""
        self._seen[name] += 1
        return self._seen[name] - 1


def _plan(request: ChatRequest, model: Model, settings: Settings, fault: str, seed: str) -> Plan:
    """The answer, spoiled by the fault, within the tokens that it may have."""
    text = write(
        request.messages,
        request.schema,
        seed=settings.seed,
        quality=settings.quality,
        gullible=settings.gullible,
        as_json=request.as_json,
    ).text
    finish, refusal = "stop", ""
    if fault == "refusal":
        by_filter = draw.share(seed, "filter") < 0.5
        text, finish, refusal = "", "content_filter" if by_filter else "stop", "" if by_filter else REFUSAL
    elif fault == "garbage":
        text = without_json(seed)
    elif fault == "fenced":
        text = in_fence(text)
    elif fault == "wrong_type":
        text = wrongly_typed(text, seed)
    tokens = max(1, count_tokens(text or refusal))
    most = min(request.max_tokens or model.max_output_tokens, model.max_output_tokens)
    if fault == "truncated":
        most = min(most, max(1, int(tokens * (0.2 + 0.7 * draw.share(seed, "cut")))))
    if tokens > most and not refusal:
        text, tokens, finish = cut_tokens(text, most), most, "length"
    return Plan(
        text=text, refusal=refusal, finish=finish, tokens=tokens, fault=fault, seed=seed,
        stream=request.stream,
        include_usage=request.include_usage,
    )  # fmt: skip


def _envelope(request: ChatRequest, billing: _Billing, plan: Plan, cached: int) -> dict[str, Any]:
    """What is the same in the answer and in all its chunks, with the usage."""
    return {
        "id": f"chatcmpl-sim-{uuid4().hex}",
        "created": int(billing.at.timestamp()),
        "model": request.model,
        "system_fingerprint": "simulated",
        "usage": {
            "prompt_tokens": billing.prompt_tokens,
            "completion_tokens": plan.tokens,
            "total_tokens": billing.prompt_tokens + plan.tokens,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _call(billing: _Billing) -> Call:
    """The book's line; what was not admitted costs nothing."""
    served, delivered = billing.priced is not None, billing.delivered
    prompt = billing.prompt_tokens if served else 0
    cost = 0
    if billing.priced:
        written = delivered.tokens
        cost = cost_nano(billing.priced, prompt=prompt, cached=billing.cached_tokens, completion=written)
    return Call(
        id=billing.id,
        client_request_id=billing.client_request_id,
        at=billing.at,
        model=billing.model,
        status=billing.status,
        fault=billing.fault,
        prompt_tokens=prompt,
        cached_tokens=billing.cached_tokens,
        completion_tokens=delivered.tokens,
        cost_nano=cost,
        served=served,
        usage_sent=delivered.usage_sent,
        prompt_hash=billing.prompt_hash,
        seconds=round(time.monotonic() - billing.started, 6),
    )


def check_key(exchange: Exchange, settings: Settings) -> None:
    """Raises ApiError 401 without the configured key."""
    given = exchange.headers.get("authorization", "")
    if settings.key and not given:
        raise ApiError(401, "You didn't provide an API key.")
    if settings.key and given != f"Bearer {settings.key}":
        raise ApiError(401, "Incorrect API key provided.", code="invalid_api_key")


def no_such_model(name: str) -> ApiError:
    """The 404 for a model that is not there."""
    said = f"The model `{name}` does not exist or you do not have access to it."
    return ApiError(404, said, param="model", code="model_not_found")


def own_headers(request_id: str) -> list[Header]:
    """The headers of every answer: its id, and that nothing here comes from a model."""
    return [("x-request-id", request_id), ("x-simulated", "true"), ("server", "devprovider (simulated)")]


def _over_limit(model: Model, verdict: Verdict, tokens: int) -> ApiError:
    kind = verdict.short_of
    short = "TPM" if kind == "tokens" else "RPM"
    wanted = tokens if kind == "tokens" else 1
    said = (
        f"Rate limit reached for {model.id} on {kind} per min ({short}): Limit {verdict.limit}, "
        f"Used {verdict.used}, Requested {wanted}. Please try again in {duration(verdict.wait_seconds)}."
    )
    told: list[Header] = [
        ("retry-after", str(math.ceil(verdict.wait_seconds))),
        ("retry-after-ms", str(math.ceil(1000 * verdict.wait_seconds))),
    ]
    headers = (*verdict.headers, *told)
    return ApiError(429, said, type=kind, code="rate_limit_exceeded", headers=headers, fault="limit")
