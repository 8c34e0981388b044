"""One model call of a stage: what is asked, what came, whether it can be used."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aifactory.granulation.generation.asks import (
    Ask,
    OutlineMaterial,
    PartMaterial,
    answer_faults,
    expansion_ask,
    items_ask,
    judge_ask,
    outline_ask,
    patches_ask,
)
from aifactory.granulation.generation.bounds import ASCII_A_TOKEN, characters_in, tokens_at_most
from aifactory.granulation.generation.prompts import OUTLINE_OPENS, SYSTEM
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.llm_answers import Failed, Finish, Reply
from aifactory.granulation.llm_requests import Call
from aifactory.granulation.model.steps import PatchMaterial, Wish, given_to
from aifactory.granulation.structured import AnswerFormat, Fault, answer_format, read_answer
from aifactory.kernel.ids import text_id
from aifactory.resources.interface import Emit, Job, JobFault, Outcome, Usage

# A provider's count may be above our bounds, but not by more than this.
MOST_OVER_BOUND = 4
# Characters that the fields for citations add to a schema.
_SCHEMA_OF_SOURCES = 400
MODEL_KINDS = ("outline", "expand", "items", "patch", "patch_again", "judge")
# Garbage and wrong types are answers too: paid for, thrown away, asked for again.
_MESSAGES = {
    Fault.UNREADABLE: "The model's answer was not readable.",
    Fault.WRONG_TYPES: "The model's answer was not of the shape that was asked for.",
    Fault.CUT: "The model's answer was cut off.",
    Fault.REFUSED: "The model refused to answer.",
}


class Portion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one call of a part writes: titled ``children`` by key, or ``count`` of those without titles.

    ``piece`` of ``pieces``: only that share of the part's passages is used; ``small``: as little as the type
    allows; ``rung``: how often the work was given to a further call.
    """

    part: str
    children: tuple[str, ...] = ()
    count: int = 0
    whole: bool = True
    piece: int = 0
    pieces: int = 1
    small: bool = False
    rung: int = 0


async def run_call(job: Job, wish: Wish, calls: LateCalls, emit: Emit) -> Outcome:
    """Make a model call and judge its answer; the answer is an artifact, what it cost is its usage.

    ``emit`` hears about how many output tokens have come so far.
    """
    assert job.endpoint is not None, "a model call has a provider"
    wish = given_to(wish, job.data)
    portion = msgspec.convert(job.payload.get("portion", {"part": ""}), Portion)
    recipe = _smaller(wish.recipe) if portion.small else wish.recipe
    built = _within_bound(job, wish, recipe, portion)
    if built is None:
        fault = JobFault(
            code="prompt_too_long", message="This step has more to tell than its prompt may hold."
        )
        return Outcome(usage=Usage(), fault=fault)
    ask, form = built
    call = Call(
        system=SYSTEM,
        user=ask.user,
        schema_name=ask.name,
        schema=form.schema,
        max_output_tokens=job.output_limit,
        call_id=f"{text_id('job', job.id)}.{job.attempt}",
    )

    def tell(tokens: int) -> None:
        emit({"outputTokens": tokens})

    reply = await calls.complete(job.endpoint, job.hop.model, call, tell)
    if isinstance(reply, Failed):
        return Outcome(usage=_believed(reply.usage, job), fault=reply.fault, signal=reply.signal)
    outcome = _outcome(reply, ask, form, recipe, portion, job)
    return msgspec.structs.replace(outcome, usage=_believed(reply.usage, job))


def _believed(usage: Usage | None, job: Job) -> Usage | None:
    """Take a usage far beyond what was sent and allowed for no usage at all: it would empty the pool."""
    if usage is None:
        return None
    told = usage.input_units > MOST_OVER_BOUND * job.input_bound
    return None if told or usage.output_units > MOST_OVER_BOUND * job.output_limit else usage


def _outcome(
    reply: Reply, ask: Ask, form: AnswerFormat, recipe: Recipe, portion: Portion, job: Job
) -> Outcome:
    told: dict[str, Any] = {
        "model": f"{job.hop.provider}/{job.hop.model}",
        "simulated": reply.simulated,
    }
    if reply.finish is Finish.REFUSAL:
        fault = JobFault(code="refused", message=_MESSAGES[Fault.REFUSED], retryable=True)
        return Outcome(fault=fault, signal=reply.signal, output=told)
    if reply.finish is Finish.LENGTH:
        # The same request would be cut again: the worker splits it instead.
        fault = JobFault(code="truncated", message="The model's answer met its length limit.")
        return Outcome(fault=fault, signal=reply.signal, output=told)
    reading = read_answer(reply.text, form, finish_is_length=False)
    if reading.fault is not None:
        fault = JobFault(code=reading.fault.value, message=_MESSAGES[reading.fault], retryable=True)
        return Outcome(fault=fault, signal=reply.signal, output=told)
    encoded = msgspec.json.encode(reading.value)
    unusable = answer_faults(ask.name, msgspec.json.decode(encoded), recipe, portion.children)
    if unusable is not None:
        fault = JobFault(code="incomplete", message=f"The model's answer lacks: {unusable}", retryable=True)
        return Outcome(fault=fault, signal=reply.signal, output=told)
    if reading.repaired:
        told["repaired"] = list(reading.repaired)
    return Outcome(output=told, artifacts={"answer": encoded}, signal=reply.signal)


def _within_bound(job: Job, wish: Wish, recipe: Recipe, portion: Portion) -> tuple[Ask, AnswerFormat] | None:
    """Build the call within what was held for, telling less of the source as needed; None if it can't be."""
    assert job.endpoint is not None
    profile = job.endpoint.profile

    def build(room: int) -> tuple[Ask, AnswerFormat, int]:
        ask = ask_of(job.kind, job.data, wish, recipe, portion, room)
        form = answer_format(ask.type, name=ask.name, profile=profile)
        total = tokens_at_most(SYSTEM + ask.user) + tokens_at_most(_shown(form.schema))
        return ask, form, total - job.input_bound

    ask, form, over = build(characters_in(job.input_bound))
    if over <= 0:
        return ask, form
    bare, bare_form, bare_over = build(0)
    if bare_over > 0:
        return None
    room = characters_in(-bare_over) - _SCHEMA_OF_SOURCES
    for share in (room, room // ASCII_A_TOKEN):  # what fits of English, and of scripts of a token a letter
        ask, form, over = build(max(0, share))
        if over <= 0:
            return ask, form
    return bare, bare_form


def _shown(schema: Mapping[str, Any]) -> str:
    return msgspec.json.encode(schema).decode()


def ask_of(
    kind: str, data: Mapping[str, bytes], wish: Wish, recipe: Recipe, portion: Portion, room: int
) -> Ask:
    """Return what a job asks a model; at most ``room`` characters are spent on passages."""
    if kind == "outline":
        material = msgspec.json.decode(data["material"], type=OutlineMaterial) if "material" in data else None
        return outline_ask(recipe, wish.parameters, material, room, wish.planned)
    if kind in ("patch", "patch_again"):
        patch = msgspec.json.decode(data["material"], type=PatchMaterial)
        problems = _fitting([msgspec.to_builtins(one) for one in patch.problems], room)
        return patches_ask(patch.shared, problems, patch.siblings)
    if kind == "judge":
        return judge_ask(_beginning(data["judged"].decode(), room), wish.parameters.validation.level)
    part = msgspec.json.decode(data["material"], type=PartMaterial)
    part = msgspec.structs.replace(part, passages=_passages(part, portion, room))
    if kind == "items":
        return items_ask(recipe, part, portion.children)
    count = min(portion.count, recipe.children) if portion.small else portion.count
    return expansion_ask(recipe, part, portion.children, count=count, whole=portion.whole)


def _fitting(problems: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """Return the first problems that fit, at least one: what is left over stays as it is."""
    kept = problems[:1]
    room -= sum(len(_shown(problem)) for problem in kept)
    for problem in problems[1:]:
        room -= len(_shown(problem))
        if room < 0:
            break
        kept.append(problem)
    return kept


def _beginning(text: str, room: int) -> str:
    """Return a judge's text with the first lines of its outline, as many as fit."""
    head, opening, outline = text.rpartition(OUTLINE_OPENS)
    *lines, closing = outline.rstrip("\n").split("\n")
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return head + opening + "\n".join([*kept, closing]) + "\n"


def _passages(part: PartMaterial, portion: Portion, room: int) -> tuple[tuple[str, str], ...]:
    first, last = (len(part.passages) * at // portion.pieces for at in (portion.piece, portion.piece + 1))
    passages = part.passages[first:last]
    total = sum(len(label) + len(line) + 4 for label, line in passages)
    if total <= room or not passages:
        return passages
    step = max(1.0, total / max(room, 1))
    return tuple(passages[int(at * step)] for at in range(int(len(passages) / step)))


def _smaller(recipe: Recipe) -> Recipe:
    """Return the recipe with as few nodes below a part as the type allows."""
    counts = recipe.counts.per_level
    # A part that may do without children was planned with some; it gets one at least.
    least = [min(count, max(1, level.min)) for count, level in zip(counts, recipe.spec.levels, strict=False)]
    return recipe.with_counts(counts[0], *least[1:])
