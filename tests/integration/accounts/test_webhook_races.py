"""Deliveries under crashes and races, in several processes; endpoints that don't wait for each other."""

from datetime import timedelta
from typing import Any

import anyio
import pytest
from tests.factories import World
from tests.fleet import until
from tests.webhook_receiver import answering, hang, receiving
from tests.webhook_world import (
    Endings,
    attempts,
    deliveries_of,
    ending,
    make,
    make_client,
    queue,
    rows,
    send,
    sending,
)

from aifactory.accounts import webhook_queries, webhook_rules, webhooks
from aifactory.accounts.webhook_delivery import Deliveries
from aifactory.accounts.webhook_sending import WebhookSender
from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.ids import new_id, text_id
from aifactory.kernel.notices import Notices

pytestmark = pytest.mark.anyio


async def test_a_crash_between_sending_and_recording_sends_the_same_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await make_client(database)
    async with receiving(answering(200)) as receiver:
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)

        async def die(*_: Any, **__: Any) -> None:
            raise DatabaseUnavailable("gone")

        async with sending(database) as first:
            with monkeypatch.context() as patch:
                patch.setattr(webhooks, "record", die)
                await send(first)
        async with sending(database) as second:
            await send(second)
            assert len(receiver.messages) == 1  # the lease of the first still holds
            database.clock_offset += webhook_rules.LEASE * 1.1
            await send(second)
        assert len(receiver.messages) == 2
        assert len({(one.headers["webhook-id"], one.body) for one in receiver.messages}) == 1
        (delivery,) = await deliveries_of(database, webhook_id)
        assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)
        assert [one["number"] for one in await attempts(database)] == [2]


async def test_an_attempt_that_comes_late_never_undoes_a_success(database: Database) -> None:
    ours = await make_client(database)
    webhook_id, _ = await make(database, ours, "http://127.0.0.1:9999/")
    await queue(database, ours)
    claims = []
    for _ in range(2):
        async with database.begin() as tx:
            (row,) = await webhook_queries.claim(tx, {webhook_id: 2}, until=tx.now + webhook_rules.LEASE)
            claims.append((row, tx.now))
        database.clock_offset += webhook_rules.LEASE * 1.1

    async def record(claim: Any, status: int) -> None:
        row, at = claim
        claimed = webhooks.Claimed(
            id=row["id"],
            webhook_id=webhook_id,
            number=row["attempts"],
            tries=row["tries"],
            event_type=row["event_type"],
            claimed_at=at,
        )
        error = None if status == 200 else "answered"
        attempt = webhook_rules.Attempt(duration_ms=1, status=status, error=error)
        async with database.begin() as tx:
            await webhooks.record(tx, claimed, attempt, chance=0.5)

    async def state() -> tuple[str, Any]:
        (delivery,) = await deliveries_of(database, webhook_id)
        return delivery["state"], delivery["next_attempt_at"]

    before = await state()
    await record(claims[0], 500)  # overtaken: it changes nothing of the delivery
    assert await state() == before
    await record(claims[0], 200)
    assert (await state())[0] == "delivered"
    await record(claims[1], 500)
    assert (await state())[0] == "delivered"


async def test_what_one_process_is_claiming_another_passes_over(database: Database) -> None:
    ours = await make_client(database)
    webhook_id, _ = await make(database, ours, "http://127.0.0.1:9999/")
    await queue(database, ours, *[ending(ours)] * 3)
    places = {webhook_id: 2}
    async with database.begin() as one, database.begin() as two:
        first = await webhook_queries.claim(one, places, until=one.now + webhook_rules.LEASE)
        second = await webhook_queries.claim(two, places, until=two.now + webhook_rules.LEASE)
    assert (len(first), len(second)) == (2, 1)
    assert len({row["id"] for row in [*first, *second]}) == 3


async def test_a_delivery_that_is_under_way_is_not_sent_beside_itself(database: Database) -> None:
    ours = await make_client(database)
    async with receiving(hang) as receiver, sending(database, patience=60) as deliveries:
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)
        await deliveries.send_round()
        await receiver.until(1)
        (delivery,) = await deliveries_of(database, webhook_id)
        async with database.begin() as tx:
            row = await webhooks.get_webhook(tx, webhook_id=webhook_id, client_id=None, lock=True)
            await webhooks.resend(tx, row, delivery_id=delivery["id"])
        await deliveries.send_round()
        assert await deliveries_of(database, webhook_id) == [delivery]


async def test_two_processes_share_the_work_and_send_nothing_twice(database: Database) -> None:
    ours = await make_client(database)
    async with (
        receiving(answering(200)) as receiver,
        sending(database) as one,
        sending(database) as two,
    ):
        for _ in range(4):
            await make(database, ours, receiver.url)
        await queue(database, ours, *[ending(ours)] * 5)

        async def work(process: Deliveries) -> None:
            for _ in range(12):
                await send(process)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, one)
            tasks.start_soon(work, two)
        assert len(receiver.messages) == 20
        assert len({message.headers["webhook-id"] for message in receiver.messages}) == 20


async def test_an_endpoint_deleted_while_it_is_being_sent_to_is_let_go(world: World) -> None:
    release = anyio.Event()

    async def wait(received: Any, writer: Any) -> None:
        await release.wait()
        await answering(200)(received, writer)

    async with receiving(wait) as receiver, sending(world.database) as deliveries:
        webhook_id, _ = await make(world.database, world.ours.client_id, receiver.url)
        await queue(world.database, world.ours.client_id)
        await deliveries.send_round()
        await receiver.until(1)
        path = f"/api/webhooks/{text_id('whk', webhook_id)}"
        assert (await world.ask("DELETE", path, world.ours.key)).status_code == 204
        world.database.clock_offset += webhook_rules.LEASE * 1.1
        await deliveries.purge_round()
        assert await rows(world.database, "SELECT FROM webhooks") == []
        release.set()
        await until(lambda: deliveries.idle)
        assert await attempts(world.database) == []


async def test_old_deliveries_are_removed_and_pending_ones_stay(database: Database) -> None:
    ours = await make_client(database)
    async with receiving(answering(200)) as receiver, sending(database) as deliveries:
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)
        await send(deliveries)
        await queue(database, ours)
        database.clock_offset += timedelta(days=29)
        await deliveries.purge_round()
        assert len(await deliveries_of(database, webhook_id)) == 2
        database.clock_offset += timedelta(days=2)
        await deliveries.purge_round()
        assert [one["state"] for one in await deliveries_of(database, webhook_id)] == ["pending"]
        assert await attempts(database) == []


async def test_an_endpoint_switched_off_during_fan_out_keeps_nothing_pending(database: Database) -> None:
    ours = await make_client(database)
    webhook_id, _ = await make(database, ours, "http://127.0.0.1:9999/a")

    async def switch_off() -> None:
        async with database.begin() as tx:
            row = await webhooks.get_webhook(tx, webhook_id=webhook_id, client_id=None, lock=True)
            await webhooks.change_webhook(
                tx, row, changes={"active": False}, private_allowed=True, actor="test"
            )

    async with anyio.create_task_group() as tasks, database.begin() as tx:
        told = Endings(ending(ours))
        await webhooks.fan_out(tx, told, limit=100)  # type: ignore[arg-type]
        tasks.start_soon(switch_off)
        await until(lambda: _somebody_waits(database))
    assert [one["state"] for one in await deliveries_of(database, webhook_id)] == ["failed"]


async def _somebody_waits(database: Database) -> bool:
    return bool(
        await rows(
            database,
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    )


# Endpoints beside each other.


async def test_endpoints_that_hang_do_not_delay_others(database: Database) -> None:
    theirs, ours = await make_client(database), await make_client(database)
    async with (
        receiving(hang) as slow,
        receiving(answering(200)) as fast,
        sending(database, patience=60) as deliveries,
    ):
        for _ in range(webhook_rules.MAX_WEBHOOKS):
            await make(database, theirs, slow.url)
        await queue(database, theirs, *[ending(theirs)] * 10)
        await deliveries.send_round()
        await slow.until(webhook_rules.PER_CLIENT)
        webhook_id, _ = await make(database, ours, fast.url)
        await queue(database, ours, *[ending(ours)] * 6)

        async def all_delivered() -> bool:
            await deliveries.send_round()
            return {one["state"] for one in await deliveries_of(database, webhook_id)} == {"delivered"}

        await until(all_delivered)
        assert len(fast.messages) == 6
        assert len(slow.messages) == webhook_rules.PER_CLIENT


async def test_a_long_queue_of_one_endpoint_keeps_nobody_waiting(database: Database) -> None:
    theirs, ours = await make_client(database), await make_client(database)
    async with receiving(answering(200)) as receiver, sending(database) as deliveries:
        busy, _ = await make(database, theirs, receiver.url)
        await queue(database, theirs, *[ending(theirs)] * 90)
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)
        await send(deliveries)
        assert [one["state"] for one in await deliveries_of(database, webhook_id)] == ["delivered"]
        states = [one["state"] for one in await deliveries_of(database, busy)]
        assert states.count("delivered") == webhook_rules.PER_WEBHOOK


async def test_the_loops_deliver_by_themselves_and_stop(database: Database) -> None:
    ours = await make_client(database)
    notices = Notices(database=database)
    database.on_tell = notices.tell
    told = Endings()
    deliveries = Deliveries(
        database=database,
        resources=told,  # type: ignore[arg-type]
        notices=notices,
        sender=WebhookSender(private_allowed=True),
    )
    async with receiving(answering(200)) as receiver:
        webhook_id, _ = await make(database, ours, receiver.url)
        async with deliveries.start():
            await until(lambda: all(deliveries.alive().values()))
            told.endings = [ending(ours)]
            notices.tell("events", [new_id()])
            await receiver.until(1)
            receiver.answer = hang
            async with database.begin() as tx:
                row = await webhooks.get_webhook(tx, webhook_id=webhook_id, client_id=None, lock=True)
                await webhooks.send_test(tx, row)
            await receiver.until(2)  # and the process ends while this one hangs
        assert deliveries.idle
    kept = await deliveries_of(database, webhook_id)
    assert [one["state"] for one in kept] == ["delivered", "pending"]
