"""What outlives its time is deleted; what was lost with its process is not held against a job."""

from datetime import timedelta

import pytest
from tests.fake_worker import USAGE
from tests.fleet import Fleet

from aifactory.resources import maintenance
from aifactory.resources.interface import ExecutionState, Job, JobFault, Outcome

pytestmark = pytest.mark.anyio

REFUSED = Outcome(usage=USAGE, fault=JobFault(code="busy", message="Try again.", retryable=True))


async def test_attempts_that_were_lost_with_their_process_leave_a_job_its_own_tries(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, max_attempts=2)
    client, dying, other = await fleet.client(), await fleet.process(), await fleet.process()
    tries = 0

    async def busy_once(job: Job) -> Outcome:
        nonlocal tries
        tries += 1
        return REFUSED if tries == 1 else Outcome(usage=USAGE)

    worker.on_run = busy_once
    execution = await fleet.submit(client)
    for _ in range(2):
        await dying.claim()
        await other.age(16)
        assert await other.rescue() == 1
        await other.age(3)
        dying = await fleet.process()
    await other.work()
    await other.age(70)
    await other.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert tries == 2


async def test_results_of_steps_and_idempotency_keys_are_deleted_when_their_time_is_over(
    fleet: Fleet,
) -> None:
    process = await fleet.process()
    data = {"live": timedelta(hours=1), "over": -timedelta(hours=1), "kept": None}
    async with process.database.begin() as tx:
        for name, life in data.items():
            await tx.raw.execute(
                """
                INSERT INTO data_references (id, client_id, kind, name, media_type, encoding, bytes, words,
                    sha256, content, created_at, expires_at)
                VALUES (gen_random_uuid(), gen_random_uuid(), 'step', $1, '', 'identity', 0, 0, '', '',
                    $2, $3)
                """,
                name,
                tx.now,
                None if life is None else tx.now + life,
            )
        for key, age in (("new", timedelta()), ("old", timedelta(hours=49))):
            await tx.raw.execute(
                "INSERT INTO idempotency_keys (scope, route, key, body_sha256, created_at) "
                "VALUES ('s', 'r', $1, '', $2)",
                key,
                tx.now - age,
            )
    assert await process.engine.maintenance.purge() == 2
    assert await process.engine.maintenance.purge() == 0
    names = await fleet.fetch("SELECT name FROM data_references ORDER BY name")
    assert [row["name"] for row in names] == ["kept", "live"]
    assert await fleet.value("SELECT key FROM idempotency_keys") == "new"


async def test_a_busy_minutes_results_are_deleted_in_one_round_of_short_transactions(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PURGED_TOGETHER", 2)
    monkeypatch.setattr(maintenance, "PURGES_A_ROUND", 3)
    process = await fleet.process()
    async with process.database.begin() as tx:
        await tx.raw.execute(
            """
            INSERT INTO data_references (id, client_id, kind, name, media_type, encoding, bytes, words,
                sha256, content, created_at, expires_at)
            SELECT gen_random_uuid(), gen_random_uuid(), 'step', n, '', 'identity', 0, 0, '', '', $1, $1
            FROM generate_series(1, 9) n
            """,
            tx.now,
        )
    purged = []
    for _ in range(3):
        purged.append(await process.engine.maintenance.purge())
        process.engine.maintenance._purged = None
    assert purged == [6, 3, 0]


async def test_keys_that_gathered_while_nobody_was_there_are_deleted_bit_by_bit(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "KEYS_PURGED_TOGETHER", 2)
    monkeypatch.setattr(maintenance, "PURGES_A_ROUND", 3)
    process = await fleet.process()
    async with process.database.begin() as tx:
        await tx.raw.execute(
            "INSERT INTO idempotency_keys (scope, route, key, body_sha256, created_at) "
            "SELECT 's', 'r', n::text, '', $1 FROM generate_series(1, 9) n",
            tx.now - timedelta(hours=49),
        )
    purged = []
    for _ in range(3):
        purged.append(await process.engine.maintenance.purge())
        process.engine.maintenance._purged = None
    assert purged == [6, 3, 0]


@pytest.mark.parametrize("days", [None, 300])
async def test_a_steps_results_are_kept_until_a_day_after_the_deadline(
    fleet: Fleet, days: int | None
) -> None:
    worker = fleet.script({"write": 1})
    worker.answers = [Outcome(usage=USAGE, artifacts={"draft": b"{}"})]
    process = await fleet.process()
    async with fleet.database.begin() as tx:
        deadline = None if days is None else tx.now + timedelta(days=days)
    await fleet.submit(await fleet.client(), deadline=deadline)
    await process.work()
    (row,) = await fleet.fetch(
        "SELECT d.expires_at - e.deadline AS rest FROM data_references d, executions e"
    )
    assert row["rest"] == timedelta(days=1)


async def test_a_connection_that_was_cut_in_the_pool_costs_no_request(fleet: Fleet) -> None:
    process = await fleet.process()
    async with process.database.begin() as tx:
        pid = await tx.raw.fetchval("SELECT pg_backend_pid()")
        raw = tx.raw
    await fleet.value("SELECT pg_terminate_backend($1)", pid)
    while not raw.is_closed():
        await fleet.value("SELECT 1")
    async with process.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT 1") == 1
