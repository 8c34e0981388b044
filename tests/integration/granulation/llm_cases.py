"""A call to make, and what the tests of model calls have in common."""

from typing import Any

import msgspec
from tests.integration.granulation.scripted_provider import KEY, Exchange, head, piece, streams, usage

from aifactory.granulation.llm import Call, Failed, ModelCalls, Reply
from aifactory.resources.interface import Endpoint, Usage

CALL = Call(
    system="You write courses.",
    user="# Passages\n[s1] The secret recipe of the client needs three lemons.\n# Task\nWrite.",
    schema_name="greeting",
    schema={"type": "object", "properties": {"text": {"type": "string"}}},
    max_output_tokens=100,
    call_id="job_1.2",
)
GOOD = streams(piece("Hel"), piece("lo"), piece(finish="stop"), {"choices": [], "usage": usage()})
USED = Usage(input_units=12, cached_input_units=4, output_units=3)
PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def but(endpoint: Endpoint, **changes: object) -> Endpoint:
    return msgspec.structs.replace(endpoint, **changes)


async def reply_of(calls: ModelCalls, endpoint: Endpoint, call: Call = CALL) -> Reply:
    reply = await calls.complete(endpoint, "m", call)
    assert isinstance(reply, Reply), reply
    return reply


async def failure_of(calls: ModelCalls, endpoint: Endpoint, call: Call = CALL) -> Failed:
    failed = await calls.complete(endpoint, "m", call)
    assert isinstance(failed, Failed), failed
    assert KEY not in repr(failed)
    assert "lemons" not in repr(failed)
    assert len(failed.fault.message) < 250
    return failed


def error(message: object = "no", **more: object) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


async def hang_before_headers(exchange: Exchange) -> None:
    await exchange.hang()


async def hang_after_headers(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.hang()


async def hang_in_an_error(exchange: Exchange) -> None:
    await exchange.send(head(500, {"content-length": "50"}) + b"{")
    await exchange.hang()
