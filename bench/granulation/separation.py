"""Outlines that people wrote against the same ones shuffled: can the score tell them apart."""

import random
import sysconfig
from collections.abc import Sequence
from itertools import islice
from statistics import fmean

import msgspec

from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.reading import Line, Reading, open_reading
from aifactory.granulation.scoring import score
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Node, Origin, Tree
from bench.granulation.documents import DOMAIN, SEED, Document, digest_of, domain, name_of
from bench.granulation.figures import Figure, Measure

OUTLINES = 60
SHUFFLES = 2
PLACES = (
    *DOMAIN,
    "/usr/share/doc/nodejs/contributing/**/*.md",
    "/usr/lib/node_modules/npm/node_modules/**/README.md",
    f"{sysconfig.get_paths()['purelib']}/*/METADATA",
)
MOST_SECTIONS, MOST_POINTS = 12, 6


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """A heading with the first line below it and the headings inside."""

    title: str
    line: Line
    inside: tuple["Heading", ...] = ()


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """Two levels of a document's own headings, with what reading it gave."""

    document: Document
    digest: Digest
    reading: Reading
    headings: tuple[Heading, ...]


def outline_of(document: Document) -> Outline | None:
    """The outline of a document; None where it has fewer than three sections with headings inside."""
    digest = digest_of(document)
    if digest is None:
        return None
    reading = open_reading(digest, document.text)
    lines: dict[int, Line] = {}
    for line in reading.lines:
        if line.usable:
            lines.setdefault(line.section, line)
    levels = sorted({section.level for section in digest.sections if section.level})
    # One heading at the top is the document's title.
    tops = [section for section in digest.sections if section.level == levels[0]] if levels else []
    upper, lower = (levels[1:3] if len(tops) == 1 else levels[:2]) if len(levels) > 2 else (0, 0)
    found: list[tuple[str, Line | None, list[Heading]]] = []
    for place, section in enumerate(digest.sections):
        if section.level == upper and upper:
            found.append((section.title, lines.get(place), []))
        elif section.level == lower and found and place in lines:
            found[-1][2].append(Heading(title=section.title, line=lines[place]))
    headings = tuple(
        Heading(title=title, line=line or inside[0].line, inside=tuple(inside[:MOST_POINTS]))
        for title, line, inside in found
        if inside
    )
    if len(headings) < 3:
        return None
    return Outline(document=document, digest=digest, reading=reading, headings=headings[:MOST_SECTIONS])


def reordered(outline: Outline, seed: int) -> Outline:
    """The sections in another order, and the headings inside each."""
    chance = random.Random(seed)
    headings = [
        msgspec.structs.replace(one, inside=tuple(chance.sample(one.inside, len(one.inside))))
        for one in outline.headings
    ]
    chance.shuffle(headings)
    return msgspec.structs.replace(outline, headings=tuple(headings))


def dealt_out(outline: Outline, seed: int) -> Outline:
    """The headings inside dealt to other sections, as many to each as it had."""
    chance = random.Random(seed)
    inside = [one for heading in outline.headings for one in heading.inside]
    chance.shuffle(inside)
    headings = []
    for heading in outline.headings:
        taken, inside = inside[: len(heading.inside)], inside[len(heading.inside) :]
        headings.append(msgspec.structs.replace(heading, inside=tuple(taken)))
    return msgspec.structs.replace(outline, headings=tuple(headings))


def tree_of(outline: Outline) -> Tree:
    """The outline as a document of two levels; each heading says the first sentence below it."""
    sections = []
    for place, heading in enumerate(outline.headings, 1):
        children = tuple(
            _node(outline, one, f"{place}.{number}", number, 2)
            for number, one in enumerate(heading.inside, 1)
        )
        sections.append(
            msgspec.structs.replace(_node(outline, heading, str(place), place, 1), children=children)
        )
    return Tree(
        structure_type="document",
        title=outline.digest.title[:100],
        summary=f"The outline of {outline.digest.title}."[:390],
        language=outline.digest.language,
        origin=Origin.HUMAN,
        depth=2,
        nodes=tuple(sections),
    )


def _node(outline: Outline, heading: Heading, name: str, ordinal: int, level: int) -> Node:
    return Node(
        id=name,
        kind=("section", "subsection")[level - 1],
        level=level,
        ordinal=ordinal,
        title=heading.title[:120] or "Untitled",
        summary=heading.line.told[:390],
        sources=(outline.reading.span(heading.line),),
    )


def number_of(outline: Outline, *, sourced: bool) -> float:
    """The score of an outline, with or without its source; an invalid one is below all others."""
    phrases = [(one.text, one.weight) for one in outline.digest.keyphrases] if sourced else []
    text = outline.document.text if sourced else None
    result = score(tree_of(outline), builtin_specs()["document"], text=text, keyphrases=phrases)
    return -1.0 if result.exact is None or result.gates_failed else result.exact


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """How often one of the good is above one of the bad; a tie counts half."""
    above = sum((one > other) + 0.5 * (one == other) for one in good for other in bad)
    return above / (len(good) * len(bad)) if good and bad else 0.0


def outlines(most: int) -> list[Outline]:
    """Documents of this machine with an outline of two levels, by seed."""
    chance = random.Random(SEED)
    documents = [one for one in domain(PLACES, 1_000) if len(one.text) < 200_000]
    chance.shuffle(documents)
    return list(islice((made for one in documents if (made := outline_of(one))), most))


def measure(*, quick: bool) -> Measure:
    """The area under the curve for two kinds of shuffling, with and without the source."""
    found = outlines(8 if quick else OUTLINES)
    kinds = {"in another order": reordered, "dealt to other sections": dealt_out}
    figures = [
        Figure(what="outlines", value=len(found), unit="", aim=None if quick else OUTLINES, least=True)
    ]
    rows = []
    for sourced in (True, False):
        said = "with the source" if sourced else "without it"
        human = [number_of(one, sourced=sourced) for one in found]
        both: list[float] = []
        for name, shuffle in kinds.items():
            bad = [
                number_of(shuffle(one, seed), sourced=sourced)
                for one in found
                for seed in range(1 if quick else SHUFFLES)
            ]
            both += bad
            rows.append((said, name, f"{auc(human, bad):.3f}", f"{fmean(human):.1f}", f"{fmean(bad):.1f}"))
        figures.append(Figure(what=f"AUC {said}", value=auc(human, both), unit="", aim=0.97, least=True))
    return Measure(
        name="separation",
        title="Outlines of people against shuffled ones",
        settings={
            "outlines": "two levels of headings of real documents, each with the first sentence below it",
            "shuffled": f"{1 if quick else SHUFFLES} times each: sections and what is inside reordered, "
            "or what is inside dealt to other sections",
            "AUC": "how often a person's outline scores above a shuffled one of any document; .5 is chance",
        },
        figures=tuple(figures),
        heads=("source", "shuffled", "AUC", "mean of people's", "mean of shuffled"),
        rows=tuple(rows),
        lists={"documents": tuple(name_of(one.document) for one in found)},
    )
