"""A real server under HTTP: how many submissions and reads a second it answers, and how soon.

The scheduler is off, so that what is measured is the request and its transaction. Who asks runs on the same
cores as the server and PostgreSQL: the rates are of all three together.
"""

import asyncio
import time
from typing import Any

import aiohttp
from tests.e2e.running import QUIZ, Server, data_folder

from bench.figures import OURS, Row, percentile, spread
from bench.running import Bench, Measure

CALLERS = (1, 16)
TEXT = "The moon pulls the sea. The tide rises twice a day. A spring tide comes at the new moon. " * 5
BODY = {"template": QUIZ, "parameters": {"source": {"text": TEXT}}}
BUDGET_USD = 100_000


async def ask(*, url: str, key: str, callers: int, seconds: float) -> dict[str, dict[str, float]]:
    """Submit for some seconds, then read what was submitted; return rates and milliseconds of both."""
    connector = aiohttp.TCPConnector(limit=callers)
    async with aiohttp.ClientSession(url, headers={"X-API-Key": key}, connector=connector) as http:
        made: list[str] = []

        async def submit() -> None:
            async with http.post("/api/execute", json=BODY) as answer:
                assert answer.status == 202, await answer.text()
                made.append((await answer.json())["id"])

        async def read() -> None:
            place = reads.__next__() % len(made)
            async with http.get(f"/api/execution/{made[place]}") as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

        await asyncio.gather(*(submit() for _ in range(2 * callers)))
        accepted = await _load(submit, callers, seconds)
        reads = iter(range(10**9))
        return {"accept": accepted, "read": await _load(read, callers, seconds)}


async def _load(call: Any, callers: int, seconds: float) -> dict[str, float]:
    """Call again and again, so many at once; return the rate and percentiles."""
    taken: list[float] = []
    began = time.perf_counter()

    async def caller() -> None:
        while (before := time.perf_counter()) - began < seconds:
            await call()
            taken.append(1000 * (time.perf_counter() - before))

    await asyncio.gather(*(caller() for _ in range(callers)))
    passed = time.perf_counter() - began
    return {
        "per_second": len(taken) / passed,
        "p50_ms": percentile(taken, 50),
        "p99_ms": percentile(taken, 99),
    }


def _serve_and_ask(bench: Bench, callers: int, seconds: float) -> dict[str, dict[str, float]]:
    """Ask a fresh server."""
    with (
        bench.server.database(ours=True) as dsn,
        data_folder() as folder,
        Server(folder, fresh=True, database_url=dsn, scheduler="false", local_workers=1) as server,
    ):
        secrets = server.secrets()
        with server.as_admin(secrets) as admin:
            client = admin.get("/clients").json()["data"][0]["id"]
            limits = {"requestsPerMinute": 1_000_000, "monthlyBudgetUsd": BUDGET_USD}
            admin.patch(f"/clients/{client}", json={"limits": limits}).raise_for_status()
        found: dict[str, dict[str, float]] = bench.alone(
            "bench.http_api:ask", url=server.url, key=secrets["key"], callers=callers, seconds=seconds
        )
        return found


def run(bench: Bench) -> list[Row]:
    """Ask with one caller and with many."""
    seconds, rows = 2.0 if bench.quick else 10.0, list[Row]()
    for callers in CALLERS:
        runs = [_serve_and_ask(bench, callers, seconds) for _ in range(bench.rounds)]
        words = f"{callers} caller{'s' if callers > 1 else ''}"
        for kind in ("accept", "read"):
            for name, what, unit in (
                ("per_second", "rate", "requests/s"),
                ("p50_ms", "p50", "ms"),
                ("p99_ms", "p99", "ms"),
            ):
                systems = {OURS: spread([one[kind][name] for one in runs])}
                rows.append(Row(what=f"HTTP {kind}, {words}: {what}", unit=unit, systems=systems, asked=True))
    return rows


MEASURE = Measure(name="http", shows="submissions and reads a second over HTTP", run=run)
