"""Limits of attempts are exact."""

import pytest

from aifactory.accounts import attempts
from aifactory.accounts.attempts import Attempts, TooManyAttempts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_window_slides_and_says_when_to_come_back() -> None:
    clock = Clock()
    limits = Attempts(limit=2, window_seconds=10, clock=clock)
    limits.take("a")
    clock.now = 4
    limits.take("a")
    with pytest.raises(TooManyAttempts) as refused:
        limits.take("a")
    assert refused.value.headers["Retry-After"] == "7"
    limits.take("b")
    clock.now = 10
    limits.take("a")
    with pytest.raises(TooManyAttempts):
        limits.take("a")


def test_a_refused_attempt_counts_nothing_and_a_forgiven_one_neither() -> None:
    clock = Clock()
    limits = Attempts(limit=1, window_seconds=10, clock=clock)
    limits.take("a")
    limits.forgive("a")
    limits.take("a")
    for _ in range(5):
        with pytest.raises(TooManyAttempts):
            limits.take("a")
    clock.now = 10
    limits.take("a")


def test_old_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_MANY_KEYS", 3)
    clock = Clock()
    limits = Attempts(limit=1, window_seconds=10, clock=clock)
    for number in range(5):
        limits.take(str(number))
    clock.now = 20
    limits.take("new")
    assert len(limits._taken) == 1
