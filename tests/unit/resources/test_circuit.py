"""A provider's circuit: when it opens, for how long, who may try it, and whose answers count."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.resources.snapshots import head, hop, lane, pool, provider, snapshot

from aifactory.resources import policy
from aifactory.resources.admission import Admission
from aifactory.resources.circuit import Answer, Circuit, after, after_all
from aifactory.resources.gates import Head, Lane
from aifactory.resources.interface import Health

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CLOSED = Circuit()


def told(health: Health, started_at: datetime = NOW) -> Answer:
    return Answer(provider="p", health=health, started_at=started_at, error=f"it was {health}")


BAD, GOOD, KEY, UNKNOWN = (
    told(health) for health in (Health.BAD, Health.GOOD, Health.REFUSED_KEY, Health.UNKNOWN)
)
OPEN, _ = after_all(CLOSED, [BAD] * 5, NOW)


def test_the_fifth_failure_in_a_row_opens_it_for_thirty_seconds() -> None:
    four, _ = after_all(CLOSED, [BAD] * 4, NOW)
    assert (four.open, four.failures) == (False, 4)
    assert (OPEN.open, OPEN.failures, OPEN.openings) == (True, 5, 1)
    assert (OPEN.until, OPEN.changed_at) == (NOW + 30 * SECOND, NOW)


def test_a_success_in_between_starts_the_count_again() -> None:
    assert not after_all(CLOSED, [*[BAD] * 4, GOOD, *[BAD] * 4], NOW)[0].open


def test_what_says_nothing_changes_nothing() -> None:
    four, _ = after_all(CLOSED, [BAD] * 4, NOW)
    for circuit in (CLOSED, four, OPEN):
        assert after(circuit, told(Health.UNKNOWN, NOW + 60 * SECOND), NOW + 60 * SECOND) is circuit


def test_a_success_of_a_healthy_provider_is_no_change() -> None:
    assert after(CLOSED, GOOD, NOW) is CLOSED


def test_a_refused_key_opens_it_at_once_for_ten_minutes() -> None:
    assert after(CLOSED, KEY, NOW).until == NOW + 600 * SECOND


def test_each_failed_probe_doubles_the_pause_up_to_ten_minutes() -> None:
    circuit, now, pauses = OPEN, NOW, [30.0]
    for _ in range(6):
        assert circuit.until is not None
        now = circuit.until
        circuit = after(circuit, told(Health.BAD, now), now)
        assert circuit.until is not None
        pauses.append((circuit.until - now).total_seconds())
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    assert circuit.changed_at == NOW


def test_a_good_probe_closes_it_and_forgets_the_openings() -> None:
    later = NOW + 31 * SECOND
    assert after(OPEN, told(Health.GOOD, later), later) == Circuit(changed_at=later)


@pytest.mark.parametrize("health", list(Health))
def test_calls_that_began_before_it_was_half_open_neither_close_it_nor_count_again(health: Health) -> None:
    for started in (NOW - SECOND, NOW, NOW + 29 * SECOND):
        assert after(OPEN, told(health, started), NOW + 40 * SECOND) is OPEN


@pytest.mark.parametrize("health", list(Health))
def test_calls_that_began_before_it_closed_again_say_nothing_of_now(health: Health) -> None:
    closed = after(OPEN, told(Health.GOOD, NOW + 31 * SECOND), NOW + 32 * SECOND)
    assert after(closed, told(health, NOW - SECOND), NOW + 90 * SECOND) is closed


def test_the_error_that_is_kept_is_the_last_one_that_counted() -> None:
    old = told(Health.REFUSED_KEY, NOW - SECOND)
    assert after_all(OPEN, [old], NOW) == (OPEN, "")
    assert after_all(CLOSED, [KEY, BAD], NOW)[1] == KEY.error
    assert after_all(CLOSED, [BAD, GOOD], NOW) == (CLOSED, BAD.error)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A running call: where, since when, and whether its provider was half-open then."""

    provider: str
    started_at: datetime
    is_probe: bool


class World:
    """Two providers, many deciders that take turns, calls that end in any order at any time."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = NOW
        self.circuits = {"p": CLOSED, "q": CLOSED}
        self.calls: list[Call] = []
        self.seq = 0
        self.probed = 0

    def heads(self) -> tuple[Head, ...]:
        self.seq += 8
        return tuple(
            msgspec.structs.replace(head(self.seq + n), job_id=UUID(int=self.seq + n)) for n in range(8)
        )

    def lanes(self) -> list[Lane]:
        routes = [("p",), ("q",), ("p", "q"), ("q", "p")]
        return [
            lane(number, number, *self.heads(), hops=tuple(hop(f"pool-{name}", name) for name in route))
            for number, route in enumerate(routes)
        ]

    def decide(self) -> None:
        """One tick of some process, as the snapshot's query counts probes."""
        gates = [
            provider(
                name,
                opens_at=circuit.until,
                probes=sum(
                    call.provider == name and circuit.until is not None and call.started_at >= circuit.until
                    for call in self.calls
                ),
            )
            for name, circuit in self.circuits.items()
        ]
        decision = policy.plan(
            snapshot(
                *self.lanes(),
                pools=[pool("pool-p"), pool("pool-q")],
                providers=gates,
                slots=self.rng.randint(1, 12),
            ),
            self.now,
        )
        for start in decision.starts:
            self.start(start.hop.provider)

    def start(self, name: str) -> None:
        circuit = self.circuits[name]
        assert not circuit.open or (circuit.until is not None and circuit.until <= self.now), "it was open"
        self.calls.append(Call(provider=name, started_at=self.now, is_probe=circuit.open))
        if circuit.open:
            self.probed += 1
            probes = [call for call in self.calls if call.provider == name and call.is_probe]
            assert len(probes) == 1, "two probes"

    def answer(self) -> None:
        """Some call ends; only a probe may turn an open circuit, and a lost one leaves it half-open."""
        if not self.calls:
            return
        call = self.calls.pop(self.rng.randrange(len(self.calls)))
        if self.rng.random() < 0.1:
            return  # its process died
        health = self.rng.choice([Health.GOOD, Health.BAD, Health.BAD, Health.BAD, Health.UNKNOWN])
        before = self.circuits[call.provider]
        answer = Answer(provider=call.provider, health=health, started_at=call.started_at)
        self.circuits[call.provider] = after(before, answer, self.now)
        if before.open and self.circuits[call.provider] != before:
            assert call.is_probe, "an old call turned it"

    def run(self, steps: int) -> None:
        for _ in range(steps):
            act = self.rng.random()
            if act < 0.4:
                self.decide()
            elif act < 0.9:
                self.answer()
            else:
                self.now += self.rng.choice([SECOND, 10 * SECOND, 40 * SECOND, 700 * SECOND])


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_no_course_of_events_gives_two_probes_or_a_start_on_an_open_provider(seed: int) -> None:
    World(random.Random(seed)).run(120)


def run_worlds(count: int) -> int:
    """Run so many courses of events; returns how many probes there were."""
    worlds = [World(random.Random(seed)) for seed in range(count)]
    for world in worlds:
        world.run(120)
    return sum(world.probed for world in worlds)


def test_the_courses_of_events_above_do_have_probes() -> None:
    assert run_worlds(10) > 20


@pytest.mark.parametrize("broken", ["_probe_is_out", "_provider_opens"])
def test_a_policy_that_minds_no_circuit_is_caught(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"_probe_is_out": lambda *_: False, "_provider_opens": lambda self, _: self.now}
    monkeypatch.setattr(Admission, broken, answers[broken])
    with pytest.raises(AssertionError, match=r"two probes|it was open"):
        run_worlds(10)
