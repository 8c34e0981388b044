"""Why a job waits: every gate by its figures and its whole sentence; and always the gate that is closed."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.resources.snapshots import (
    NOW,
    QUEUES,
    client,
    client_id,
    head,
    hop,
    lane,
    pool,
    provider,
    quota,
    snapshot,
)

from aifactory.resources.buckets import MICRO
from aifactory.resources.gate_words import Closed, Fleet, Listener, Obstacle
from aifactory.resources.gates import Gate, Snapshot, WorkerGate
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import Plan
from aifactory.resources.room import closed_gates
from aifactory.resources.spans import spoken
from aifactory.resources.why import why

FLEET = Fleet(processes=2, slots=128, local_slots=3)
ONE = lane(1, 0, head(1, units=1400, waited=60))
GPT = "openai-gpt-4"
AT_GPT = lane(1, 0, head(1, units=1400), hops=(hop(GPT),))


def gpt(**changes: Any) -> Any:
    return pool(GPT, **({"capacity": 10_000, "refill_per_second": 166, "level_micro": 310 * MICRO} | changes))


def told(
    found: Snapshot,
    *,
    lane_id: int = 1,
    place: int = 0,
    fleet: Fleet | None = FLEET,
    operator: bool = True,
    now: datetime | None = None,
) -> Closed:
    plan = Plan(found, NOW)
    plan.decide()
    (one,) = [each for each in found.lanes if each.id == lane_id]
    to = Listener(now=now, fleet=fleet, zone="Europe/Berlin", operator=operator)
    return why(plan, one, one.heads[place], to)


def soon(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


TWO_HOPS = lane(1, 0, head(1), hops=(hop("a", "p"), hop("b", "q")), further_pools=("c",))
BIG = head(2, units=9000, waited=12)
BEHIND_BIG = snapshot(
    lane(1, 0, head(1)),
    lane(2, 1, BIG, urgency=Urgency.HIGH, queue="fast"),
    pools=[
        pool(
            capacity=10_000,
            level_micro=4100 * MICRO,
            refill_per_second=166,
            big_job_id=BIG.job_id,
            big_job_since=soon(-6),
        )
    ],
)
SAID: list[tuple[str, Snapshot, Gate, tuple[int | None, int | None], float | None, str]] = [
    (
        "the scheduler is off, whatever else is closed",
        snapshot(ONE, enabled=False, slots=0, pools=[pool(paused=True)]),
        Gate.SCHEDULER_OFF,
        (None, None),
        None,
        "The operator has stopped the scheduler.",
    ),
    (
        "each hop has its own reason",
        snapshot(
            TWO_HOPS,
            pools=[pool("a", blocked_until=soon(12)), pool("b"), pool("c")],
            providers=[provider("q", opens_at=soon(30))],
        ),
        Gate.NO_HOP,
        (None, None),
        12,
        "None of its models can be called: the pool a is blocked by its provider for 12 s; q fails, next try "
        "in 30 s.",
    ),
    (
        "a further pool closes every hop",
        snapshot(TWO_HOPS, pools=[pool("a", paused=True), pool("b"), pool("c", paused=True)]),
        Gate.NO_HOP,
        (None, None),
        None,
        "None of its models can be called: the pool c is paused; the pool a is paused.",
    ),
    (
        "nobody has a key, and a pool is another's",
        snapshot(
            TWO_HOPS,
            pools=[pool("a"), pool("b", dedicated_client_id=client_id(7)), pool("c")],
            providers=[provider("p", here=False), provider("q", active=False)],
        ),
        Gate.NO_HOP,
        (None, None),
        None,
        "None of its models can be called: no process has the key of p; the pool b is another client's.",
    ),
    (
        "a pool is gone, and a provider is being tried",
        snapshot(
            lane(1, 0, head(1), hops=(hop("gone"), hop("a", "q"), hop("a", "r"))),
            providers=[provider("q", opens_at=soon(-1), probes=1), provider("r", active=False)],
        ),
        Gate.NO_HOP,
        (None, None),
        None,
        "None of its models can be called: the pool gone is gone; q is being tried by one call; r is "
        "switched off.",
    ),
    (
        "the probe has left with another job, and the next model is open",
        snapshot(
            lane(2, 0, head(2, waited=50), hops=(hop("a", "q"),)),
            lane(1, 0, head(1), hops=(hop("a", "q"), hop("a", "p"))),
            providers=[provider("q", opens_at=soon(-1)), provider("p")],
        ),
        Gate.NO_HOP,
        (None, None),
        0,
        "q is being tried by one call; it takes p in the next round.",
    ),
    (
        "the queue is paused",
        snapshot(ONE, queues={**QUEUES, "normal": msgspec.structs.replace(QUEUES["normal"], paused=True)}),
        Gate.QUEUE_PAUSED,
        (None, None),
        None,
        "The operator has paused the queue normal.",
    ),
    (
        "the client is suspended",
        snapshot(ONE, clients=[client(0, suspended=True)]),
        Gate.CLIENT_SUSPENDED,
        (None, None),
        None,
        "The operator has suspended this client.",
    ),
    (
        "the client's cap is full",
        snapshot(ONE, clients=[client(0, max_running=20, running=20)]),
        Gate.CLIENT_CAP,
        (1, 0),
        None,
        "20 jobs of this client run, and no more may at once.",
    ),
    (
        "the client's cap is full once those before it have started",
        snapshot(lane(2, 0, head(2, waited=99)), ONE, clients=[client(0, max_running=1)]),
        Gate.CLIENT_CAP,
        (1, 0),
        None,
        "1 job of this client runs or starts before it, and no more may at once.",
    ),
    (
        "the worker is off",
        snapshot(ONE, workers={"w": WorkerGate(worker="w", active=False)}),
        Gate.WORKER_PAUSED,
        (None, None),
        None,
        "The worker w is not active.",
    ),
    (
        "the worker's cap is full",
        snapshot(ONE, workers={"w": WorkerGate(worker="w", max_running=2, running=3)}),
        Gate.WORKER_CAP,
        (1, 0),
        None,
        "3 jobs of the worker w run, and no more may at once.",
    ),
    (
        "all slots are busy",
        snapshot(ONE, slots=0),
        Gate.SLOTS,
        (1, 0),
        None,
        "All 128 slots of 2 processes are busy.",
    ),
    (
        "the last local slot goes to an older job",
        snapshot(
            lane(2, 1, head(2, waited=99), local=True),
            msgspec.structs.replace(ONE, local=True),
            local_slots=1,
        ),
        Gate.SLOTS,
        (1, 0),
        None,
        "All 3 slots for local work of 2 processes are busy or go to jobs before it.",
    ),
    (
        "it runs alone",
        snapshot(msgspec.structs.replace(ONE, alone=True), idle=False),
        Gate.SLOTS,
        (1, 64),
        None,
        "It has crashed twice and runs alone: it waits until a process does nothing else.",
    ),
    (
        "the day's quota is used, the month's is not",
        snapshot(
            AT_GPT,
            pools=[gpt(level_micro=10**10)],
            quotas={(client_id(0), GPT): (quota(1600, 1560), quota(9000, period="month", ends=9e5))},
        ),
        Gate.QUOTA,
        (1400, 40),
        3600,
        "This client's day's quota of openai-gpt-4 has 40 of the 1,400 units needed; it starts anew on "
        "2026-11-22 at 14:00 Europe/Berlin.",
    ),
    (
        "a whole day's quota is too small",
        snapshot(AT_GPT, pools=[gpt(level_micro=10**10)], quotas={(client_id(0), GPT): (quota(1399),)}),
        Gate.QUOTA,
        (1400, 1399),
        None,
        "This client's day's quota of openai-gpt-4 has 1,399 of the 1,400 units needed, and never has more "
        "than 1,399.",
    ),
    (
        "the pool lacks units",
        snapshot(AT_GPT, pools=[gpt()]),
        Gate.UNITS,
        (1400, 310),
        1090 / 166,
        "The openai-gpt-4 pool has 310 of the 1,400 units needed; enough in 6.6 s.",
    ),
    (
        "the pool keeps its reserve for urgent work",
        snapshot(AT_GPT, pools=[gpt(level_micro=1310 * MICRO, last_urgent_at=NOW)]),
        Gate.UNITS,
        (1400, 310),
        1090 / 166,
        "The openai-gpt-4 pool has 310 of the 1,400 units needed (1,000 more are kept for urgent work); "
        "enough in 6.6 s.",
    ),
    (
        "a further pool lacks units",
        snapshot(
            lane(1, 0, head(1, needs={"mail": 7}), further_pools=("mail",)),
            pools=[pool(), pool("mail", level_micro=-5 * MICRO, refill_per_second=16)],
        ),
        Gate.UNITS,
        (7, 0),
        0.75,
        "The mail pool has 0 of the 7 units needed; enough in 0.8 s.",
    ),
    (
        "the pool is too small",
        snapshot(AT_GPT, pools=[gpt(capacity=1399, reserved_percent=0)]),
        Gate.UNITS,
        (1400, 310),
        None,
        "The openai-gpt-4 pool has 310 of the 1,400 units needed; it never holds so many: ask the operator.",
    ),
    (
        "nothing refills the pool",
        snapshot(AT_GPT, pools=[gpt(refill_per_second=0)]),
        Gate.UNITS,
        (1400, 310),
        None,
        "The openai-gpt-4 pool has 310 of the 1,400 units needed; nothing refills it.",
    ),
    (
        "the minute's requests are used",
        snapshot(ONE, pools=[pool(requests_per_minute=60, requests_micro=600_000)]),
        Gate.REQUESTS,
        (1, 0),
        0.4,
        "The a pool has had its 60 requests of this minute; the next in 0.4 s.",
    ),
    (
        "a larger job is ahead",
        BEHIND_BIG,
        Gate.BIG_JOB,
        (None, None),
        None,
        "The a pool gathers 9,000 units for a larger job that has waited 12 s, and has 4,100; "
        "enough in 29.6 s.",
    ),
]


@pytest.mark.parametrize(
    ("found", "gate", "figures", "seconds", "sentence"),
    [case[1:] for case in SAID],
    ids=[case[0] for case in SAID],
)
def test_every_gate_is_told_with_its_figures_and_its_sentence(
    found: Snapshot, gate: Gate, figures: Any, seconds: float | None, sentence: str
) -> None:
    said = told(found)
    assert (said.gate, said.detail) == (gate, sentence)
    assert (said.needed, said.available) == figures
    assert said.of_job_ahead is False
    if seconds is None:
        assert said.opens_at is None
    else:
        assert said.opens_at is not None
        assert (said.opens_at - NOW).total_seconds() == pytest.approx(seconds, abs=1e-5)


def test_every_gate_is_among_them_and_the_documents_table_is_in_the_order_in_which_they_are_asked() -> None:
    assert {case[2] for case in SAID} == set(Gate)
    text = Path("docs/scheduling.md").read_text()
    table = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    found, one, first = _everything_closed()
    told_first = [gate.gate.value for gate in closed_gates(found, one, first, NOW)]
    listed = [gate for gate in table if gate in told_first]
    assert listed == told_first
    assert set(Gate) - {Gate(gate) for gate in told_first} == {
        Gate.WORKER_CAP,
        Gate.BIG_JOB,
    }  # or paused; last
    places = [table.index(gate) for gate in ("worker_paused", "worker_cap", "slots")]
    assert (places, table.index("big_job")) == (sorted(places), table.index("requests") + 1)


def _everything_closed() -> Any:
    found = snapshot(
        ONE,
        enabled=False,
        slots=0,
        clients=[client(0, suspended=True, max_running=0)],
        pools=[pool(paused=True, level_micro=0, requests_per_minute=1)],
        queues={**QUEUES, "normal": msgspec.structs.replace(QUEUES["normal"], paused=True)},
        workers={"w": WorkerGate(worker="w", active=False)},
        quotas={(client_id(0), "a"): (quota(1),)},
    )
    return found, ONE, ONE.heads[0]


def test_a_job_behind_another_is_told_that_ones_gate_and_gates_of_the_lane_as_its_own() -> None:
    two = lane(1, 0, head(1, units=1400, waited=9), head(2, units=5), hops=(hop(GPT),))
    behind = told(snapshot(two, pools=[gpt()]), place=1)
    assert (behind.gate, behind.of_job_ahead, behind.needed) == (Gate.UNITS, True, 1400)
    assert behind.detail == (
        "A job ahead of it has to start first. The openai-gpt-4 pool has 310 of the 1,400 units needed; "
        "enough in 6.6 s."
    )
    capped = told(snapshot(two, pools=[gpt()], clients=[client(0, max_running=0)]), place=1)
    assert (capped.gate, capped.of_job_ahead) == (Gate.CLIENT_CAP, False)
    starts = told(snapshot(two, pools=[gpt(level_micro=1400 * MICRO)]))
    assert (starts.gate, starts.detail) == (Obstacle.TURN, "It starts with the next round.")
    second = told(snapshot(two, pools=[gpt(level_micro=1400 * MICRO)]), place=1)
    assert (second.gate, second.of_job_ahead, second.available) == (Gate.UNITS, False, 0)
    deep = msgspec.structs.replace(two, heads=two.heads[:1], complete=False)
    plan = Plan(snapshot(deep, pools=[gpt(level_micro=1400 * MICRO)]), NOW)
    plan.decide()
    assert why(plan, deep, two.heads[1]).gate is Obstacle.TURN


def test_slots_are_told_by_what_the_fleet_has() -> None:
    none = snapshot(ONE, slots=0)
    assert told(none, fleet=Fleet(processes=0, slots=0, local_slots=0)).detail == "No process runs."
    assert told(none, fleet=None).detail == "All slots are busy, or no process runs."
    single = Fleet(processes=1, slots=1024, local_slots=0)
    assert told(none, fleet=single).detail == "All 1,024 slots of 1 process are busy."


def test_a_big_job_of_another_pool_keeps_nobody() -> None:
    elsewhere = msgspec.structs.replace(BEHIND_BIG.lanes[0], hops=(hop("b"),))
    found = msgspec.structs.replace(
        BEHIND_BIG,
        lanes=(elsewhere, BEHIND_BIG.lanes[1]),
        pools={**BEHIND_BIG.pools, "b": pool("b")},
    )
    assert told(found).gate is Obstacle.TURN


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"), (0.01, "0.1 s"), (0.4, "0.4 s"), (6.5663, "6.6 s"), (12, "12 s"), (59.91, "1 min"),
        (60, "1 min"), (124.2, "2 min 5 s"), (3600, "1 h"), (3601, "1 h 1 min"), (11_400, "3 h 10 min"),
        (86_400, "1 d"), (90_001, "1 d 2 h"),
    ],
)  # fmt: skip
def test_a_span_is_told_rounded_up(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
