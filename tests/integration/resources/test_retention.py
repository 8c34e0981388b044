"""Retention: content goes in time, everywhere and once; figures never do."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from tests.fake_worker import BROKEN, COST_NANO, USAGE
from tests.fleet import Fleet, until

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, DataId, ExecutionId
from aifactory.resources import storage
from aifactory.resources.fates import FATES, whole_table
from aifactory.resources.history import Part
from aifactory.resources.interface import (
    Erased,
    ErasedExecution,
    Erasure,
    FlowStage,
    Job,
    JobFault,
    Outcome,
    Term,
    Tier,
    UnfinishedWork,
)
from aifactory.resources.queries import partitions
from aifactory.resources.retention import Retention

pytestmark = pytest.mark.anyio

SECRET = "zanzibar"
FIGURES = ("cost_tracking", "budgets", "daily_usage", "job_attempts", "execution_lines")
FACTS = {
    "executions": "id, request_id, client_id, template, state, held_nano, spent_nano, event_seq, jobs_done, "
    "jobs_total, budget_ids, created_at, started_at, finished_at, deadline",
    "stage_executions": "id, state, phase, open_jobs, started_at, finished_at",
    "jobs": "id, kind, line, state, attempt, cost_nano, hold_nano, created_at, started_at, finished_at",
}


class Keeper:
    """Keeps nothing, and notes what it was asked; ``fails`` stands for a crash in the middle.

    More than ``most`` executions at once take longer than a statement may.
    """

    def __init__(self) -> None:
        self.most = 20
        self.erased: list[ExecutionId] = []
        self.needed: set[DataId] = set()
        self.fails = False

    async def erase_with(self, tx: Tx, executions: Sequence[ErasedExecution]) -> Erased:
        if self.fails:
            raise RuntimeError("killed in the middle")
        if len(executions) > self.most:
            await tx.raw.execute("SET LOCAL statement_timeout = 1")
            await tx.raw.execute("SELECT pg_sleep(60)")
        self.erased += [one.id for one in executions]
        return Erased()

    async def erase_alone(self, tx: Tx, terms: Sequence[Term], limit: int) -> tuple[Erased, bool]:
        return Erased(), False

    async def still_needed(self, tx: Tx, data_ids: Sequence[DataId]) -> set[DataId]:
        return self.needed & set(data_ids)


def retention_of(fleet: Fleet, keeper: Keeper | None = None, *, own: bool = False) -> Retention:
    """A retention on the fleet's database, or on a pool of its own as another process has."""
    database = Database(url=fleet.database.url, pool_size=2) if own else fleet.database
    database.clock_offset = fleet.database.clock_offset
    if own:
        fleet._opened.append(database)
    return Retention(database=database, keepers=[keeper or Keeper()])


async def figures(fleet: Fleet) -> dict[str, list[Any]]:
    """Everything that money and work were, byte for byte."""
    wanted = dict.fromkeys(FIGURES, "*") | FACTS
    return {
        table: await fleet.fetch(f"SELECT md5(({columns})::text) FROM {table} ORDER BY 1")
        if columns != "*"
        else await fleet.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")
        for table, columns in wanted.items()
    }


async def content_left(fleet: Fleet, word: str = SECRET) -> list[str]:
    """The tables in which a word is found, as text or as bytes; what people and keys are called aside."""
    selects = [
        f"SELECT '{table}' FROM {table} t WHERE concat_ws(' ', {', '.join(columns)}) ~* $1"
        for table, columns in FATES.items()
    ]
    rows = await fleet.fetch(" UNION ".join(selects), f"{word}|{word.encode().hex()}")
    return sorted(row[0] for row in rows)


async def store(
    fleet: Fleet, client: ClientId, kind: str = storage.SOURCE, days: int | None = None
) -> DataId:
    async with fleet.database.begin() as tx:
        return await storage.store(
            tx,
            client_id=client,
            kind=kind,
            name=SECRET,
            media_type="text/plain",
            content=f"# {SECRET}".encode(),
            expires_at=None if days is None else tx.now + timedelta(days=days),
        )


def says_secrets(fleet: Fleet) -> None:
    """Let the worker say the word wherever it can."""

    async def run(job: Job) -> Outcome:
        return Outcome(output={"text": SECRET}, artifacts={"a": SECRET.encode()}, usage=USAGE)

    fleet.worker.on_run = run


def submission(source: DataId | None = None) -> dict[str, Any]:
    flow = (FlowStage(worker="granulation", template_ref="tests", params_override={"x": SECRET}),)
    return {"parameters": {"topic": SECRET}, "metadata": {"m": SECRET}, "flow": flow, "source": source}


async def pass_days(fleet: Fleet, *others: Database, days: float) -> None:
    for database in (fleet.database, *others):
        database.clock_offset += timedelta(days=days)


async def test_every_column_that_holds_text_has_a_fate(fleet: Fleet) -> None:
    """A new column is declared in ``resources.fates``, and if it holds content it is erased."""
    rows = await fleet.fetch(
        """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public'
          AND data_type IN ('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY')
          AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public')
        """
    )
    found = {(whole_table(row["table_name"]), row["column_name"]) for row in rows}
    declared = {(table, column) for table, columns in FATES.items() for column in columns}
    assert found - declared == set(), "declare their fates"
    assert declared - found == set(), "they are no more"


async def test_content_goes_when_its_tier_says_so_and_not_a_second_before(fleet: Fleet) -> None:
    says_secrets(fleet)
    basic, enterprise = await fleet.client(Tier.BASIC), await fleet.client(Tier.ENTERPRISE)
    source, kept = await store(fleet, basic), await store(fleet, enterprise)
    process = await fleet.process()
    ended = await fleet.submit(basic, **submission(source))
    forever = await fleet.submit(enterprise, **submission(kept))
    await process.work()
    fleet.worker.answers = [Outcome(usage=USAGE, fault=JobFault(code="broken", message=SECRET))]
    failed = await fleet.submit(basic, **submission())
    await process.work()
    keeper = Keeper()
    retention = retention_of(fleet, keeper)
    before = await figures(fleet)
    waiting = await fleet.submit(basic, **submission(source))
    await pass_days(fleet, days=29.99)
    assert await retention.round() == 0
    # A tier that is edited applies at once, and a round is one process's, once a minute.
    await fleet.execute("UPDATE tiers SET retention_days = 29 WHERE tier = 'basic'")
    assert await retention.round() == 0
    assert await retention_of(fleet, keeper).round() == 0
    await pass_days(fleet, days=0.001)
    keeper.most = 1
    assert await retention_of(fleet, keeper).round() == 2
    assert set(keeper.erased) == {ended, failed}
    left = await fleet.fetch("SELECT id FROM executions WHERE erased_at IS NULL")
    assert {row["id"] for row in left} == {forever, waiting}
    assert [reason.message for reason in (await fleet.view(failed)).reasons] == [""]
    assert (await fleet.view(failed)).reasons[0].code == "broken"
    assert await fleet.events(ended) == ["execution.succeeded"]
    assert (await fleet.view(ended)).result is None
    # What unfinished work needs is there, and so it ends well; its own time comes later.
    assert await fleet.value("SELECT content <> '' FROM data_references WHERE id = $1", source)
    await fleet.cancel(waiting)
    assert await retention_of(fleet, keeper).round() == 0
    await pass_days(fleet, days=29.001)
    await fleet.execute("UPDATE retention_rounds SET began_at = NULL")
    assert await retention_of(fleet, keeper).round() == 1
    assert await fleet.value("SELECT erasure FROM data_references WHERE id = $1", source) == "retention"
    assert (await fleet.view(forever)).result is not None
    await fleet.execute(
        "UPDATE client_resource_limits SET erase_before = $1", datetime(2100, 1, 1, tzinfo=UTC)
    )
    await retention_of(fleet, keeper).carry_out(enterprise, seconds=5, actor="test")
    assert await content_left(fleet) == []
    after = await figures(fleet)
    for table in ("cost_tracking", "job_attempts", "execution_lines"):
        assert set(before[table]) <= set(after[table])


async def test_an_erasure_leaves_every_figure_and_no_word_of_a_random_mixture(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds are cut off in the middle, run twice at once, and go on by another process."""
    monkeypatch.setattr("aifactory.resources.retention.TOGETHER", 3)
    chance = random.Random(7)
    clients = [await fleet.client(tier) for tier in (Tier.BASIC, Tier.STANDARD, Tier.ENTERPRISE)]
    sources = {client: [await store(fleet, client) for _ in range(2)] for client in clients}
    for client in clients:
        await store(fleet, client, storage.UPLOAD, days=30)
    process = await fleet.process()
    ends = (
        Outcome(output={"text": SECRET}, artifacts={"a": SECRET.encode()}, usage=USAGE),
        BROKEN,
        Outcome(fault=JobFault(code="odd", message=SECRET)),
    )
    fleet.script({"write": 2, "check": 1}, max_attempts=1)
    for number in range(15):
        client = clients[number % 3]
        execution = await fleet.submit(client, **submission([None, *sources[client]][number // 3 % 3]))
        if chance.random() < 0.2:
            await fleet.cancel(execution)
    fleet.worker.answers = chance.choices(ends, weights=[6, 1, 1], k=100)
    await process.work()
    before = await figures(fleet)
    assert len(before["cost_tracking"]) > 60
    await fleet.execute("UPDATE tiers SET retention_days = 30 WHERE retention_days IS NULL")
    await pass_days(fleet, days=91)
    keeper = Keeper()
    keeper.fails = True
    with pytest.raises(RuntimeError, match="killed"):
        await retention_of(fleet, keeper).round()
    assert await fleet.value("SELECT count(*) FROM executions WHERE erased_at IS NOT NULL") == 0
    keeper.fails = False
    await fleet.execute("UPDATE retention_rounds SET began_at = NULL")
    two = [retention_of(fleet, keeper), retention_of(fleet, keeper, own=True)]
    async with anyio.create_task_group() as tasks:
        for one in two:
            tasks.start_soon(one._erase, None, 30.0)
    assert len(keeper.erased) == len(set(keeper.erased)) == 15
    assert await figures(fleet) == before
    assert await content_left(fleet) == []
    assert await two[0]._erase(None, 30.0) == (Erased(), False)


async def test_a_source_goes_with_the_last_that_refers_to_it_also_when_both_go_at_once(fleet: Fleet) -> None:
    client = await fleet.client(Tier.BASIC)
    shared, drafted = await store(fleet, client), await store(fleet, client)
    process, keeper = await fleet.process(), Keeper()
    keeper.needed = {drafted}
    first = [await fleet.submit(client, source=source) for source in (shared, drafted)]
    second = await fleet.submit(client, source=shared)
    await process.work()
    retention = retention_of(fleet, keeper)

    async def held() -> list[bool]:
        rows = await fleet.fetch("SELECT id, erased_at IS NULL AS held FROM data_references ORDER BY id")
        return [row["held"] for row in rows]

    await fleet.execute(
        "UPDATE executions SET created_at = created_at - interval '40 days', started_at = NULL, "
        "finished_at = finished_at - interval '40 days' WHERE id = ANY($1)",
        first,
    )
    await retention._erase(None, 5.0)
    assert await held() == [True, True]
    third = await fleet.submit(client, source=shared)
    await process.work()
    await pass_days(fleet, days=31)
    seen, go_on = anyio.Event(), anyio.Event()

    async def erase_slowly(execution: ExecutionId, first_one: bool) -> None:
        async with fleet.database.begin() as tx:
            found = await tx.raw.fetchrow("SELECT request_id FROM executions WHERE id = $1", execution)
            assert found is not None
            one = ErasedExecution(id=execution, request_id=found["request_id"], erasure=Erasure.RETENTION)
            await retention._erase_executions(tx, [one])
            if first_one:
                seen.set()
                await go_on.wait()

    async def is_blocked() -> bool:
        sql = """SELECT count(*) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        return bool(await fleet.value(sql))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(erase_slowly, second, True)
        await seen.wait()
        tasks.start_soon(erase_slowly, third, False)
        await until(is_blocked)
        go_on.set()
    assert await held() == [False, True]
    keeper.needed = set()


async def test_a_result_that_comes_after_the_erasure_is_paid_and_leaves_no_word(fleet: Fleet) -> None:
    fleet.script({"write": 2})
    began, go_on = anyio.Event(), anyio.Event()

    async def run(job: Job) -> Outcome:
        began.set()
        await go_on.wait()
        if job.id == max(one.id for one in fleet.worker.ran):
            return Outcome(usage=USAGE, fault=JobFault(code="refused", message=SECRET))
        return Outcome(output={"text": SECRET}, artifacts={"a": SECRET.encode()}, usage=USAGE)

    fleet.worker.on_run = run
    client = await fleet.client()
    execution = await fleet.submit(client, **submission(await store(fleet, client)))
    process, retention = await fleet.process(), retention_of(fleet)
    await process.tick()
    await began.wait()
    with pytest.raises(UnfinishedWork) as refused:
        async with fleet.database.begin() as tx:
            await retention.order(tx, client_id=client, cancel_unfinished=False, actor="admin")
    assert refused.value.extras == {"unfinished": 1}
    async with fleet.database.begin() as tx:
        await retention.order(tx, client_id=client, cancel_unfinished=True, actor="admin")
    done = await retention.carry_out(client, seconds=5, actor="admin")
    assert (done.complete, done.erased.executions, done.erased.data) == (True, 1, 1)
    later = await fleet.submit(client, **submission())
    go_on.set()
    await process.settle()
    assert await fleet.ledger("spend") == [COST_NANO, COST_NANO]
    assert (await fleet.budget(client))[1] == 2 * COST_NANO
    rows = await fleet.fetch(
        "SELECT payload, result, error FROM jobs WHERE execution_id = $1 ORDER BY id", execution
    )
    assert {repr((row["payload"], row["result"])) for row in rows} == {"({}, None)"}
    assert await fleet.value("SELECT count(*) FROM data_references WHERE kind = 'step'") == 0
    # What was submitted after the order is not touched by it.
    assert await retention_of(fleet)._erase(None, 5.0) == (Erased(), False)
    assert await fleet.value("SELECT input FROM executions WHERE id = $1", later) == {"topic": SECRET}
    assert await fleet.value("SELECT error FROM jobs WHERE error IS NOT NULL") == {
        "code": "refused",
        "message": "",
        "retryable": False,
        "retryAfterSeconds": None,
    }
    lines = await fleet.fetch("SELECT action, before, after FROM audit_log ORDER BY id")
    assert [line["action"] for line in lines] == ["client.content_erasure_ordered", "client.content_erased"]
    assert lines[0]["before"]["unfinished"] == 1
    assert lines[1]["after"]["erasedExecutions"] == 1


async def test_an_upload_goes_by_its_last_use_where_a_tier_is_shorter_than_its_own_time(fleet: Fleet) -> None:
    client = await fleet.client(Tier.BASIC)
    used, unused = [await store(fleet, client, storage.UPLOAD, days=30) for _ in range(2)]
    await fleet.execute("UPDATE tiers SET retention_days = 7 WHERE tier = 'basic'")
    await pass_days(fleet, days=5)
    async with fleet.database.begin() as tx:
        await storage.keep(tx, client_id=client, data_id=used, deadline=tx.now)
    await pass_days(fleet, days=3)
    await retention_of(fleet)._erase(None, 5.0)
    rows = await fleet.fetch("SELECT id FROM data_references WHERE erased_at IS NULL")
    assert [row["id"] for row in rows] == [used]
    await pass_days(fleet, days=6)
    await retention_of(fleet)._erase(None, 5.0)
    assert await fleet.value("SELECT count(*) FROM data_references WHERE erased_at IS NOT NULL") == 2
    assert unused != used


async def test_parts_of_the_history_are_made_ahead_and_dropped_when_nobody_wants_them(fleet: Fleet) -> None:
    client = await fleet.client(Tier.BASIC)
    process = await fleet.process()
    execution = await fleet.submit(client)
    await process.work()
    retention = retention_of(fleet)
    async with fleet.database.begin() as tx:
        there = {part.name for part in await partitions.list_parts(tx)}
        now = tx.now
    assert len(there) >= 4
    # Rows of the default part stand in the way of no later month: those are made, and go on being made.
    blocked = Part(table="execution_events", first=datetime(2091, 3, 1, tzinfo=UTC))
    await fleet.execute(
        "INSERT INTO execution_events VALUES (gen_random_uuid(), 1, $1, 'x', '{}')", blocked.first
    )
    retention.database.clock_offset = datetime(2091, 2, 2, tzinfo=UTC) - now
    made, dropped = await retention.keep_history()
    assert sorted(made) == [
        "execution_events_2091_04",
        "performance_metrics_2091_03",
        "performance_metrics_2091_04",
    ]
    assert not [name for name in dropped if name.startswith("execution_events")], "it is told of in there"
    await retention._erase(None, 5.0)
    assert await retention.keep_history() == ([], sorted(name for name in there if "events" in name))
    assert (await fleet.view(execution)).erased_at is not None
