"""Make a tree of a topic without a source and without a model. Same brief: same bytes."""

from collections.abc import Callable
from typing import Any

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.frames.story import make_novel
from aifactory.granulation.offline.frames.teaching import make_course, make_deck, make_path, make_quiz
from aifactory.granulation.offline.frames.telling import make_document, make_map
from aifactory.granulation.offline.frames.topic import Wording, wording_of
from aifactory.granulation.offline.frames.work import make_workflow
from aifactory.granulation.offline.handover import handed_over, in_hours, tone_for
from aifactory.granulation.offline.language import language_code
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Node, Origin, Tree

LANGUAGE = "en"
FRAME_NOTICE = (
    "A frame made from the topic alone: without a source or a model there are no facts in it. Add "
    "parameters.source for content."
)
LABEL = (
    "A frame made from the topic alone, without a source: it says what to find out about {t}, and no facts."
)
_LABELS = {
    "novel": "A beat sheet made from the topic alone, without a source: turning points to write from, "
    "and no plot.",
    "workflow": "A frame made from the topic alone, without a source: what any piece of work goes through, "
    "and nothing that is known of {t}.",
}
_ANY_MINUTES = (1, 600)
_LEAST_TITLE = 3
_MAKERS: dict[str, Callable[[Brief, tuple[int, ...]], tuple[tuple[Node, ...], dict[str, Any]]]] = {
    "course": make_course,
    "quiz": make_quiz,
    "flashcards": make_deck,
    "document": make_document,
    "learning_path": make_path,
    "knowledge_map": make_map,
    "workflow": make_workflow,
    "novel": make_novel,
}


def why_unframed(structure_type: str, language: str) -> str | None:
    """Why a topic alone is not enough for a type in a language; None where it is."""
    if structure_type not in _MAKERS:
        return f"There is no frame for the type {structure_type!r}."
    if language and language_code(language) != LANGUAGE:
        return "Frames from a topic alone are in English only."
    return None


def frame_of(brief: Brief, per_level: tuple[int, ...]) -> Tree:
    """Make the frame of a brief; ``per_level`` are its counts, none of them 0. Raises ValueError."""
    if (reason := why_unframed(brief.structure_type, brief.language)) is not None:
        raise ValueError(reason)
    wording = wording_of(brief)
    nodes, fields = _MAKERS[brief.structure_type](brief, per_level)
    if brief.estimated_hours is not None:
        spec = builtin_specs()[brief.structure_type]
        timed = any("leafMinutes" in level.rules for level in spec.levels)
        nodes = in_hours(nodes, brief.estimated_hours, spec.leaf_minutes if timed else _ANY_MINUTES)
    tree = Tree(
        structure_type=brief.structure_type,
        title=_title(brief, wording),
        summary=wording.put(_LABELS.get(brief.structure_type, LABEL)),
        language=LANGUAGE,
        origin=Origin.OFFLINE,
        depth=len(per_level),
        target_audience=brief.target_audience,
        level=brief.level,
        fields=fields,
        nodes=handed_over(nodes, tone=tone_for(brief.target_audience), phrases={}, language=LANGUAGE),
    )
    # A tree is stored as JSON: let nothing in its fields differ from what comes back.
    return msgspec.json.decode(msgspec.json.encode(tree), type=Tree)


def _title(brief: Brief, wording: Wording) -> str:
    title = fit_title(brief.title or wording.put("{T}"))
    return title if len(title) >= _LEAST_TITLE else f"About {wording.topic}"
