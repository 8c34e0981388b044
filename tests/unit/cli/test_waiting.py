"""What ``aifactory why`` prints."""

from datetime import UTC, datetime

import msgspec

from aifactory.cli.waiting import lines_of
from aifactory.client.positions import Gate, Position, Priority


def test_why_tells_gate_place_priority_and_start_and_of_ended_work_its_state() -> None:
    at, latest = datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 25, 9, tzinfo=UTC)
    gate = Gate(gate="units", detail="The a pool has 3 of the 5 units needed; enough in 2 s.")
    found = Position(
        id="exec_1",
        request_id="req_1",
        state="queued",
        waits=True,
        pool="a",
        position=1042,
        position_exact=False,
        priority=Priority(score=41.5, tier=20, urgency=10, waiting=4, fairness=7.5),
        gate=gate,
        also_closed=(Gate(gate="requests", detail="Later."),),
        estimated_start=at,
        latest_start=latest,
    )
    lines = lines_of(found)
    assert lines[:4] == [
        "exec_1 queued: The a pool has 3 of the 5 units needed; enough in 2 s.",
        "also closed: Later.",
        "position: about 1,042 in the pool a",
        "priority: 41.5 = tier 20 + urgency 10 + waiting 4 + fairness 7.5",
    ]
    local, later = (f"{each.astimezone():%Y-%m-%d %H:%M:%S %Z}" for each in (at, latest))
    assert lines[4] == f"starts: about {local}, at the latest {later}"
    deep = msgspec.structs.replace(found, position_at_least=True, estimated_start=None, earliest_start=at)
    assert lines_of(deep)[2::2] == ["position: at least 1,042 in the pool a", f"starts: not before {local}"]
    ended = msgspec.convert({"id": "exec_1", "requestId": "req_1", "state": "succeeded"}, Position)
    assert lines_of(ended) == ["exec_1 succeeded"]
