"""Which article a name takes, as its text uses it."""

import re

from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.words import words_of


def with_article(study: Study, name: str) -> str:
    """A name with the article that the text itself gives it most often."""
    if (
        re.match(r"^(?:the|a|an|your|its|how|why|what)\b", name, re.IGNORECASE)
        or " and " in name
        or "," in name
    ):
        return name
    head = words_of(name)[-1].lower() if words_of(name) else ""
    if not head or (head.endswith("s") and not head.endswith(("ss", "us", "is"))) or name[0].isupper():
        return name
    pattern = re.compile(rf"(?:\b([\w’'-]+)[ ])?{re.escape(name)}\b(?![-’'\w]| [a-z]+ing\b)", re.IGNORECASE)
    counts = {"": 0, "the": 0, "a": 0, "an": 0}
    for index in study.mentions.of(name)[:60]:
        for found in pattern.finditer(study.lines[index].shown):
            before = (found[1] or "").lower()
            article = "the" if before in ("this", "that", "its", "each", "every") else before
            counts[article if article in counts else ""] += 1
    indefinite = "a" if counts["a"] >= counts["an"] else "an"
    if counts["the"] + counts[indefinite] <= counts[""]:
        return name
    return f"the {name}" if counts["the"] >= counts[indefinite] else f"{indefinite} {name}"
