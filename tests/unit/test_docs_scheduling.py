"""``docs/scheduling.md`` says what the code does: the worked example, the gates, the queues, the guard."""

from datetime import timedelta
from pathlib import Path

from tests.unit.resources.snapshots import NOW, QUEUES, TIERS, client, client_id, head, lane, snapshot

from aifactory.resources.gates import Gate, UsageGate
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import (
    BIG_JOB_HOLDS_ALL_AFTER,
    BIG_JOB_HOLDS_LOWER_AFTER,
    GUARD_EVERY,
    Plan,
    plan,
)
from aifactory.resources.pool_plan import RECENT_STARTS, RESERVE_LENT_AFTER
from aifactory.resources.scores import FAIRNESS_POINTS, URGENCY_POINTS, WAITING_POINTS

PAGE = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text(encoding="utf-8")


def table(first: str) -> list[list[str]]:
    """The rows of the table whose head begins with a word."""
    rows = PAGE.partition(f"\n| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]


def test_the_worked_example_is_what_the_policy_computes() -> None:
    rows = table("client")
    clients = [client(number, row[1]) for number, row in enumerate(rows)]
    lanes = [
        lane(
            number, number, head(number, waited=float(row[3].split()[0])), queue="fast", urgency=Urgency.HIGH
        )
        for number, row in enumerate(rows)
    ]
    usage = {
        (client_id(number), "a"): UsageGate(usage=float(row[2]), active=True)
        for number, row in enumerate(rows)
    }
    given = snapshot(*lanes, clients=clients, usage=usage, slots=1)
    working = Plan(given, NOW)
    working.set_up()
    for one, row in zip(lanes, rows, strict=True):
        standing = working.standing[one.id]
        parts = [float(cell) for cell in row[4:]]
        assert (standing.points, URGENCY_POINTS[one.urgency]) == (parts[0], parts[1])
        assert round(standing.fairness, 1) == parts[3]
        assert round(working.score(one), 1) == parts[4] == sum(parts[:4])
        assert standing.per_weight == parts[5]
    (by_score,) = plan(given, NOW).starts
    assert "Under `score` Core is first" in PAGE
    assert rows[by_score.lane.id][0] == "Core"
    fair = [lane(one.id, one.id, *one.heads, queue="normal", urgency=Urgency.HIGH) for one in lanes]
    (by_usage,) = plan(snapshot(*fair, clients=clients, usage=usage, slots=1), NOW).starts
    assert "Beta, Acme, Core; the score only" in PAGE
    assert rows[by_usage.lane.id][0] == "Beta"


def test_every_gate_every_queue_and_every_part_of_the_score_is_shown() -> None:
    assert {row[0] for row in table("gate")} == {*Gate}
    shown = {row[0]: (row[2], row[4]) for row in table("queue | takes")}
    assert shown == {name: (one.policy, f"{one.full_age_seconds} s") for name, one in QUEUES.items()}
    shares = {row[0]: row[3].removesuffix(" %") for row in table("queue | takes")}
    assert all(shares[name] == str(one.share_percent) for name, one in QUEUES.items() if one.share_percent)
    parts = {row[0]: row[1] for row in table("part")}
    assert parts["tier"] == ", ".join(str(points) for points, _ in TIERS.values())
    assert parts["urgency"] == ", ".join(str(points) for points in URGENCY_POINTS.values())
    assert parts["waiting"] == f"0 to {WAITING_POINTS:.0f}"
    assert parts["fairness"] == f"0 to {FAIRNESS_POINTS:.0f}"


def test_the_published_times_and_bounds_are_those_of_the_code() -> None:
    assert f"Every {GUARD_EVERY}th start" in PAGE
    assert f"within {GUARD_EVERY}·N starts of the pool" in PAGE
    assert f"last {RECENT_STARTS} starts" in PAGE
    assert f"After {RESERVE_LENT_AFTER // timedelta(seconds=1)} s without any" in PAGE
    assert f"After {BIG_JOB_HOLDS_LOWER_AFTER // timedelta(seconds=1)} s jobs" in PAGE
    assert f"after {BIG_JOB_HOLDS_ALL_AFTER // timedelta(minutes=1)} min all but urgent" in PAGE
