"""A provider's circuit breaker: what each answer makes of it. Pure.

Closed, five failures in a row open it: for 30 seconds, and twice as long each time that a probe fails, up to
ten minutes. After that time it is half-open: one probe may pass, whose answer closes it or opens it again.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.resources.interface import Health

FAILURES_TO_OPEN = 5
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=10)
_DOUBLINGS = 5  # more would be longer than the longest pause


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit as it is stored; half-open is an open one whose ``until`` has passed.

    ``openings`` are those since it was last closed, ``changed_at`` is since when it is open or closed: an
    opening after a failed probe does not change it.
    """

    failures: int = 0
    openings: int = 0
    open: bool = False
    until: datetime | None = None
    changed_at: datetime | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one call said about its provider, and when that call was started."""

    provider: str
    health: Health
    started_at: datetime
    error: str = ""

    @property
    def tells(self) -> bool:
        """Whether it says anything."""
        return self.health is not Health.UNKNOWN


def circuit_state(row: Any, now: datetime) -> str:
    """Return the state now of a provider's row: an open circuit whose time is over is half-open."""
    if row["circuit"] != "open":
        return "closed"
    until = row["circuit_until"]
    return "half_open" if until is not None and until <= now else "open"


def after(circuit: Circuit, answer: Answer, now: datetime) -> Circuit:
    """Return the circuit after an answer."""
    if not answer.tells or is_stale(circuit, answer):
        return circuit
    if answer.health is Health.GOOD:
        return _closed(circuit, now)
    failures = circuit.failures + 1
    if answer.health is Health.REFUSED_KEY:
        return _opened(circuit, failures, now, LONGEST_PAUSE)
    if circuit.open or failures >= FAILURES_TO_OPEN:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(circuit.openings, _DOUBLINGS))
        return _opened(circuit, failures, now, pause)
    return msgspec.structs.replace(circuit, failures=failures)


def after_all(circuit: Circuit, answers: Iterable[Answer], now: datetime) -> tuple[Circuit, str]:
    """Return the circuit after answers in their order, and the error of the last that counted against it."""
    error = ""
    for answer in answers:
        following = after(circuit, answer, now)
        if following is not circuit and answer.health is not Health.GOOD:
            error = answer.error
        circuit = following
    return circuit, error


def is_stale(circuit: Circuit, answer: Answer) -> bool:
    """Whether a call says nothing of how things are now, because it began before the circuit last turned.

    While the circuit is open only a probe counts: a call that was started when it was half-open already. The
    many that were under way when it opened would close it too early, or count one outage many times.
    """
    decisive = circuit.until if circuit.open else circuit.changed_at
    return decisive is not None and answer.started_at < decisive


def _closed(circuit: Circuit, now: datetime) -> Circuit:
    if not circuit.open and circuit.failures == 0:
        return circuit
    return Circuit(changed_at=now if circuit.open else circuit.changed_at)


def _opened(circuit: Circuit, failures: int, now: datetime, pause: timedelta) -> Circuit:
    return Circuit(
        failures=failures,
        openings=circuit.openings + 1,
        open=True,
        until=now + pause,
        changed_at=circuit.changed_at if circuit.open else now,
    )
