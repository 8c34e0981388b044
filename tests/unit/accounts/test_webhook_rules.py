"""The rules of webhooks: signatures, pauses, and who may send when places are few."""

import base64
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from aifactory.accounts import webhook_rules as rules
from aifactory.accounts.webhook_rules import Waiting, next_try, read_retry_after, share_places
from aifactory.kernel.clock import utc_now

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_secret_is_whsec_and_32_random_bytes() -> None:
    first, second = rules.make_secret(), rules.make_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


def test_both_secrets_verify_during_a_rotation_and_no_other() -> None:
    new, old, other = rules.make_secret(), rules.make_secret(), rules.make_secret()
    body = '{"type":"execution.succeeded","ä":0.00012}'
    headers = rules.signed_headers(UUID(int=7), utc_now(), body, [new, old])
    assert headers["webhook-id"] == "dlv_00000000000000000000000007"
    for secret in (new, old):
        Webhook(secret).verify(body.encode(), headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body + " ", headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, {**headers, "webhook-id": "dlv_x"})
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, headers)


def test_an_event_is_tried_for_about_a_day() -> None:
    for chance in (0.0, 0.5, 1.0):
        now, tries = NOW, 0
        while (again := next_try(tries=tries + 1, now=now, retry_after=None, chance=chance)) is not None:
            tries, now = tries + 1, again
        assert tries + 1 == rules.MAX_TRIES == 8
        assert timedelta(hours=24) < now - NOW < timedelta(hours=40)


@given(st.integers(0, 30), st.text(), st.floats(0, 1))
def test_a_pause_is_near_its_plan_and_never_beyond_the_longest(tries: int, asked: str, chance: float) -> None:
    again = next_try(tries=tries, now=NOW, retry_after=asked, chance=chance)
    if tries >= rules.MAX_TRIES:
        assert again is None
    else:
        assert again is not None
        planned = rules.PAUSES[max(tries, 1) - 1]
        assert planned * 0.79 <= again - NOW <= max(planned * 1.21, rules.LONGEST_PAUSE)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60),
        ("Sun, 22 Nov 2026 12:01:00 -0000", 60),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        *((bad, 0) for bad in ("", "-5", "1e9", "soon", "12:00", "9" * 400, "Sun, 99 Nov 2026 12:01:00 GMT")),
        *((bad, 0) for bad in ("٣", "1.5", "Sun, 22 Nov 99999999 12:01:00 GMT")),
        (None, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: int) -> None:
    assert read_retry_after(text, NOW) == timedelta(seconds=seconds)


def test_retry_after_makes_a_pause_longer_and_never_shorter() -> None:
    def pause(asked: str) -> timedelta:
        again = next_try(tries=2, now=NOW, retry_after=asked, chance=0.5)
        assert again is not None
        return again - NOW

    assert pause("1") == timedelta(minutes=5)
    assert pause("3600") == timedelta(hours=1)
    assert pause("999999999") == rules.LONGEST_PAUSE


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")), st.integers(0, 50))
def test_what_is_shown_can_be_stored(text: str, length: int) -> None:
    shown = rules.printable(text, length)
    assert len(shown) <= length
    assert "\x00" not in shown
    shown.encode()


def waiting(webhook: int, client: int, failing: bool = False) -> Waiting:
    return Waiting(webhook_id=UUID(int=webhook), client_id=UUID(int=client), failing=failing)


def test_each_endpoint_gets_a_place_before_any_gets_a_second() -> None:
    many = [waiting(number, number) for number in range(14)]
    given_ = share_places(many, [])
    assert sum(given_.values()) == rules.AT_ONCE
    assert set(given_) == {one.webhook_id for one in many}
    assert [given_[one.webhook_id] for one in many[:3]] == [2, 2, 1]


def test_one_client_with_ten_endpoints_leaves_places_for_others() -> None:
    greedy = [waiting(number, 1) for number in range(10)]
    given_ = share_places([*greedy, waiting(99, 2)], [])
    assert sum(given_[one.webhook_id] for one in greedy if one.webhook_id in given_) == rules.PER_CLIENT
    assert given_[UUID(int=99)] == 2


def test_failing_endpoints_leave_places_for_those_that_work() -> None:
    failing = [waiting(number, number, failing=True) for number in range(40)]
    given_ = share_places([*failing, waiting(99, 99)], [])
    assert sum(given_.values()) == rules.FAILING_AT_ONCE + 2
    assert share_places([waiting(50, 50, failing=True)], failing[:8]) == {}
    assert share_places([waiting(99, 99)], failing[:8]) == {UUID(int=99): 2}


one = st.builds(waiting, st.integers(0, 12), st.integers(0, 3), st.booleans())


@given(st.lists(one, max_size=30, unique_by=lambda w: w.webhook_id), st.lists(one, max_size=rules.AT_ONCE))
def test_no_bound_is_ever_exceeded(queue: list[Waiting], busy: list[Waiting]) -> None:
    given_ = share_places(queue, busy)
    known = {entry.webhook_id: entry for entry in queue}
    started = [known[id_] for id_, count in given_.items() for _ in range(count)]
    assert len(busy) + len(started) <= max(rules.AT_ONCE, len(busy))
    everything = [*busy, *started]
    for count, bound in (
        (Counter(entry.webhook_id for entry in everything), rules.PER_WEBHOOK),
        (Counter(entry.client_id for entry in everything), rules.PER_CLIENT),
    ):
        before = Counter(
            entry.webhook_id if bound == rules.PER_WEBHOOK else entry.client_id for entry in busy
        )
        assert all(number <= max(bound, before[key]) for key, number in count.items())
