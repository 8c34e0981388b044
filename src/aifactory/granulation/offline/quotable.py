"""Which sentences of a source make sense away from their place: shown, asked about, or given a gap."""

import re
from functools import lru_cache

from aifactory.granulation.offline.reading import Line

# "this License" is a name; "using this feature" is another sentence's.
_POINTS_BACK = re.compile(
    r"\b(?:this|these|such|said) (?!(?:as|is|are|was|were|means|includes?|that)\b|an?\b)(?:[a-z]"
    r"|[\w-]+\b(?=\.$))"
    r"|\bthose (?!who\b|which\b|that\b|of\b|in\b|with\b|for\b|from\b)[a-z]"
    r"|\b(?:above|below|aforementioned|foregoing|preceding)\b"
)
# Letters that stand for something only inside their own example.
_LONE_NAMES = re.compile(r"\b[B-HJ-Z][’']s\b|\b[A-Z]@\w|^Because [A-Z]\b")
_REFERENCE = re.compile(r"https?://|\bwww\.|\(#\d+\)|#\d{2,}|\b(?=[a-f]*\d)[0-9a-f]{7,40}\b|\S+@\S+\.\w")
_SIGNS = re.compile(
    r"[\[\]{}|\\<>=~^]|\$\w|(?:^|\s)--?\w|::|\w\(\)?[^)]*\) =>|”:|://"
    r"|``|\s[.,;](?:\s|$)|\b(?:Vol|No|pp)\. ?\d"
)
# What a writer says to the reader, not of the subject: greetings, thanks, where else to look, whose it is.
_ASIDE = re.compile(
    r"^(?:welcome|thanks|thank you|enjoy|good luck|happy|congratulations|have fun|feel free|sorry"
    r"|for (?:more|further|additional|full|complete) (?:details|information|help|documentation|examples)"
    r"|(?:see|read|refer to|consult|check out|visit) (?:the|our|also|also the|https?)\b"
    r"|copyright\b|all rights reserved|appendix\b|your (?:comments|feedback|suggestions|contributions)"
    r"|all, naturally|(?:bug reports?|patches|contributions|pull requests) (?:are|is|should|can)\b)",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\b(?:etc|e\.g|i\.e)\.$")


def is_quotable(line: Line) -> bool:
    """Whether a reader who sees only this sentence knows what it speaks of."""
    return line.usable and _is_clear(line.told)


# The same sentence is weighed for its part, for the part above and for its items.
@lru_cache(maxsize=16_384)
def _is_clear(told: str) -> bool:
    return not (_POINTS_BACK.search(told) or _LONE_NAMES.search(told) or _REFERENCE.search(told))


def is_aside(text: str) -> bool:
    """Whether a sentence speaks to the reader about the text, and nothing would be learned from it."""
    return bool(_ASIDE.match(text)) or text.endswith("!") or text.startswith("(")


def is_reference(text: str) -> bool:
    """Whether a text is there to be followed, not read: an address, a commit, an issue's number."""
    return bool(_REFERENCE.search(text))


def is_plain(line: Line) -> bool:
    """Whether a sentence can also be taken apart: quotable, about its subject, without code or markup."""
    return (
        is_quotable(line)
        and not is_aside(line.told)
        and not _SIGNS.search(line.told)
        and not _TAIL.search(line.told)
    )
