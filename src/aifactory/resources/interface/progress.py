"""How far an execution's work is, and what the jobs of a stage have left so far."""

from typing import Any

import msgspec

from aifactory.kernel.ids import DataId, JobId
from aifactory.resources.interface.states import JobState
from aifactory.resources.interface.work import ResolvedStage


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one kind of one stage.

    ``planned`` jobs were foreseen at submission, ``unopened`` of them may still come and ``places_open`` have
    not ended; jobs beyond them (repairs, second tries) count in ``open``, ``running`` and ``succeeded`` only.
    A job's ``size`` is 1 if it is local, else its output limit in tokens. ``succeeded_size`` took
    ``succeeded_seconds``, added up over jobs; ``running_seconds`` is how long running jobs have been running.
    """

    stage: int
    kind: str
    phase: str
    local: bool
    size: int
    planned: int
    unopened: int
    places_open: int
    open: int
    running: int
    running_seconds: float
    succeeded: int
    succeeded_size: int
    succeeded_seconds: float


class StageJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job in any state; ``payload`` without what the worker was told of its stage."""

    id: JobId
    kind: str
    state: JobState
    payload: dict[str, Any]
    output: dict[str, Any]
    artifacts: dict[str, DataId]


class StageWork(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage runs and the jobs that it has had so far, oldest first."""

    resolved: ResolvedStage
    jobs: tuple[StageJob, ...]
