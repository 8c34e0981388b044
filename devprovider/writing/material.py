"""What an answer is made of: the prompt's passages, or sentences about its topic when it has none. Pure."""

import re
from functools import lru_cache

import msgspec

from devprovider.writing.phrases import Phrase, find_phrases, stems
from devprovider.writing.prompt import Passage, Prompt

LENSES = (
    "main goals", "basic terms", "main parts", "opening steps", "proven methods", "common tools",
    "typical examples", "daily habits", "known limits", "frequent mistakes", "quality checks",
    "useful measures",
    "safety rules", "cost factors", "team roles", "time plans", "case studies", "design choices",
    "data sources", "open questions", "early records", "future trends", "review criteria", "support services",
)  # fmt: skip
_CLAIMS = (
    "The {lens} of {topic} are what a beginner should look at before the {other}.",
    "With good {lens} a group can be sure of its ground when the {other} are under review.",
    "Anyone who is new to {topic} can set the {lens} beside the {other} of a neighbour.",
    "A team that has its {lens} on one page can take up the {other} with more calm.",
    "Experts ask for the {lens} early, because the {other} depend on them in many projects.",
    "A written record of the {lens} makes it possible to compare the {other} after a season.",
    "Trainers of {topic} begin with the {lens} and come back to the {other} with a worked case.",
    "Where the {lens} are missing, a visitor may still judge {topic} by the {other}.",
    "Surveys among practitioners put the {lens} ahead of the {other} in most regions.",
    "A manager who plans the {lens} for a quarter saves money on the {other}.",
)
SPARE_TERMS = (
    "storage tank",
    "control unit",
    "supply line",
    "safety margin",
    "field report",
    "annual budget",
    "working group",
    "test sample",
    "storage tanks",
    "control units",
    "supply lines",
    "field reports",
    "reservoir",
    "container",
    "schedule",
    "inventory",
    "sensors",
    "containers",
    "schedules",
    "archives",
    "market research team",
    "public transport network",
    "regional weather station",
    "digital storage system",
)


_NEGATIVE = re.compile(
    r"\b(?:not|except|never|cannot|neither|nor|no|none|nothing|without|wrong|false|only|all|always|every)\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w.,:-])(\d+(?:\.\d+)?)(?![\w.,:-]*\d)(?=[\s%,.]|$)\s*(%|[a-zA-Z]{1,14})?")
_PHRASES_FOR_OPTIONS = 4
Form = tuple[int, bool, bool]


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """Passages and what was found in them.

    ``negative``: passages that negate or generalise; ``numeric``: those with a number;
    ``forms``: phrases that could stand for one another;
    ``is_source``: they can be cited.
    """

    passages: tuple[Passage, ...]
    phrases: tuple[tuple[Phrase, ...], ...]
    stems: tuple[frozenset[str], ...]
    negative: frozenset[int]
    numeric: frozenset[int]
    forms: dict[Form, tuple[str, ...]]
    is_source: bool

    def terms(self, numbers: tuple[int, ...]) -> list[str]:
        """The phrases of some passages, best of each passage first, none twice."""
        ranked = [
            (rank, number, phrase.text)
            for number in numbers
            for rank, phrase in enumerate(self.phrases[number])
        ]
        return list(dict.fromkeys(text for _, _, text in sorted(ranked, key=lambda one: one[:2])))


def gather(prompt: Prompt) -> Material:
    """The prompt's passages; else what its words and its topic give."""
    if prompt.passages:
        return _read(prompt.passages, True)
    about = _about(prompt.topic, prompt.words, has_task=bool(prompt.task))
    return _read(tuple(Passage(label="", text=text) for text in about), False)


@lru_cache(maxsize=64)
def _read(passages: tuple[Passage, ...], is_source: bool) -> Material:
    """Kept, since the calls of one job mostly share their passages."""
    texts = [passage.text for passage in passages]
    phrases = find_phrases(texts)
    forms: dict[Form, dict[str, None]] = {}
    for found in phrases:
        for phrase in found[:_PHRASES_FOR_OPTIONS]:
            forms.setdefault(form_of(phrase.text), {})[phrase.text] = None
    return Material(
        passages=passages,
        phrases=tuple(map(tuple, phrases)),
        stems=tuple(map(stems, texts)),
        negative=frozenset(number for number, text in enumerate(texts) if _NEGATIVE.search(text)),
        numeric=frozenset(number for number, text in enumerate(texts) if NUMBER.search(text)),
        forms={form: tuple(found) for form, found in forms.items()},
        is_source=is_source,
    )


def form_of(text: str) -> Form:
    """Words, plural or not, name or not: what must be alike for options to be plausible."""
    plural = text.endswith("s") and not text.endswith(("ss", "us", "is", "ics", "ous"))
    return min(3, text.count(" ") + 1), plural, text[:1].isupper()


def _about(topic: str, words: str, *, has_task: bool) -> list[str]:
    """A claim for each pair of lenses, after the message's own sentences where it has no sections."""
    said = (
        [] if has_task else [one.strip() for one in re.split(r"(?<=[.!?])\s+", words) if one.count(" ") > 4]
    )
    topic = " ".join(topic.split())[:80].rstrip(".!? ")
    count = len(LENSES)
    claims = [
        _CLAIMS[(3 * number + step) % len(_CLAIMS)].format(
            lens=lens, topic=topic, other=LENSES[(number + 5 + 7 * step) % count]
        )
        for number, lens in enumerate(LENSES)
        for step in range(3)
    ]
    return said[:40] + claims


def shorten(text: str, most_words: int) -> str:
    """The first words of a sentence, ended properly; commas and small words at the cut are dropped."""
    words = text.split()
    if len(words) <= most_words:
        return text
    cut = words[:most_words]
    while len(cut) > 1 and cut[-1].lower().strip(",;:") in (
        "the", "a", "an", "of", "and", "or", "to", "in", "for", "with", "by", "that", "which", "from", "is",
    ):  # fmt: skip
        cut.pop()
    return " ".join(cut).rstrip(",;:.") + "."


def first_clause(text: str) -> str:
    """The first claim of a sentence that makes two."""
    cut = re.split(
        r";|,|\s+(?=(?:because|since|whereas|while|although|though|so that|therefore|hence|but|yet|and|or|so)"
        r"\s)",
        text,
    )
    kept = cut[0]
    for piece in cut[1:]:
        if len(kept.split()) >= 5:
            break
        kept = text[: text.index(piece, len(kept)) + len(piece)]
    return kept.rstrip(" ,;:.") + "."
