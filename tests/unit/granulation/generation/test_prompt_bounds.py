from typing import Any

import msgspec
import pytest
from tests.unit.granulation.generation.paper import Paper

from aifactory.granulation.generation.bounds import tokens_at_most
from aifactory.granulation.generation.mending import Problem
from aifactory.granulation.generation.prompts import SYSTEM
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.llm_answers import Finish, Reply
from aifactory.granulation.llm_progress import Tell
from aifactory.granulation.llm_requests import Call
from aifactory.granulation.model.calls import run_call
from aifactory.granulation.model.steps import PatchMaterial
from aifactory.kernel.ids import ClientId, ExecutionId, JobId, StageId, new_id
from aifactory.resources.interface import Endpoint, Hop, Job, Outcome, Signal, Usage

pytestmark = pytest.mark.anyio


class Answering(LateCalls):
    """Answers every call with the same text and usage, and keeps what it was asked."""

    def __init__(self, *, usage: Usage | None = None) -> None:
        super().__init__(environ={})
        self.asked: list[Call] = []
        self.usage = usage

    async def complete(self, endpoint: Endpoint, model: str, call: Call, tell: Tell | None = None) -> Reply:
        self.asked.append(call)
        return Reply(
            text="no json",
            finish=Finish.STOP,
            usage=self.usage,
            model=model,
            simulated=False,
            signal=Signal(),
        )


async def run(kind: str, data: dict[str, bytes], input_bound: int, calls: LateCalls) -> Outcome:
    paper = Paper("course", {"topic": "Tea", "granularityLevel": 5, "validation": {"level": 3}})
    job = Job(
        id=JobId(new_id()),
        execution_id=ExecutionId(new_id()),
        stage_id=StageId(new_id()),
        client_id=ClientId(new_id()),
        kind=kind,
        payload={},
        data=data,
        attempt=1,
        hop=Hop(provider="p", model="m", pool="x"),
        timeout_seconds=9,
        input_bound=input_bound,
        output_limit=500,
        endpoint=Endpoint(provider="p"),
    )
    return await run_call(job, paper.wish, calls, lambda _: None)


def long_texts() -> dict[str, dict[str, bytes]]:
    problems = tuple(
        Problem(path=f"/nodes/{at}/title", rule="r", message="слишком длинно", value="вода " * 200)
        for at in range(8)
    )
    patch = PatchMaterial(shared="# Brief\nType: course\n", problems=problems, siblings=())
    lines = "\n".join(f"{at} {'вода ' * 30}" for at in range(200))
    judged = f'# Brief\nType: course\n# Outline\n<source name="outline">\n{lines}\n</source>\n'
    return {"patch": {"material": msgspec.json.encode(patch)}, "judge": {"judged": judged.encode()}}


@pytest.mark.parametrize("kind", ["patch", "judge"])
async def test_a_prompt_is_never_longer_than_what_was_held_for(kind: str) -> None:
    calls = Answering(usage=Usage(input_units=10, output_units=10))
    await run(kind, long_texts()[kind], 3_000, calls)
    [call] = calls.asked
    assert call.schema is not None
    schema = msgspec.json.encode(call.schema).decode()
    assert tokens_at_most(SYSTEM + call.user) + tokens_at_most(schema) <= 3_000
    assert call.user.count("<source") == call.user.count("</source>") == 1


async def test_a_prompt_that_can_not_be_made_short_enough_is_not_sent() -> None:
    calls = Answering()
    outcome = await run("patch", long_texts()["patch"], 600, calls)
    assert calls.asked == []
    assert outcome.fault is not None
    assert (outcome.fault.code, outcome.fault.retryable) == ("prompt_too_long", False)
    assert outcome.usage == Usage()


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (Usage(input_units=3_500, output_units=500), True),
        (Usage(input_units=12_001, output_units=10), False),
        (Usage(input_units=10, output_units=2_001), False),
        (None, False),
    ],
)
async def test_a_usage_far_beyond_what_was_asked_counts_as_unknown(told: Any, believed: bool) -> None:
    outcome = await run("judge", long_texts()["judge"], 3_000, Answering(usage=told))
    assert outcome.usage == (told if believed else None)
    assert outcome.fault is not None
