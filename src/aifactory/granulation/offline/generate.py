"""Make a tree of a source without a model. Same digest, text and brief: same bytes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.beats import NOTICE, BeatMaker
from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.concept_map import MapMaker
from aifactory.granulation.offline.course import CourseMaker
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.document import DocumentMaker
from aifactory.granulation.offline.flashcards import DeckMaker
from aifactory.granulation.offline.frames.framing import frame_of
from aifactory.granulation.offline.generic import GenericMaker, lacking
from aifactory.granulation.offline.handover import handed_over, in_hours, tone_for
from aifactory.granulation.offline.language import UNKNOWN, language_code
from aifactory.granulation.offline.pathway import PathMaker
from aifactory.granulation.offline.process import ProcessMaker
from aifactory.granulation.offline.quiz import QuizMaker
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped, opening_points, summarise, summary_text
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.tree import MAX_NODES, Node, Origin, SourceInfo, Tree

__all__ = ["STRUCTURE_TYPES", "Brief", "frame", "generate"]

STRUCTURE_TYPES = (
    "course",
    "quiz",
    "flashcards",
    "document",
    "learning_path",
    "knowledge_map",
    "workflow",
    "novel",
)
_LEAST_TITLE = 3
# A text says in its first lines what it is about.
_OPENING_LINES = 6
_ANY_MINUTES = (1, 600)
# Types that are of no use with fewer nodes than they want: then there is a reason instead.
_WHOLE = frozenset({"quiz", "flashcards", "learning_path", "knowledge_map", "workflow", "novel"})


def generate(digest: Digest, text: str, brief: Brief, spec: StructureSpec | None = None) -> Tree:
    """Make a tree of the type the brief asks for; ``text`` is what the digest was read from.

    A type without a maker of its own needs its ``spec``. A tree without nodes may say in its field ``reason``
    what the source lacks. Raises ``ValueError`` for another text, or for an unknown type without a spec.
    """
    if spec is None and brief.structure_type not in STRUCTURE_TYPES:
        raise ValueError(
            f"{brief.structure_type!r} is not made offline without its spec; {', '.join(STRUCTURE_TYPES)} are"
        )
    if len(text) != digest.characters:
        raise ValueError(f"The digest is of {digest.characters} characters, the text has {len(text)}")
    spec = spec or builtin_specs()[brief.structure_type]
    study = Study(digest, text, brief)
    per_level = _within_cap(brief.counts.per_level[: len(spec.levels)])
    opening = min(len(study.lines), max(_OPENING_LINES, len(study.lines) // 20))
    points = opening_points(study, opening) or summarise(study, 0, len(study.lines))
    nodes, fields = _make(study, spec, per_level, points)
    tree = Tree(
        structure_type=brief.structure_type,
        title=_title(digest, brief),
        summary=_summary(study, points),
        language=digest.language if digest.language != UNKNOWN else language_code(brief.language),
        origin=Origin.OFFLINE,
        depth=len(per_level),
        target_audience=brief.target_audience,
        level=brief.level,
        source=SourceInfo(
            name=digest.name, characters=digest.characters, words=digest.words, sha256=digest.sha256
        ),
        fields=fields,
        nodes=_with_targets(study, spec, nodes),
    )
    # A tree is stored as JSON: let nothing in its fields differ from what comes back.
    return msgspec.json.decode(msgspec.json.encode(tree), type=Tree)


def frame(brief: Brief) -> Tree:
    """Make a frame of a topic alone, for a type of the package and in English. Raises "
    "``ValueError`` for others."""
    spec = builtin_specs().get(brief.structure_type)
    levels = len(spec.levels) if spec is not None else None
    return frame_of(brief, _within_cap(brief.counts.per_level[:levels]))


def _make(
    study: Study, spec: StructureSpec, per_level: tuple[int, ...], opening: Sequence[Point]
) -> tuple[tuple[Node, ...], dict[str, Any]]:
    maker = _MAKERS.get(spec.type)
    if spec.type == "course":
        return CourseMaker(study, per_level).make()
    if spec.type == "quiz":
        nodes, fields = QuizMaker(study, per_level).make()
    elif maker is None:
        return GenericMaker(study, per_level, opening, spec).make()
    else:
        nodes, fields = maker(study, per_level, opening).make()
    lack = lacking(spec, per_level, nodes) if spec.type in _WHOLE and "reason" not in fields else ""
    return ((), {"reason": lack}) if lack else (nodes, fields)


_MAKERS: dict[str, type[DeckMaker | DocumentMaker | PathMaker | MapMaker | ProcessMaker | BeatMaker]] = {
    "flashcards": DeckMaker,
    "document": DocumentMaker,
    "learning_path": PathMaker,
    "knowledge_map": MapMaker,
    "workflow": ProcessMaker,
    "novel": BeatMaker,
}


def _summary(study: Study, points: Sequence[Point]) -> str:
    """What the source says it is about; of a story, that it is no more than a frame."""
    told = summary_text(study, points, 0, len(study.lines))
    return clipped(f"{NOTICE} {told}") if study.brief.structure_type == "novel" else told


def _with_targets(study: Study, spec: StructureSpec, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes in the hours that were asked for, with what a later writer is told of each."""
    brief = study.brief
    if brief.estimated_hours is not None:
        timed = any("leafMinutes" in level.rules for level in spec.levels)
        nodes = in_hours(nodes, brief.estimated_hours, spec.leaf_minutes if timed else _ANY_MINUTES)
    phrases: dict[str, float] = {}
    for phrase in study.digest.keyphrases:
        for stem in stems_of(phrase.text, study.language):
            phrases[stem] = max(phrases.get(stem, 0.0), phrase.weight)
    tone = tone_for(brief.target_audience)
    return handed_over(nodes, tone=tone, phrases=phrases, language=study.language)


def _title(digest: Digest, brief: Brief) -> str:
    for title in (
        brief.title or "",
        digest.title if digest.title_is_heading else "",
        brief.topic,
        digest.title,
    ):
        fitted = fit_title(title)
        if len(fitted) >= _LEAST_TITLE:
            return fitted[:1].upper() + fitted[1:]
    return "Untitled source"


def _within_cap(per_level: tuple[int, ...]) -> tuple[int, ...]:
    """Counts without levels of nothing, the innermost lowered until a tree can't exceed the cap."""
    counts = [max(1, count) for count in per_level if count > 0] or [1]
    while _nodes(counts) > MAX_NODES:
        at = max(range(len(counts)), key=lambda level: (counts[level], level))
        counts[at] -= 1
    return tuple(counts)


def _nodes(counts: list[int]) -> int:
    total, width = 0, 1
    for count in counts:
        width *= count
        total += width
    return total
