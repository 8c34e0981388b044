"""Items of an answer as a tree stores them, with what can be mended without asking. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aifactory.granulation.objective_rules import BLOOM_ORDER
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.tree import Bloom, Difficulty, Item, ItemKind, Option, Span
from aifactory.granulation.words import normalized

_SECOND_POINT = (ItemKind.ORDER, ItemKind.MULTI)


def item_from(
    key: str,
    answer: Mapping[str, Any],
    ids: Mapping[str, str],
    blooms: Mapping[str, Bloom],
    sources: Sequence[Span],
) -> dict[str, Any] | None:
    """Return an item as a field's value, or None when it tests no objective that exists."""
    objectives = tuple(dict.fromkeys(ids[name] for name in answer["objectiveIds"] if name in ids))
    stem = " ".join(answer["stem"].split())
    if not objectives or not stem:
        return None
    kind = ItemKind(answer["kind"])
    item = Item(
        id="it_" + short_hash(key, stem),
        kind=kind,
        stem=stem,
        objective_ids=objectives,
        bloom=_level(Bloom(answer["bloom"]), [blooms[name] for name in objectives if name in blooms]),
        difficulty=Difficulty(answer["difficulty"]),
        points=2 if kind in _SECOND_POINT else 1,
        feedback=answer["feedback"].strip(),
        options=_options(answer.get("options", ())),
        answer=answer.get("answer"),
        accepted=_texts(answer.get("accepted", ())),
        value=answer.get("value"),
        tolerance=abs(answer["tolerance"]) if "tolerance" in answer else None,
        unit=answer.get("unit") or None,
        steps=_texts(answer.get("steps", ())),
        sources=tuple(sources),
    )
    built: dict[str, Any] = msgspec.to_builtins(item)
    return built


def _level(bloom: Bloom, objectives: Sequence[Bloom]) -> Bloom:
    """An item asks for at least its objective's level and at most one more."""
    if not objectives:
        return bloom
    lowest = min(BLOOM_ORDER[level] for level in objectives)
    rank = max(lowest, min(BLOOM_ORDER[bloom], lowest + 1))
    return list(BLOOM_ORDER)[rank]


def _options(answers: Sequence[Mapping[str, Any]]) -> tuple[Option, ...]:
    """Options without repeats and blanks; of two that say the same, the correct one stays."""
    kept: dict[str, Option] = {}
    for one in answers:
        text = " ".join(one["text"].split())
        option = Option(text=text, correct=one["correct"], rationale=one["rationale"].strip())
        same = kept.get(normalized(text))
        if text and (same is None or (option.correct and not same.correct)):
            kept[normalized(text)] = option
    return tuple(kept.values())


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    stripped = (" ".join(value.split()) for value in values)
    return tuple(dict.fromkeys(value for value in stripped if value))
