"""Deliveries: fan-out, retries, disabling, tests, resending, rotation."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from tests.factories import World
from tests.webhook_receiver import answering, receiving
from tests.webhook_world import (
    Endings,
    attempts,
    deliveries_of,
    ending,
    endpoint,
    make,
    make_client,
    queue,
    rows,
    send,
    sending,
)

from aifactory.accounts import webhook_rules, webhooks
from aifactory.accounts.webhook_rules import PAUSES
from aifactory.kernel.db import Database
from aifactory.kernel.ids import new_id, text_id

pytestmark = pytest.mark.anyio

REQUEST = {"template": "content_granulation_quiz", "parameters": {"topic": "x"}}


async def test_the_end_of_an_execution_reaches_its_clients_endpoint_signed(world: World) -> None:
    async with (
        receiving(answering(200, b"thanks")) as receiver,
        sending(world.database, world.resources) as deliveries,
    ):
        webhook_id, secret = await make(world.database, world.ours.client_id, receiver.url)
        await make(world.database, world.theirs.client_id, receiver.url)
        made = (await world.ask("POST", "/api/execute", world.ours.key, json=REQUEST)).json()
        await deliveries.fan_out_round()
        assert await deliveries_of(world.database, webhook_id) == []
        await world.ask("POST", f"/api/execution/{made['id']}/cancel", world.ours.key)
        for _ in range(2):
            await deliveries.fan_out_round()
            await send(deliveries)
        (message,) = receiver.messages
        told = Webhook(secret).verify(message.body, message.headers)
        assert told["type"] == "execution.cancelled"
        assert (told["data"]["executionId"], told["data"]["clientId"]) == (made["id"], world.ours.id)
        assert told["data"]["state"] == "cancelled"
        (delivery,) = await deliveries_of(world.database, webhook_id)
        assert (delivery["state"], message.headers["webhook-id"]) == (
            "delivered",
            text_id("dlv", delivery["id"]),
        )
        assert delivery["body"].encode() == message.body
        (attempt,) = await attempts(world.database)
        assert (attempt["number"], attempt["status"], attempt["excerpt"]) == (1, 200, "thanks")


async def test_fan_out_is_all_or_nothing_and_goes_to_who_asked(database: Database) -> None:
    ours, theirs = await make_client(database), await make_client(database)
    everything, _ = await make(database, ours, "http://127.0.0.1:9999/a")
    failures, _ = await make(database, ours, "http://127.0.0.1:9999/b", ("execution.failed",))
    inactive, _ = await make(database, ours, "http://127.0.0.1:9999/c")
    foreign, _ = await make(database, theirs, "http://127.0.0.1:9999/d")
    async with database.begin() as tx:
        row = await webhooks.get_webhook(tx, webhook_id=inactive, client_id=None, lock=True)
        await webhooks.change_webhook(tx, row, changes={"active": False}, private_allowed=True, actor="test")
    told = [
        ending(ours),
        ending(ours, "execution.failed"),
        ending(new_id()),
        ending(ours, clientId="nonsense"),
    ]

    async def break_down() -> None:
        async with database.begin() as tx:
            assert await webhooks.fan_out(tx, Endings(*told), limit=100) == 4  # type: ignore[arg-type]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await break_down()
    assert await rows(database, "SELECT FROM webhook_deliveries") == []
    await queue(database, ours, *told)
    types = {
        id_: [one["event_type"] for one in await deliveries_of(database, id_)]
        for id_ in (everything, failures, inactive, foreign)
    }
    assert types == {
        everything: ["execution.succeeded", "execution.failed"],
        failures: ["execution.failed"],
        inactive: [],
        foreign: [],
    }


# Failing and trying again.


async def test_a_failing_delivery_is_tried_eight_times_under_one_id_and_body(database: Database) -> None:
    ours = await make_client(database)
    async with receiving(answering(500, b"oops")) as receiver, sending(database) as deliveries:
        webhook_id, secret = await make(database, ours, receiver.url)
        await queue(database, ours)
        for number, pause in enumerate((*PAUSES, None), start=1):
            await send(deliveries)
            assert len(receiver.messages) == number
            (delivery,) = await deliveries_of(database, webhook_id)
            await send(deliveries)  # too early: nothing is sent
            assert len(receiver.messages) == number
            if pause is not None:
                assert delivery["state"] == "pending"
                database.clock_offset += pause * 1.21
        assert (delivery["state"], delivery["next_attempt_at"]) == ("failed", None)
        made = await attempts(database)
        assert [one["number"] for one in made] == list(range(1, 9))
        assert {(one["status"], one["error"], one["excerpt"]) for one in made} == {
            (500, "answered 500", "oops")
        }
        assert len({(one.headers["webhook-id"], one.body) for one in receiver.messages}) == 1
        stamps = [one.headers["webhook-timestamp"] for one in receiver.messages]
        assert len(set(stamps)) == 8
        signer = Webhook(secret)
        for message in receiver.messages:
            at = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC)
            expected = signer.sign(message.headers["webhook-id"], at, message.body.decode())
            assert message.headers["webhook-signature"] == expected


async def test_retry_after_is_honoured(database: Database) -> None:
    ours = await make_client(database)
    async with (
        receiving(answering(429, Retry_After="7000")) as receiver,
        sending(database) as deliveries,
    ):
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)
        await send(deliveries)
        (delivery,) = await deliveries_of(database, webhook_id)
        wait = delivery["next_attempt_at"] - delivery["created_at"]
        assert timedelta(seconds=7000) <= wait < timedelta(seconds=7100)


async def test_a_success_ends_the_failing_and_the_delivery(database: Database) -> None:
    ours = await make_client(database)
    async with receiving(answering(503)) as receiver, sending(database) as deliveries:
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)
        await send(deliveries)
        assert (await endpoint(database, webhook_id))["failing_since"] is not None
        receiver.answer = answering(202)
        database.clock_offset += timedelta(seconds=10)
        await send(deliveries)
        (delivery,) = await deliveries_of(database, webhook_id)
        assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)
        assert (await endpoint(database, webhook_id))["failing_since"] is None


async def test_410_switches_the_endpoint_off_and_gives_up_the_rest(world: World) -> None:
    async with receiving(answering(410)) as receiver, sending(world.database) as deliveries:
        webhook_id, _ = await make(world.database, world.ours.client_id, receiver.url)
        await queue(world.database, world.ours.client_id, *[ending(world.ours.client_id)] * 5)
        await send(deliveries)
        found = await endpoint(world.database, webhook_id)
        assert (found["active"], found["disabled_reason"]) == (False, "It answered 410 Gone.")
        assert {one["state"] for one in await deliveries_of(world.database, webhook_id)} == {"failed"}
        assert len(receiver.messages) == webhook_rules.PER_WEBHOOK
        view = (await world.ask("GET", f"/api/webhooks/{text_id('whk', webhook_id)}", world.ours.key)).json()
        assert (view["active"], view["disabledReason"]) == (False, "It answered 410 Gone.")
        path = f"/api/webhooks/{view['id']}"
        view = (await world.ask("PATCH", path, world.ours.key, json={"active": True})).json()
        assert (view["active"], view["disabledReason"], view["failingSince"]) == (True, None, None)


async def test_five_days_without_success_switch_an_endpoint_off_but_one_slip_does_not(
    database: Database,
) -> None:
    ours = await make_client(database)
    async with receiving(answering(500)) as receiver, sending(database) as deliveries:
        webhook_id, _ = await make(database, ours, receiver.url)
        await queue(database, ours)
        await send(deliveries)
        database.clock_offset += timedelta(days=6)
        await queue(database, ours)
        await send(deliveries)  # both fail once more, neither for the last time
        assert (await endpoint(database, webhook_id))["active"]
        for _ in range(7):
            database.clock_offset += timedelta(hours=20)
            await send(deliveries)
        found = await endpoint(database, webhook_id)
        assert (found["active"], found["disabled_reason"]) == (
            False,
            "Nothing could be delivered for 5 days.",
        )
        audited = await rows(database, "SELECT actor FROM audit_log WHERE action = 'webhook.disabled'")
        assert audited == [{"actor": "system"}]


async def test_a_test_is_tried_once_and_says_nothing_of_the_endpoint(world: World) -> None:
    async with receiving(answering(500)) as receiver, sending(world.database) as deliveries:
        webhook_id, secret = await make(world.database, world.ours.client_id, receiver.url)
        path = f"/api/webhooks/{text_id('whk', webhook_id)}"
        sent = await world.ask("POST", f"{path}/test", world.ours.key)
        assert (sent.status_code, sent.json()["state"]) == (202, "pending")
        again = await world.ask("POST", f"{path}/test", world.ours.key)
        assert (again.status_code, again.json()["code"]) == (409, "already_testing")
        await send(deliveries)
        shown = (await world.ask("GET", sent.headers["location"], world.ours.key)).json()
        assert (shown["state"], shown["attemptsMade"], shown["attempts"][0]["status"]) == ("failed", 1, 500)
        assert (await endpoint(world.database, webhook_id))["failing_since"] is None
        told = Webhook(secret).verify(receiver.messages[0].body, receiver.messages[0].headers)
        assert told["type"] == "webhook.test"
        assert told["data"] == {"webhookId": text_id("whk", webhook_id), "clientId": world.ours.id}


async def test_resend_sends_the_same_message_again(world: World) -> None:
    async with receiving(answering(200)) as receiver, sending(world.database) as deliveries:
        webhook_id, _ = await make(world.database, world.ours.client_id, receiver.url)
        await queue(world.database, world.ours.client_id)
        await send(deliveries)
        path = f"/api/webhooks/{text_id('whk', webhook_id)}"
        listed = (await world.ask("GET", f"{path}/deliveries", world.ours.key)).json()["data"]
        again = f"{path}/deliveries/{listed[0]['id']}/resend"
        first = await world.ask("POST", again, world.ours.key)
        second = await world.ask("POST", again, world.ours.key)
        assert (first.status_code, first.json()["state"], second.status_code) == (202, "pending", 202)
        await send(deliveries)
        await send(deliveries)
        assert len(receiver.messages) == 2
        assert len({(one.headers["webhook-id"], one.body) for one in receiver.messages}) == 1
        shown = (await world.ask("GET", f"{path}/deliveries", world.ours.key)).json()["data"]
        assert [one["number"] for one in shown[0]["attempts"]] == [1, 2]
        await world.ask("PATCH", path, world.ours.key, json={"active": False})
        refused = await world.ask("POST", again, world.ours.key)
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_inactive")


async def test_the_old_secret_signs_for_a_day_after_rotation(world: World) -> None:
    async with receiving(answering(200)) as receiver, sending(world.database) as deliveries:
        webhook_id, old = await make(world.database, world.ours.client_id, receiver.url)
        path = f"/api/webhooks/{text_id('whk', webhook_id)}"
        new = (await world.ask("POST", f"{path}/rotate-secret", world.ours.key)).json()["secret"]
        assert new != old
        await queue(world.database, world.ours.client_id)
        await send(deliveries)
        for secret in (old, new):
            Webhook(secret).verify(receiver.messages[0].body, receiver.messages[0].headers)
        world.database.clock_offset += timedelta(hours=25)
        await queue(world.database, world.ours.client_id)
        await send(deliveries)
        assert len(receiver.messages[1].headers["webhook-signature"].split(" ")) == 1
        view = (await world.ask("GET", path, world.ours.key)).json()
        assert view["previousSecretUntil"] is None
