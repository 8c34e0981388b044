"""What an execution cost, by stage."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from aifactory.resources.cost_schemas import cost_of
from aifactory.resources.interface import ExecutionView, StageView

AT = datetime(2026, 1, 1, tzinfo=UTC)


def attempt(stage: int, nano: int) -> dict[str, Any]:
    names = ("kind", "state", "provider", "model", "pool", "outcome", "usage", "price", "finished_at")
    found: dict[str, Any] = dict.fromkeys(names)
    return found | {
        "job_id": UUID(int=1),
        "stage": stage,
        "attempt": 1,
        "cost_nano": nano,
        "started_at": AT,
    }


def stage(ordinal: int, name: str | None) -> StageView:
    values: dict[str, Any] = dict.fromkeys(StageView.__struct_fields__)
    return StageView(**values | {"ordinal": ordinal, "name": name, "template": "quiz_basic_v1"})


def test_each_stage_has_the_cost_of_its_own_calls_and_one_that_never_ran_none() -> None:
    values: dict[str, Any] = dict.fromkeys(ExecutionView.__struct_fields__, 0)
    view = ExecutionView(
        **values
        | {
            "id": UUID(int=2),
            "stages": (stage(0, "course"), stage(1, "quiz"), stage(2, None)),
            "spent_nano": 6,
        }
    )
    cost = cost_of(view, [attempt(0, 1), attempt(1, 2), attempt(1, 3)], 0)
    told = msgspec.to_builtins(cost.stages, builtin_types=(Decimal,))
    assert [(one["name"], one["costUsd"] * 10**9) for one in told] == [("course", 1), ("quiz", 5), (None, 0)]
    assert sum(one.cost_usd for one in cost.stages) == cost.cost_usd
    assert [call.stage for call in cost.calls] == [0, 1, 1]
