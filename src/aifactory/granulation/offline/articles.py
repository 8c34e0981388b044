"""Which article a name takes, as its text uses it."""

import re

from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.words import places_of, words_of

_HAS_ONE = re.compile(r"^(?:the|a|an|your|its|how|why|what)\b", re.IGNORECASE)
_LAST_WORD = re.compile(r"([\w’'-]+) $")
_FIRST = re.compile(r"(An?) (.+)")
_OWN = frozenset(("this", "that", "its", "each", "every"))
_MOST_LINES = 60


def with_article(study: Study, name: str) -> str:
    """A name with the article that the text itself gives it most often."""
    if name not in study.named:
        study.named[name] = _with_article(study, name)
    return study.named[name]


def _with_article(study: Study, name: str) -> str:
    if _HAS_ONE.match(name) or " and " in name or "," in name:
        return name
    head = words_of(name)[-1].lower() if words_of(name) else ""
    if not head or (head.endswith("s") and not head.endswith(("ss", "us", "is"))):
        return name
    for definition in study.definitions:
        if definition.term == name and (own := _FIRST.match(study.lines[definition.sentence].told)):
            # "A stream is …": the text says how it is counted.
            return f"{own[1].lower()} {name}" if own[2].lower().startswith(name.lower()) else name
    counts = {"": 0, "the": 0, "a": 0, "an": 0}
    for index in study.mentions.of(name)[:_MOST_LINES]:
        shown = study.lines[index].shown.lower()
        for at in places_of(shown, name.lower()):
            before = _LAST_WORD.search(shown, max(0, at - 12), at)
            word = before[1] if before else ""
            article = "the" if word in _OWN else word
            counts[article if article in counts else ""] += 1
    indefinite = "a" if counts["a"] >= counts["an"] else "an"
    if counts["the"] + counts[indefinite] <= counts[""]:
        return name
    return f"the {name}" if counts["the"] >= counts[indefinite] else f"{indefinite} {name}"
