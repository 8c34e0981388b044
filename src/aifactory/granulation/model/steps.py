"""The local steps around model calls, each a function of bytes that runs in a worker process. Pure.

subjects: source, digest → what the outline is told · plan: outline → plan and what each part is told ·
assemble: plan, answers → tree and what is to be patched · mend: tree, patches → tree, and what is left ·
finish: tree, patches → tree with its score.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from aifactory.granulation.generation import prompts
from aifactory.granulation.generation.asks import OutlineMaterial, PartMaterial, outline_of_tree
from aifactory.granulation.generation.assembly import Asked, assemble
from aifactory.granulation.generation.bounds import tokens_at_most
from aifactory.granulation.generation.filling import OfflineFill
from aifactory.granulation.generation.given import (
    MOST_GIVEN,
    all_served,
    as_planned,
    places_of,
    with_objectives,
)
from aifactory.granulation.generation.mending import (
    Mended,
    Problem,
    apply_patches,
    apply_rules,
    grouped,
    problems_of,
    salvage,
    sibling_titles,
)
from aifactory.granulation.generation.passages import Passages
from aifactory.granulation.generation.plan import Plan, PlannedObjective, plan_of
from aifactory.granulation.generation.plan_keys import declared_fields, keys_of_plan
from aifactory.granulation.generation.recipe import Recipe, recipe_of
from aifactory.granulation.generation.repairs import Repair, RepairedBy
from aifactory.granulation.generation.wholes import blueprint_of
from aifactory.granulation.offline.brief import Brief, GivenObjective
from aifactory.granulation.offline.digest import Digest, SourceFormat
from aifactory.granulation.offline.language import UNKNOWN
from aifactory.granulation.offline.source import decode_source
from aifactory.granulation.parameters import Parameters, brief_of, counts_of
from aifactory.granulation.scoring import assess
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.steps import Made, Refused, counts_by_kind
from aifactory.granulation.steps import read as read_source_step
from aifactory.granulation.tree import Origin, Tree, walk
from aifactory.granulation.validation import validate
from aifactory.granulation.violations import Violation

OVERVIEW_CHARACTERS = 9_000
PART_CHARACTERS = 6_000
# An outline that is longer is shown to the parts without the titles of other parts' children.
SHARED_TOKENS = 2_000
JUDGE_CHARACTERS = 9_000
_SUBJECTS = 40


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A source as bytes with the digest that was read from it."""

    content: bytes
    digest: bytes


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage makes: the type and the parameters, and the objectives that an earlier stage gave it."""

    spec: StructureSpec
    parameters: Parameters
    objectives: tuple[GivenObjective, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """Return how the type is divided among calls."""
        return recipe_of(self.spec, counts_of(self.parameters, self.spec))

    @property
    def brief(self) -> Brief:
        """Return what is asked of the offline generator."""
        return brief_of(self.parameters, self.spec, self.objectives)

    @property
    def planned(self) -> tuple[PlannedObjective, ...]:
        """Return the given objectives that an outline is made for: as many as there can be items."""
        recipe = self.recipe
        if not self.objectives or recipe.root_objectives is None:
            return ()
        most = int(recipe.spec.root_fields[recipe.root_objectives].max or MOST_GIVEN)
        return as_planned(self.objectives, min(most, recipe.parts * max(1, recipe.children)))


def given_to(wish: Wish, data: Mapping[str, bytes]) -> Wish:
    """Return a wish with the objectives that its job was given."""
    if "objectives" not in data:
        return wish
    objectives = msgspec.json.decode(data["objectives"], type=tuple[GivenObjective, ...])
    return msgspec.structs.replace(wish, objectives=objectives)


class PatchMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair call knows: the brief, the flaws, the titles that are taken."""

    shared: str
    problems: tuple[Problem, ...]
    siblings: tuple[str, ...]


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    """A source opened: its digest, its text, its sentences under labels."""

    digest: Digest
    text: str
    passages: Passages


def _opened(source: Source | None) -> _Open | None:
    if source is None:
        return None
    digest = msgspec.json.decode(source.digest, type=Digest)
    text = decode_source(source.content)
    return _Open(digest=digest, text=text, passages=Passages(digest, text))


def language_of(parameters: Parameters, digest: Digest | None) -> str:
    """Return the language to write in: what was asked for, else the source's."""
    found = digest.language if digest is not None and digest.language != UNKNOWN else "en"
    return parameters.language or found


def read(source: bytes, source_format: SourceFormat, name: str, wish: Wish) -> Made | Refused:
    """Read a source, in whatever language, and say what the outline call is to be told of it."""
    made = read_source_step(source, source_format, name, None)
    if isinstance(made, Refused):
        return made
    material = subjects(Source(content=source, digest=made.artifacts["digest"]), wish)
    return msgspec.structs.replace(made, artifacts={**made.artifacts, "material": material})


def subjects(source: Source, wish: Wish) -> bytes:
    """Return what the outline call is told of a source."""
    opened = _opened(source)
    assert opened is not None
    digest = opened.digest
    headings = [section.title for section in digest.sections if section.title]
    material = OutlineMaterial(
        name=digest.name,
        language=language_of(wish.parameters, digest),
        keyphrases=tuple(phrase.text for phrase in digest.keyphrases[:_SUBJECTS]),
        headings=tuple(headings[: 2 * _SUBJECTS]),
        passages=tuple(opened.passages.overview(OVERVIEW_CHARACTERS)),
    )
    return msgspec.json.encode(material)


def plan(source: Source | None, answer: bytes, wish: Wish) -> Made:
    """Pass the outline gate and divide the source among the parts."""
    opened, recipe = _opened(source), wish.recipe
    passages = opened.passages if opened else None
    made = plan_of(msgspec.json.decode(answer), recipe, passages, wish.planned)
    if wish.planned:
        places = places_of(wish.planned, wish.objectives, opened.digest) if opened else {}
        made = msgspec.structs.replace(made, parts=tuple(all_served(made.parts, wish.planned, places)))
    language = language_of(wish.parameters, opened.digest if opened else None)
    brief = prompts.brief_section(wish.parameters, recipe, language)
    shared = brief + prompts.outline_section(made, recipe)
    if tokens_at_most(shared) > SHARED_TOKENS:
        shared = brief + prompts.outline_section(made, recipe, with_children=False)
    artifacts = {"plan": msgspec.json.encode(made)}
    for part in made.parts:
        lines = opened.passages.within(part.lines, PART_CHARACTERS) if opened else []
        material = PartMaterial(
            shared=shared,
            objectives=made.objectives_for(part),
            part=part,
            source_name=opened.digest.name if opened else "",
            passages=tuple(lines),
            keys=keys_of_plan(made, recipe, part),
        )
        artifacts[f"part.{part.key}"] = msgspec.json.encode(material)
    keys = {part.key: [child.key for child in part.children] for part in made.parts}
    return Made(artifacts=artifacts, output={"parts": keys, "fixes": len(made.fixes)})


def put_together(
    source: Source | None,
    plan_bytes: bytes,
    answers: Mapping[str, Sequence[bytes]],
    wish: Wish,
    origin: Origin,
    calls: int,
) -> Made:
    """Assemble the tree, mend it by rules, and say what ``calls`` repair calls are to be asked."""
    opened, recipe = _opened(source), wish.recipe
    digest = opened.digest if opened else None
    planned = msgspec.json.decode(plan_bytes, type=Plan)
    fill = OfflineFill(
        recipe, digest, opened.text if opened else "", wish.brief, declared_fields(planned, recipe)
    )
    assembled = assemble(
        planned,
        {name: [msgspec.json.decode(one) for one in found] for name, found in answers.items()},
        recipe,
        Asked(
            language=language_of(wish.parameters, digest),
            origin=origin,
            target_audience=wish.parameters.target_audience,
            level=wish.parameters.level,
        ),
        passages=opened.passages if opened else None,
        digest=digest,
        fill=fill,
    )
    check = _checker(opened, wish)
    ruled = apply_rules(assembled.tree, check(assembled.tree), check)
    repairs = (*assembled.repairs, *ruled.repairs)
    return _drafted(opened, ruled, repairs, wish, calls, missing=assembled.missing)


def mend(source: Source | None, draft: bytes, repairs: bytes, patches: Sequence[bytes], wish: Wish) -> Made:
    """Put patches in place and say what one more repair call is to be asked."""
    opened = _opened(source)
    patched = _patched(draft, patches, _checker(opened, wish))
    before = msgspec.json.decode(repairs, type=tuple[Repair, ...])
    return _drafted(opened, patched, (*before, *patched.repairs), wish, 1)


def finish(source: Source | None, draft: bytes, repairs: bytes, patches: Sequence[bytes], wish: Wish) -> Made:
    """Put the last patches in place, take out what stayed wrong, and score."""
    opened = _opened(source)
    check = _checker(opened, wish)
    patched = _patched(draft, patches, check)
    counts = counts_of(wish.parameters, wish.spec)
    least = min(wish.spec.levels[1].min, counts.per_level[1]) if counts.depth > 1 else 1
    saved = salvage(patched.tree, patched.violations, check, least)
    settled = apply_rules(saved.tree, saved.violations, check)
    tree = _counted(with_objectives(settled.tree, wish.objectives), wish.spec)
    all_repairs = (
        *msgspec.json.decode(repairs, type=tuple[Repair, ...]),
        *patched.repairs,
        *saved.repairs,
        *settled.repairs,
    )
    assessment = assess(
        tree,
        wish.spec,
        text=opened.text if opened else None,
        keyphrases=[(one.text, one.weight) for one in opened.digest.keyphrases] if opened else (),
        counts=counts,
        objects=wish.parameters.objects,
    )
    encoded = msgspec.json.encode(tree)
    judged = _brief(opened, wish) + outline_of_tree(list(walk(tree)), JUDGE_CHARACTERS)
    artifacts = {
        "tree": encoded,
        "assessment": msgspec.json.encode(assessment),
        "repairs": msgspec.json.encode(all_repairs),
        "judged": judged.encode(),
    }
    gaps = Counter(one.by for one in all_repairs if one.rule == "part")
    output: dict[str, Any] = {"offline": gaps[RepairedBy.OFFLINE], "leftOut": gaps[RepairedBy.DROPPED]}
    output["counts"] = counts_by_kind(tree)
    return Made(artifacts=artifacts, words_read=len(encoded.split()), output=output)


def _counted(tree: Tree, spec: StructureSpec) -> Tree:
    """Let the blueprint say what items there are, now that some may have been taken out."""
    if "blueprint" not in spec.root_fields:
        return tree
    fields = {**tree.fields, "blueprint": blueprint_of(tree.nodes)}
    return msgspec.structs.replace(tree, fields=fields)


def _brief(opened: _Open | None, wish: Wish) -> str:
    language = language_of(wish.parameters, opened.digest if opened else None)
    return prompts.brief_section(wish.parameters, wish.recipe, language)


def _checker(opened: _Open | None, wish: Wish) -> Callable[[Tree], list[Violation]]:
    text = opened.text if opened else None
    counts = counts_of(wish.parameters, wish.spec)

    def check(tree: Tree) -> list[Violation]:
        return validate(tree, wish.spec, counts, text=text, objects=wish.parameters.objects)

    return check


def _patched(draft: bytes, patches: Sequence[bytes], check: Callable[[Tree], list[Violation]]) -> Mended:
    tree = msgspec.json.decode(draft, type=Tree)
    wanted = [patch for answer in patches for patch in msgspec.json.decode(answer)["patches"]]
    return apply_patches(tree, check(tree), wanted, check)


def _drafted(
    opened: _Open | None,
    mended: Mended,
    repairs: tuple[Repair, ...],
    wish: Wish,
    calls: int,
    missing: tuple[str, ...] = (),
) -> Made:
    problems = problems_of(mended.tree, mended.violations)
    artifacts = {"draft": msgspec.json.encode(mended.tree), "repairs": msgspec.json.encode(repairs)}
    names: list[str] = []
    for at, group in enumerate(grouped(problems, calls), 1):
        material = PatchMaterial(
            shared=_brief(opened, wish),
            problems=tuple(group),
            siblings=tuple(sibling_titles(mended.tree, group)),
        )
        names.append(f"patch.{at}")
        artifacts[names[-1]] = msgspec.json.encode(material)
    output: dict[str, Any] = {"patches": names, "problems": len(problems), "missing": list(missing)}
    return Made(artifacts=artifacts, output=output)
