"""Books as rows: the columns of executions, stages, lines and jobs, how they are read and what is stored."""

from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import encode_json
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import FlowStage, JobFault, JobState, Reason, ResolvedStage, StageInputs
from aifactory.resources.records import ExecutionBook, JobBook, StageBook

EXECUTION = """
    id, request_id, client_id, key_id, template, template_version, state, urgency, queue, accuracy, input,
    metadata, budget_ids, estimated_nano, held_nano, free_hold_nano, spent_nano, event_seq, releases,
    jobs_done, jobs_total, reasons, result, created_at, aged_from, deadline, started_at, finished_at"""
STAGE = """
    id, execution_id, ordinal, worker, action, spec, resolved, state, phase, open_jobs, inputs, outputs,
    reasons, started_at, finished_at"""
LINE = """
    execution_id, stage_ordinal, kind, phase, count, remaining, route_id, input_bound, output_limit,
    worst_nano, needs"""
JOB = """
    id, stage_id, execution_id, client_id, worker, kind, line, state, attempt, max_attempts, losses, crashes,
    timeout_seconds, route_id, input_bound, output_limit, needs, hold_nano, cost_nano, payload, data, result,
    error, created_at, started_at, finished_at"""


def json_or_null(value: Any) -> bytes | None:
    """Return a value for a ``jsonb`` column that may be NULL."""
    return None if value is None else encode_json(value)


def job_result(job: JobBook) -> dict[str, Any] | None:
    """Return a job's output and artifacts as one column, NULL where it has neither."""
    if not (job.output or job.artifacts):
        return None
    return {"output": job.output, "artifacts": job.artifacts}


def execution_of(row: Any) -> ExecutionBook:
    """Return an execution from its row."""
    values = dict(row)
    values["budget_ids"] = tuple(values["budget_ids"])
    values["reasons"] = msgspec.convert(values["reasons"], tuple[Reason, ...])
    return msgspec.convert(values, ExecutionBook)


def stage_of(row: Any) -> StageBook:
    """Return a stage from its row."""
    values = dict(row)
    values["spec"] = msgspec.convert(values["spec"], FlowStage)
    values["resolved"] = msgspec.convert(values["resolved"], ResolvedStage)
    values["inputs"] = msgspec.convert(values["inputs"], StageInputs)
    values["reasons"] = msgspec.convert(values["reasons"], tuple[Reason, ...])
    return msgspec.convert(values, StageBook)


def job_of(row: Any) -> JobBook:
    """Return a job from its row."""
    values = dict(row)
    result, error = values.pop("result") or {}, values.pop("error")
    values["state"] = JobState(values["state"])
    values["data"] = _data_of(values["data"])
    return JobBook(
        **values,  # as asyncpg has read them: to convert them once more is half of the work
        output=result.get("output", {}),
        artifacts=_data_of(result.get("artifacts", {})),
        fault=None if error is None else msgspec.convert(error, JobFault),
    )


def _data_of(names: dict[str, str]) -> dict[str, DataId]:
    return {name: DataId(UUID(text)) for name, text in names.items()}


def job_values(j: JobBook) -> tuple[Any, ...]:
    """Return what is inserted of a job, in the order of ``JOB``."""
    values = msgspec.structs.asdict(j)
    for name in ("payload", "data", "needs"):
        values[name] = encode_json(values[name])
    values["result"], values["error"] = json_or_null(job_result(j)), json_or_null(j.fault)
    return tuple(values[name.strip()] for name in JOB.split(","))
