"""The page on webhooks: its receivers take what is really sent and nothing else, and its numbers are true."""

import re
import threading
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aifactory.accounts import webhook_rules as rules
from aifactory.accounts.webhook_sending import PATIENCE_SECONDS, WebhookSender
from aifactory.kernel.clock import utc_now

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text("utf-8")
RECEIVER, BY_HAND = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BODY = '{"type":"execution.succeeded","timestamp":"2026-11-22T10:15:30Z","data":{"costUsd":0.00012,"x":"ä"}}'


def run(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/webhooks.md", "exec"), names)
    return names


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    secret = rules.make_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    return secret


@pytest.fixture
def receiver() -> Iterator[tuple[str, dict[str, Any]]]:
    names = run(RECEIVER)
    with HTTPServer(("127.0.0.1", 0), names["Receiver"]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", names
        server.shutdown()
        thread.join()


async def test_the_receiver_takes_a_message_once_and_refuses_a_forged_one(
    secret: str, receiver: tuple[str, dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    url, names = receiver
    sender = WebhookSender(private_allowed=True)
    signed = rules.signed_headers(UUID(int=1), utc_now(), BODY, [secret, rules.make_secret()])
    for _ in range(2):
        assert (await sender.post(url, headers=signed, body=BODY)).status == 204
    assert names["seen"] == {signed["webhook-id"]}
    assert capfd.readouterr().out.count("execution.succeeded") == 1
    forged = rules.signed_headers(UUID(int=2), utc_now(), BODY, [rules.make_secret()])
    assert (await sender.post(url, headers=forged, body=BODY)).status == 400
    assert (await sender.post(url, headers=signed, body=BODY + " ")).status == 400


def test_verifying_by_hand_takes_what_is_signed_and_nothing_else(secret: str) -> None:
    is_genuine = run(BY_HAND)["is_genuine"]
    for signing in ([secret], [rules.make_secret(), secret]):
        signed = rules.signed_headers(UUID(int=1), utc_now(), BODY, signing)
        assert is_genuine(secret, signed, BODY.encode())
        assert not is_genuine(secret, signed, BODY.encode() + b" ")
        assert not is_genuine(secret, {**signed, "webhook-id": "dlv_other"}, BODY.encode())
        assert not is_genuine(secret, {**signed, "webhook-timestamp": "1"}, BODY.encode())
        assert not is_genuine(rules.make_secret(), signed, BODY.encode())


def test_the_numbers_on_the_page_are_those_of_the_rules() -> None:
    words = re.sub(r"\s+", " ", PAGE)
    assert [round(pause.total_seconds()) for pause in rules.PAUSES] == [
        5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600,
    ]  # fmt: skip
    assert "5 seconds, 5 minutes, 30 minutes, 2 hours, 5 hours, 10 hours and 14 hours" in words
    assert f"within {PATIENCE_SECONDS:g} seconds" in words
    assert f"at most {rules.MAX_WEBHOOKS} webhooks" in words
    assert f"{rules.AT_ONCE} messages at once, at most {rules.PER_WEBHOOK} to one webhook and " in words
    assert f"{rules.PER_CLIENT} for one client" in words
    assert 2 * rules.FAILING_AT_ONCE == rules.AT_ONCE
    assert f"for **{rules.DISABLED_AFTER.days} days**" in words
    assert f"by hand for {rules.DELIVERIES_KEPT.days} days" in words
    assert all(f"`{event}`" in PAGE for event in (*rules.EVENT_TYPES, rules.TEST_EVENT))
