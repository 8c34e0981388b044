"""Where an execution stands and why it waits, told over HTTP: every gate by its cause, every state."""

import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.kernel.ids import new_id, parse_id, text_id
from aifactory.resources import expected, outlook
from aifactory.resources.queries import positions
from aifactory.resources.queries.quotas import set_quotas

pytestmark = pytest.mark.anyio

REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}
HANDSHAKE = {"inputData": {"template_name": QUIZ, "topic": "x"}}
FAR = datetime.fromisoformat("2999-01-01T00:00:00Z")  # a pool as of then is not refilled meanwhile


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "FRESH_FOR", timedelta(0))
    monkeypatch.setattr(outlook, "MOST_DUTY", math.inf)
    monkeypatch.setattr(expected, "MOST_AGE", timedelta(minutes=1))


async def sql(world: World, statement: str, *values: Any) -> None:
    async with world.database.begin() as tx:
        await tx.raw.execute(statement, *values)


async def row(world: World, statement: str, *values: Any) -> Any:
    async with world.database.begin() as tx:
        return await tx.raw.fetchrow(statement, *values)


async def add_process(world: World) -> None:
    """A process of the fleet that has its lease for an hour."""
    async with world.database.begin() as tx:
        await tx.raw.execute(
            """
            INSERT INTO processes (id, host, pid, lock_key, started_at, renewed_at, lease_until, slots,
                local_slots) VALUES ($1, 'here', 1, 1, $2, $3, $4, 8, 40)
            """,
            new_id(),
            tx.now,
            tx.now + timedelta(minutes=59),
            tx.now + timedelta(hours=1),
        )


async def run_job(world: World, job_id: Any) -> None:
    """Let a job of our client run somewhere."""
    async with world.database.begin() as tx:
        await tx.raw.execute(
            """
            INSERT INTO running_jobs (job_id, token, process_id, client_id, worker, pool, provider, model,
                local, lane_id, units, attempt, started_at, deadline)
            VALUES ($1, $1, $1, $2, 'granulation', 'compute', 'local', 'offline', true, 1, 5, 1, $3, $3)
            """,
            job_id,
            world.ours.client_id,
            tx.now,
        )


async def submit(world: World, **changes: Any) -> str:
    made = await world.ask("POST", "/api/execute", world.ours.key, json=REQUEST | changes)
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


async def position(world: World, wanted: str, credential: Any = None) -> Any:
    answer = await world.ask("GET", f"/api/queue/position/{wanted}", credential or world.ours.key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def gate(world: World, wanted: str) -> tuple[str, str]:
    told = await position(world, wanted)
    return told["gate"]["gate"], told["gate"]["detail"]


async def operate(world: World, *paths: str) -> None:
    for path in paths:
        answer = await world.ask("POST", path, world.admin)
        assert answer.status_code == 200, answer.text


async def test_every_gate_is_told_by_its_cause(world: World) -> None:
    first, second = await submit(world), await submit(world)
    assert await gate(world, first) == ("slots", "No process runs.")
    await add_process(world)
    assert await gate(world, second) == ("turn", "It starts with the next round.")

    await operate(world, "/admin/scheduler/stop")
    assert await gate(world, first) == ("scheduler_off", "The operator has stopped the scheduler.")
    stopped = await position(world, first)
    assert (stopped["position"], stopped["estimatedStart"], stopped["basis"]) == (None, None, None)
    assert stopped["priority"]["score"] == pytest.approx(20 + 10 + 10, abs=0.1)
    await operate(world, "/admin/scheduler/start", "/admin/pools/compute/pause")
    words = "None of its models can be called: the pool compute is paused."
    assert await gate(world, first) == ("no_hop", words)
    await check_pool_of_another(world, first)
    await operate(world, "/admin/pools/compute/resume", "/admin/queues/normal/pause")
    assert await gate(world, first) == ("queue_paused", "The operator has paused the queue normal.")
    await operate(world, "/admin/queues/normal/resume")
    await sql(world, "UPDATE worker_registry SET active = false")
    assert await gate(world, first) == ("worker_paused", "The worker granulation is not active.")
    await sql(world, "UPDATE worker_registry SET active = true, max_running = 0")
    assert (await gate(world, first))[0] == "worker_cap"
    await sql(world, "UPDATE worker_registry SET max_running = NULL")

    until = (await row(world, "SELECT max(renewed_at) AS at FROM processes"))["at"]
    await sql(world, "UPDATE resource_pools SET blocked_until = $1 WHERE pool = 'compute'", until)
    blocked = await position(world, first)
    assert blocked["gate"]["detail"].startswith(
        "None of its models can be called: the pool compute is blocked"
    )
    assert datetime.fromisoformat(blocked["gate"]["opensAt"]) == until
    await sql(world, "UPDATE resource_pools SET blocked_until = NULL")
    await sql(
        world,
        "UPDATE providers SET circuit = 'open', circuit_until = $1 WHERE provider = 'local'",
        until,
    )
    assert "local fails, next try in" in (await gate(world, first))[1]
    await sql(world, "UPDATE providers SET circuit = 'closed', key_present = false WHERE provider = 'local'")
    assert (await gate(world, first))[1].endswith("no process has the key of local.")
    await sql(world, "UPDATE providers SET circuit_until = NULL, key_present = true")

    async with world.database.begin() as tx:
        await set_quotas(tx, world.ours.client_id, {("compute", "day"): 3000})
    await sql(world, "UPDATE quotas SET units_used = 1500")
    name, words = await gate(world, first)
    assert (name, words.partition(";")[0]) == (
        "quota",
        "This client's day's quota of compute has 1,500 of the 2,000 units needed",
    )
    await sql(world, "DELETE FROM quotas")
    await sql(
        world,
        "UPDATE resource_pools SET level_micro = 500000000, refill_per_second = 10, requests_per_minute = 6, "
        "reserved_percent = 0, as_of = $1 WHERE pool = 'compute'",
        FAR,
    )
    units = await position(world, first)
    assert units["gate"] == {
        "gate": "units",
        "detail": "The compute pool has 500 of the 2,000 units needed; enough in 2 min 30 s.",
        "pool": "compute",
        "needed": 2000,
        "available": 500,
        "opensAt": units["gate"]["opensAt"],
        "opensInMs": units["gate"]["opensInMs"],
        "ofJobAhead": False,
    }
    assert 150_000 <= units["gate"]["opensInMs"] <= 155_000
    assert (units["position"], units["positionExact"], units["basis"]) == (1, True, "simulated")
    opens, starts = (
        datetime.fromisoformat(told) for told in (units["gate"]["opensAt"], units["estimatedStart"])
    )
    assert abs(starts - opens) < timedelta(seconds=3)
    assert [one["gate"] for one in units["alsoClosed"]] == ["requests"]
    behind = await position(world, second)
    assert (behind["gate"]["ofJobAhead"], behind["ahead"]["inLane"]) == (True, 1)
    assert (behind["position"], behind["ahead"]["inPool"]) == (2, 1)
    assert behind["estimatedStart"] > units["estimatedStart"]
    assert behind["gate"]["detail"].startswith(
        "A job ahead of it has to start first. The compute pool has 500"
    )
    await sql(world, "UPDATE resource_pools SET level_micro = 5000000000 WHERE pool = 'compute'")
    assert (await gate(world, first))[1].startswith("The compute pool has had its 6 requests of this minute")
    await sql(world, "UPDATE resource_pools SET requests_per_minute = NULL")

    for _ in range(20):
        await run_job(world, new_id())
    words = "20 jobs of this client run, and no more may at once. Nobody can say when a place is free."
    assert await gate(world, first) == ("client_cap", words)
    await sql(world, "UPDATE client_resource_limits SET suspended = true")
    assert await gate(world, first) == ("client_suspended", "The operator has suspended this client.")


async def check_pool_of_another(world: World, waiting: str) -> None:
    """A pool that is another client's now is named to the operator, and in no part of a client's answer."""
    dedicate = "UPDATE resource_pools SET dedicated_client_id = $1 WHERE pool = 'compute'"
    await sql(world, dedicate, world.theirs.client_id)
    told, seen = await position(world, waiting), await position(world, waiting, world.admin)
    words = "None of its models can be called: one of its pools is not open to it."
    assert (told["gate"]["detail"], told["gate"]["pool"], told["pool"]) == (words, None, None)
    assert "compute" not in json.dumps(told)
    assert (seen["gate"]["pool"], seen["pool"]) == ("compute", "compute")
    await sql(world, dedicate, None)


async def test_a_submission_is_told_its_place_where_the_latest_forecast_knows_it_and_where_to_ask(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_process(world)
    first = await made(world, "/api/execute", REQUEST)
    asked = f"/api/queue/position/{first['id']}"
    assert (first["position"], first["estimatedStart"], first["positionUrl"]) == (None, None, asked)
    await position(world, first["id"])
    latest = world.factory.outlooks.latest
    assert latest is not None
    for path, body in (("/api/execute", REQUEST), ("/requests", REQUEST)):
        second = await made(world, path, body)
        start = datetime.fromisoformat(second["estimatedStart"])
        assert (second["position"], start) == (2, latest.as_of)
        execution = second.get("executionId", second["id"])
        assert second["positionUrl"] == f"/api/queue/position/{execution}"
        assert "positionUrl" not in (await world.ask("GET", path_of(second), world.ours.key)).json()
    await operate(world, "/admin/queues/normal/pause")
    await position(world, first["id"])
    paused = await made(world, "/api/execute", REQUEST)
    assert (paused["position"], paused["estimatedStart"]) == (None, None)
    async with world.database.begin() as tx:
        tomorrow = (tx.now + timedelta(days=1)).replace(microsecond=0)
    later = await made(world, "/api/execute", REQUEST | {"runAfter": tomorrow.isoformat()})
    assert (later["position"], datetime.fromisoformat(later["estimatedStart"])) == (None, tomorrow)
    draft = await world.ask("POST", "/requests", world.ours.key, json=REQUEST | {"execute": False})
    assert "position" not in draft.json()

    await operate(world, "/admin/queues/normal/resume")
    monkeypatch.setattr(positions, "MOST_OPEN", 2)
    third = await position(world, paused["id"])
    assert third["ahead"] == {"inLane": 2, "inPool": 3, "atLeast": True}
    assert (third["positionAtLeast"], third["estimatedStart"]) == (True, None)
    assert (third["steps"][0]["lastAhead"], third["steps"][0]["aheadAtLeast"]) == (2, True)
    second = await position(world, second["executionId"])
    assert (second["ahead"]["inLane"], second["ahead"]["atLeast"]) == (2, True)
    exact = await position(world, first["id"])
    assert (exact["ahead"]["inLane"], exact["positionAtLeast"], exact["position"]) == (0, False, 1)
    assert exact["stepsNotShown"] == 0


async def made(world: World, path: str, body: Any) -> Any:
    answer = await world.ask("POST", path, world.ours.key, json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def path_of(told: Any) -> str:
    return f"/requests/{told['id']}" if "executionId" in told else f"/api/execution/{told['id']}"


async def check_start_behind(world: World, running: Any) -> None:
    """What waits for the only slot starts when what runs has taken as long as the latest runs did."""
    await sql(world, "UPDATE processes SET local_slots = 1")
    await sql(world, "UPDATE running_jobs SET process_id = (SELECT id FROM processes)")
    await sql(
        world,
        """
        INSERT INTO job_attempts (job_id, attempt, token, process_id, provider, model, pool, started_at,
            finished_at, outcome, usage)
        VALUES ($1, 9, $1, $1, 'local', 'offline', 'compute', $2, $3, 'succeeded', $4)
        """,
        running,
        FAR,
        FAR + timedelta(seconds=10),
        b'{"inputUnits": 500, "outputUnits": 100}',
    )
    waiting = await position(world, await submit(world))
    since = (await row(world, "SELECT started_at FROM running_jobs"))["started_at"]
    as_of, start = (datetime.fromisoformat(waiting[name]) for name in ("asOf", "estimatedStart"))
    assert waiting["gate"]["detail"].startswith("All slots for local work are busy. A slot is free in about ")
    assert as_of < datetime.fromisoformat(waiting["gate"]["opensAt"]) <= start
    operators = await position(world, waiting["id"], world.admin)
    assert operators["gate"]["detail"].startswith("The only slot for local work of 1 process is busy. A slot")
    assert abs(start - max(since + timedelta(seconds=10), as_of + timedelta(seconds=2.5))) < timedelta(
        seconds=2
    )
    await sql(world, "DELETE FROM resource_queue")
    await sql(world, "UPDATE processes SET local_slots = 40")


async def test_each_state_is_told_under_every_id_to_its_own_client_only(world: World) -> None:
    await add_process(world)
    execution = await submit(world)
    queued = await position(world, execution)
    job, request = queued["jobId"], queued["requestId"]
    assert (queued["id"], queued["state"], queued["waits"]) == (execution, "queued", True)
    assert (queued["queue"], queued["policy"], queued["worker"]) == ("normal", "fair", "granulation")
    assert (queued["pool"], queued["provider"], queued["ahead"]["inLane"]) == ("compute", "local", 0)
    counts = {"ready": 1, "scheduled": 0, "following": 0, "running": 0, "atProvider": 0}
    assert queued["jobs"] == counts | {"atLeast": False}
    assert [(one["kind"], one["jobs"], one["gate"]) for one in queued["steps"]] == [("work", 1, "turn")]
    assert (queued["position"], queued["basis"]) == (1, "simulated")
    assert queued["earliestStart"] <= queued["estimatedStart"] <= queued["latestStart"]
    priority = queued["priority"]
    parts = sum(priority[part] for part in ("tier", "urgency", "waiting", "fairness"))
    assert priority["score"] == pytest.approx(parts)
    assert (priority["tier"], priority["urgency"]) == (20, 10)
    for wanted in (request, job, execution):
        for credential in (world.support, world.admin, world.ours.key):
            assert (await position(world, wanted, credential))["jobId"] == job
        path = f"/api/queue/position/{wanted}"
        assert_problem(await world.ask("GET", path, world.theirs.key), 404, "execution_not_found")
    assert (await position(world, job))["state"] == "ready"
    draft = await world.ask("POST", "/requests", world.ours.key, json={**REQUEST, "execute": False})
    unknown_ids = {
        draft.json()["id"]: "execution",
        text_id("exec", new_id()): "execution",
        text_id("job", new_id()): "job",
        job: "job",
        "job_1": "execution",
    }
    for unknown, what in unknown_ids.items():
        asker = world.theirs.key if unknown == job else world.ours.key
        answer = await world.ask("GET", f"/api/queue/position/{unknown}", asker)
        assert_problem(answer, 404, "execution_not_found")
        assert answer.json()["detail"] == f"There is no {what} with this id."

    job_id = parse_id("job", job)
    await run_job(world, job_id)
    await sql(world, "DELETE FROM resource_queue")
    assert await gate(world, execution) == ("starting", "A process has taken it and starts it.")
    await sql(world, "UPDATE jobs SET state = 'running' WHERE id = $1", job_id)
    assert await gate(world, execution) == (
        "running",
        "1 of its jobs runs; what follows is queued when they end.",
    )
    running = await position(world, job)
    assert (running["state"], running["waits"], running["position"]) == ("running", False, 0)
    assert (running["gate"]["detail"], running["jobs"]["running"]) == ("It runs.", 1)
    await check_start_behind(world, job_id)
    await sql(world, "DELETE FROM running_jobs")
    for state in ("following", "at_provider"):
        await sql(world, "UPDATE jobs SET state = $1 WHERE id = $2", state, job_id)
        assert (await gate(world, execution))[0] == state

    async with world.database.begin() as tx:
        tomorrow = (tx.now + timedelta(days=1)).replace(microsecond=0)
    later = await submit(world, runAfter=tomorrow.isoformat(), urgency="low")
    put_off = await position(world, later)
    words = f"It is put off, as it asks for, until {tomorrow:%Y-%m-%d at %H:%M} UTC."
    assert put_off["gate"]["detail"] == words
    assert (put_off["basis"], datetime.fromisoformat(put_off["estimatedStart"])) == ("due", tomorrow)
    assert (put_off["position"], put_off["jobs"]["scheduled"]) == (None, 1)
    await sql(world, "UPDATE queue_due SET attempt = 2")
    assert (await gate(world, later))[1].startswith("Attempt 2 of ")
    await operate(world, f"/api/execution/{later}/cancel")
    ended = await position(world, later)
    assert (ended["state"], ended["waits"], ended["gate"], ended["jobId"]) == ("cancelled", False, None, None)

    shaken = await world.ask("POST", "/api/handshake", world.ours.key, json=HANDSHAKE)
    assert shaken.status_code == 200, shaken.text
    held = await row(world, "SELECT execution_id FROM handshakes")
    assert (await gate(world, text_id("exec", held["execution_id"])))[0] == "held"
