"""The Content Granulator as a worker: what a stage costs, its steps in order, what becomes of them."""

import contextlib
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_process
import msgspec

from aifactory.granulation import queries, steps
from aifactory.granulation.offline.source import LEAST_WORDS
from aifactory.granulation.parameters import Parameters, brief_of, counts_of, read_parameters
from aifactory.granulation.scoring import Assessment
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.tree import Tree
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound, invalid
from aifactory.kernel.ids import TreeId, new_id, text_id
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    Emit,
    EndedJob,
    FlowStage,
    Job,
    JobFault,
    JobState,
    Line,
    Model,
    NewJob,
    Outcome,
    Phase,
    Reason,
    ResolvedStage,
    RunningStage,
    StageInputs,
    StageResult,
    StageState,
    Tier,
    Usage,
)

ACTIONS = ("granulate",)
# A document of this size stands for the source in an estimate made before there is one.
TYPICAL_SOURCE_WORDS = 3_000
# Of the examples, a quiz has about 140 words a node with its items, a course about 190.
TYPICAL_NODE_WORDS = 170
STEP_TIMEOUT_SECONDS = 600
PHASES = ("read", "write", "score")


class Granulation:
    """Implements ``Worker`` with the offline generator; at most ``processes`` local steps run at once."""

    name = "granulation"

    def __init__(self, *, processes: int) -> None:
        self._limiter = anyio.CapacityLimiter(processes)

    async def resolve(
        self,
        tx: Tx,
        stage: FlowStage,
        parameters: Mapping[str, Any],
        tier: Tier,
        models: tuple[Model, ...],
    ) -> ResolvedStage:
        """See ``Worker.resolve``."""
        if stage.action not in ACTIONS:
            raise NotFound(f"Granulation has no action {stage.action!r}; it has {', '.join(ACTIONS)}.")
        if stage.input_mapping:
            raise invalid("/flow", "no_mapped_inputs", "Granulation takes its source from the request only.")
        template = await queries.find_template(tx, stage.template_ref)
        if template is None:
            raise await _unknown_template(tx, stage.template_ref)
        defaults = {**template.default_parameters, "validation": template.validation}
        merged = {**defaults, **parameters, **stage.params_override}
        read_parameters(merged, _spec(template.structure_type))
        return ResolvedStage(
            template=template.name,
            template_version=template.version,
            minimum_tier=template.minimum_tier,
            parameters=merged,
            settings={"structureType": template.structure_type},
        )

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """See ``Worker.estimate``. Units are words, bounded by the source's size and the counts asked for."""
        spec, parameters = _settings(resolved)
        if inputs is not None:
            _check_source(inputs)
        source = inputs.source_words if inputs is not None else TYPICAL_SOURCE_WORDS
        nodes = counts_of(parameters, spec).nodes
        limit, expected = nodes * steps.NODE_WORDS_LIMIT, nodes * TYPICAL_NODE_WORDS
        return [
            _line("read", source, 0, source, 0),
            _line("write", 0, limit, 0, expected),
            _line("score", limit, 0, expected, 0),
        ]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """See ``Worker.plan``: reading the source comes first."""
        assert inputs.source is not None, "estimate refuses a request without a source"
        return Phase(name="read", jobs=(_job("read", resolved, inputs, {}),))

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """See ``Worker.run``: one step in a worker process."""
        spec, parameters = _settings(msgspec.convert(job.payload["resolved"], ResolvedStage))
        made = await self._in_process(_call(job, spec, parameters))
        if isinstance(made, steps.Refused):
            usage = Usage(input_units=job.payload["sourceWords"] if job.kind == "read" else 0)
            return Outcome(usage=usage, fault=JobFault(code=made.code, message=made.message))
        return Outcome(
            artifacts=made.artifacts,
            usage=Usage(input_units=made.words_read, output_units=made.words_written),
        )

    async def _in_process(self, call: "_Call") -> steps.Made | steps.Refused:
        return await anyio.to_process.run_sync(
            steps.run_undisturbed, call.function, call.arguments, cancellable=True, limiter=self._limiter
        )

    async def warm_up(self) -> None:
        """Start the worker processes, so that the first step does not wait for them."""
        async with anyio.create_task_group() as tasks:
            for _ in range(int(self._limiter.total_tokens)):
                tasks.start_soon(self._warm_one_up)

    async def _warm_one_up(self) -> None:
        with contextlib.suppress(anyio.BrokenWorkerProcess):  # the first step will start another
            await self._in_process(_Call(function=steps.ready, arguments=()))

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """See ``Worker.record``: a scored tree is stored with its nodes and violations."""
        if job.kind == "score" and job.state is JobState.SUCCEEDED:
            await self._store_tree(tx, job, outcome)
        return []

    async def _store_tree(self, tx: Tx, job: EndedJob, outcome: Outcome) -> None:
        resolved = msgspec.convert(job.payload["resolved"], ResolvedStage)
        tree = msgspec.json.decode(outcome.artifacts["tree"], type=Tree)
        assessment = msgspec.json.decode(outcome.artifacts["assessment"], type=Assessment)
        await queries.insert_tree(
            tx,
            tree_id=TreeId(new_id()),
            execution_id=job.execution_id,
            stage_id=job.stage_id,
            client_id=job.client_id,
            template=resolved.template,
            template_version=resolved.template_version,
            state=_tree_state(assessment, _settings(resolved)[1]),
            tree=tree,
            assessment=assessment,
        )

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """See ``Worker.advance``: read, write, score; then the stored tree is the result."""
        last = next(job for job in reversed(stage.jobs) if job.kind == stage.phase)
        if last.state is not JobState.SUCCEEDED:
            fault = last.fault or JobFault(
                code="step_failed", message=f"The step {last.kind} did not succeed."
            )
            reason = Reason(code=fault.code, message=fault.message)
            return StageResult(state=StageState.FAILED, outputs={}, reasons=(reason,))
        if stage.phase == PHASES[-1]:
            return await self._result(tx, stage)
        following = PHASES[PHASES.index(stage.phase) + 1]
        data = {name: data_id for job in stage.jobs for name, data_id in job.artifacts.items()}
        return Phase(name=following, jobs=(_job(following, stage.resolved, stage.inputs, data),))

    async def _result(self, tx: Tx, stage: RunningStage) -> StageResult:
        stored = await queries.tree_of_stage(tx, stage.id)
        outputs = {
            "treeId": text_id("tree", stored.id),
            "structureType": stored.structure_type,
            "title": stored.title,
            "origin": stored.origin,
            "score": None if stored.score is None else float(stored.score),
            "band": stored.assessment["band"],
            "validation": _validation_label(_settings(stage.resolved)[1]),
        }
        state, reasons = _end(stored, _settings(stage.resolved)[1])
        return StageResult(state=state, outputs=outputs, reasons=reasons)


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """A step's function and its arguments, all of which can be sent to another process."""

    function: Callable[..., steps.Made | steps.Refused]
    arguments: tuple[Any, ...]


def _call(job: Job, spec: StructureSpec, parameters: Parameters) -> _Call:
    source = job.data["source"]
    if job.kind == "read":
        given = parameters.source
        assert given is not None
        arguments: tuple[Any, ...] = (source, given.format.value, given.name, parameters.language)
        return _Call(function=steps.read, arguments=arguments)
    if job.kind == "write":
        return _Call(function=steps.write, arguments=(source, job.data["digest"], brief_of(parameters, spec)))
    arguments = (source, job.data["digest"], job.data["tree"], spec, counts_of(parameters, spec))
    return _Call(function=steps.score, arguments=(*arguments, parameters.objects))


def _line(kind: str, input_bound: int, output_limit: int, expected_input: int, expected_output: int) -> Line:
    return Line(
        kind=kind,
        phase=kind,
        count=1,
        route=LOCAL_ROUTE,
        input_bound=input_bound,
        output_limit=output_limit,
        expected_input=expected_input,
        expected_output=expected_output,
    )


def _job(kind: str, resolved: ResolvedStage, inputs: StageInputs, data: dict[str, Any]) -> NewJob:
    assert inputs.source is not None
    payload = {"resolved": msgspec.to_builtins(resolved), "sourceWords": inputs.source_words}
    return NewJob(
        kind=kind,
        line=kind,
        payload=payload,
        data={"source": inputs.source, **data},
        timeout_seconds=STEP_TIMEOUT_SECONDS,
    )


def _spec(structure_type: str) -> StructureSpec:
    return builtin_specs()[structure_type]


def _settings(resolved: ResolvedStage) -> tuple[StructureSpec, Parameters]:
    spec = _spec(resolved.settings["structureType"])
    return spec, read_parameters(resolved.parameters, spec)


def _check_source(inputs: StageInputs) -> None:
    """Refuse at submission what reading the source would refuse. Raises Invalid."""
    if inputs.source is None:
        raise invalid(
            "/parameters/source",
            "source_required",
            "No model provider is configured, so the text comes from a source: add parameters.source with "
            "text or dataRef.",
        )
    if inputs.source_words < LEAST_WORDS:
        raise invalid(
            "/parameters/source",
            "source_too_short",
            f"The source has {inputs.source_words} words; at least {LEAST_WORDS} are needed.",
        )


async def _unknown_template(tx: Tx, name: str) -> NotFound:
    known = await queries.template_names(tx)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    return NotFound(
        f"There is no worker template {name!r}. Near it: {', '.join(near)}.", nearest=near, template=name
    )


def _tree_state(assessment: Assessment, parameters: Parameters) -> str:
    score = assessment.score
    if score.gates_failed or score.score is None:
        return "invalid"
    below = parameters.validation.enabled and score.score < parameters.validation.threshold
    return "below_threshold" if below else "valid"


def _end(stored: queries.StoredTree, parameters: Parameters) -> tuple[StageState, tuple[Reason, ...]]:
    """Gates fail → failed; below the threshold → partial; else succeeded."""
    if stored.state == "invalid":
        return StageState.FAILED, (_invalid(stored),)
    if stored.state == "below_threshold":
        message = f"The score {stored.score} is below the threshold {parameters.validation.threshold:g}."
        return StageState.PARTIAL, (Reason(code="below_threshold", message=message),)
    return StageState.SUCCEEDED, ()


def _invalid(stored: queries.StoredTree) -> Reason:
    """Say which required checks failed; too few nodes means that the source is too thin."""
    gates = stored.assessment["gatesFailed"]
    if gates == ["levels.minimum"]:
        message = (
            f"The source holds too little for a {stored.structure_type} of this depth. Use a longer "
            "source, a smaller depth, or another type."
        )
        return Reason(code="source_too_thin", message=message)
    return Reason(code="invalid_tree", message=f"Required checks failed: {', '.join(gates)}.")


def _validation_label(parameters: Parameters) -> str:
    """Rules always run; a judge is wanted from level 2 on and there is none without a model."""
    return "rules" if parameters.validation.level == 1 else "unverified"
