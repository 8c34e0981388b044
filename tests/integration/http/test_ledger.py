"""The ledger as an admin reads it: pages, filters, exports without a gap or a duplicate."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.factories import World, assert_problem

from aifactory.kernel.ids import new_id, parse_id, text_id
from aifactory.kernel.money import usd
from aifactory.resources import ledger_routes
from aifactory.resources.ledger import ACCOUNTS, EntryKind

pytestmark = pytest.mark.anyio

PATH = "/api/cost/ledger"
USAGE = b'{"inputUnits":3,"cachedInputUnits":2,"outputUnits":1}'
PRICE = (
    b'{"inputNanoPerMillion":1000,"cachedNanoPerMillion":500,"outputNanoPerMillion":2000,'
    b'"source":"=a formula","at":"2026-01-01T00:00:00Z"}'
)
INSERT = """
    INSERT INTO cost_tracking (at, client_id, execution_id, subject_id, attempt, kind, from_account,
        to_account, amount_nano, budget_ids, provider, model, pool, usage, price)
    VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, '{}', '=p', 'm', 'pool', $9, $10)
    """


def values(
    at: datetime, client: UUID, execution: UUID, kind: EntryKind, amount: int, subject: UUID | None = None
) -> tuple[Any, ...]:
    call = (USAGE, PRICE) if kind is EntryKind.SPEND else (None, None)
    return (at, client, execution, subject or new_id(), kind, *ACCOUNTS[kind], amount, *call)


async def read_all(world: World, query: str = "") -> list[Any]:
    """Read every page, five entries each."""
    found: list[Any] = []
    cursor = ""
    while True:
        answer = await world.ask("GET", f"{PATH}?limit=5{query}{cursor}", world.admin)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["hasMore"]:
            return found
        cursor = f"&cursor={page['nextCursor']}"


async def export(world: World, query: str = "") -> list[dict[str, str]]:
    answer = await world.ask("GET", f"{PATH}?format=csv{query}", world.admin)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_pages_filters_and_exports_agree(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_routes, "CHUNK", 4)
    ours, theirs, first, second = world.ours.client_id, world.theirs.client_id, new_id(), new_id()
    async with world.database.begin() as tx:
        start = tx.now - timedelta(hours=2)
        rows = [values(start, ours, first, EntryKind.HOLD, 10**9 + 1, first)]
        for place, kind in enumerate([EntryKind.SPEND, EntryKind.RELEASE, EntryKind.WASTE] * 5):
            # Three entries of one moment, and the later ones not in the order of their numbers.
            at = start + timedelta(minutes=10 - place // 3)
            whose = (ours, first) if place % 2 else (theirs, second)
            rows.append(values(at, *whose, kind, place + 1))
        await tx.execute_many(INSERT, rows)
    everything = await read_all(world)
    assert len(everything) == 16
    ids = [entry["id"] for entry in everything]
    assert ids == sorted(set(ids), reverse=True)
    assert [entry["at"] for entry in everything] == sorted((e["at"] for e in everything), reverse=True)
    assert all((parse_id("led", text) or UUID(int=0)).version == 7 for text in ids)
    exported = await export(world)
    assert [row["id"] for row in exported] == ids[::-1]
    amounts = [usd(one[7]) for one in sorted(rows, key=lambda one: one[0])]
    assert [Decimal(row["amountUsd"]) for row in exported] == amounts
    answer = await world.ask("GET", f"{PATH}?format=json", world.admin)
    assert answer.json()["data"] == everything[::-1]

    hold = everything[-1]
    assert hold == {
        "id": hold["id"],
        "at": start.isoformat().replace("+00:00", "Z"),
        "clientId": world.ours.id,
        "executionId": text_id("exec", first),
        "jobId": None,
        "attempt": 1,
        "kind": "hold",
        "fromAccount": "available",
        "toAccount": "held",
        "amountUsd": 1.000000001,
        "provider": "=p",
        "model": "m",
        "pool": "pool",
        "usage": None,
        "price": None,
    }
    spend = next(row for row in exported if row["kind"] == "spend")
    assert (spend["provider"], spend["priceSource"]) == ("'=p", "'=a formula")
    assert [spend[name] for name in ("inputUnits", "cachedInputUnits", "outputUnits")] == ["3", "2", "1"]
    assert [spend[f"{name}UsdPerMillion"] for name in ("input", "cached", "output")] == [
        "0.000001",
        "0.0000005",
        "0.000002",
    ]

    middle = (start + timedelta(minutes=8)).isoformat().replace("+00:00", "Z")
    for query, keeps in {
        f"&clientId={world.ours.id}": lambda entry: entry["clientId"] == world.ours.id,
        f"&executionId={text_id('exec', second)}": lambda entry: entry["clientId"] == world.theirs.id,
        "&kind=waste": lambda entry: entry["kind"] == "waste",
        "&account=held": lambda entry: "held" in (entry["fromAccount"], entry["toAccount"]),
        "&kind=hold&account=waste": lambda entry: False,
        f"&from={middle}": lambda entry: entry["at"] >= middle,
        f"&to={middle}&kind=spend&clientId={world.theirs.id}": lambda entry: (
            entry["at"] < middle and entry["kind"] == "spend" and entry["clientId"] == world.theirs.id
        ),
    }.items():
        wanted = [entry["id"] for entry in everything if keeps(entry)]
        assert [entry["id"] for entry in await read_all(world, query)] == wanted, query
        assert [row["id"] for row in await export(world, query)] == wanted[::-1], query
        assert len(wanted) < 16


async def test_an_export_ends_where_entries_may_still_come_and_the_next_goes_on_there(world: World) -> None:
    """Numbers are not in the order of commits: without the bound the entry that comes late would be lost."""
    whose = (world.ours.client_id, new_id())
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        world.database.url.replace("+asyncpg", ""), server_settings={"application_name": "aifactory"}
    )
    try:
        await connection.execute("BEGIN")
        began: datetime = await connection.fetchval("SELECT clock_timestamp()")
        async with world.database.begin() as tx:
            await tx.execute_many(INSERT, [values(tx.now, *whose, EntryKind.HOLD, 2)])
        first = await world.ask("GET", f"{PATH}?format=csv", world.admin)
        complete = first.headers["x-complete-to"]
        assert datetime.fromisoformat(complete) <= began
        assert first.text.count("\r\n") == 1
        await connection.execute(
            INSERT.replace("$9", "NULL").replace("$10", "NULL"), *values(began, *whose, EntryKind.HOLD, 1)[:8]
        )
        await connection.execute("COMMIT")
    finally:
        await connection.close()
    rest = await export(world, f"&from={complete}")
    assert [row["amountUsd"] for row in rest] == ["0.000000001", "0.000000002"]
    assert await export(world, f"&to={complete}") == []


async def test_what_is_no_filter_is_refused_and_no_object_is_told(world: World) -> None:
    for query in (
        *(
            "from=2026-11-02&to=2026-11-01",
            "kind=x",
            "account=client",
            "from=today",
            "format=xml",
            "limit=101",
            "cursor=x",
        ),
        *("cursor=AAAAAAAAAAAAAAAAAAAAAA", "cursor=_____________________w"),
    ):
        problem = assert_problem(await world.ask("GET", f"{PATH}?{query}", world.admin), 422)
        assert problem["errors"], query
    for query in ("clientId=x", "executionId=req_x", "clientId="):
        assert_problem(await world.ask("GET", f"{PATH}?{query}", world.admin), 404)
    for paged in ("format=csv&limit=5", "format=json&cursor=x"):
        refused = assert_problem(await world.ask("GET", f"{PATH}?{paged}", world.admin), 422)
        assert refused["errors"][0]["code"] == "no_pages"
    answer = await world.ask("GET", PATH, {**world.admin, "Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="ledger-20')
    assert datetime.fromisoformat(answer.headers["x-complete-to"]) <= datetime.now(UTC)
