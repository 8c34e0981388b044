"""Sends an answer at the set speed, whole or in chunks, and says how much of it went out."""

import math
import time
from typing import Any

import msgspec

from devprovider import draw
from devprovider.exchange import Exchange, Header
from devprovider.settings import Latency, Settings

CHUNKS_PER_SECOND = 20
TOKENS_AT_ONCE = 64
DONE = b"data: [DONE]\n\n"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent; ``fault`` may end it early."""

    text: str
    refusal: str
    finish: str
    tokens: int
    fault: str
    seed: str
    stream: bool
    include_usage: bool


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, whether the usage went out, whether the client left before the end."""

    tokens: int = 0
    usage_sent: bool = False
    left: bool = False


class _Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When which token is written, in seconds of the monotonic clock."""

    first: float
    per_second: float

    def at(self, tokens: float) -> float:
        return self.first + (tokens / self.per_second if self.per_second else 0.0)

    def written(self, most: int, now: float) -> int:
        """Tokens written by now."""
        if now < self.first:
            return 0
        return min(most, math.ceil((now - self.first) * self.per_second)) if self.per_second else most


async def deliver(
    exchange: Exchange, plan: Plan, envelope: dict[str, Any], headers: list[Header], settings: Settings
) -> Delivered:
    """Send the answer; returning before its end cuts the connection."""
    pace = _pace(settings.latency, plan.seed, time.monotonic())
    if plan.fault == "hang":
        return await _hang(exchange, plan, envelope, headers, pace, settings.faults.hang_seconds)
    if plan.stream:
        return await _stream(exchange, plan, envelope, headers, pace)
    return await _whole(exchange, plan, envelope, headers, pace)


def _pace(latency: Latency, seed: str, now: float) -> _Pace:
    def jittered(value: float, name: str) -> float:
        return value * (1 + latency.jitter * (2 * draw.share(seed, name) - 1))

    return _Pace(
        first=now + jittered(latency.first_token_seconds, "first"),
        per_second=jittered(latency.tokens_per_second, "speed"),
    )


def _share_kept(plan: Plan) -> float:
    """How much of the answer goes out before a drop: a fifth to nine tenths."""
    return 0.2 + 0.7 * draw.share(plan.seed, "drop") if plan.fault == "drop" else 1.0


async def _whole(
    exchange: Exchange, plan: Plan, envelope: dict[str, Any], headers: list[Header], pace: _Pace
) -> Delivered:
    tokens = math.ceil(plan.tokens * _share_kept(plan))
    if not await exchange.stay(pace.at(tokens) - time.monotonic()):
        return Delivered(tokens=pace.written(plan.tokens, time.monotonic()), left=True)
    message = {"role": "assistant", "content": plan.text or None, "refusal": plan.refusal or None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": plan.finish}
    answer = {"object": "chat.completion", **envelope, "choices": [choice]}
    if plan.fault != "drop":
        await exchange.reply(200, answer, headers)
        return Delivered(tokens=plan.tokens, usage_sent=True)
    body = msgspec.json.encode(answer | {"usage": envelope["usage"]})
    await exchange.start(200, [("content-length", str(len(body))), *headers])
    await exchange.write(body[: max(1, len(body) * tokens // (2 * plan.tokens))])
    return Delivered(tokens=tokens)


async def _stream(
    exchange: Exchange, plan: Plan, envelope: dict[str, Any], headers: list[Header], pace: _Pace
) -> Delivered:
    if not await exchange.stay(pace.first - time.monotonic()):
        return Delivered(left=True)
    await _open(exchange, plan, envelope, headers)
    text, field = (plan.refusal, "refusal") if plan.refusal else (plan.text, "content")
    step = max(1, round(pace.per_second / CHUNKS_PER_SECOND)) if pace.per_second else TOKENS_AT_ONCE
    sent, end = 0, max(1, int(plan.tokens * _share_kept(plan)))
    while sent < end:
        upto = min(plan.tokens, sent + step)
        if not await exchange.stay(pace.at(upto) - time.monotonic()):
            return Delivered(tokens=sent, left=True)
        piece = text[len(text) * sent // plan.tokens : len(text) * upto // plan.tokens]
        if not await _send_chunk(exchange, plan, envelope, {field: piece}):
            return Delivered(tokens=upto, left=True)
        sent = upto
    if plan.fault == "drop":
        return Delivered(tokens=sent)
    return await _finish(exchange, plan, envelope)


async def _finish(exchange: Exchange, plan: Plan, envelope: dict[str, Any]) -> Delivered:
    """The last chunks: why it ends, what it cost, the end."""
    if not await _send_chunk(exchange, plan, envelope, {}, finish=plan.finish):
        return Delivered(tokens=plan.tokens, left=True)
    usage_sent = False
    if plan.include_usage:
        last = {"object": "chat.completion.chunk", **envelope, "choices": []}
        usage_sent = await exchange.write(_event(last))
        if not usage_sent:
            return Delivered(tokens=plan.tokens, left=True)
    await exchange.write(DONE, more=False)
    return Delivered(tokens=plan.tokens, usage_sent=usage_sent)


async def _open(exchange: Exchange, plan: Plan, envelope: dict[str, Any], headers: list[Header]) -> bool:
    await exchange.start(200, [*headers, ("cache-control", "no-cache")], "text/event-stream; charset=utf-8")
    return await _send_chunk(exchange, plan, envelope, {"role": "assistant", "content": ""})


async def _send_chunk(
    exchange: Exchange, plan: Plan, envelope: dict[str, Any], delta: dict[str, Any], finish: str | None = None
) -> bool:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {"object": "chat.completion.chunk", **envelope, "choices": [choice]}
    del chunk["usage"]
    if plan.include_usage:
        chunk["usage"] = None
    return await exchange.write(_event(chunk))


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


async def _hang(
    exchange: Exchange,
    plan: Plan,
    envelope: dict[str, Any],
    headers: list[Header],
    pace: _Pace,
    seconds: float,
) -> Delivered:
    """Silence, at once or after a first chunk, until the client leaves or the connection is cut."""
    tokens = 0
    says_something = plan.stream and draw.share(plan.seed, "hang") < 0.5
    if says_something and await exchange.stay(pace.first - time.monotonic()):
        tokens = min(plan.tokens, TOKENS_AT_ONCE)
        piece = (plan.refusal or plan.text)[: len(plan.text) * tokens // plan.tokens]
        await _open(exchange, plan, envelope, headers)
        await _send_chunk(exchange, plan, envelope, {"content": piece})
    left = not await exchange.stay(seconds)
    if not says_something:
        # Without this the server would answer 500; a line that went dead answers nothing.
        await exchange.start(200, [("content-length", "1"), *headers])
    return Delivered(tokens=tokens, left=left)
