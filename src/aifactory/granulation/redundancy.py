"""Nodes that say the same as others on their level. Thresholds from the trial in GRANULATION §6. Pure."""

from collections.abc import Iterator

import msgspec

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.similarity import similar_pairs, tfidf_vectors
from aifactory.granulation.specs import Presence
from aifactory.granulation.violations import Severity, Violation

WARN, ERROR = 0.40, 0.50
# Below 25 words a few shared ones already make a high cosine, so short texts must be nearly the same.
LONG_WORDS = 25
SHORT_TEXT = 0.55
MIN_STEMS = 4


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """Two entries of one level that say the same, the earlier first."""

    first: int
    second: int
    cosine: float
    is_long: bool


def repeats(index: TreeIndex) -> list[Repeat]:
    """All pairs on one level that are too much alike, in tree order."""
    found: list[Repeat] = []
    for depth in range(len(index.spec.levels)):
        owners = [owner for owner, entry in enumerate(index.entries) if entry.depth == depth]
        texts = [_text(index, owner) for owner in owners]
        # Word counts, not stems: the trial's 25 words include the function words.
        long = [len(index.entries[owner].node.summary.split()) > LONG_WORDS for owner in owners]
        for left, right, value in similar_pairs(tfidf_vectors(texts), WARN):
            is_long = long[left] and long[right]
            if is_long or value >= SHORT_TEXT:
                found.append(Repeat(first=owners[left], second=owners[right], cosine=value, is_long=is_long))
        bare = [owner for owner, stems in zip(owners, texts, strict=True) if not stems]
        found += _same_words(index, bare)
    return found


def _same_words(index: TreeIndex, owners: list[int]) -> Iterator[Repeat]:
    """Of nodes with too few words to be alike by chance or not, those that say the very same."""
    first: dict[tuple[str, ...], int] = {}
    for owner in owners:
        words = tuple(index.entries[owner].stems)
        if words and first.setdefault(words, owner) != owner:
            yield Repeat(first=first[words], second=owner, cosine=1.0, is_long=False)


def _text(index: TreeIndex, owner: int) -> list[str]:
    entry = index.entries[owner]
    if len(entry.node.summary.split()) > LONG_WORDS:
        return entry.summary_stems
    # An item's title is cut from its stem, and says the same of every item of a kind.
    is_item = entry.level is not None and entry.level.summary is Presence.OPTIONAL
    stems = [stem for one in entry.sentences for stem in one.stems] if is_item else entry.stems
    return stems if len(stems) >= MIN_STEMS else []


def check_redundancy(index: TreeIndex) -> Iterator[Violation]:
    """Each node that repeats an earlier one of its level, once."""
    reported: set[int] = set()
    for repeat in repeats(index):
        if repeat.second in reported:
            continue
        reported.add(repeat.second)
        severity = Severity.ERROR if repeat.cosine >= ERROR else Severity.WARNING
        message = f"Says nearly the same as {index.entries[repeat.first].path} (cosine {repeat.cosine:.2f})"
        pointer = f"{index.entries[repeat.second].pointer}/summary"
        yield index.violation("redundancy.repeat", severity, message, repeat.second, pointer)
