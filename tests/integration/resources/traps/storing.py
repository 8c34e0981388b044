"""Traps of what is stored and told: events, notices, hot tables. See ``tests.traps``."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import event
from tests.fleet import Fleet, Process, until
from tests.traps import Proof, edited, proof, replaced, twin

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.notices import Notices
from aifactory.resources.interface import ExecutionState, Phase
from aifactory.resources.queries import books as book_queries
from aifactory.resources.queries import events
from prove.plain_worker import new_job

PROOFS: list[Proof] = []


async def no_write_sends_a_notice_in_its_transaction(fleet: Fleet) -> None:
    """A NOTIFY takes a lock that every other one waits for: no write's commit must be among them."""
    statements: list[str] = []
    process, notices = await fleet.process(), Notices(database=fleet.database)
    process.database.on_tell = fleet.database.on_tell = notices.tell
    for database in (fleet.database, process.database):
        keep_statements(database, statements)
    async with notices.listen():
        await until(lambda: notices.is_listening)
        client = await fleet.client()
        await fleet.submit(client)
        await process.work()
        await fleet.cancel(await fleet.submit(client))
        await until(lambda: notices.sent > 0)
    assert any("INSERT INTO execution_events" in text for text in statements)
    assert [text for text in statements if "notify" in text.lower()] == [], "a write notifies"
    own = "pronamespace = 'public'::regnamespace AND prosrc ILIKE '%notify%'"
    assert await fleet.value(f"SELECT count(*) FROM pg_proc WHERE {own}") == 0, "a trigger notifies"


def keep_statements(database: Database, statements: list[str]) -> None:
    """Keep every statement of a pool's connections."""
    known: set[object] = set()

    def keep(dbapi_connection: Any, *_: object) -> None:
        raw = dbapi_connection.driver_connection
        if raw not in known:
            known.add(raw)
            raw.add_query_logger(lambda record: statements.append(record.query))

    event.listen(database.engine.sync_engine, "checkout", keep)


_NOTIFY = "await tx.raw.execute(\"SELECT pg_notify('aifactory', '')\")"

PROOFS.append(
    proof(
        14,
        no_write_sends_a_notice_in_its_transaction,
        twin(
            "events are announced where they are written",
            "a write notifies",
            edited(events.insert_events, "    tell_of(tx", f"    {_NOTIFY}\n    tell_of(tx"),
        ),
        twin(
            "a trigger announces them",
            "a trigger notifies",
            sql="""
                    CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS
                        $$ BEGIN PERFORM pg_notify('aifactory', ''); RETURN NULL; END $$;
                    CREATE TRIGGER announce AFTER INSERT ON execution_events
                        FOR EACH STATEMENT EXECUTE FUNCTION announce()
                    """,
        ),
    )
)


async def numbers_of(fleet: Fleet, after: int = 0) -> list[int]:
    rows = await fleet.fetch("SELECT seq FROM execution_events WHERE seq > $1 ORDER BY seq", after)
    return [row["seq"] for row in rows]


async def who_reads_on_from_the_last_event_misses_none(fleet: Fleet) -> None:
    """A settle that has begun first and locks last must not number its events before the others'."""
    fleet.script({"write": 2})
    client, slow, quick = await fleet.client(), await fleet.process(slots=1), await fleet.process(slots=1)
    await fleet.submit(client)
    await slow.tick()
    await quick.tick()
    find, begun, go = book_queries.executions_of_jobs, anyio.Event(), anyio.Event()

    async def find_and_wait(tx: Tx, job_ids: Any) -> Any:
        found = await find(tx, job_ids)
        if not begun.is_set():
            begun.set()
            await go.wait()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_queries, "executions_of_jobs", find_and_wait)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.settle)
            await begun.wait()
            await quick.settle()
            seen = await numbers_of(fleet)
            go.set()
    seen += await numbers_of(fleet, after=seen[-1])
    assert seen == await numbers_of(fleet), "an event came before one that was read"
    assert len(seen) > 3


_find, _load = book_queries.executions_of_jobs, book_queries.load_books


async def _number_and_find(tx: Any, job_ids: Any) -> Any:
    tx.numbered = 100 * await tx.raw.fetchval("SELECT nextval('queue_seq')")
    return await _find(tx, job_ids)


async def _load_with_number(tx: Any, *arguments: Any) -> Any:
    books = await _load(tx, *arguments)
    for execution in books.executions.values():
        execution.event_seq = getattr(tx, "numbered", execution.event_seq)
    return books


PROOFS.append(
    proof(
        29,
        who_reads_on_from_the_last_event_misses_none,
        twin(
            "numbers come from a sequence, before the execution is locked",
            "an event came before one that was read",
            replaced(book_queries, "executions_of_jobs", _number_and_find),
            replaced(book_queries, "load_books", _load_with_number),
        ),
    )
)


async def events_are_numbered_in_the_order_in_which_they_can_be_read(fleet: Fleet) -> None:
    """Numbers are taken under the execution's row lock, so no later one commits before an earlier one."""
    worker = fleet.script({"write": 20})
    client, processes = await fleet.client(), [await fleet.process(slots=5) for _ in range(2)]
    await fleet.submit(client)
    seen: list[int] = []

    async def read() -> None:
        while True:
            seen.extend(await numbers_of(fleet, after=max(seen, default=0)))
            await anyio.lowlevel.checkpoint()

    async def drain(process: Process) -> None:
        while len(worker.ran) < 20:
            await process.tick()
            await process.settle()
        await process.settle()

    async with anyio.create_task_group() as readers:
        readers.start_soon(read)
        async with anyio.create_task_group() as tasks:
            for process in processes:
                tasks.start_soon(drain, process)
        readers.cancel_scope.cancel()
    assert seen == (await numbers_of(fleet))[: len(seen)]
    assert len(seen) > 1


PROOFS.append(proof(29, events_are_numbered_in_the_order_in_which_they_can_be_read))


async def no_prompt_and_no_text_is_in_a_hot_table(fleet: Fleet) -> None:
    fleet.worker.on_plan = lambda: Phase(
        name="write", jobs=(new_job("write", payload={"prompt": "A secret."}),)
    )
    execution, process = await fleet.submit(await fleet.client()), await fleet.process()
    assert await fleet.value("SELECT payload->>'prompt' FROM jobs") == "A secret."
    assert not await texts_of(fleet, "A secret."), "a prompt is queued"
    await process.claim()
    assert not await texts_of(fleet, "A secret."), "a prompt is queued"
    columns = await fleet.fetch(
        """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_name IN ('resource_queue', 'queue_due', 'running_jobs', 'lanes')
          AND data_type IN ('jsonb', 'bytea', 'ARRAY')
        """
    )
    assert {column["column_name"] for column in columns} == {"needs"}, "a hot table has room for prompts"
    assert (await fleet.view(execution)).state is ExecutionState.QUEUED


async def texts_of(fleet: Fleet, text: str) -> list[str]:
    """Return the hot tables that have a text in any row."""
    tables = ("resource_queue", "queue_due", "running_jobs", "lanes", "client_pool_usage", "resource_pools")
    count = "SELECT count(*) FROM {0} WHERE {0}::text LIKE '%' || $1 || '%'"
    return [table for table in tables if await fleet.value(count.format(table), text)]


PROOFS.append(
    proof(
        25,
        no_prompt_and_no_text_is_in_a_hot_table,
        twin(
            "a queued job brings what it is about",
            "a prompt is queued",
            sql="""
                    ALTER TABLE resource_queue ADD COLUMN prompt text;
                    CREATE FUNCTION bring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                        UPDATE resource_queue q SET prompt = j.payload::text FROM jobs j
                        WHERE q.job_id = NEW.job_id AND j.id = NEW.job_id; RETURN NULL;
                    END $$;
                    CREATE TRIGGER bring AFTER INSERT ON resource_queue
                        FOR EACH ROW EXECUTE FUNCTION bring();
                    """,
        ),
        twin(
            "a running job has room for its payload",
            "a hot table has room for prompts",
            sql="ALTER TABLE running_jobs ADD COLUMN payload jsonb",
        ),
    )
)
