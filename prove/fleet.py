"""Several processes on one database, killed again and again: everything ends once, nothing is paid twice."""

import argparse
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec

from aifactory.accounts import clients
from aifactory.factory import build_factory
from aifactory.kernel.db import Database
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import Principal, Role
from aifactory.resources.audit import audit
from aifactory.resources.interface import Tier
from aifactory.settings import Settings
from devprovider.running import Running
from prove.books import Comparison, compare
from prove.databases import Databases
from prove.followers import Followed, broken_events, follow
from prove.ground import BUDGET_NANO, EXAMPLES, write_providers
from prove.members import Fleet, Member, open_fleet
from prove.reporting import Option, Proof, Proven, counted, proven

PROCESSES = 3
UNFINISHED = 120  #: executions that are under way at once
PATIENCE_SECONDS = 5.0
_SUBMIT_AGAIN = frozenset({409, 502, 503})
_WORDS = 450


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed; ``broken`` in words, none when every promise was kept."""

    executions: int
    by_state: dict[str, int]
    kills: int
    lost_attempts: int
    attempts: int
    events: int
    connections: int
    submissions_sent: int
    books: Comparison
    audit_differences: int
    broken: tuple[str, ...]


class _Run(msgspec.Struct, kw_only=True):
    """What the driver counts while the fleet works."""

    ended: int = 0
    sent: int = 0
    kills: int = 0
    followed: list[tuple[str, Followed]] = []
    milestones: dict[int, anyio.Event] = {}


def order_of(position: int) -> dict[str, Any]:
    """Return the nth request: models and the offline generator, with a source and without, in turn."""
    text = " ".join((EXAMPLES / "tides.txt").read_text(encoding="utf-8").split(" ")[:_WORDS])
    source = {"text": text, "format": "text", "name": "tides.txt"}
    kind, mode = (("flashcards", "balanced"), ("quiz", "offline"), ("document", "balanced"))[position % 3]
    given = {"topic": "Tides"} if kind == "flashcards" else {"source": source}
    parameters = {"granularityLevel": 1, "mode": mode, "validation": {"threshold": 0}, **given}
    urgency = ("normal", "high", "low")[position % 7 % 3]
    return {"template": f"content_granulation_{kind}", "parameters": parameters, "urgency": urgency}


async def run(database: Database, executions: int, kills: int, *, seed: int = 11) -> Report:
    """Run so many executions on three processes and end one of them so many times with SIGKILL."""
    state, chance = _Run(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, Running() as provider:
        provider.configure(seed=seed, latency={"first_token_seconds": 0.2, "tokens_per_second": 2000})
        key = await make_client(database)
        settings = {
            "AIFACTORY_DATABASE_URL": database.url,
            "AIFACTORY_DATA_DIR": folder,
            "AIFACTORY_PROVIDERS_FILE": str(write_providers(Path(folder), provider.url)),
            "AIFACTORY_LOCAL_WORKERS": "1",
            "AIFACTORY_LOG_LEVEL": "warning",
        }
        async with open_fleet(PROCESSES, Path(folder), settings) as fleet:
            await _drive(database, fleet, state, key=key, executions=executions, kills=kills, chance=chance)
            for member in fleet.members:
                member.terminate()
            codes = [await member.end() for member in fleet.members]
        return await _judge(database, provider, state, executions, codes)


async def make_client(database: Database) -> str:
    """Make a client that may run much at once; return its key."""
    factory = build_factory(Settings(), database, {})
    operator = Principal(role=Role.ADMIN)
    new = clients.NewClient(
        name="proof",
        contact="",
        tier=Tier.ENTERPRISE,
        monthly_budget_nano=BUDGET_NANO,
        max_running=PROCESSES * 64,
        requests_per_minute=1_000_000,
    )
    async with database.begin() as tx:
        row, limits = await clients.create_client(tx, resources=factory.resources, new=new, actor="proof")
        _, key = await clients.create_key(
            tx,
            client_id=limits.client_id,
            name=row.name,
            scopes=["read", "write"],
            expires_at=None,
            actor=operator,
        )
    return key.text


async def _drive(
    database: Database,
    fleet: Fleet,
    state: _Run,
    *,
    key: str,
    executions: int,
    kills: int,
    chance: random.Random,
) -> None:
    places = anyio.CapacityLimiter(UNFINISHED)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": key}, connector=connector) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_kill, database, fleet, state, executions, kills, chance)
        for position in range(executions):
            mine = random.Random(chance.random())
            tasks.start_soon(_one, session, fleet, state, places, position, mine)


async def _one(
    session: aiohttp.ClientSession,
    fleet: Fleet,
    state: _Run,
    places: anyio.CapacityLimiter,
    position: int,
    chance: random.Random,
) -> None:
    """Submit one request, however often that takes, and follow it to its end."""
    async with places:
        request_id, sent = await submit(session, fleet, position, chance)
        path, seen = f"/api/execution/{request_id}/events", Followed()
        await follow(session, lambda: fleet.any_url(chance), path, chance, seen)
        state.followed.append((request_id, seen))
        state.sent += sent
        state.ended += 1
        if state.ended in state.milestones:
            state.milestones[state.ended].set()


async def submit(
    session: aiohttp.ClientSession, fleet: Fleet, position: int, chance: random.Random
) -> tuple[str, int]:
    """Submit the nth request under its own key, again and again; return its id and how often it was sent."""
    headers, sent = {"Idempotency-Key": f"proof-{position}"}, 0
    while True:
        sent += 1
        try:
            async with session.post(
                f"{fleet.any_url(chance)}/requests",
                json=order_of(position),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=30),
            ) as answer:
                if answer.status == 202:
                    return str((await answer.json())["id"]), sent
                if answer.status not in _SUBMIT_AGAIN:
                    raise AssertionError(f"{answer.status}: {await answer.text()}")
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass  # nobody knows whether it was stored: the same key is sent again
        await anyio.sleep(0.05 + 0.3 * chance.random())


async def _kill(
    database: Database, fleet: Fleet, state: _Run, executions: int, kills: int, chance: random.Random
) -> None:
    """Kill a process in the middle of work and start it again, evenly over the run."""
    after = [executions * number // (kills + 1) for number in range(1, kills + 1)]
    state.milestones |= {ended: anyio.Event() for ended in after}
    async with aiohttp.ClientSession() as session:
        for ended in after:
            await state.milestones[ended].wait()
            victim = chance.choice(fleet.members)
            await _until_busy(database, victim)
            await victim.kill()
            state.kills += 1
            victim.start()
            await victim.ready(session)


async def _until_busy(database: Database, member: Member) -> None:
    """Wait, though not for long, until it has something to lose."""
    with anyio.move_on_after(PATIENCE_SECONDS):
        while True:
            if await _is_busy(database, member):
                return
            await anyio.sleep(0.02)


async def _is_busy(database: Database, member: Member) -> bool:
    async with database.begin() as tx:
        return bool(
            await tx.raw.fetchval(
                """
                SELECT EXISTS (SELECT FROM running_jobs r JOIN processes p ON p.id = r.process_id
                               WHERE p.pid = $1)
                """,
                member.pid,
            )
        )


# Judging.


async def _judge(
    database: Database, provider: Running, state: _Run, executions: int, codes: list[int]
) -> Report:
    broken = [f"member {number} ended with {code}" for number, code in enumerate(codes) if code]
    async with database.begin() as tx:
        ends = await tx.raw.fetch("SELECT state FROM executions")
        events = await tx.raw.fetchval("SELECT count(*) FROM execution_events")
        attempts = await tx.raw.fetch(
            "SELECT job_id, attempt, outcome FROM job_attempts ORDER BY job_id, attempt, started_at, token"
        )
        [rows] = await tx.raw.fetch(
            """
            SELECT (SELECT count(*) FROM client_requests) AS requests,
                   (SELECT count(*) FROM executions WHERE finished_at IS NULL) AS unfinished,
                   (SELECT count(*) FROM jobs WHERE finished_at IS NULL) AS open_jobs,
                   (SELECT count(*) FROM running_jobs) AS running,
                   (SELECT count(*) FROM executions e
                    LEFT JOIN (SELECT execution_id, count(*) AS jobs FROM jobs GROUP BY 1) j
                      ON j.execution_id = e.id
                    WHERE e.jobs_done <> e.jobs_total OR e.jobs_done <> j.jobs) AS miscounted
            """
        )
    broken += [f"{rows['requests']} requests, {executions} were sent"] * (rows["requests"] != executions)
    broken += [f"{len(ends)} executions, {executions} were sent"] * (len(ends) != executions)
    broken += [f"{name}: {rows[name]} at the end" for name in _NONE_LEFT if rows[name]]
    broken += await broken_events(database, state.followed)
    broken += _repeated(attempts)
    lost = {
        f"{text_id('job', row['job_id'])}.{row['attempt']}" for row in attempts if row["outcome"] == "lost"
    }
    books = await compare(database, provider.calls(), lost)
    audited = await audit(database)
    return Report(
        executions=len(ends),
        by_state=dict(Counter(row["state"] for row in ends)),
        kills=state.kills,
        lost_attempts=len(lost),
        attempts=len(attempts),
        events=events,
        connections=sum(seen.connections for _, seen in state.followed),
        submissions_sent=state.sent,
        books=books,
        audit_differences=len(audited.differences),
        broken=(*broken, *books.differences),
    )


_NONE_LEFT = ("unfinished", "open_jobs", "running", "miscounted")


def _repeated(attempts: list[Any]) -> list[str]:
    """Return the jobs that had another attempt after one that succeeded."""
    succeeded: set[Any] = set()
    repeated = []
    for row in attempts:
        if row["job_id"] in succeeded:
            repeated.append(f"{text_id('job', row['job_id'])} ran again after it had succeeded")
        if row["outcome"] == "succeeded":
            succeeded.add(row["job_id"])
    return repeated


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database, asked.fleet_executions, asked.kills)
    books = report.books
    promises = {
        f"{report.kills} processes were killed, {asked.kills} were to be": report.kills == asked.kills,
        f"{report.audit_differences} differences in the audit": report.audit_differences == 0,
    }
    rows = {
        "processes": PROCESSES,
        "killed": report.kills,
        "executions": report.executions,
        "ended": counted(report.by_state),
        "submissions sent": report.submissions_sent,
        "attempts": report.attempts,
        "of them lost": report.lost_attempts,
        "events": report.events,
        "connections of followers": report.connections,
        "calls paid": f"{books.paid_calls}, {usd(books.paid_nano)} USD",
        "served and lost": books.unpaid_served_calls,
        "differences to the provider's book": len(books.differences),
        "differences in the audit": report.audit_differences,
    }
    return proven(rows, promises=promises, broken=report.broken)


PROOF = Proof(
    name="fleet",
    shows="three processes on one database, one of them killed again and again, every event followed",
    needs="7 to 20 minutes, 500 MB of disk",
    options=(
        Option(name="fleet-executions", default=2000, help="how many `fleet` runs"),
        Option(name="kills", default=20, help="how often `fleet` kills a process"),
    ),
    run=_prove,
)
