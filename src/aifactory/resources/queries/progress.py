"""What has been done of an execution, counted and listed. Changes nothing."""

from typing import Any

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ExecutionId, StageId
from aifactory.resources.interface.progress import StageJob, StageWork, Step
from aifactory.resources.interface.states import JobState
from aifactory.resources.interface.work import ResolvedStage


async def find_steps(tx: Tx, execution_id: ExecutionId) -> list[Step]:
    """Count an execution's jobs by stage and kind, those that may still come included."""
    rows = await tx.raw.fetch(
        """
        WITH found AS (
            SELECT s.ordinal AS stage, j.kind,
                   bool_and(r.local) AS local,
                   max(CASE WHEN r.local THEN 1 ELSE j.output_limit END) AS size,
                   count(*) FILTER (WHERE j.finished_at IS NULL AND j.line IS NOT NULL) AS places_open,
                   count(*) FILTER (WHERE j.finished_at IS NULL) AS open,
                   count(*) FILTER (WHERE j.state = 'running') AS running,
                   sum(extract(epoch FROM $2 - j.started_at)) FILTER (WHERE j.state = 'running')
                       AS running_seconds,
                   count(*) FILTER (WHERE j.state = 'succeeded') AS succeeded,
                   sum(CASE WHEN r.local THEN 1 ELSE j.output_limit END)
                       FILTER (WHERE j.state = 'succeeded') AS succeeded_size,
                   sum(extract(epoch FROM j.finished_at - j.started_at))
                       FILTER (WHERE j.state = 'succeeded') AS succeeded_seconds
            FROM stage_executions s JOIN jobs j ON j.stage_id = s.id JOIN routes r ON r.id = j.route_id
            WHERE s.execution_id = $1
            GROUP BY s.ordinal, j.kind
        ), planned AS (
            SELECT l.stage_ordinal AS stage, l.kind, l.phase, r.local,
                   CASE WHEN r.local THEN 1 ELSE l.output_limit END AS size, l.count AS planned,
                   l.remaining AS unopened
            FROM execution_lines l JOIN routes r ON r.id = l.route_id
            WHERE l.execution_id = $1
        )
        SELECT stage, kind, coalesce(p.phase, kind) AS phase, coalesce(p.local, f.local) AS local,
               coalesce(p.size, f.size, 1) AS size, coalesce(planned, 0) AS planned,
               coalesce(unopened, 0) AS unopened, coalesce(places_open, 0) AS places_open,
               coalesce(open, 0) AS open, coalesce(running, 0) AS running,
               coalesce(running_seconds, 0)::float8 AS running_seconds, coalesce(succeeded, 0) AS succeeded,
               coalesce(succeeded_size, 0)::bigint AS succeeded_size,
               coalesce(succeeded_seconds, 0)::float8 AS succeeded_seconds
        FROM planned p FULL JOIN found f USING (stage, kind)
        ORDER BY stage, kind
        """,
        execution_id,
        tx.now,
    )
    return [Step(**dict(row)) for row in rows]


async def find_stage_work(tx: Tx, stage_id: StageId) -> StageWork:
    """Return what a stage runs and its jobs, oldest first."""
    resolved = await tx.raw.fetchval("SELECT resolved FROM stage_executions WHERE id = $1", stage_id)
    rows = await tx.raw.fetch(
        """
        SELECT id, kind, state, payload - 'resolved' AS payload, result FROM jobs
        WHERE stage_id = $1 ORDER BY id
        """,
        stage_id,
    )
    return StageWork(
        resolved=msgspec.convert(resolved, ResolvedStage), jobs=tuple(_stage_job(row) for row in rows)
    )


def _stage_job(row: Any) -> StageJob:
    result = row["result"] or {}
    return msgspec.convert(
        {
            "id": row["id"],
            "kind": row["kind"],
            "state": JobState(row["state"]),
            "payload": row["payload"],
            "output": result.get("output", {}),
            "artifacts": result.get("artifacts", {}),
        },
        StageJob,
    )
