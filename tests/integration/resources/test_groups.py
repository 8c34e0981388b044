"""Submissions that share a transaction: as one after the other, whatever becomes of the others."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import msgspec
import pytest
from tests.fake_worker import WORST_NANO
from tests.fleet import Fleet
from tests.locks import blocked, locked

from aifactory.accounts.service import AccountsBook
from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.errors import AppError, Invalid, Unavailable
from aifactory.kernel.ids import ClientId, DataId, new_id
from aifactory.resources import batching, storage
from aifactory.resources.audit import audit
from aifactory.resources.batching import Batcher
from aifactory.resources.budgets import Scope
from aifactory.resources.interface import BudgetInUse, FlowStage, NewExecution, Submitted, Urgency
from aifactory.resources.queries import budgets, views
from aifactory.resources.submission import Result

pytestmark = pytest.mark.anyio

STORED = {
    "executions": """
        SELECT template, state, urgency, queue, estimated_nano, held_nano, free_hold_nano, event_seq,
            jobs_total, cardinality(budget_ids), key_id IS NULL, input, aged_from > created_at,
            deadline - created_at > interval '1 hour'
        FROM executions WHERE client_id = $1 ORDER BY id""",
    "jobs": "SELECT kind, state, hold_nano, route_id, attempt FROM jobs WHERE client_id = $1 ORDER BY id",
    "ledger": """
        SELECT kind, from_account, to_account, amount_nano, attempt, cardinality(budget_ids)
        FROM cost_tracking WHERE client_id = $1 ORDER BY id""",
    "budgets": """
        SELECT scope, scope_key, held_nano, spent_nano, unfinished FROM budgets
        WHERE client_id = $1 AND unfinished > 0 ORDER BY scope, scope_key""",
    "events": """
        SELECT v.seq, v.type, v.data FROM execution_events v JOIN executions e ON e.id = v.execution_id
        WHERE e.client_id = $1 ORDER BY e.id, v.seq""",
    "stages": """
        SELECT s.ordinal, s.state, s.phase, s.open_jobs, s.inputs ->> 'source' IS NULL
        FROM stage_executions s JOIN executions e ON e.id = s.execution_id
        WHERE e.client_id = $1 ORDER BY e.id, s.ordinal""",
    "queue": """
        SELECT l.queue, l.urgency, q.units, q.attempt
        FROM resource_queue q JOIN lanes l ON l.id = q.lane_id
        WHERE l.client_id = $1 ORDER BY q.job_id""",
    "due": "SELECT queue, urgency, units FROM queue_due WHERE client_id = $1 ORDER BY job_id",
    "kept": """
        SELECT expires_at > $2::timestamptz + interval '20 days' FROM data_references WHERE client_id = $1""",
}


class World:
    """Clients of every kind, twice: one set submits in groups, its twins one after the other."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.clients: list[ClientId] = []
        self.twins: dict[ClientId, ClientId] = {}
        self.sources: dict[ClientId, DataId] = {}
        self.order: list[NewExecution] = []
        self.batcher = batcher_of(fleet, submit_many=self.submit_many)

    async def submit_many(self, tx: Tx, news: Sequence[NewExecution]) -> list[Result]:
        """Submit together, and note in which order that was decided, if it stays."""
        try:
            results = await self.fleet.service.submit_many(tx, news)
        except AppError:
            if len(news) == 1:
                self.order.append(news[0])
            raise
        decided = [new for new, result in zip(news, results, strict=True) if result is not None]
        if len(news) == 1 and isinstance(results[0], AppError):  # that is raised, and undone
            self.order.extend(news)
            return results
        tx.after_commit(lambda: self.order.extend(decided))
        return results

    async def add(self, limits: dict[tuple[Scope, str], int] | None = None, **settings: Any) -> None:
        """Add a client and its twin."""
        both = [await self.fleet.client(**settings) for _ in range(2)]
        self.clients.append(both[0])
        self.twins[both[0]] = both[1]
        for client in both:
            async with self.fleet.database.begin() as tx:
                await budgets.set_limits(tx, client, limits or {})
                self.sources[client] = await storage.store(
                    tx,
                    client_id=client,
                    kind=storage.UPLOAD,
                    name="a.md",
                    media_type="text/markdown",
                    content=b"some words",
                    expires_at=tx.now + timedelta(days=1),
                )

    def draw(self, dice: random.Random, now: Any) -> NewExecution:
        """Return a submission of any kind."""
        client = dice.choice([*self.clients, self.clients[0]])
        plain = FlowStage(worker="granulation", template_ref="tests")
        unwanted = {"path": "/request/go", "op": "exists"}
        changes: list[dict[str, Any]] = [
            {},
            {},
            {},
            {"urgency": dice.choice(list(Urgency))},
            {"template": "other"},
            {"run_after": now + timedelta(hours=dice.randint(1, 9))},
            {"hold_until": now + timedelta(minutes=1)},
            {"off_peak": True, "urgency": Urgency.LOW},
            {"deadline": now - timedelta(hours=1)},
            {"source": self.sources[client]},
            {"source": DataId(new_id())},
            {"client_id": ClientId(new_id())},
            {"flow": (msgspec.structs.replace(plain, worker="nobody"),)},
            {"flow": (plain, msgspec.structs.replace(plain, condition=unwanted))},
            {"flow": (msgspec.structs.replace(plain, condition=unwanted),)},
        ]
        return msgspec.structs.replace(self.fleet.submission(client), **dice.choice(changes))

    async def stored(self, client: ClientId, now: Any) -> dict[str, Any]:
        """Return all that a client has in the database."""
        found = {}
        for name, sql in STORED.items():
            rows = await self.fleet.fetch(sql, client, *([now] if "$2" in sql else []))
            found[name] = [tuple(row) for row in rows]
        return found


def batcher_of(
    fleet: Fleet, database: Database | None = None, submit_many: batching.SubmitMany | None = None
) -> Batcher:
    return Batcher(
        database=database or fleet.database,
        submit_many=submit_many or fleet.service.submit_many,
        store_requests=AccountsBook(resources=fleet.service).store_requests,
    )


async def refused(fleet: Fleet, submitting: Any) -> Any:
    """Return what a submission became, without what is its own: an id, a time. It is what is read, too."""
    try:
        found = await submitting
    except AppError as error:
        return type(error).__name__, error.detail.split(" until ")[0]
    async with fleet.database.begin() as tx:
        read = await views.find_execution(tx, client_id=None, execution_id=found.execution_id)
    assert found.execution == read
    return found.execution.state, found.execution.queue, found.quote


async def test_a_group_leaves_what_its_members_would_one_after_the_other(fleet: Fleet) -> None:
    dice = random.Random(6)
    kinds = set[str]()
    for _ in range(4):
        world = World(fleet)
        await world.add()
        await world.add(monthly_budget_nano=3 * WORST_NANO)
        await world.add({(Scope.DAY, ""): 4 * WORST_NANO, (Scope.TEMPLATE, "other"): WORST_NANO})
        await world.add(suspended=True)
        async with fleet.database.begin() as tx:
            now = tx.now
        wanted = [world.draw(dice, now) for _ in range(28)]
        answers = dict(
            zip(
                [new.request_id for new in wanted],
                await asyncio.gather(*(refused(fleet, world.batcher.submit(new)) for new in wanted)),
                strict=True,
            )
        )
        of_twin = {world.sources[one]: world.sources[other] for one, other in world.twins.items()}
        assert len(world.order) == len(wanted)
        for new in world.order:
            twin = world.twins.get(new.client_id, new.client_id)
            source = None if new.source is None else of_twin.get(new.source, new.source)
            changed = msgspec.structs.replace(new, client_id=twin, source=source)
            alone = await refused(fleet, submit_alone(fleet, changed))
            assert alone == answers[new.request_id], new
            kinds.add(alone[0])
        for client, twin in world.twins.items():
            assert await world.stored(client, now) == await world.stored(twin, now)
    assert kinds >= {"queued", "BudgetInUse", "ClientSuspended", "DataNotFound", "Invalid", "NotFound"}
    assert not (await audit(fleet.database)).differences


async def submit_alone(fleet: Fleet, new: NewExecution) -> Submitted:
    async with fleet.database.begin() as tx:
        return await fleet.service.submit(tx, new)


async def test_groups_of_two_processes_never_pass_a_budget_and_refuse_only_what_lacks(fleet: Fleet) -> None:
    client = await fleet.client(monthly_budget_nano=9 * WORST_NANO)
    batchers = [batcher_of(fleet, fleet.engine().database) for _ in range(2)]
    async with locked(fleet, "client_resource_limits"):  # all are there before the first one holds
        calls = [batcher.submit(fleet.submission(client)) for batcher in batchers for _ in range(8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, Submitted) for one in answers) == 9
    assert sum(isinstance(one, BudgetInUse) for one in answers) == 7
    assert await fleet.budget(client) == (9 * WORST_NANO, 0, 9)


async def test_a_cancelled_caller_hurts_nobody_and_one_that_waited_has_submitted_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "AT_ONCE", 1)
    monkeypatch.setattr(batching, "LONGEST_QUEUE", 3)
    client = await fleet.client()
    await fleet.cancel(await fleet.submit(client))  # so that its budget is open
    batcher = batcher_of(fleet)
    async with locked(fleet, "budgets"):
        under_way = [asyncio.create_task(batcher.submit(fleet.submission(client))) for _ in range(3)]
        await blocked(fleet, 1)
        waiting = [asyncio.create_task(batcher.submit(fleet.submission(client))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await batcher.submit(fleet.submission(client))
        for one in (under_way[0], waiting[0]):
            one.cancel()
        await asyncio.wait([under_way[0], waiting[0]])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        assert not closing.done()
    answers = await asyncio.gather(*under_way[1:], *waiting[1:])
    await closing
    assert len({one.execution_id for one in answers}) == 4
    assert await fleet.budget(client) == (5 * WORST_NANO, 0, 5), "who was in the group under way is committed"


async def test_whoever_comes_as_a_group_ends_is_not_forgotten(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "AT_ONCE", 1)
    client = await fleet.client()
    batcher = batcher_of(fleet)
    with anyio.fail_after(20):
        for _ in range(3):  # its answer wakes a caller before the task of its group has ended
            await batcher.submit(fleet.submission(client))
    assert await fleet.budget(client) == (3 * WORST_NANO, 0, 3)


async def test_a_database_that_goes_away_in_a_group_is_told_to_each_and_leaves_nothing(fleet: Fleet) -> None:
    """At every statement in turn, until a group has no more of them."""
    client = await fleet.client()
    await fleet.cancel(await fleet.submit(client))
    before = await fleet.value("SELECT count(*) FROM executions")
    for statements in range(1, 99):
        database = fleet.engine().database
        batcher = batcher_of(fleet, database, submit_many=_dying(fleet, statements))
        answers = await asyncio.gather(
            *(batcher.submit(fleet.submission(client)) for _ in range(3)), return_exceptions=True
        )
        if all(isinstance(one, Submitted) for one in answers):
            break
        assert all(isinstance(one, DatabaseUnavailable) for one in answers), answers
        assert await fleet.value("SELECT count(*) FROM executions") == before
        assert await fleet.budget(client) == (0, 0, 0)
    assert statements > 4
    assert await fleet.budget(client) == (3 * WORST_NANO, 0, 3)
    assert not (await audit(fleet.database)).differences


def _dying(fleet: Fleet, statements: int) -> batching.SubmitMany:
    """Submit on a connection that breaks at a statement."""

    async def submit_many(tx: Tx, news: Sequence[NewExecution]) -> list[Result]:
        left, raw = statements, tx.raw

        class Dying:
            def __getattr__(self, name: str) -> Any:
                plain = getattr(raw, name)
                if name not in ("execute", "fetch", "fetchval", "fetchrow", "executemany"):
                    return plain

                async def run(*values: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left == 0:
                        raw.terminate()
                    return await plain(*values)

                return run

        tx.raw = Dying()  # type: ignore[assignment]
        try:
            return await fleet.service.submit_many(tx, news)
        finally:
            tx.raw = raw

    return submit_many


async def test_a_submission_that_fails_late_fails_alone(fleet: Fleet) -> None:
    """Its group is done again in parts; what its worker breaks is its own affair."""
    worker, client, other = fleet.worker, await fleet.client(), await fleet.client()
    plain = worker.estimate
    broken = FlowStage(worker="granulation", template_ref="broken")

    def estimate(resolved: Any, inputs: Any) -> Any:
        if resolved.template == "broken":
            raise RuntimeError("a bug")
        return plain(resolved, inputs)

    worker.estimate = estimate  # type: ignore[method-assign]
    batcher = batcher_of(fleet)
    wanted = [fleet.submission(one) for one in (client, other, client)]
    wanted.insert(1, fleet.submission(client, flow=(broken,)))
    with anyio.fail_after(20):
        answers = await asyncio.gather(*map(batcher.submit, wanted), return_exceptions=True)
    assert [type(one) for one in answers] == [Submitted, RuntimeError, Submitted, Submitted]
    assert await fleet.budget(client) == (2 * WORST_NANO, 0, 2)


async def test_who_waits_behind_a_group_that_is_cut_short_is_told(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "AT_ONCE", 1)
    client, begun, gate = await fleet.client(), anyio.Event(), anyio.Event()

    async def submit_many(_: Tx, __: Sequence[NewExecution]) -> list[Result]:
        begun.set()
        await gate.wait()
        raise asyncio.CancelledError

    batcher = batcher_of(fleet, fleet.database, submit_many=submit_many)
    first = asyncio.create_task(batcher.submit(fleet.submission(client)))
    await begun.wait()
    second = asyncio.create_task(batcher.submit(fleet.submission(client)))
    await asyncio.sleep(0)
    gate.set()
    with anyio.fail_after(20):
        answers = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(one) for one in answers] == [Unavailable, Unavailable]


async def test_a_budget_that_somebody_is_at_keeps_no_other_client_waiting(fleet: Fleet) -> None:
    busy, free = await fleet.client(), await fleet.client()
    for client in (busy, free):
        await fleet.cancel(await fleet.submit(client))  # so that its budget is open
    batcher = batcher_of(fleet, fleet.database, submit_many=fleet.service.submit_many)
    connection = await fleet.database.own_connection()
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM budgets WHERE client_id = $1 FOR UPDATE", busy)
            waits, goes = (asyncio.create_task(batcher.submit(fleet.submission(one))) for one in (busy, free))
            with anyio.fail_after(20):
                assert isinstance(await goes, Submitted)
                await blocked(fleet, 1)
            assert not waits.done()
        assert isinstance(await waits, Submitted)
    finally:
        await connection.close()


async def test_one_that_wants_no_stage_does_not_spoil_its_group(fleet: Fleet) -> None:
    """A client could have every group done twice, at no cost of its own."""
    clients = [await fleet.client() for _ in range(3)]
    for client in clients:
        await fleet.cancel(await fleet.submit(client))
    groups: list[int] = []

    async def submit_many(tx: Tx, news: Sequence[NewExecution]) -> list[Result]:
        groups.append(len(news))
        return await fleet.service.submit_many(tx, news)

    plain = FlowStage(worker="granulation", template_ref="tests")
    unwanted = msgspec.structs.replace(plain, condition={"path": "/request/go", "op": "exists"})
    flows = [(unwanted,), (plain,), (plain,)]
    batcher = batcher_of(fleet, fleet.database, submit_many=submit_many)
    answers = await asyncio.gather(
        *(batcher.submit(fleet.submission(one, flow=flow)) for one, flow in zip(clients, flows, strict=True)),
        return_exceptions=True,
    )
    assert [type(one) for one in answers] == [Invalid, Submitted, Submitted]
    assert groups == [3]
