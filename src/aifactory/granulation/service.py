"""The Content Granulator as a worker: what a stage costs, its steps in order, what becomes of them."""

import contextlib
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.to_process
import msgspec

from aifactory.granulation import (
    checking,
    given,
    offline_path,
    queries,
    steps,
    template_queries,
    templates,
    types,
)
from aifactory.granulation.generation.repairs import Repair
from aifactory.granulation.input_checks import check_inputs
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.local_steps import Step, step_of
from aifactory.granulation.model import lines as model_lines
from aifactory.granulation.model import path as model_path
from aifactory.granulation.model.calls import MODEL_KINDS, run_call
from aifactory.granulation.model.choice import Generator, choose_generator, why_not_by_models, why_offline
from aifactory.granulation.model.follow_ups import follow_ups
from aifactory.granulation.model.lines import ModelPath
from aifactory.granulation.model.steps import Wish
from aifactory.granulation.offline.frames.framing import FRAME_NOTICE
from aifactory.granulation.parameters import read_parameters
from aifactory.granulation.scoring import Assessment
from aifactory.granulation.tree import SIMULATED_NOTICE, Origin, Tree
from aifactory.granulation.verdicts import (
    end_of,
    gaps_of,
    has_succeeded,
    is_written_offline,
    tree_state,
    validation_label,
)
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import invalid
from aifactory.kernel.ids import TreeId, new_id, text_id
from aifactory.resources.interface import (
    Emit,
    EndedJob,
    FlowStage,
    Job,
    JobFault,
    JobState,
    Line,
    ModelChoice,
    NewJob,
    Outcome,
    Phase,
    Ports,
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


class Granulation:
    """Implements ``Worker``, with models where there are any, else with the offline generator.

    At most ``processes`` local steps run at once.
    """

    name = "granulation"

    def __init__(self, *, processes: int, calls: LateCalls) -> None:
        self._limiter = anyio.CapacityLimiter(processes)
        self._calls = calls

    async def resolve(
        self,
        tx: Tx,
        stage: FlowStage,
        parameters: Mapping[str, Any],
        tier: Tier,
        choice: ModelChoice,
    ) -> ResolvedStage:
        """See ``Worker.resolve``."""
        if stage.action not in ACTIONS:
            message = f"Granulation has no action {stage.action!r}; it has {', '.join(ACTIONS)}."
            raise invalid("/action", "unknown_action", message)
        template = await templates.match_template(tx, stage.template_ref, tier)
        spec = await types.get_type(tx, template.structure_type)
        merged = templates.effective_parameters(template, spec, dict(parameters), stage.params_override)
        read = read_parameters(merged, spec)
        generator = choose_generator(
            choice.models,
            allowed=template.models,
            mode=read.mode,
            has_source=read.source is not None or given.SOURCE in stage.input_mapping,
            fallback=template.offline_fallback or stage.on_failure == "offline",
            best_first=choice.best_first,
            max_input_tokens=template.max_input_tokens,
        )
        why = None if generator else why_offline(choice.models, template.models, read.mode)
        if generator is not None and (why := why_not_by_models(spec)) is not None:
            generator = None
        return ResolvedStage(
            template=template.name,
            template_version=template.version,
            minimum_tier=template.minimum_tier,
            expected_seconds=template.expected_seconds,
            memory_mb=template.memory_mb,
            parameters=merged,
            settings={
                **types.kept_with(spec),
                "generator": msgspec.to_builtins(generator),
                "given": sorted(stage.input_mapping),
                "maxInputTokens": template.max_input_tokens,
                "whyOffline": why,
            },
        )

    def ports(self, resolved: ResolvedStage) -> Ports | None:
        """See ``Worker.ports``."""
        return given.ports_of(types.type_of(resolved))

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """See ``Worker.estimate``. Local units are words, a model's are tokens."""
        wish, generator = _wish(resolved), _generator(resolved)
        if inputs is not None:
            check_inputs(inputs, resolved, wish.parameters, generator)
        if generator is None and not given.has_source(resolved, inputs):
            return offline_path.lines_of(wish, None)
        words = inputs.source_words if inputs is not None else TYPICAL_SOURCE_WORDS
        if given.SOURCE in given.trees_given(resolved):
            words = given.bound_of(resolved)
        return [*offline_path.taking_lines(resolved), *self._writing_lines(resolved, inputs, words)]

    def _writing_lines(self, resolved: ResolvedStage, inputs: StageInputs | None, words: int) -> list[Line]:
        wish, generator = _wish(resolved), _generator(resolved)
        if generator is not None:
            path = _path(resolved, inputs, generator)
            if inputs is not None and (reason := model_lines.why_unwritable(path)) is not None:
                instead = "" if inputs.source is None else ", or for mode: offline"
                message = f"{reason}. Ask for fewer (size.perLevel, depth){instead}."
                raise invalid("/parameters/size", "too_large_for_model", message)
            return model_lines.lines_of(path, words)
        return offline_path.lines_of(wish, words)

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """See ``Worker.plan``: reading the source comes first, where there is one, else a frame is "
        "written."""
        generator = _generator(resolved)
        resolved, inputs = given.with_given(resolved, inputs, _wish(resolved).spec)
        if generator is not None:
            return model_path.first_phase(_path(resolved, inputs, generator), resolved, inputs)
        if not given.has_source(resolved, inputs):
            return offline_path.local_phase("write", resolved, inputs, {})
        taking = offline_path.taking_phase(resolved, inputs)
        return taking or offline_path.local_phase("read", resolved, inputs, {})

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """See ``Worker.run``: a model call, or one step in a worker process."""
        resolved = msgspec.convert(job.payload["resolved"], ResolvedStage)
        if job.kind in MODEL_KINDS:
            return await run_call(job, _wish(resolved), self._calls, emit)
        made = await self._in_process(step_of(job, _wish(resolved), _generator(resolved)))
        if isinstance(made, steps.Refused):
            usage = Usage(input_units=job.payload["sourceWords"] if job.kind == "read" else 0)
            return Outcome(usage=usage, fault=JobFault(code=made.code, message=made.message))
        return Outcome(
            output=made.output,
            artifacts=made.artifacts,
            usage=Usage(input_units=made.words_read, output_units=made.words_written),
        )

    async def _in_process(self, step: Step) -> steps.Made | steps.Refused:
        return await anyio.to_process.run_sync(
            steps.run_undisturbed, step.function, step.arguments, cancellable=True, limiter=self._limiter
        )

    async def assess_tree(self, wanted: checking.Examination) -> checking.Examined:
        """Check a tree that somebody brings, in a worker process; see ``checking.assess_tree``."""
        return await checking.assess_tree(wanted, self._limiter)

    async def warm_up(self) -> None:
        """Start the worker processes, so that the first step does not wait for them."""
        async with anyio.create_task_group() as tasks:
            for _ in range(int(self._limiter.total_tokens)):
                tasks.start_soon(self._warm_one_up)

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._calls.close()

    async def _warm_one_up(self) -> None:
        with contextlib.suppress(anyio.BrokenWorkerProcess):  # the first step will start another
            await self._in_process(Step(function=steps.ready, arguments=()))

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """See ``Worker.record``: a scored tree is stored; a failed call may be followed by others."""
        if job.state is not JobState.SUCCEEDED:
            generator = _generator(msgspec.convert(job.payload["resolved"], ResolvedStage))
            if generator is None or job.kind not in MODEL_KINDS:
                return []
            return follow_ups(_path_of_job(job, generator), job)
        if job.kind == "score":
            await self._store_tree(tx, job, outcome)
        elif job.kind == "judge":
            verdict = {**msgspec.json.decode(outcome.artifacts["answer"]), "model": outcome.output["model"]}
            await queries.store_judgement(tx, job.stage_id, verdict)
        return []

    async def _store_tree(self, tx: Tx, job: EndedJob, outcome: Outcome) -> None:
        resolved = msgspec.convert(job.payload["resolved"], ResolvedStage)
        tree = msgspec.json.decode(outcome.artifacts["tree"], type=Tree)
        assessment = msgspec.json.decode(outcome.artifacts["assessment"], type=Assessment)
        repairs = outcome.artifacts.get("repairs", b"[]")
        await queries.insert_tree(
            tx,
            tree_id=TreeId(new_id()),
            execution_id=job.execution_id,
            stage_id=job.stage_id,
            client_id=job.client_id,
            template=resolved.template,
            template_version=resolved.template_version,
            state=tree_state(assessment, _wish(resolved).parameters),
            tree=tree,
            assessment=assessment,
            models=job.payload.get("models", []),
            repairs=msgspec.json.decode(repairs, type=tuple[Repair, ...]),
        )
        await template_queries.count_use(tx, resolved.template, resolved.template_version)

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """See ``Worker.advance``; then the stored tree is the result."""
        generator = _generator(stage.resolved)
        resolved, inputs = given.with_given(stage.resolved, stage.inputs, _wish(stage.resolved).spec)
        stage = msgspec.structs.replace(stage, resolved=resolved, inputs=inputs)
        if generator is not None and not is_written_offline(stage):
            return await self._advance_models(tx, stage, _path(stage.resolved, stage.inputs, generator))
        last = next(job for job in reversed(stage.jobs) if job.kind == stage.phase)
        if last.state is not JobState.SUCCEEDED:
            return _failed(last)
        return offline_path.next_phase(stage) or await self._result(tx, stage)

    async def _advance_models(self, tx: Tx, stage: RunningStage, path: ModelPath) -> Phase | StageResult:
        following = model_path.next_phase(path, stage)
        if following is not None:
            return following
        if stage.phase in ("score", "judge") and has_succeeded(stage, "score"):
            return await self._result(tx, stage)
        return model_path.offline_phase(path, stage) or _failed(stage.jobs[-1])

    async def _result(self, tx: Tx, stage: RunningStage) -> StageResult:
        if not has_succeeded(stage, "score"):
            return _failed(stage.jobs[-1])
        stored = await queries.tree_of_stage(tx, stage.id)
        parameters = _wish(stage.resolved).parameters
        scored = next(job for job in reversed(stage.jobs) if job.kind == "score" and not job.fault)
        outputs = {
            "treeId": text_id("tree", stored.id),
            "tree": {"dataRef": text_id("data", scored.artifacts["tree"]), "name": stored.title},
            "structureType": stored.structure_type,
            "title": stored.title,
            "language": stored.head["language"],
            "origin": stored.origin,
            "models": stored.models,
            "score": None if stored.score is None else float(stored.score),
            "band": stored.assessment["band"],
            "validation": validation_label(stage, parameters),
            "counts": scored.output.get("counts", {}),
        }
        if stored.origin == Origin.SIMULATED:
            outputs["notice"] = SIMULATED_NOTICE
        elif is_written_offline(stage) and not given.has_source(stage.resolved, stage.inputs):
            outputs["notice"] = FRAME_NOTICE
        state, reasons = end_of(stored, parameters, gaps_of(stage))
        return StageResult(state=state, outputs=outputs, reasons=reasons)


def _wish(resolved: ResolvedStage) -> Wish:
    spec = types.type_of(resolved)
    return Wish(spec=spec, parameters=read_parameters(resolved.parameters, spec))


def _generator(resolved: ResolvedStage) -> Generator | None:
    return msgspec.convert(resolved.settings.get("generator"), Generator | None)


def _path(resolved: ResolvedStage, inputs: StageInputs | None, generator: Generator) -> ModelPath:
    return ModelPath(
        wish=_wish(resolved),
        generator=generator,
        has_source=given.has_source(resolved, inputs),
        given_objectives=given.OBJECTIVES in given.trees_given(resolved),
    )


def _path_of_job(job: EndedJob, generator: Generator) -> ModelPath:
    resolved = msgspec.convert(job.payload["resolved"], ResolvedStage)
    wish = _wish(resolved)
    return ModelPath(
        wish=wish,
        generator=generator,
        has_source=wish.parameters.source is not None,
        given_objectives=given.OBJECTIVES in given.trees_given(resolved),
    )


def _failed(job: EndedJob) -> StageResult:
    fault = job.fault or JobFault(code="step_failed", message=f"The step {job.kind} did not succeed.")
    reason = Reason(code=fault.code, message=fault.message)
    return StageResult(state=StageState.FAILED, outputs={}, reasons=(reason,))
