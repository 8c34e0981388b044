"""What a part of the source says: its best sentences, verbatim or shortened where a clause ends."""

import re
from collections import Counter
from collections.abc import Sequence
from math import log, sqrt

import msgspec

from aifactory.granulation.offline.quotable import is_aside, is_quotable, is_reference
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.wordlists import word_set

SUMMARY_CHARACTERS = 400
_KEY_POINT_WORDS = 28
_LEAST_WORDS = 5
_LEAST_POINTS = 3
# A sentence that speaks of another one is better than none, and only then.
_UNCLEAR = 0.2
_CUE = re.compile(
    r"\b(?:is|are) (?:an?|the|called|known)\b|\b(?:means|refers to|defined|because|therefore|so that"
    r"|depends on|must"
    r"|causes|consists of|the main|important)\b"
)
_CLAUSE = re.compile(
    r"; |: | — | – |, (?:which|who|whose|where|because|although|though|while|whereas|so|but|and (?:then|it"
    r"|they|the|so|each"
    r"|this|you|he|she|we|its|most|some|many|all|their|a|an|in|no)|since|unless|even|for example"
    r"|for instance|such as"
    r"|including|especially|provided|except|not|or|as|if|when|until)\b"
)
_LEANS = re.compile(r"\b(?:it|them|they|one|ones|this|these|those|such)\b")
_OPENS_WITH_CLAUSE = re.compile(
    r"^(?:if|when|because|although|though|while|since|as|before|after|once|unless|whereas|by|to|in|on|at"
    r"|for|with"
    r"|without|during|until|under|from|where|whenever|even|given|unlike|like|apart|besides|despite"
    r"|depending)\b",
    re.IGNORECASE,
)


class Point(msgspec.Struct, frozen=True):
    """A line chosen, and the words of it that are shown."""

    text: str
    line: Line


def shorten(sentence: str, most: int) -> str:
    """A sentence of at most ``most`` words, cut where a clause ends; as it is if there is no such place."""
    if sentence.count(" ") < most:
        return sentence
    if _OPENS_WITH_CLAUSE.match(sentence):
        cuts = [found.start() for found in re.finditer(r"; | — | – ", sentence)]
    else:
        cuts = [found.start() for found in _CLAUSE.finditer(sentence)]
    for at in reversed(cuts):
        head = sentence[:at]
        if (
            _LEAST_WORDS <= head.count(" ") + 1 <= most
            and head.count("(") == head.count(")")
            and _whole(head, sentence[at:])
        ):
            return head.rstrip(" ,;:") + "."
    return sentence


def _whole(head: str, rest: str) -> bool:
    """Quotation marks closed, and nothing left hanging before the cut: no clause, no bare verb."""
    last = head.rsplit(" ", 1)[-1].lower().rstrip(",")
    if head.count("“") != head.count("”") or head.count('"') % 2 or last in _HANGING:
        return False
    # ", or are instances of, the …" parts a sentence that goes on behind it; ", or keys" ends a list.
    return not _INSERTED.match(rest) and not (_LAST_OF_LIST.match(rest) and "," in head[-_LIST_REACH:])


# Words that end no sentence: prepositions, articles, and verbs that want an object.
_HANGING = word_set("""
    that which because if when although while than to of the a an is are was were be been by in on at for
    from with
    into onto upon about between among through over under within without via as and or nor but not no
    represent represents constitute constitutes include includes contain contains require requires provide
    provides allow allows make makes mean means become becomes cause causes describe describes remain remains
    form forms use uses give gives take takes set sets keep keeps has have had must should shall may might can
    could would will cannot its their your our his her this these those such any each every
    """)
_LAST_OF_LIST = re.compile(r"^, (?:or|and|not|including|such as)\b")
_LIST_REACH = 40
_INSERTED = re.compile(
    r"^, (?:or|and|as|not|if|when|but|so|even|especially|including)\b[^,;.]{1,60}, (?!(?:and|or|but)\b)"
)


def rank_lines(study: Study, first: int, last: int) -> list[tuple[float, Line]]:
    """Quotable lines of a part, best first: near the part's centre, early, with a cue."""
    lines = study.lines[first:last]
    inside = Counter(stem for line in lines for stem in line.stems)
    total = len(study.lines)
    ranked = []
    for offset, line in enumerate(lines):
        if not line.usable or not 6 <= line.words <= 45 or line.told.endswith("?"):
            continue
        centre = sum(
            inside[stem] * log(1 + total / study.reading.frequency[stem])
            for stem in dict.fromkeys(line.stems)
        ) / sqrt(8 + line.words)
        score = centre * _weight(study, line, offset)
        ranked.append((score, line))
    ranked.sort(key=lambda pair: (-pair[0], pair[1].start))
    return ranked


def _weight(study: Study, line: Line, offset: int) -> float:
    weight = 1.35 if offset == 0 else 1.15 if line.opens_block else 1.0
    if study.definition_at(line):
        weight *= 1.3
    elif _CUE.search(line.told):
        weight *= 1.15
    if line.kind in "bn":
        weight *= 0.6
    if study.is_focus(line):
        weight *= 1.5
    # A pronoun in the middle may lean on the sentence before.
    if _LEANS.search(line.told):
        weight *= 0.85
    # Examples, figures and asides support a point; they are not it.
    if re.search(r"\bfor (?:example|instance)\b|\(", line.told):
        weight *= 0.8
    if not is_quotable(line) or is_aside(line.told):
        weight *= _UNCLEAR
    return weight * (0.8 if len(re.findall(r"\d", line.told)) > 3 else 1.0)


def summarise(
    study: Study, first: int, last: int, *, most: int = 2, avoid: frozenset[int] = frozenset()
) -> list[Point]:
    """At most ``most`` sentences in text order that together fit a summary."""
    chosen: list[Point] = []
    length = 0
    for _, line in rank_lines(study, first, last):
        text = shorten(line.told, 34)
        if line.index in avoid or length + len(text) + 1 > SUMMARY_CHARACTERS:
            continue
        if any(_overlap(line, point.line) > 0.5 for point in chosen):
            continue
        chosen.append(Point(text, line))
        length += len(text) + 1
        if len(chosen) >= most:
            break
    return sorted(chosen, key=lambda point: point.line.start)


def opening_points(study: Study, last: int) -> list[Point]:
    """The first sentence that stands alone and the best one after it: what a text says it is about."""
    lead = next(
        (
            line
            for line in study.lines[:last]
            if is_quotable(line) and not is_aside(line.told) and line.kind == "s" and 6 <= line.words <= 34
        ),
        None,
    )
    if lead is None:
        return []
    first = Point(shorten(lead.told, 34), lead)
    for point in summarise(study, lead.index + 1, last, most=2):
        if not is_aside(point.text) and len(first.text) + len(point.text) < SUMMARY_CHARACTERS:
            return [first, point]
    return [first]


def _overlap(one: Line, two: Line) -> float:
    left, right = set(one.stems), set(two.stems)
    return len(left & right) / max(1, min(len(left), len(right)))


def key_points(
    study: Study, first: int, last: int, *, most: int, avoid: frozenset[int] = frozenset()
) -> list[Point]:
    """The lines worth remembering, in text order, shortened; of ``avoid`` only what makes up three."""
    ranked = rank_lines(study, first, last)
    ordered = [line for _, line in ranked if line.index not in avoid]
    told = [line for _, line in ranked if line.index in avoid]
    wanted = max(_LEAST_POINTS, min(most, round((last - first) * 0.5)))
    chosen: list[Point] = []
    for line in [*ordered, *told]:
        if len(chosen) >= (wanted if line.index not in avoid else _LEAST_POINTS):
            break
        if any(_overlap(line, point.line) > 0.7 for point in chosen):
            continue
        chosen.append(Point(clipped(shorten(line.told, _KEY_POINT_WORDS)), line))
    if len(chosen) < _LEAST_POINTS:
        chosen += _spare_points(study, first, last, chosen)
    return sorted(chosen, key=lambda point: point.line.start)


def _spare_points(study: Study, first: int, last: int, chosen: list[Point]) -> list[Point]:
    """Steps, then sentences that lean on the one before them, to fill up a short list."""
    taken = [point.line.index for point in chosen]
    spare = [
        line
        for line in study.lines[first:last]
        if line.index not in taken and line.kind != "l" and line.words > 2
    ]
    spare.sort(
        key=lambda line: (is_reference(line.told), not line.alone, line.kind not in ("n", "b"), line.start)
    )
    return [
        Point(shorten(line.told, _KEY_POINT_WORDS), line) for line in spare[: _LEAST_POINTS - len(chosen)]
    ]


def summary_text(study: Study, points: Sequence[Point], first: int, last: int) -> str:
    """Points as running text; without any, the first sentence of the part."""
    text = " ".join(point.text for point in points)
    if not text:
        lines = study.lines[first:last]
        sentences = [line for line in lines if line.kind == "s" and not is_reference(line.told)]
        whole = iter(sorted(sentences, key=lambda line: is_aside(line.told)))
        line = next(whole, next((line for line in lines if line.kind == "s"), lines[0]))
        text = shorten(line.told, 40)
    return clipped(text)


def clipped(text: str) -> str:
    """Text of at most SUMMARY_CHARACTERS characters, cut at a word."""
    if len(text) <= SUMMARY_CHARACTERS:
        return text
    return text[: SUMMARY_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"
