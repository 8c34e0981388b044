"""A course of 170 nodes: parallel calls beside one long call, at the same simulated speed."""

import argparse
import time

import httpx
import msgspec

from aifactory.granulation.tree import walk
from aifactory.kernel.db import Database
from devprovider.calls import Call
from devprovider.running import Running
from prove.databases import Databases
from prove.ground import FINE, Ground, Work, open_ground, tree_of
from prove.reporting import Proof, Proven, not_kept

FIRST_TOKEN_SECONDS = 0.8
TOKENS_PER_SECOND = 80
PARALLEL = 10
LEAST_RATIO = 4.0
WORK = Work(
    structure_type="course",
    parameters={"size": {"perLevel": [10, 4, 3]}, "validation": {"level": 1, "threshold": 0}},
    source="drinking-water.md",
)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of both ways, and what they wrote."""

    nodes: int
    parallel_seconds: float
    parallel_tokens: int
    calls: int
    one_call_seconds: float
    one_call_tokens: int

    @property
    def ratio(self) -> float:
        """Return how many times faster the parallel way is."""
        return self.one_call_seconds / self.parallel_seconds


async def run(database: Database, *, faster: float = 1.0) -> Report:
    """Measure both ways in one run; ``faster`` scales the simulated speed."""
    latency = {
        "first_token_seconds": FIRST_TOKEN_SECONDS / faster,
        "tokens_per_second": TOKENS_PER_SECOND * faster,
    }
    with Running() as provider:
        provider.configure(latency=latency)
        async with open_ground(database, provider, in_flight=PARALLEL, first_token_seconds=30) as ground:
            started = time.monotonic()
            execution_id = await ground.submit(WORK)
            ended = await ground.ended([execution_id], 900)
            seconds = time.monotonic() - started
            view = ended[execution_id]
            assert view.state in FINE, view
            found = await tree_of(ground, view)
            assert found is not None
            calls = provider.calls()
            one_seconds, one_tokens = await _one_call(ground)
    return Report(
        nodes=sum(1 for _ in walk(found[0])),
        parallel_seconds=seconds,
        parallel_tokens=sum(call.completion_tokens for call in calls),
        calls=len(calls),
        one_call_seconds=one_seconds,
        one_call_tokens=one_tokens,
    )


async def _one_call(ground: Ground) -> tuple[float, int]:
    """Ask for the whole tree at once, with the same fields and an item a lesson; returns seconds, tokens."""
    body = {
        "model": "sim-large",
        "max_tokens": 32_768,
        "messages": [{"role": "user", "content": _WHOLE_PROMPT}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "course", "strict": True, "schema": _WHOLE},
        },
    }
    started = time.monotonic()
    async with httpx.AsyncClient(timeout=1200) as http:
        answer = await http.post(f"{ground.provider.url}/chat/completions", json=body)
    answer.raise_for_status()
    return time.monotonic() - started, answer.json()["usage"]["completion_tokens"]


def critical_path_ratio(calls: list[Call], parallel: int = PARALLEL) -> float:
    """Return how many times shorter the calls' critical path is than one call with all their tokens.

    In virtual time, from the provider's own log, so that no machine's speed matters: the outline first, then
    every other call on the first free of so many slots, in the order in which they ended.
    """
    ordered = sorted(calls, key=lambda call: call.at)
    outline, rest = ordered[0], ordered[1:]
    slots = [0.0] * parallel
    for call in rest:
        at = slots.index(min(slots))
        slots[at] += FIRST_TOKEN_SECONDS + call.completion_tokens / TOKENS_PER_SECOND
    path = FIRST_TOKEN_SECONDS + outline.completion_tokens / TOKENS_PER_SECOND + max(slots)
    one_call = FIRST_TOKEN_SECONDS + sum(call.completion_tokens for call in ordered) / TOKENS_PER_SECOND
    return one_call / path


async def _prove(databases: Databases, _: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database)
    rows = [
        ("", "seconds", "calls", "tokens"),
        ("parallel", f"{report.parallel_seconds:.1f}", report.calls, report.parallel_tokens),
        ("one call", f"{report.one_call_seconds:.1f}", 1, report.one_call_tokens),
    ]
    words = f"{report.nodes} nodes: {report.ratio:.1f} times faster"
    promises = {f"{words}, at least {LEAST_RATIO:g} times is promised": report.ratio >= LEAST_RATIO}
    return Proven(table=[*rows, (words, "", "", "")], broken=not_kept(promises))


PROOF = Proof(
    name="speed",
    shows="a course of 170 nodes in parallel and in one long call",
    needs="8 minutes, 150 MB of disk",
    run=_prove,
)


def _closed(**properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _many(inner: object) -> dict[str, object]:
    return {"type": "array", "items": inner}


_TEXT: dict[str, object] = {"type": "string"}
_ACTIVITY = _closed(
    title=_TEXT,
    summary=_TEXT,
    minutes={"type": "integer"},
    activityKind={"type": "string", "enum": ["read", "practice", "discuss", "reflect"]},
    instructions=_TEXT,
    deliverable=_TEXT,
    sources=_many(_TEXT),
)
_OPTION = _closed(text=_TEXT, correct={"type": "boolean"}, rationale=_TEXT)
_ITEM = _closed(
    kind={"type": "string", "enum": ["single"]},
    stem=_TEXT,
    bloom={"type": "string", "enum": ["remember", "apply"]},
    difficulty={"type": "string", "enum": ["easy", "medium"]},
    feedback=_TEXT,
    options=_many(_OPTION),
)
_LESSON = _closed(
    title=_TEXT,
    summary=_TEXT,
    keyPoints=_many(_TEXT),
    introduces=_many(_TEXT),
    needs=_many(_TEXT),
    sources=_many(_TEXT),
    items=_many(_ITEM),
    children=_many(_ACTIVITY),
)
_OBJECTIVE = _closed(text=_TEXT, bloom={"type": "string", "enum": ["remember", "apply", "analyze"]})
_MODULE = _closed(
    title=_TEXT, summary=_TEXT, objectives=_many(_OBJECTIVE), sources=_many(_TEXT), children=_many(_LESSON)
)
_WHOLE = _closed(title=_TEXT, summary=_TEXT, outcomes=_many(_OBJECTIVE), nodes=_many(_MODULE))
_WHOLE_PROMPT = """\
# Brief
Type: course
Topic: Drinking water
# Task
Write the whole course.
# Sizes
- outcomes: 8
- nodes: 10
- nodes[].objectives: 3
- nodes[].children: 4
- nodes[].children[].keyPoints: 4
- nodes[].children[].items: 1
- nodes[].children[].children: 3
"""
