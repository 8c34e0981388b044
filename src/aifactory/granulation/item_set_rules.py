"""Flaws that show only between items: key positions, given-away keys, repeats, clang, sources. Pure."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from aifactory.granulation.index import ROOT, PlacedItem, TreeIndex
from aifactory.granulation.item_rules import check_item
from aifactory.granulation.item_texts import answer_texts, key_texts
from aifactory.granulation.rules_source import is_exact
from aifactory.granulation.similarity import similar_pairs, tfidf_vectors
from aifactory.granulation.tree import Item, ItemKind
from aifactory.granulation.violations import Severity, Violation
from aifactory.granulation.words import content_stems, normalized

SIMILAR_ITEMS = 0.6
# Upper 1 % points of the χ² distribution for 1 to 9 degrees of freedom.
CHI_SQUARE_99 = (6.635, 9.210, 11.345, 13.277, 15.086, 16.812, 18.475, 20.090, 21.666)
RARE_SHARE = 0.2


class _Words(msgspec.Struct, frozen=True, kw_only=True):
    """The stems of an item's stem and key."""

    stem: frozenset[str]
    key: frozenset[str]
    key_text: str


def check_items(index: TreeIndex) -> Iterator[Violation]:
    """Every flaw of every item, alone and beside the others."""
    for placed in index.items:
        for rule, severity, message, pointer in check_item(placed.item, index.language):
            yield index.violation(rule, severity, message, placed.owner, placed.pointer + pointer)
    said = [_words(placed.item, index.language) for placed in index.items]
    yield from _clang(index, said)
    yield from _given_away(index, said)
    yield from _similar(index)
    yield from _skew(index)


def _words(item: Item, language: str) -> _Words:
    key = key_texts(item)
    text = key[0] if len(key) == 1 else ""
    return _Words(
        stem=frozenset(content_stems(item.stem, language)),
        key=frozenset(content_stems(text, language)),
        key_text=normalized(text),
    )


def _clang(index: TreeIndex, said: list[_Words]) -> Iterator[Violation]:
    """The key repeats a rare word of the stem that no distractor has."""
    spread: Counter[str] = Counter()
    for one in said:
        spread.update(one.stem)
    rare = max(2.0, RARE_SHARE * len(said))
    for placed, one in zip(index.items, said, strict=True):
        if placed.item.kind is not ItemKind.SINGLE or index.language != "en":
            continue
        distractors = frozenset(
            stem
            for option in placed.item.options
            if not option.correct
            for stem in content_stems(option.text, index.language)
        )
        echoed = sorted(
            stem for stem in one.key & one.stem - distractors if len(stem) >= 4 and spread[stem] <= rare
        )
        if echoed:
            message = f"Only the key repeats {echoed[0]!r} from the stem"
            pointer = f"{placed.pointer}/options"
            yield index.violation("item.clang", Severity.WARNING, message, placed.owner, pointer)


def _given_away(index: TreeIndex, said: list[_Words]) -> Iterator[Violation]:
    """The key stands as another item's key, or another stem states question and key together."""
    first_key: dict[str, str] = {}
    containing: dict[str, list[int]] = {}
    for position, one in enumerate(said):
        for stem in sorted(one.stem):
            containing.setdefault(stem, []).append(position)
    for position, (placed, one) in enumerate(zip(index.items, said, strict=True)):
        if not one.key_text or one.key_text.isdigit():
            continue
        earlier = first_key.setdefault(one.key_text, placed.item.id)
        if earlier != placed.item.id:
            message = f"The key is already that of the item {earlier!r}"
            yield index.violation(
                "item.key_repeated", Severity.WARNING, message, placed.owner, placed.pointer
            )
        rarest = min(one.key, key=lambda stem: (len(containing.get(stem, ())), stem), default="")
        asked = one.stem - one.key
        for other in containing.get(rarest, ()):
            # The other stem has to hold the key and most of what is asked, or mere shared terms would count.
            shared = len(asked & said[other].stem)
            if (
                other != position
                and one.key <= said[other].stem
                and asked
                and shared >= max(2, 0.6 * len(asked))
            ):
                message = f"The stem of the item {index.items[other].item.id!r} gives the key away"
                yield index.violation(
                    "item.given_away", Severity.WARNING, message, placed.owner, placed.pointer
                )
                break


def _similar(index: TreeIndex) -> Iterator[Violation]:
    documents = [
        content_stems("\n".join((placed.item.stem, *answer_texts(placed.item))), index.language)
        for placed in index.items
    ]
    reported: set[int] = set()
    for left, right, value in similar_pairs(tfidf_vectors(documents), SIMILAR_ITEMS):
        if value > SIMILAR_ITEMS and right not in reported:
            reported.add(right)
            placed = index.items[right]
            message = f"Nearly the same as the item {index.items[left].item.id!r} (cosine {value:.2f})"
            yield index.violation("item.similar", Severity.WARNING, message, placed.owner, placed.pointer)


def key_skew(items: list[PlacedItem]) -> list[tuple[int, int, int]]:
    """Groups with a skewed key position (χ², p < .01): options, crowded position, surplus items."""
    positions: dict[int, Counter[int]] = {}
    for placed in items:
        item = placed.item
        if item.kind is ItemKind.SINGLE and sum(option.correct for option in item.options) == 1:
            key = next(position for position, option in enumerate(item.options) if option.correct)
            positions.setdefault(len(item.options), Counter())[key] += 1
    found: list[tuple[int, int, int]] = []
    for options, counts in sorted(positions.items()):
        total = counts.total()
        # Below two expected items per position the χ² distribution does not hold.
        if not 2 <= options <= 1 + len(CHI_SQUARE_99) or total < 2 * options:
            continue
        expected = total / options
        statistic = sum((counts[position] - expected) ** 2 / expected for position in range(options))
        if statistic > CHI_SQUARE_99[options - 2]:
            crowded = max(range(options), key=lambda position: (counts[position], -position))
            found.append((options, crowded, round(counts[crowded] - expected)))
    return found


def _skew(index: TreeIndex) -> Iterator[Violation]:
    for options, crowded, surplus in key_skew(index.items):
        message = f"{surplus} too many of the items with {options} options have key {crowded + 1}"
        yield index.violation("item.key_skew", Severity.WARNING, message, ROOT, "/nodes")


def check_item_sources(index: TreeIndex, text: str) -> Iterator[Violation]:
    """The source that an item cites holds its key; when it holds a distractor instead, the key is wrong."""
    for placed in index.items:
        quotes = [span.quote for span in placed.item.sources if is_exact(span, text)]
        key = key_texts(placed.item)
        if not quotes or len(key) != 1:
            continue
        quoted = frozenset(content_stems("\n".join(quotes), index.language))
        own = _held(key[0], quoted, index.language)
        best = max(
            (
                _held(option.text, quoted, index.language)
                for option in placed.item.options
                if not option.correct
            ),
            default=0.0,
        )
        if best > own + 0.25:
            message = "The cited source holds a distractor rather than the key"
            yield index.violation("item.key_source", Severity.ERROR, message, placed.owner, placed.pointer)
        elif own == 0 and placed.item.kind is not ItemKind.SHORT:
            message = "The cited source does not hold the key"
            yield index.violation(
                "item.key_unsupported", Severity.WARNING, message, placed.owner, placed.pointer
            )


def _held(text: str, quoted: frozenset[str], language: str) -> float:
    stems = frozenset(content_stems(text, language))
    return len(stems & quoted) / len(stems) if stems else 0.0
