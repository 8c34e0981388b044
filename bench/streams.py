"""Many followers of live events on one process: what they cost at rest and at work, how late events are."""

import asyncio
import json
import resource
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import msgspec
import psutil  # type: ignore[import-untyped]
from tests.e2e.running import QUIZ, Server, data_folder

from bench.figures import OURS, Row, spread
from bench.running import Bench, Measure

EXECUTIONS = 20
OPENED_TOGETHER = 100
TEXT = "The moon pulls the sea. The tide rises twice a day. A spring tide comes at the new moon. " * 40


class Seen(msgspec.Struct, kw_only=True):
    """What one stream has brought: the numbers of its events, how late each was, whether it ended well."""

    seqs: list[int] = []
    late_seconds: list[float] = []
    ended: bool = False


class Use(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Processor time of a while in percent of one core, and memory at its end."""

    cpu_percent: float
    rss_mib: float


async def follow(
    port: int, key: str, execution_id: str, seen: Seen, opened: Callable[[], None], opening: asyncio.Semaphore
) -> None:
    """Read one stream to its end; a refusal, for example for too much at once, is tried again."""
    head = f"GET /api/execution/{execution_id}/events HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\n\r\n"
    async with opening:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode())
            if b" 200 " in await reader.readline():
                break
            writer.close()
            await asyncio.sleep(1)
    opened()
    number: int | None = None
    while line := await reader.readline():
        if line.startswith(b"retry:"):
            continue
        if line.startswith(b"id: "):
            number = int(line[4:])
        elif line.startswith(b"event: end"):
            seen.ended = True
            break
        elif line.startswith(b"data: ") and number is not None:
            told = datetime.fromisoformat(json.loads(line[6:])["timestamp"])
            seen.seqs.append(number)
            seen.late_seconds.append(time.time() - told.timestamp())
            number = None
    writer.close()


async def measure(process: psutil.Process, seconds: float) -> Use:
    """Measure the server's own process for a while; its database and workers are not part of it."""
    before, began = process.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    return used(process, before, began)


def used(process: psutil.Process, before: Any, began: float) -> Use:
    """Return what was used since."""
    now, passed = process.cpu_times(), time.perf_counter() - began
    cpu = now.user + now.system - before.user - before.system
    return Use(cpu_percent=round(100 * cpu / passed, 2), rss_mib=round(process.memory_info().rss / 2**20, 1))


async def switch(http: httpx.AsyncClient, admin: dict[str, str], word: str) -> None:
    """Switch the scheduler."""
    (await http.post(f"/admin/scheduler/{word}", headers=admin)).raise_for_status()


async def submit(http: httpx.AsyncClient, key: str) -> str:
    """Submit a small piece of work; return its execution's id."""
    body = {"template": QUIZ, "parameters": {"source": {"text": TEXT}}}
    answer = await http.post("/api/execute", json=body, headers={"X-API-Key": key})
    answer.raise_for_status()
    return str(answer.json()["id"])


async def watch(server: Server, streams: int, quiet_seconds: float) -> dict[str, Any]:
    """Do the rounds and return the figures."""
    secrets, process = server.secrets(), psutil.Process(server.pid)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as http:
        login = {"login": secrets["login"], "password": secrets["password"]}
        token = (await http.post("/auth/login", json=login)).json()["token"]
        admin = {"x-bitware-session-token": token}
        client = (await http.get("/clients", headers=admin)).json()["data"][0]["id"]
        limits = {"limits": {"requestsPerMinute": 1_000_000}}
        (await http.patch(f"/clients/{client}", json=limits, headers=admin)).raise_for_status()
        await switch(http, admin, "stop")
        executions = [await submit(http, secrets["key"]) for _ in range(EXECUTIONS)]
        at_rest = await measure(process, quiet_seconds)
        seen = [Seen() for _ in range(streams)]
        gate, left = asyncio.Event(), streams
        few_at_once = asyncio.Semaphore(OPENED_TOGETHER)

        def opened() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                gate.set()

        before, began = process.cpu_times(), time.perf_counter()
        tasks = [
            asyncio.create_task(
                follow(server.port, secrets["key"], executions[n % EXECUTIONS], one, opened, few_at_once)
            )
            for n, one in enumerate(seen)
        ]
        await gate.wait()
        opening = {"seconds": round(time.perf_counter() - began, 2), **as_json(used(process, before, began))}
        await asyncio.sleep(3)
        for one in seen:
            one.late_seconds.clear()  # what was replayed is late by nature
        quiet = await measure(process, quiet_seconds)
        before, began = process.cpu_times(), time.perf_counter()
        await switch(http, admin, "start")
        await asyncio.gather(*tasks)
        working = {"seconds": round(time.perf_counter() - began, 2), **as_json(used(process, before, began))}
    late = sorted(second for one in seen for second in one.late_seconds)
    per_execution = {tuple(one.seqs) for one in seen}
    return {
        "streams": streams,
        "executions": EXECUTIONS,
        "atRest": as_json(at_rest),
        "opening": opening,
        "quiet": as_json(quiet),
        "kibPerStream": round((quiet.rss_mib - at_rest.rss_mib) * 1024 / streams, 1),
        "working": working,
        "events": sum(len(one.seqs) for one in seen),
        "lateMs": {
            "p50": round(1000 * statistics.median(late)),
            "p99": round(1000 * late[int(len(late) * 0.99)]),
        },
        "endedWell": sum(one.ended for one in seen),
        "inOrder": all(list(seqs) == sorted(set(seqs)) for seqs in per_execution),
        "sameForAll": all(
            len({tuple(one.seqs) for one in seen[n::EXECUTIONS]}) == 1 for n in range(EXECUTIONS)
        ),
    }


def as_json(use: Use) -> dict[str, float]:
    """Return figures for printing."""
    found: dict[str, float] = msgspec.to_builtins(use)
    return found


def run(bench: Bench) -> list[Row]:
    """Follow a server, once."""
    streams, quiet_seconds = (200, 2.0) if bench.quick else (1000, 20.0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * streams + 1024), most))
    with (
        bench.server.database(ours=True) as dsn,
        data_folder() as folder,
        Server(folder, fresh=True, database_url=dsn, local_workers=1) as server,
    ):
        found = asyncio.run(watch(server, streams, quiet_seconds))
    assert found["endedWell"] == streams, found
    assert found["inOrder"], found
    assert found["sameForAll"], found
    figures = (
        ("processor without followers", "% of a core", found["atRest"]["cpuPercent"]),
        ("processor with followers, nothing happens", "% of a core", found["quiet"]["cpuPercent"]),
        ("memory for a follower", "KiB", found["kibPerStream"]),
        ("opening all", "s", found["opening"]["seconds"]),
        ("an event is late: p50", "ms", found["lateMs"]["p50"]),
        ("an event is late: p99", "ms", found["lateMs"]["p99"]),
    )
    return [
        Row(what=f"{streams:,} followers: {what}", unit=unit, systems={OURS: spread([value])})
        for what, unit, value in figures
    ]


MEASURE = Measure(name="streams", shows="followers of live events on one process: cost and lateness", run=run)
