"""What is told of work that was just submitted: the execution, and where it is expected to stand."""

from datetime import datetime
from typing import Any

import msgspec

from aifactory.kernel.ids import ExecutionId, text_id
from aifactory.resources.interface import ExecutionView, Submitted
from aifactory.resources.schemas import Execution, execution_of


class SubmittedExecution(Execution, frozen=True, kw_only=True):
    """An execution that was just submitted: also about its place in its pool, and about when it starts.

    Both are as the last forecast of this process had it, and null where it had none of the last seconds;
    ``positionUrl`` has what holds now. ``position`` 0: it has begun.
    """

    position: int | None
    estimated_start: datetime | None
    position_url: str


def submitted_of(view: ExecutionView, submitted: Submitted | None) -> SubmittedExecution:
    """Return a submitted execution as it leaves; without ``submitted``, as it is a while later."""
    return SubmittedExecution(
        **msgspec.structs.asdict(execution_of(view)), **submission_fields(view.id, submitted, view)
    )


def submission_fields(
    execution_id: ExecutionId, submitted: Submitted | None, view: ExecutionView | None
) -> dict[str, Any]:
    """Return what a 202 says of where submitted work stands: as it was expected, or as it is by now."""
    begun = None if view is None else view.started_at
    position, start = (submitted.position, submitted.estimated_start) if submitted else (None, None)
    return {
        "position": 0 if begun else position,
        "estimated_start": begun or start,
        "position_url": f"/api/queue/position/{text_id('exec', execution_id)}",
    }
