"""How much of an author's own outline comes back when the headings are taken out of the text."""

import random
import re
import statistics
from collections.abc import Sequence

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Section
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import SourceError, read_source
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import walk
from aifactory.granulation.words import content_stems
from bench.granulation.documents import DOMAIN, SEED, Document, digest_of, domain, name_of
from bench.granulation.figures import Figure, Measure

FEWEST, MOST, DOCUMENTS = 6, 60, 60

Titles = list[frozenset[str]]


class _Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The author's headings and the ones that were found without them."""

    name: str
    theirs: Titles
    ours: Titles


def measure(*, quick: bool) -> Measure:
    """Soft recall of headings, beside what another document's titles would give."""
    pairs = [pair for one in domain(DOMAIN, 12 if quick else DOCUMENTS) if (pair := _pair(one)) is not None]
    strangers = list(pairs)
    random.Random(SEED).shuffle(strangers)
    # Nobody is their own stranger.
    others = {one.name: strangers[place - 1] for place, one in enumerate(strangers)}
    recall = [soft_recall(one.theirs, one.ours) for one in pairs]
    chance = [soft_recall(one.theirs, others[one.name].ours) for one in pairs]
    shared = [statistics.mean(any(own & title for title in one.ours) for own in one.theirs) for one in pairs]
    return Measure(
        name="headings",
        title="An author's headings, found again",
        settings={
            "documents": f"{len(pairs)} with {FEWEST} to {MOST} headings, whose lines were taken out",
            "found": "titles in an offline document of about as many parts as the author has",
            "soft recall": "as STORM counts it, with the cosine of word stems in place of a sentence model: "
            "lower than published figures by its nature",
            "control": "the same author's headings against the titles found in another document",
        },
        figures=(
            Figure(what="soft recall", value=100 * _mean(recall), unit="%"),
            Figure(what="soft recall of another document's titles", value=100 * _mean(chance), unit="%"),
            Figure(what="headings that share a word with a title", value=100 * _mean(shared), unit="%"),
        ),
        lists={"documents": tuple(one.name for one in pairs)},
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.mean(values) if values else 0.0


def _pair(document: Document) -> _Pair | None:
    digest = digest_of(document)
    if digest is None or digest.language != "en":
        return None
    headings = [one for one in digest.sections if 1 <= one.level <= 3 and one.title]
    theirs = [stems for one in headings if (stems := frozenset(content_stems(one.title, "en")))]
    if not FEWEST <= len(theirs) <= MOST:
        return None
    text = without(document.text, digest.sections)
    try:
        bare = read_source(text, format="text", name="text.txt")
    except SourceError:
        return None
    levels = builtin_specs()["document"].levels
    tops = min(levels[0].max, max(levels[0].min, round(len(theirs) ** 0.5)))
    under = min(levels[1].max, max(1, round(len(theirs) / tops)))
    brief = Brief(structure_type="document", topic="text", counts=Counts(per_level=(tops, under)))
    tree = generate(bare, text, brief)
    ours = [frozenset(content_stems(node.title, "en")) for _, node in walk(tree)]
    return _Pair(name=name_of(document), theirs=theirs, ours=[one for one in ours if one])


def without(text: str, sections: Sequence[Section]) -> str:
    """A text without its heading lines; their marks and underlines go with them."""
    parts, end = [], 0
    for section in sections:
        if section.heading_end > section.heading_start >= end:
            parts.append(text[end : section.heading_start])
            end = section.heading_end
    parts.append(text[end:])
    # What is left of a heading's own marks stands alone in its line.
    return re.sub(r"(?m)^[#=\-~*\s]+$", "", "\n\n".join(parts))


def soft_recall(theirs: Titles, ours: Titles) -> float:
    """The share of the author's headings, counted softly, that the found ones cover."""
    if not theirs or not ours:
        return 0.0
    common = _count(theirs) + _count(ours) - _count([*theirs, *ours])
    return max(0.0, min(1.0, common / _count(theirs)))


def _count(titles: Titles) -> float:
    """How many different titles there are, when similar ones count as parts of one."""
    return sum(1 / sum(_cosine(one, other) for other in titles) for one in titles)


def _cosine(one: frozenset[str], other: frozenset[str]) -> float:
    return float(len(one & other) / (len(one) * len(other)) ** 0.5)
