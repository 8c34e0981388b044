"""Make a tree of a source without a model. Same digest, text and brief: same bytes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.course import CourseMaker
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.document import DocumentMaker
from aifactory.granulation.offline.flashcards import DeckMaker
from aifactory.granulation.offline.language import UNKNOWN, language_code
from aifactory.granulation.offline.quiz import QuizMaker
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, opening_points, summarise, summary_text
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.tree import MAX_NODES, Node, Origin, SourceInfo, Tree

__all__ = ["STRUCTURE_TYPES", "Brief", "generate"]

STRUCTURE_TYPES = ("course", "quiz", "flashcards", "document")
_DEEPEST = {"course": 3, "quiz": 2, "flashcards": 2, "document": 3}
_LEAST_TITLE = 3
# A text says in its first lines what it is about.
_OPENING_LINES = 6


def generate(digest: Digest, text: str, brief: Brief) -> Tree:
    """Make a tree of the type the brief asks for; ``text`` is what the digest was read from.

    Raises ``ValueError`` for another text or for a structure type that needs a model.
    """
    if brief.structure_type not in STRUCTURE_TYPES:
        raise ValueError(f"{brief.structure_type!r} is not made offline; {', '.join(STRUCTURE_TYPES)} are")
    if len(text) != digest.characters:
        raise ValueError(f"The digest is of {digest.characters} characters, the text has {len(text)}")
    study = Study(digest, text, brief)
    per_level = _within_cap(brief.counts.per_level[: _DEEPEST[brief.structure_type]])
    opening = min(len(study.lines), max(_OPENING_LINES, len(study.lines) // 20))
    points = opening_points(study, opening) or summarise(study, 0, len(study.lines))
    nodes, fields = _make(study, brief.structure_type, per_level, points)
    tree = Tree(
        structure_type=brief.structure_type,
        title=_title(digest, brief),
        summary=summary_text(study, points, 0, len(study.lines)),
        language=digest.language if digest.language != UNKNOWN else language_code(brief.language),
        origin=Origin.OFFLINE,
        depth=len(per_level),
        target_audience=brief.target_audience,
        level=brief.level,
        source=SourceInfo(
            name=digest.name, characters=digest.characters, words=digest.words, sha256=digest.sha256
        ),
        fields=fields,
        nodes=nodes,
    )
    # A tree is stored as JSON: let nothing in its fields differ from what comes back.
    return msgspec.json.decode(msgspec.json.encode(tree), type=Tree)


def _make(
    study: Study, structure_type: str, per_level: tuple[int, ...], opening: Sequence[Point]
) -> tuple[tuple[Node, ...], dict[str, Any]]:
    if structure_type == "document":
        return DocumentMaker(study, per_level, opening).make()
    if structure_type == "flashcards":
        return DeckMaker(study, per_level, opening).make()
    if structure_type == "quiz":
        return QuizMaker(study, per_level).make()
    return CourseMaker(study, per_level).make()


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
