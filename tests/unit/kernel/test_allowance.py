"""What is left of a minute's API requests, and how it is told."""

from datetime import UTC, datetime, timedelta

import pytest

from aifactory.kernel.allowance import Allowance, allowance, rate_limit_fields, rate_limited

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("per_minute", "used", "left", "full"),
    [(60, 1, 59, 1), (60, 60, 0, 60), (7, 1, 6, 9), (7, 7, 0, 60), (1, 1, 0, 60), (1_000_000, 1, 999_999, 1)],
)
def test_what_is_left_is_what_was_not_used(per_minute: int, used: int, left: int, full: int) -> None:
    clear_at = NOW + used * timedelta(microseconds=60_000_000 // per_minute)
    found = allowance(per_minute=per_minute, now=NOW, clear_at=clear_at, admitted=True)
    assert found == Allowance(per_minute=per_minute, left=left, full_in_seconds=full)


def test_a_refusal_says_when_the_next_request_is_free() -> None:
    full = NOW + timedelta(minutes=1)
    found = allowance(per_minute=5, now=NOW, clear_at=full + timedelta(seconds=12), admitted=False)
    assert (found.left, found.wait_seconds, found.full_in_seconds) == (0, 12, 60)
    raced = allowance(per_minute=60_000, now=NOW, clear_at=NOW + timedelta(milliseconds=1), admitted=False)
    assert raced.wait_seconds == 1


def test_the_fields_are_those_of_the_draft() -> None:
    found = Allowance(per_minute=120, left=3, full_in_seconds=58, wait_seconds=2)
    fields = {"RateLimit-Policy": '"requests";q=120;w=60', "RateLimit": '"requests";r=3;t=58'}
    assert rate_limit_fields(found) == fields
    assert rate_limited(found).headers == fields | {"Retry-After": "2"}
