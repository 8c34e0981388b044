"""The way of a stage that models write: what is held for, what follows what, what follows a failure."""

import itertools
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aifactory.granulation.model.calls import Portion
from aifactory.granulation.model.choice import Generator
from aifactory.granulation.model.follow_ups import follow_ups, split
from aifactory.granulation.model.lines import ModelPath, lines_of, why_unwritable
from aifactory.granulation.model.path import first_phase, next_phase, offline_phase
from aifactory.granulation.model.steps import Wish
from aifactory.granulation.parameters import read_parameters
from aifactory.granulation.specs import builtin_specs
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, JobId, StageId, new_id
from aifactory.resources.interface import (
    EndedJob,
    Hop,
    JobFault,
    JobState,
    NewJob,
    Phase,
    ResolvedStage,
    Route,
    RunningStage,
    StageInputs,
    Tier,
)

TYPES = ("course", "quiz", "flashcards", "document")
RUNGS = tuple(Route(hops=(Hop(provider="p", model=name, pool="default"),)) for name in ("small", "large"))
RESOLVED = ResolvedStage(template="t", template_version=1, minimum_tier=Tier.BASIC, parameters={})


def path_for(
    structure_type: str, *, source: bool = True, output: int = 8_192, fallback: bool = True, **given: Any
) -> ModelPath:
    spec = builtin_specs()[structure_type]
    generator = Generator(routes=RUNGS, max_input_tokens=8_000, max_output_tokens=output, fallback=fallback)
    return ModelPath(
        wish=Wish(spec=spec, parameters=read_parameters(given, spec)), generator=generator, has_source=source
    )


class Walk:
    """Goes a path by hand: every job succeeds, unless its kind is in ``failing``."""

    def __init__(self, path: ModelPath, *, patches: int = 0, failing: tuple[str, ...] = ()) -> None:
        self.path, self.patches, self.failing = path, patches, failing
        self.inputs = StageInputs(source=DataId(new_id()) if path.has_source else None, source_words=900)
        self.ended: list[EndedJob] = []
        self.phases: list[Phase] = []

    def end(self, job: NewJob) -> EndedJob:
        recipe, output, names = self.path.recipe, dict[str, Any](), ["answer"]
        if job.kind == "read":
            names = ["digest", "material"]
        if job.kind == "plan":
            keys = [f"m{at}" for at in range(1, recipe.parts + 1)]
            count = recipe.children if recipe.children_are_titled else 0
            output = {"parts": {key: [f"{key}c{at}" for at in range(1, count + 1)] for key in keys}}
            names = ["plan", *(f"part.{key}" for key in keys)]
        if job.kind in ("assemble", "mend"):
            wanted = [f"patch.{at}" for at in range(1, self.patches + 1)]
            output, names = {"patches": wanted}, ["draft", "repairs", *wanted]
        if job.kind == "score":
            names = ["tree", "judged"]
        failed = job.kind in self.failing
        return EndedJob(
            id=JobId(uuid.UUID(int=len(self.ended) + 1)), execution_id=ExecutionId(new_id()),
            stage_id=StageId(new_id()),
            client_id=ClientId(new_id()), kind=job.kind, payload=job.payload, output={} if failed else output,
            state=JobState.FAILED if failed else JobState.SUCCEEDED,
            artifacts={} if failed else {name: DataId(new_id()) for name in names},
            fault=JobFault(code="truncated", message="cut") if failed else None, data=job.data,
        )  # fmt: skip

    def stage(self) -> RunningStage:
        return RunningStage(
            id=StageId(new_id()), execution_id=ExecutionId(new_id()), client_id=ClientId(new_id()),
            action="granulate", phase=self.phases[-1].name, resolved=RESOLVED, inputs=self.inputs,
            jobs=tuple(self.ended),
        )  # fmt: skip

    def go(self) -> list[str]:
        phase: Phase | None = first_phase(self.path, RESOLVED, self.inputs)
        while phase is not None:
            assert len(self.phases) < 12
            self.phases.append(phase)
            for job in phase.jobs:
                self.ended.append(self.end(job))
            phase = next_phase(self.path, self.stage())
        return [one.name for one in self.phases]


@pytest.mark.parametrize("structure_type", TYPES)
def test_lines_count_exactly_the_jobs_of_the_phases(structure_type: str) -> None:
    levels, depths, modes = (1, 3, 5), (None, 1, 2, 3), ("balanced", "fast")
    for level, depth, mode, source in itertools.product(levels, depths, modes, (True, False)):
        for output in (2_048, 8_192):
            given = {"granularityLevel": level, "mode": mode, "validation": {"level": 2}, "topic": "Tea"}
            given |= {} if depth is None else {"depth": depth}
            path = path_for(structure_type, source=source, output=output, **given)
            walked = Walk(path)
            walked.go()
            made: dict[str | None, int] = {}
            for job in (job for phase in walked.phases for job in phase.jobs):
                made[job.line] = made.get(job.line, 0) + 1
            held = {line.kind: line.count for line in lines_of(path, 900)}
            held.pop("mend")
            held.pop("write", None)
            assert made == held, (level, depth, mode, source, output)
            assert all(line.output_limit <= output for line in lines_of(path, 0) if not line.route.local)


def test_phases_come_in_order_with_and_without_a_source() -> None:
    rest = ["outline", "plan", "expand", "assemble", "score"]
    assert Walk(path_for("course")).go() == ["read", *rest]
    assert Walk(path_for("course", source=False, topic="Tea")).go() == rest
    patched = Walk(path_for("course"), patches=2)
    assert patched.go() == [
        "read", "outline", "plan", "expand", "assemble", "patch", "mend", "patch_again", "score",
    ]  # fmt: skip
    assert all(job.route == RUNGS[0] and job.line is None for job in patched.phases[5].jobs)
    assert Walk(path_for("course"), patches=1, failing=("patch",)).go()[-2:] == ["patch", "score"]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_judge_is_asked_only_from_the_second_level_on(level: int) -> None:
    path = path_for("quiz", validation={"level": level})
    assert ("judge" in Walk(path).go()) == (level > 1)
    assert any(line.kind == "judge" for line in lines_of(path, 900)) == (level > 1)


def test_children_have_calls_of_their_own_when_wide_or_fast() -> None:
    assert path_for("course").portions == 1
    fast = path_for("course", mode="fast")
    assert fast.portions == fast.recipe.children > 1
    assert path_for("course", output=1_024).portions == fast.portions
    walked = Walk(fast)
    walked.go()
    portions = [
        job.payload["portion"] for phase in walked.phases for job in phase.jobs if job.kind == "expand"
    ]
    assert all(len(one["children"]) == 1 for one in portions)
    assert sum(one["whole"] for one in portions) == fast.recipe.parts
    pieces = path_for("quiz", output=1_024, granularityLevel=5)
    assert pieces.portions == 3
    assert pieces.children_a_portion * pieces.portions >= pieces.recipe.children


@pytest.mark.parametrize("structure_type", ["quiz", "flashcards", "document"])
def test_without_anything_below_its_parts_a_tree_is_its_outline(structure_type: str) -> None:
    path = path_for(structure_type, depth=1, granularityLevel=1, topic="Tea")
    walked = Walk(path)
    walked.go()
    assert [phase.name for phase in walked.phases][-3:] == ["plan", "assemble", "score"]
    assert not any(line.kind == "expand" for line in lines_of(path, 0))


@pytest.mark.parametrize(
    ("per_level", "word"),
    [([1_500], "at most 100 modules"), ([90, 4], "outline would have"), ([3, 1, 400], "One lesson")],
)
def test_what_no_answer_could_hold_is_said_before_it_is_paid(per_level: list[int], word: str) -> None:
    reason = why_unwritable(path_for("course", size={"perLevel": per_level}, topic="Tea"))
    assert reason is not None
    assert word in reason
    assert why_unwritable(path_for("course", granularityLevel=5, topic="Tea")) is None


PORTIONS = st.one_of(
    st.builds(Portion, part=st.just("m1"), children=st.integers(1, 12).map(
        lambda count: tuple(f"m1c{at}" for at in range(count))), whole=st.booleans(), rung=st.integers(0, 2)),
    st.builds(Portion, part=st.just("m1"), count=st.integers(0, 30), pieces=st.just(1)),
)  # fmt: skip


@settings(derandomize=True)
@given(PORTIONS)
def test_splitting_ends_and_writes_each_child_once(portion: Portion) -> None:
    open_portions, rounds = [portion], 0
    while open_portions:
        rounds += 1
        assert rounds < 100
        current = open_portions.pop()
        pieces = split(current)
        assert [key for one in pieces for key in one.children] == (list(current.children) if pieces else [])
        assert sum(one.count for one in pieces) == (current.count if pieces else 0)
        assert sum(one.whole for one in pieces) == (current.whole if pieces else 0)
        assert all(one.rung == current.rung for one in pieces)
        open_portions += pieces


def failed(
    kind: str, code: str, portion: Portion | None = None, state: JobState = JobState.FAILED
) -> EndedJob:
    payload: dict[str, Any] = {"resolved": msgspec.to_builtins(RESOLVED)}
    if portion is not None:
        payload["portion"] = msgspec.to_builtins(portion)
    return EndedJob(
        id=JobId(new_id()), execution_id=ExecutionId(new_id()), stage_id=StageId(new_id()), kind=kind,
        client_id=ClientId(new_id()), state=state, payload=payload, output={}, artifacts={},
        fault=JobFault(code=code, message=code),
    )  # fmt: skip


def portions_of(jobs: list[NewJob]) -> list[Portion]:
    return [msgspec.convert(job.payload["portion"], Portion) for job in jobs]


PART = Portion(part="m1", children=("m1c1", "m1c2", "m1c3"))


def test_what_was_cut_is_split() -> None:
    jobs = follow_ups(path_for("course"), failed("expand", "truncated", PART))
    assert [one.children for one in portions_of(jobs)] == [("m1c1", "m1c2"), ("m1c3",)]
    assert [one.whole for one in portions_of(jobs)] == [True, False]
    assert all(job.route == RUNGS[0] and job.line is None for job in jobs)


@pytest.mark.parametrize("kind", ["expand", "items"])
def test_what_failed_otherwise_is_asked_once_more_smaller_of_the_next_model(kind: str) -> None:
    path = path_for("course")
    (job,) = follow_ups(path, failed(kind, "unreadable", PART))
    (portion,) = portions_of([job])
    assert (portion.children, portion.small, portion.rung) == (PART.children, True, 1)
    assert job.route == RUNGS[1]
    assert follow_ups(path, failed(kind, "unreadable", portion)) == []


def test_an_outline_is_asked_for_once_more() -> None:
    path = path_for("course")
    (job,) = follow_ups(path, failed("outline", "wrong_types"))
    assert job.route == RUNGS[1]
    assert follow_ups(path, failed("outline", "truncated", portions_of([job])[0])) == []


@pytest.mark.parametrize("code", ["no_money", "no_line", "exceeds_pool", "providers_down", "cancelled"])
@pytest.mark.parametrize("kind", ["outline", "expand", "items", "patch", "judge"])
def test_where_another_call_is_no_use_none_follows(kind: str, code: str) -> None:
    portion = PART if kind in ("expand", "items") else None
    assert follow_ups(path_for("course"), failed(kind, code, portion)) == []


def test_patches_and_judgements_are_never_asked_for_again() -> None:
    for kind in ("patch", "judge"):
        assert follow_ups(path_for("course"), failed(kind, "unreadable")) == []


def test_offline_takes_over_once_and_only_with_a_source_where_it_may() -> None:
    for source, fallback in itertools.product((True, False), (True, False)):
        path = path_for("course", source=source, fallback=fallback, topic="Tea")
        walked = Walk(path, failing=("outline",))
        walked.go()
        phase = offline_phase(path, walked.stage())
        assert (phase is not None) == (source and fallback)
        assert any(line.kind == "write" for line in lines_of(path, 9)) == (source and fallback)
        if phase is not None:
            assert [job.kind for job in phase.jobs] == ["write"]
            assert phase.name == "write"


def test_what_fails_after_the_assembly_fails_with_its_own_reason() -> None:
    path = path_for("course", source=True, fallback=True, topic="Tea")
    walked = Walk(path, failing=("score",))
    walked.go()
    assert walked.stage().phase == "score"
    assert offline_phase(path, walked.stage()) is None
