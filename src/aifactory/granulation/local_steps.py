"""Which function a local job calls in a worker process, with which of its data."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from aifactory.granulation import steps, taking
from aifactory.granulation.model import steps as model_steps
from aifactory.granulation.model.choice import Generator
from aifactory.granulation.model.steps import Source, Wish, given_to
from aifactory.granulation.parameters import counts_of
from aifactory.granulation.tree import Origin
from aifactory.resources.interface import Job


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step's function and its arguments, all of which can be sent to another process."""

    function: Callable[..., steps.Made | steps.Refused]
    arguments: tuple[Any, ...]


def step_of(job: Job, wish: Wish, generator: Generator | None) -> Step:
    """Return the step of a local job; the same kind can mean more with models than without."""
    if job.kind == "take":
        trees = (job.data.get("source_tree"), job.data.get("objectives_tree"))
        return Step(function=taking.take, arguments=(*trees, job.payload["mostWords"]))
    wish = given_to(wish, job.data)
    if job.kind == "read":
        return _read(job, wish, with_models=generator is not None)
    if job.kind == "write":
        return Step(
            function=steps.write,
            arguments=(job.data.get("source"), job.data.get("digest"), wish.brief, wish.spec),
        )
    if job.kind == "score" and "tree" in job.data:
        counts = counts_of(wish.parameters, wish.spec)
        arguments = (job.data.get("source"), job.data.get("digest"), job.data["tree"], wish.spec, counts)
        return Step(function=steps.score, arguments=(*arguments, wish.parameters.objects))
    return _around_calls(job, wish)


def _read(job: Job, wish: Wish, *, with_models: bool) -> Step:
    given = wish.parameters.source
    assert given is not None, "only a stage with a source reads"
    source = job.data["source"]
    if with_models:
        return Step(function=model_steps.read, arguments=(source, given.format.value, given.name, wish))
    arguments = (source, given.format.value, given.name, wish.parameters.language)
    return Step(function=steps.read, arguments=arguments)


def _around_calls(job: Job, wish: Wish) -> Step:
    source = _source(job.data)
    if job.kind == "plan":
        return Step(function=model_steps.plan, arguments=(source, job.data["answer"], wish))
    if job.kind == "assemble":
        origin = Origin.SIMULATED if job.payload["simulated"] else Origin.LLM
        given = (source, job.data["plan"], _answers(job.data), wish, origin, job.payload["patchCalls"])
        return Step(function=model_steps.put_together, arguments=given)
    patches = [content for name, content in sorted(job.data.items()) if name.startswith("answer.")]
    function = model_steps.mend if job.kind == "mend" else model_steps.finish
    arguments = (source, job.data["draft"], job.data["repairs"], patches, wish)
    return Step(function=function, arguments=arguments)


def _source(data: Mapping[str, bytes]) -> Source | None:
    return Source(content=data["source"], digest=data["digest"]) if "source" in data else None


def _answers(data: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    """Group answers by kind and part, in the order of their jobs' ids."""
    grouped: dict[str, list[bytes]] = {}
    for name, content in sorted(data.items()):
        kind, _, rest = name.partition(".")
        if kind in ("expand", "items"):
            grouped.setdefault(f"{kind}.{rest.partition('.')[0]}", []).append(content)
    return grouped
