"""A topic on its way into frames: how it stands in a sentence, and which lenses and facets are used "
"for it."""

import re
from collections.abc import Sequence

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.frames.doing import HOW, PITFALLS, PRACTICE
from aifactory.granulation.offline.frames.lenses import PARTS, WHAT, WHY, Facet, Lens
from aifactory.granulation.offline.frames.named import NAMED
from aifactory.granulation.offline.objectives import listed
from aifactory.granulation.tree import Bloom

LENSES = (WHAT, WHY, PARTS, HOW, PRACTICE, PITFALLS)
_LONGEST_PLAIN = 8
_MOST_CHARACTERS = 90
_CLAUSE = re.compile(
    r"^(?:how|what|why|when|where|who|which|whether|is|are|do|does|can|should)\b", re.IGNORECASE
)
_BETWEEN = re.compile(r"\s*(?:,|;|&|\band\b|\bor\b)\s*", re.IGNORECASE)
_DEMANDING = re.compile(r"\b(?:advanced|expert|professional|senior|upper|c1|c2|master)", re.IGNORECASE)
_BLANK = "the subject"
_NEWCOMERS = "newcomers"


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """How the topic and its audience stand inside a sentence."""

    topic: str
    audience: str

    def put(self, form: str) -> str:
        """A form with the topic, or the audience, where it has room for them."""
        start = f"{self.topic[:1].upper()}{self.topic[1:]}"
        # Replaced one by one: a topic may hold braces of its own.
        parts = re.split(r"(\{t\}|\{T\}|\{who\})", form)
        known = {"{t}": self.topic, "{T}": start, "{who}": self.audience}
        return "".join(known.get(part, part) for part in parts)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A lens as it is used for a topic, every text filled in."""

    name: str
    title: str
    about: str
    aim: str
    bloom: Bloom
    facets: tuple[Facet, ...]


def wording_of(brief: Brief) -> Wording:
    """The words of a brief, made fit to stand inside a sentence."""
    return Wording(
        topic=_inside(brief.topic or brief.title or "") or _BLANK,
        audience=_inside(brief.target_audience) or _NEWCOMERS,
    )


def names_in(brief: Brief) -> list[str]:
    """What the brief names beside the topic: objects, focus areas, else what the topic is a list of."""
    asked = [_inside(name) for name in (*brief.objects, *brief.focus_areas)]
    pieces = [_inside(piece) for piece in _BETWEEN.split(_plain(brief.topic))]
    if not any(asked) and 1 < len(pieces) <= 4 and all(piece and len(piece.split()) <= 4 for piece in pieces):
        asked = pieces
    return list({name.casefold(): name for name in asked if name}.values())


def parts_of(brief: Brief, most: int, inner: int) -> list[Part]:
    """The lenses that a frame of so many parts uses, in their order, each with up to ``inner`` facets.

    What the brief names comes first among the parts, several names to a facet where they are many.
    """
    names, wording = names_in(brief), wording_of(brief)
    ranked = sorted(LENSES, key=lambda lens: (lens is not PARTS if names else 0, lens.rank))[: max(1, most)]
    made = []
    for lens in (lens for lens in LENSES if lens in ranked):
        own = _named(names, inner) if lens is PARTS else []
        made.append(_part(lens, [*own, *_fitting(lens, inner - len(own), brief.level)], wording))
    return made


def _fitting(lens: Lens, count: int, level: str) -> Sequence[Facet]:
    """The plain facets for most people, the demanding ones for those who are far on."""
    if count < 1:
        return ()
    return lens.facets[-count:] if is_demanding(level) else lens.facets[:count]


def is_demanding(level: str) -> bool:
    """Whether a level is that of people who are far on."""
    return bool(_DEMANDING.search(level))


def _part(lens: Lens, facets: Sequence[Facet], wording: Wording) -> Part:
    filled = tuple(
        msgspec.structs.replace(
            facet,
            **{
                name: wording.put(getattr(facet, name))
                for name in ("title", "about", "ask", "do", "made", "aim")
            },
            rules=tuple(map(wording.put, facet.rules)),
            marks=tuple(map(wording.put, facet.marks)),
        )
        for facet in facets
    )
    title, about, aim = map(wording.put, (lens.title, lens.about, lens.aim))
    return Part(name=lens.name, title=title, about=about, aim=aim, bloom=lens.bloom, facets=filled)


def _named(names: Sequence[str], most: int) -> list[Facet]:
    """A facet for each name, in words of its own; neighbours share one where names are too many."""
    count = min(len(names), most, len(NAMED))
    return [
        _about(listed(list(names[len(names) * at // count : len(names) * (at + 1) // count])), NAMED[at])
        for at in range(count)
    ]


def _about(name: str, facet: Facet) -> Facet:
    def put(form: str) -> str:
        return form.replace("{s}", name)

    texts = {key: put(getattr(facet, key)) for key in ("title", "about", "ask", "do", "made", "aim")}
    (one, two), (first, second) = map(put, facet.rules), map(put, facet.marks)
    return msgspec.structs.replace(facet, **texts, rules=(one, two), marks=(first, second))


def _plain(text: str) -> str:
    """A text in one line, without the mark at its end and of bounded length."""
    line = " ".join(text.split()).rstrip(" .?!:;,…")
    if len(line) <= _MOST_CHARACTERS:
        return line
    cut = line[: _MOST_CHARACTERS - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def _inside(text: str) -> str:
    """A name as it stands inside a sentence: in quotes where it is a clause or long."""
    line = _plain(text)
    return f"“{line}”" if _CLAUSE.match(line) or len(line.split()) > _LONGEST_PLAIN else line
