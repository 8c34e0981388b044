"""A tree only grows while its parts are written, and the draft has the same nodes."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.granulation.generation.paper import Paper

from aifactory.granulation import steps
from aifactory.granulation.generation.growing import GrowingNode, Growth
from aifactory.granulation.local_steps import _answers
from aifactory.granulation.model import steps as model_steps
from aifactory.granulation.model.calls import Portion
from aifactory.granulation.model.follow_ups import split
from aifactory.granulation.model.path import _portions
from aifactory.granulation.progress_tree import Growing, growing_tree, wanted_data
from aifactory.granulation.tree import Origin
from aifactory.kernel.ids import DataId, JobId, new_id
from aifactory.resources.interface import JobState, ResolvedStage, StageJob, StageWork, Tier

WATER = {"topic": "Safe water at home"}
KINDS = ["course", "quiz", "flashcards", "document"]


class Story:
    """A stage's jobs and what they left, job by job."""

    def __init__(self, kind: str, **parameters: Any) -> None:
        given = {**WATER, "granularityLevel": 1, **parameters}
        self.paper = Paper(kind, given)
        self.resolved = ResolvedStage(
            template="t",
            template_version=1,
            minimum_tier=Tier.BASIC,
            parameters=given,
            settings={"structureType": kind},
        )
        self.jobs: dict[JobId, StageJob] = {}
        self.data: dict[DataId, bytes] = {}
        self.parts: dict[str, bytes] = {}

    def open(self, kind: str, portion: Portion | None = None) -> JobId:
        job_id = JobId(new_id())
        payload = {} if portion is None else {"portion": msgspec.to_builtins(portion)}
        self.jobs[job_id] = StageJob(
            id=job_id, kind=kind, state=JobState.READY, payload=payload, output={}, artifacts={}
        )
        return job_id

    def end(self, job_id: JobId, state: JobState = JobState.SUCCEEDED, **artifacts: bytes) -> None:
        stored = {name: DataId(new_id()) for name in artifacts}
        self.data |= {stored[name]: content for name, content in artifacts.items()}
        self.jobs[job_id] = msgspec.structs.replace(self.jobs[job_id], state=state, artifacts=stored)

    def answer(self, job_id: JobId) -> None:
        job = self.jobs[job_id]
        portion = msgspec.convert(job.payload["portion"], Portion)
        answer = self.paper.ask(job.kind, {"material": self.parts[portion.part]}, portion)
        assert answer is not None
        self.end(job_id, answer=answer)

    def tree(self) -> Growing | None:
        work = StageWork(resolved=self.resolved, jobs=tuple(self.jobs.values()))
        wanted = wanted_data(work)
        return growing_tree(
            work, {one: msgspec.json.decode(self.data[one], type=kind) for one, kind in wanted.items()}
        )

    def grown(self) -> Growing:
        tree = self.tree()
        assert tree is not None
        return tree

    def planned(self) -> list[JobId]:
        """Write the outline, plan from it and open the calls of all parts."""
        answer = self.paper.ask("outline", {})
        assert answer is not None
        self.end(self.open("outline"), answer=answer)
        assert self.tree() is None
        made = model_steps.plan(None, answer, self.paper.wish)
        self.end(self.open("plan"), plan=made.artifacts["plan"])
        opened = []
        for part, children in made.output["parts"].items():
            self.parts[part] = made.artifacts[f"part.{part}"]
            opened += [self.open("expand", one) for one in _portions(self.paper.path, part, children)]
            if self.paper.path.recipe.item_list:
                opened.append(self.open("items", Portion(part=part, children=tuple(children))))
        return opened

    def assembled(self) -> None:
        """Put together what there is."""
        plan = next(job for job in self.jobs.values() if job.kind == "plan")
        answers = {
            f"{job.kind}.{job.payload['portion']['part']}.{job.id}": self.data[job.artifacts["answer"]]
            for job in self.jobs.values()
            if job.kind in ("expand", "items") and job.state is JobState.SUCCEEDED
        }
        made = model_steps.put_together(
            None, self.data[plan.artifacts["plan"]], _answers(answers), self.paper.wish, Origin.SIMULATED, 2
        )
        self.end(self.open("assemble"), draft=made.artifacts["draft"])


def assert_grown(before: tuple[GrowingNode, ...], after: tuple[GrowingNode, ...]) -> None:
    """Everything is still there in its order, and what was written still is."""
    rest = iter(after)
    for node in before:
        found = next((one for one in rest if (one.id, one.title) == (node.id, node.title)), None)
        assert found is not None, node
        assert node.state is Growth.PENDING or found.state is Growth.WRITTEN, node
        assert_grown(node.children, found.children)


def titles(nodes: tuple[GrowingNode, ...]) -> list[Any]:
    """Titles without the numbers that siblings of the same name get when they are put together."""
    return [(re.sub(r", part \d+$", "", node.title), titles(node.children)) for node in nodes]


def count(nodes: tuple[GrowingNode, ...], state: Growth) -> int:
    return sum((node.state is state) + count(node.children, state) for node in nodes)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_only_grows_whichever_call_ends_first_or_is_cut(kind: str, data: st.DataObject) -> None:
    story = Story(kind, **data.draw(st.sampled_from([{}, {"granularityLevel": 2}, {"mode": "fast"}])))
    waiting = story.planned()
    seen = story.grown()
    while waiting:
        job_id = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        if data.draw(st.integers(0, 4)) == 0:
            story.end(job_id, JobState.FAILED)
            job = story.jobs[job_id]
            pieces = split(msgspec.convert(job.payload["portion"], Portion))
            if job.kind == "expand" and not any(one.small for one in pieces):
                waiting += [story.open("expand", one) for one in pieces]
        else:
            story.answer(job_id)
        grown = story.grown()
        assert [node.id for node in grown.nodes] == [node.id for node in seen.nodes]
        assert_grown(seen.nodes, grown.nodes)
        seen = grown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"granularityLevel": 2, "mode": "fast"}])
def test_the_draft_has_the_titles_that_were_there_before(kind: str, more: dict[str, Any]) -> None:
    story = Story(kind, **more)
    opened = story.planned()
    assert count(story.grown().nodes, Growth.WRITTEN) == 0
    assert not story.grown().complete
    for job_id in reversed(opened):
        story.answer(job_id)
    last = story.grown()
    assert last.complete
    assert count(last.nodes, Growth.PENDING) == 0
    story.assembled()
    drafted = story.grown()
    assert drafted.complete
    assert (drafted.title, titles(drafted.nodes)) == (last.title, titles(last.nodes))
    assert [node.id for node in drafted.nodes] == [node.id for node in last.nodes]


def marked(kind: str, portion: Portion, answer: Any) -> Any:
    """Let every answer say which piece of its part it is."""
    for one in (*answer.get("items", ()), *answer.get("children", ())):
        name = "stem" if "stem" in one else "front"
        one[name] = f"Piece {portion.piece} asks: {one[name]}"
    return answer


@pytest.mark.parametrize("kind", ["quiz", "flashcards"])
def test_what_was_cut_and_split_stands_where_the_draft_has_it(kind: str) -> None:
    story = Story(kind, size={"perLevel": [2, 6]})
    story.paper.spoil = marked
    opened = []
    for job_id in story.planned():
        story.end(job_id, JobState.FAILED)
        pieces = split(msgspec.convert(story.jobs[job_id].payload["portion"], Portion))
        opened += [story.open("expand", one) for one in pieces]
    assert len(opened) == 4
    for job_id in reversed(opened):
        story.answer(job_id)
    last = story.grown()
    story.assembled()
    drafted = story.grown()
    assert [len(node.children) for node in last.nodes] == [6, 6]
    assert titles(drafted.nodes) == titles(last.nodes)


def test_a_part_is_pending_while_any_of_its_calls_is_open() -> None:
    story = Story("course")
    first, *others = story.planned()
    story.answer(first)
    tree = story.grown()
    assert tree.nodes[0].state is Growth.PENDING, "its items are still being written"
    assert {child.state for child in tree.nodes[0].children} == {Growth.WRITTEN}
    story.answer(next(one for one in others if story.jobs[one].kind == "items"))
    tree = story.grown()
    assert [node.state for node in tree.nodes] == [Growth.WRITTEN, Growth.PENDING, Growth.PENDING]


def test_a_part_of_which_every_call_failed_stays_pending() -> None:
    story = Story("quiz")
    for job_id in story.planned():
        story.end(job_id, JobState.FAILED)
    tree = story.grown()
    assert [node.state for node in tree.nodes] == [Growth.PENDING, Growth.PENDING]
    assert not tree.complete


def test_an_answer_with_more_than_was_asked_for_takes_no_other_answers_place() -> None:
    story = Story("quiz", size={"perLevel": [2, 6]})
    story.planned()
    first, second = (story.open("expand", Portion(part="m1", count=3, piece=at, pieces=2)) for at in range(2))
    many = [{"stem": f"What is pump number {at}?"} for at in range(9)]
    story.end(second, answer=msgspec.json.encode({"items": many}))
    story.end(first, answer=msgspec.json.encode({"items": [{"stem": f"Why well {at}?"} for at in range(3)]}))
    tree = story.grown()
    assert [node.title for node in tree.nodes[0].children] == [
        "Why well 0", "Why well 1", "Why well 2",
        "What is pump number 0", "What is pump number 1", "What is pump number 2",
    ]  # fmt: skip


def test_what_is_gone_or_not_granulations_shows_no_tree() -> None:
    story = Story("quiz")
    assert story.tree() is None
    story.planned()
    work = StageWork(resolved=story.resolved, jobs=tuple(story.jobs.values()))
    assert growing_tree(work, {}) is None
    foreign = msgspec.structs.replace(work, resolved=msgspec.structs.replace(work.resolved, settings={}))
    assert wanted_data(foreign) == {}
    assert growing_tree(foreign, {}) is None


def test_a_tree_that_is_written_offline_is_shown_as_soon_as_it_is_drafted() -> None:
    story = Story("quiz")
    source = (
        b"# Wells\n\nA well is a hole that reaches water. " + b"A pump lifts water from a deep well. " * 20
    )
    read = steps.read(source, "markdown", "wells.md", None)
    assert isinstance(read, steps.Made)
    brief = {"title": "T", "nodes": [{"id": "n1", "kind": "section", "title": "Wells"}]}
    story.end(story.open("read"), digest=read.artifacts["digest"])
    assert story.tree() is None
    story.end(story.open("write"), tree=msgspec.json.encode(brief))
    tree = story.grown()
    assert (tree.title, titles(tree.nodes), tree.complete) == ("T", [("Wells", [])], True)
