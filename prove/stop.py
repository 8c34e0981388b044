"""SIGTERM with calls in flight and open streams: how long the end takes, and whether anything is lost."""

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import msgspec

from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import Database
from devprovider.running import Running
from prove.books import compare
from prove.databases import Databases
from prove.fleet import make_client, submit
from prove.followers import Followed, broken_events, follow
from prove.ground import write_providers
from prove.members import Fleet, open_fleet
from prove.reporting import Proof, Proven, proven

STREAMS = 50
EXECUTIONS = 10
LONGEST_SECONDS = 5.0  #: from the end of the last call to the end of the process


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a stop showed; ``after_last_call_seconds`` is what the process took once no call ran any more."""

    calls_in_flight: int
    streams: int
    seconds: float
    after_last_call_seconds: float
    broken: tuple[str, ...]


async def run(database: Database, *, grace_seconds: int = 4, seed: int = 5) -> Report:
    """Stop a process that runs calls and has 50 open streams, start it again, and let everything end."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, Running() as provider:
        provider.configure(latency={"first_token_seconds": 0.5, "tokens_per_second": 150, "jitter": 0.5})
        key = await make_client(database)
        settings = {
            "AIFACTORY_DATABASE_URL": database.url,
            "AIFACTORY_DATA_DIR": folder,
            "AIFACTORY_PROVIDERS_FILE": str(write_providers(Path(folder), provider.url)),
            "AIFACTORY_GRACE_SECONDS": str(grace_seconds),
            "AIFACTORY_LOCAL_WORKERS": "1",
        }
        async with (
            open_fleet(1, Path(folder), settings) as fleet,
            aiohttp.ClientSession(
                headers={"X-API-Key": key}, connector=aiohttp.TCPConnector(limit=0)
            ) as session,
        ):
            return await _stop(database, fleet, provider, session, chance)


async def _stop(
    database: Database, fleet: Fleet, provider: Running, session: aiohttp.ClientSession, chance: random.Random
) -> Report:
    [member] = fleet.members
    ids = [(await submit(session, fleet, 3 * position, chance))[0] for position in range(EXECUTIONS)]
    followed = [(ids[number % EXECUTIONS], Followed()) for number in range(STREAMS)]
    async with anyio.create_task_group() as tasks:
        for request_id, seen in followed:
            path = f"/api/execution/{request_id}/events"
            tasks.start_soon(follow, session, lambda: member.url, path, chance, seen)
        running = await _until_calls_run(database, followed)
        asked, stopped_at = time.monotonic(), utc_now()
        member.terminate()
        code = await member.end()
        seconds = time.monotonic() - asked
        calls = await anyio.to_thread.run_sync(provider.calls, running)
        ends = [(call.at - stopped_at).total_seconds() + call.seconds for call in calls]
        left = (await _counted(database))["running"]
        member.start()
        await member.ready(session)
    member.terminate()
    await member.end()
    broken = [f"it ended with {code}"] * bool(code)
    broken += [f"{left} runs were left behind"] * bool(left)
    broken += await broken_events(database, followed)
    broken += (await compare(database, provider.calls())).differences
    return Report(
        calls_in_flight=running,
        streams=sum(1 for _, seen in followed if seen.ended),
        seconds=seconds,
        after_last_call_seconds=seconds - max([0.0, *ends]),
        broken=tuple(broken),
    )


async def _until_calls_run(database: Database, followed: list[tuple[str, Followed]]) -> int:
    """Wait until every stream has said something and models are being called; return how many calls run."""
    with anyio.fail_after(60):
        while True:
            calls: int = (await _counted(database))["calls"]
            if calls >= EXECUTIONS // 2 and all(seen.seqs for _, seen in followed):
                return calls
            await anyio.sleep(0.02)


async def _counted(database: Database) -> Any:
    async with database.begin() as tx:
        return await tx.raw.fetchrow(
            """
            SELECT count(*) AS running, count(*) FILTER (WHERE NOT r.local) AS calls
            FROM running_jobs j JOIN lanes l ON l.id = j.lane_id JOIN routes r ON r.id = l.route_id
            """
        )


async def _prove(databases: Databases, _: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database)
    after = report.after_last_call_seconds
    promises = {
        f"it took {after:.1f} s after the last call, at most {LONGEST_SECONDS:g} are promised": (
            after <= LONGEST_SECONDS
        )
    }
    rows = {
        "calls in flight": report.calls_in_flight,
        "open streams": STREAMS,
        "streams that went on to the end": report.streams,
        "seconds from SIGTERM to the end": f"{report.seconds:.1f}",
        "of them after the last call": f"{after:.1f}",
    }
    return proven(rows, promises=promises, broken=report.broken)


PROOF = Proof(
    name="stop",
    shows="SIGTERM with calls in flight and 50 open streams, and the next start",
    needs="1 minute, 100 MB of disk",
    run=_prove,
)
