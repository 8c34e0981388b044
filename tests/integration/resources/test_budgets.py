"""Budgets of several scopes: held on all or on none, in the client's periods, and exact whatever meets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from tests.fake_worker import AGAIN_AT_ONCE, COST_NANO, WORST_NANO
from tests.fleet import Fleet, until

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, KeyId, new_id, text_id
from aifactory.kernel.money import usd
from aifactory.resources import holds
from aifactory.resources.budgets import MAX_UNFINISHED, BudgetScope, Scope, scopes_of
from aifactory.resources.interface import (
    BudgetExceeded,
    BudgetInUse,
    ClientLimits,
    ExecutionState,
    MoneyRefused,
    QueueFull,
)
from aifactory.resources.queries import budgets as queries
from aifactory.resources.queries import control

pytestmark = pytest.mark.anyio

Limits = dict[tuple[Scope, str], int]


async def set_limits(fleet: Fleet, client: ClientId, limits: Limits) -> None:
    async with fleet.database.begin() as tx:
        await queries.set_limits(tx, client, limits)


async def rows(fleet: Fleet, client: ClientId) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Held, spent and unfinished of each scope, of all periods."""
    found = await fleet.fetch(
        """
        SELECT scope, scope_key, sum(held_nano)::bigint, sum(spent_nano)::bigint, sum(unfinished)::bigint
        FROM budgets WHERE client_id = $1 GROUP BY 1, 2
        """,
        client,
    )
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in found}


async def test_all_scopes_with_a_limit_are_held_and_settled_together_and_only_they(fleet: Fleet) -> None:
    client, process, key = await fleet.client(), await fleet.process(), KeyId(new_id())
    name = text_id("key", key)
    limits = {
        (Scope.DAY, ""): 2 * WORST_NANO,
        (Scope.KEY, name): 2 * WORST_NANO,
        (Scope.KEY, "another"): 0,
        (Scope.TEMPLATE, "tests"): 2 * WORST_NANO,
        (Scope.TEMPLATE, "another"): 0,
    }
    await set_limits(fleet, client, limits)
    execution = await fleet.submit(client, key_id=key)
    scopes = {("client", ""), ("day", ""), ("key", name), ("template", "tests")}
    assert await rows(fleet, client) == dict.fromkeys(scopes, (WORST_NANO, 0, 1))
    assert await fleet.value("SELECT cardinality(budget_ids) FROM executions") == 4
    assert await fleet.value("SELECT cardinality(budget_ids) FROM cost_tracking") == 4
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await rows(fleet, client) == dict.fromkeys(scopes, (0, COST_NANO, 0))
    await fleet.cancel(await fleet.submit(client))  # no key: that scope is left alone
    assert (await rows(fleet, client)) == dict.fromkeys(scopes, (0, COST_NANO, 0))


@pytest.mark.parametrize("scope", [Scope.DAY, Scope.KEY, Scope.TEMPLATE])
async def test_one_scope_that_is_full_refuses_and_nothing_is_held_on_the_others(
    fleet: Fleet, scope: Scope
) -> None:
    client, key = await fleet.client(), KeyId(new_id())
    names = {Scope.DAY: "", Scope.KEY: text_id("key", key), Scope.TEMPLATE: "tests"}
    limits: Limits = dict.fromkeys(names.items(), 10 * WORST_NANO)
    limits[scope, names[scope]] = WORST_NANO
    await set_limits(fleet, client, limits)
    first = await fleet.submit(client, key_id=key)
    before = await rows(fleet, client)
    with pytest.raises(BudgetInUse) as refused:
        await fleet.submit(client, key_id=key)
    assert await rows(fleet, client) == before
    told = refused.value.extras
    assert (told["scope"], told["scopeKey"]) == (scope, names[scope] or None)
    assert [one["scope"] for one in told["refusals"]] == [scope]
    figures = [told[name] for name in ("limitUsd", "heldUsd", "spentUsd", "neededUsd", "shortfallUsd")]
    assert figures == [usd(one) for one in (WORST_NANO, WORST_NANO, 0, WORST_NANO, WORST_NANO)]
    deadline = (await fleet.view(first)).deadline
    assert told["earliestDeadline"] == deadline.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert told["clearsAt"] == min(told["earliestDeadline"], told["resetsAt"])
    await set_limits(fleet, client, limits | {(scope, names[scope]): WORST_NANO - 1})
    with pytest.raises(BudgetExceeded):
        await fleet.submit(client, key_id=key)
    await fleet.cancel(first)
    await set_limits(fleet, client, limits)
    await fleet.submit(client, key_id=key)


async def test_edits_keep_usage_whatever_is_lowered_lifted_or_set_again(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    template = (Scope.TEMPLATE, "tests")
    await fleet.submit(client)  # before the limit is set: it does not count on it
    await set_limits(fleet, client, {template: WORST_NANO})
    await fleet.submit(client)
    await process.work()
    assert (await rows(fleet, client))[template] == (0, COST_NANO, 0)
    await set_limits(fleet, client, {template: COST_NANO - 1})  # below what is spent
    with pytest.raises(BudgetExceeded) as refused:
        await fleet.submit(client)
    assert refused.value.extras["shortfallUsd"] == usd(WORST_NANO + 1)
    await set_limits(fleet, client, {})
    await fleet.submit(client)
    assert (await rows(fleet, client))[template] == (0, COST_NANO, 0)
    await set_limits(fleet, client, {template: WORST_NANO + COST_NANO})
    await fleet.submit(client)
    assert (await rows(fleet, client))[template] == (WORST_NANO, COST_NANO, 1)


async def test_a_larger_hold_needs_room_in_every_scope_and_none_where_the_limit_was_lifted(
    fleet: Fleet,
) -> None:
    client, process = await fleet.client(), await fleet.process()
    for limits, ends in (
        ({(Scope.DAY, ""): WORST_NANO}, ExecutionState.FAILED),
        ({(Scope.DAY, ""): 2 * WORST_NANO + COST_NANO}, ExecutionState.SUCCEEDED),
        ({}, ExecutionState.SUCCEEDED),
    ):
        fleet.worker.answers = [AGAIN_AT_ONCE]  # the next try must be topped up
        await set_limits(fleet, client, limits or {(Scope.DAY, ""): 10 * WORST_NANO})
        execution = await fleet.submit(client)
        await set_limits(fleet, client, limits)
        await process.work()
        view = await fleet.view(execution)
        assert view.state is ends, (limits, view.reasons)
    assert (await rows(fleet, client))["day", ""] == (0, 5 * COST_NANO, 0)


async def test_a_limit_in_force_when_the_lock_comes_free_is_kept_to_the_nano(fleet: Fleet) -> None:
    """Many at once from four pools on three scopes: as many as the tightest allows, on all of them."""
    key, fitting = KeyId(new_id()), 5
    client = await fleet.client(monthly_budget_nano=7 * WORST_NANO)
    limits = {
        (Scope.DAY, ""): (fitting + 1) * WORST_NANO - 1,
        (Scope.KEY, text_id("key", key)): 6 * WORST_NANO,
    }
    await set_limits(fleet, client, limits)
    pools = [Database(url=fleet.database.url, pool_size=6) for _ in range(4)]
    refusals = list[str]()

    async def submit(database: Database) -> None:
        try:
            async with database.begin() as tx:
                await fleet.service.submit(tx, fleet.submission(client, key_id=key))
        except MoneyRefused as refusal:
            refusals.append(refusal.code)

    async with anyio.create_task_group() as tasks:
        for number in range(24):
            tasks.start_soon(submit, pools[number % 4])
    for pool in pools:
        await pool.close()
    assert refusals == ["budget_in_use"] * (24 - fitting)
    held = (fitting * WORST_NANO, 0, fitting)
    assert set((await rows(fleet, client)).values()) == {held}


async def test_the_first_holds_of_a_period_open_its_rows_once_without_a_deadlock(fleet: Fleet) -> None:
    client, keys = await fleet.client(), [KeyId(new_id()) for _ in range(3)]
    limits: Limits = {(Scope.KEY, text_id("key", key)): 100 * WORST_NANO for key in keys}
    limits |= {(Scope.DAY, ""): 100 * WORST_NANO, (Scope.TEMPLATE, "tests"): 100 * WORST_NANO}
    await set_limits(fleet, client, limits)
    async with anyio.create_task_group() as tasks:
        for number in range(15):
            new = {"key_id": keys[number % 3]}
            tasks.start_soon(lambda new=new: fleet.submit(client, **new))  # type: ignore[misc]
    found = await rows(fleet, client)
    assert {scope: row[2] for scope, row in found.items()} == {
        ("client", ""): 15,
        ("day", ""): 15,
        ("template", "tests"): 15,
        **{("key", text_id("key", key)): 5 for key in keys},
    }


async def test_a_rotated_key_counts_with_the_one_it_came_from(fleet: Fleet) -> None:
    client, first, second, third = await fleet.client(), *(KeyId(new_id()) for _ in range(3))
    async with fleet.database.begin() as tx:
        await fleet.service.inherit_key_budget(tx, old=first, new=second)
        await fleet.service.inherit_key_budget(tx, old=second, new=third)
    await set_limits(fleet, client, {(Scope.KEY, text_id("key", first)): 2 * WORST_NANO})
    await fleet.submit(client, key_id=first)
    await fleet.submit(client, key_id=third)
    with pytest.raises(BudgetInUse) as refused:
        await fleet.submit(client, key_id=second)
    assert refused.value.extras["scopeKey"] == text_id("key", first)
    await fleet.submit(client, key_id=KeyId(new_id()))


async def at(fleet: Fleet, *parts: int) -> None:
    """Set the clock of submissions."""
    async with fleet.database.begin() as tx:
        real = tx.now - fleet.database.clock_offset
    fleet.database.clock_offset = datetime(*parts, tzinfo=UTC) - real  # type: ignore[arg-type,misc]


async def test_day_and_month_end_at_the_clients_midnight_and_holds_stay_where_they_were(
    fleet: Fleet,
) -> None:
    client = await fleet.client(monthly_budget_nano=3 * WORST_NANO, time_zone="Europe/Berlin")
    await set_limits(fleet, client, {(Scope.DAY, ""): WORST_NANO})
    far = datetime(2032, 1, 1, tzinfo=UTC)
    await at(fleet, 2030, 12, 30, 12)
    await fleet.submit(client, deadline=far)
    with pytest.raises(BudgetInUse) as refused:
        await fleet.submit(client)
    assert refused.value.extras["scope"] == Scope.DAY
    assert refused.value.extras["resetsAt"] == refused.value.extras["clearsAt"] == "2030-12-30T23:00:00.000Z"
    await at(fleet, 2030, 12, 30, 23)
    await fleet.submit(client, deadline=far)
    await at(fleet, 2030, 12, 31, 23)  # the new year has begun in Berlin
    last = await fleet.submit(client, deadline=far)
    found = await fleet.fetch(
        "SELECT scope, first_day::text, held_nano FROM budgets WHERE client_id = $1 ORDER BY 1, 2", client
    )
    assert [tuple(row) for row in found] == [
        ("client", "2030-12-01", 2 * WORST_NANO),
        ("client", "2031-01-01", WORST_NANO),
        ("day", "2030-12-30", WORST_NANO),
        ("day", "2030-12-31", WORST_NANO),
        ("day", "2031-01-01", WORST_NANO),
    ]
    await fleet.cancel(last)


async def test_a_change_of_the_time_zone_gives_no_second_budget_and_takes_none_away(fleet: Fleet) -> None:
    budget = 2 * WORST_NANO
    client = await fleet.client(monthly_budget_nano=budget, time_zone="UTC")
    far = datetime(2032, 1, 1, tzinfo=UTC)

    async def move(zone: str) -> None:
        await fleet.set_client(client, monthly_budget_nano=budget, time_zone=zone)

    await at(fleet, 2030, 11, 20, 12)
    await fleet.submit(client, deadline=far)
    for zone in ("Pacific/Auckland", "Pacific/Pago_Pago"):  # November goes on, whatever its hours
        await move(zone)
        assert (await left(fleet, client)) == WORST_NANO
    await fleet.submit(client, deadline=far)
    with pytest.raises(BudgetInUse):
        await fleet.submit(client)
    await at(fleet, 2030, 11, 30, 23, 30)  # December in Auckland, November in Pago Pago
    await move("Pacific/Auckland")
    await fleet.submit(client, deadline=far)
    await move("Pacific/Pago_Pago")
    with pytest.raises(BudgetInUse):
        await fleet.submit(client)
    await at(fleet, 2030, 12, 2)
    assert await left(fleet, client) == WORST_NANO
    assert await fleet.value("SELECT count(*) FROM budgets") == 2


async def left(fleet: Fleet, client: ClientId) -> int:
    async with fleet.database.begin() as tx:
        found = await control.find_client(tx, client)
        assert found is not None
        return (await queries.levels(tx, client, scopes(tx, found)))[0].left_nano


def scopes(tx: Tx, client: ClientLimits) -> tuple[BudgetScope, ...]:
    return scopes_of(tx.now, client.time_zone, key_id=None, template="tests")


async def test_unfinished_work_of_all_months_is_counted_even_of_one_that_is_opened_meanwhile(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.audited = False  # the counters below stand for executions that there are not
    client = await fleet.client()
    await at(fleet, 2030, 11, 30, 23, 59)
    await fleet.submit(client)
    full = MAX_UNFINISHED - 1
    await fleet.execute("UPDATE budgets SET unfinished = $1", full)
    november = fleet.database.clock_offset
    december = Database(url=fleet.database.url, clock_offset=november + timedelta(minutes=2))
    ready = anyio.Event()

    async def submit_in_november() -> None:
        with pytest.raises(QueueFull):
            await fleet.submit(client)
        ready.set()

    async with anyio.create_task_group() as tasks:
        async with december.begin() as tx:
            await fleet.service.submit(tx, fleet.submission(client))
            tasks.start_soon(submit_in_november)
            await waiting(fleet)
        await ready.wait()
    await december.close()
    assert await fleet.value("SELECT sum(unfinished)::bigint FROM budgets") == MAX_UNFINISHED


async def waiting(fleet: Fleet) -> None:
    """Return when a statement waits for a row."""
    sql = """SELECT count(*) > 0 FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()"""
    await until(lambda: fleet.value(sql))


async def test_room_that_went_while_a_hold_waited_is_not_given_twice_and_room_that_stayed_is_given(
    fleet: Fleet,
) -> None:
    client = await fleet.client(monthly_budget_nano=2 * WORST_NANO)
    await fleet.submit(client)
    answers = dict[str, Any]()

    async def submit(name: str) -> None:
        try:
            answers[name] = await fleet.submit(client)
        except MoneyRefused as refusal:
            answers[name] = refusal.code

    async with anyio.create_task_group() as tasks, fleet.database.begin() as tx:
        await fleet.service.submit(tx, fleet.submission(client))  # takes the last room
        tasks.start_soon(submit, "too late")
        await waiting(fleet)
    assert answers == {"too late": "budget_in_use"}
    await fleet.set_client(client, monthly_budget_nano=3 * WORST_NANO)
    async with anyio.create_task_group() as tasks, fleet.database.begin() as tx:
        await tx.raw.execute("SELECT FROM budgets FOR NO KEY UPDATE")
        tasks.start_soon(submit, "waited")
        await waiting(fleet)
    assert answers["waited"] != "budget_in_use"


async def test_an_ordinary_hold_takes_one_statement_and_a_refused_one_locks_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await fleet.client(monthly_budget_nano=2 * WORST_NANO)
    await fleet.submit(client)
    async with fleet.database.begin() as tx:
        found = await control.find_client(tx, client)
        assert found is not None
        counted = list[str]()
        for name in ("fetch", "fetchval", "fetchrow", "execute"):
            plain = getattr(type(tx.raw), name)

            async def count(self: Any, sql: str, *values: Any, plain: Any = plain, **rest: Any) -> Any:
                counted.append(sql)
                return await plain(self, sql, *values, **rest)

            monkeypatch.setattr(type(tx.raw), name, count)
        wanted = {"key_id": None, "template": "tests"}
        taken = await holds.take_hold(tx, found, amount_nano=WORST_NANO, **wanted)  # type: ignore[arg-type]
        monkeypatch.undo()
        assert len(counted) == 1
        (book,) = taken.values()
        assert (book.held_nano, book.limit_nano) == (2 * WORST_NANO, 2 * WORST_NANO)
        await tx.raw.execute("UPDATE budgets SET held_nano = held_nano - $1, unfinished = 1", WORST_NANO)
    fleet.script({"write": 2})
    async with fleet.database.begin() as tx, fleet.database.begin() as other:
        with pytest.raises(BudgetInUse):
            await fleet.service.submit(tx, fleet.submission(client))
        await other.raw.fetch("SELECT FROM budgets FOR NO KEY UPDATE NOWAIT")


async def test_a_client_of_a_tier_without_a_number_may_spend_nothing_and_no_one_is_unlimited(
    fleet: Fleet,
) -> None:
    client = await fleet.client()
    await fleet.execute("ALTER TABLE client_resource_limits DROP CONSTRAINT client_limits_enterprise_budget")
    await fleet.execute("UPDATE client_resource_limits SET monthly_budget_nano = NULL")
    with pytest.raises(BudgetExceeded):
        await fleet.submit(client)


async def test_budget_periods_follow_the_clients_time_zone(fleet: Fleet) -> None:
    client = await fleet.client(time_zone="Pacific/Kiritimati")
    await fleet.submit(client)
    start, end = (await fleet.fetch("SELECT period_start, period_end FROM budgets"))[0]
    assert (start.hour, end.hour) == (10, 10)
    assert end - start >= timedelta(days=28)
