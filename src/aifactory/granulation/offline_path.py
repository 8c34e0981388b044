"""The way of a stage without models: read, write, score, each one local step in a worker process. Pure.

A stage that is given trees of earlier ones takes from them first: a text to read, objectives to serve.
One without a source has nothing to read: it writes a frame of its topic.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from aifactory.granulation.given import bound_of, trees_given
from aifactory.granulation.model.steps import Wish
from aifactory.granulation.parameters import counts_of
from aifactory.granulation.steps import NODE_WORDS_LIMIT
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    EndedJob,
    JobState,
    Line,
    NewJob,
    Phase,
    ResolvedStage,
    RunningStage,
    StageInputs,
)

STEP_SECONDS = 600
# Words of a node with all that it holds, of the examples.
NODE_WORDS = {
    "course": 190,
    "quiz": 140,
    "flashcards": 35,
    "document": 50,
    "learning_path": 95,
    "knowledge_map": 35,
    "workflow": 50,
    "novel": 55,
}
TYPICAL_NODE_WORDS = 170


def node_words(structure_type: str) -> int:
    """Return how many words a node of a type is expected to have."""
    return NODE_WORDS.get(structure_type, TYPICAL_NODE_WORDS)


def lines_of(wish: Wish, source_words: int | None) -> list[Line]:
    """Bound the steps in words: the source, if there is one, where it is read, the tree where it is "
    "made and judged."""
    nodes = counts_of(wish.parameters, wish.spec).nodes
    limit, expected = nodes * NODE_WORDS_LIMIT, nodes * node_words(wish.spec.type)
    reading = [] if source_words is None else [local_line("read", source_words, 0, source_words, 0)]
    return [
        *reading,
        local_line("write", 0, limit, 0, expected),
        local_line("score", limit, 0, expected, 0),
    ]


def taking_lines(resolved: ResolvedStage) -> list[Line]:
    """Bound the step that takes from earlier trees, where there is one."""
    bound = len(trees_given(resolved)) * bound_of(resolved)
    return [local_line("take", bound, 0, bound // 2, 0)] if bound else []


def taking_phase(resolved: ResolvedStage, inputs: StageInputs) -> Phase | None:
    """Return the step that takes from earlier trees; None where none is given."""
    given = {f"{name}_tree": inputs.data[name] for name in trees_given(resolved) if name in inputs.data}
    if not given:
        return None
    payload = {"resolved": msgspec.to_builtins(resolved), "sourceWords": 0, "mostWords": bound_of(resolved)}
    job = NewJob(kind="take", line="take", payload=payload, data=given, timeout_seconds=STEP_SECONDS)
    return Phase(name="take", jobs=(job,))


def taken(jobs: Iterable[EndedJob]) -> dict[str, DataId]:
    """Return what was taken from earlier trees: every later step gets it."""
    done = (job for job in jobs if job.kind == "take" and job.state is JobState.SUCCEEDED)
    return {name: one for job in done for name, one in job.artifacts.items()}


def local_line(
    kind: str, input_bound: int, output_limit: int, expected_input: int, expected_output: int
) -> Line:
    """Return the line of one local step, in a phase of its own name; words."""
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


def local_phase(
    kind: str, resolved: ResolvedStage, inputs: StageInputs, data: dict[str, DataId], **facts: Any
) -> Phase:
    """Return the phase of one local step; it gets the source with what earlier steps left."""
    payload = {"resolved": msgspec.to_builtins(resolved), "sourceWords": inputs.source_words, **facts}
    given = {"source": inputs.source, **data} if inputs.source is not None else dict(data)
    job = NewJob(kind=kind, line=kind, payload=payload, data=given, timeout_seconds=STEP_SECONDS)
    return Phase(name=kind, jobs=(job,))


def next_phase(stage: RunningStage) -> Phase | None:
    """Return what follows a step that succeeded; None after the last."""
    following = {"take": "read", "read": "write", "write": "score"}.get(stage.phase)
    if following is None:
        return None
    made = [(name, one) for job in stage.jobs for name, one in job.artifacts.items()]
    data = taken(stage.jobs) | {name: one for name, one in made if name in ("digest", "tree")}
    return local_phase(following, stage.resolved, stage.inputs, data)
