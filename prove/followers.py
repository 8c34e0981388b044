"""A client that follows executions over server-sent events, and is cut off again and again."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import anyio
import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import text_id

HANGS_UP = 0.05  #: how often, per event, a follower itself closes the stream and comes back
_SILENCE_SECONDS = 40.0  # a comment comes every 15 s


class Followed(msgspec.Struct, kw_only=True):
    """What a follower saw of one execution."""

    seqs: list[int] = []
    types: list[str] = []
    connections: int = 0
    ended: bool = False


class _Event(msgspec.Struct, kw_only=True):
    id: int | None = None
    type: str = "message"
    data: bytes = b""


async def follow(
    session: aiohttp.ClientSession, url: Callable[[], str], path: str, chance: random.Random, seen: Followed
) -> None:
    """Follow a stream to its ``end``, on whichever process ``url`` names at each connection."""
    while not seen.ended:
        seen.connections += 1
        try:
            await _read(session, url() + path, seen, chance)
        except (aiohttp.ClientError, OSError, TimeoutError):
            await anyio.sleep(0.05 + 0.2 * chance.random())


async def _read(session: aiohttp.ClientSession, url: str, seen: Followed, chance: random.Random) -> None:
    headers = {"Last-Event-ID": str(seen.seqs[-1])} if seen.seqs else {}
    silence = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE_SECONDS)
    async with session.get(url, headers=headers, timeout=silence) as answer:
        if answer.status >= 500:
            raise aiohttp.ClientConnectionError
        answer.raise_for_status()
        async for event in _events(answer.content):
            if event.type == "end":
                seen.ended = True
                return
            assert event.id is not None
            seen.seqs.append(event.id)
            seen.types.append(event.type)
            if chance.random() < HANGS_UP:
                return


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[_Event]:
    """Read events; one without its blank line at the end was cut off, and is none."""
    event = _Event()
    async for line in stream:
        text = line.rstrip(b"\r\n")
        name, _, value = text.partition(b": ")
        if not text:
            if event.data:
                yield event
            event = _Event()
        elif name == b"id":
            event.id = int(value)
        elif name == b"event":
            event.type = value.decode()
        elif name == b"data":
            event.data = value


_ENDS = frozenset(
    f"execution.{state}" for state in ("succeeded", "partial", "failed", "cancelled", "expired")
)


async def broken_events(database: Database, followed: Sequence[tuple[str, Followed]]) -> list[str]:
    """Compare the events of all executions with their ends, and with what each follower of a request saw."""
    async with database.begin() as tx:
        ends = await tx.raw.fetch("SELECT id, request_id, state FROM executions")
        rows = await tx.raw.fetch("SELECT execution_id, seq, type FROM execution_events ORDER BY 1, 2")
    stored: dict[Any, list[tuple[int, str]]] = {}
    for row in rows:
        stored.setdefault(row["execution_id"], []).append((row["seq"], row["type"]))
    events = {text_id("req", row["request_id"]): stored.get(row["id"], []) for row in ends}
    broken = []
    for row in ends:
        name = text_id("req", row["request_id"])
        seqs, types = [seq for seq, _ in events[name]], [type_ for _, type_ in events[name]]
        finals = [type_ for type_ in types if type_ in _ENDS]
        if finals != [f"execution.{row['state']}"] or types[-1:] != finals:
            broken.append(f"{name} is {row['state']}; its ends: {finals}, its last event: {types[-1:]}")
        if seqs != list(range(1, len(seqs) + 1)) or types.count("execution.started") != 1:
            broken.append(f"{name} has odd events: {events[name]}")
    for name, seen in followed:
        told = list(zip(seen.seqs, seen.types, strict=True))
        if told != events.get(name) or not seen.ended:
            broken.append(f"{name}: a follower saw {told}, stored are {events.get(name)}")
    unseen = events.keys() - {name for name, _ in followed}
    return broken + [f"{name} was followed by nobody" for name in sorted(unseen)]
