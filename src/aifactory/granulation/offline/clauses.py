"""Clauses of a sentence: whether they have a subject, and which subject a question can ask about."""

import re

from aifactory.granulation.offline.concepts import PLACEHOLDERS
from aifactory.granulation.offline.grammar import IMPERATIVES, SMALL_WORDS
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.titles import in_sentence
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import is_stop, words_of

_NAME_WORDS = 8
_CLAUSE_WORDS = word_set("""
    is are was were be been being has have had do does did can could will would shall should may might must
    that which who whom whose where when while if because since unless until although though than there
    it they them he she we you i this these those such not never also to and or but
    """)
_ENDS_OPEN = word_set("of in on at by with from for to into over under and or but the a an as not no")

# Verbs beside the imperatives that open a line whose subject is the option or the command above it.
_THIRD = word_set("""
    limits operates returns emits specifies indicates represents causes forces allows prevents overrides
    determines controls tells defines shows prints
    """)
_AFTER_VERB = word_set("""
    the a an this that these those its their your all any each every in on at with from to for as whether
    how when which both only
    """)
_CLIPPED = re.compile(r"(?:used|set|given|called|run|enabled|disabled|sits|is|are|was)\b", re.IGNORECASE)
_OPENERS = word_set("""
    regardless including except once simply there then any such
    for in on at by with without from into during after before to as under over through despite like unlike
    instead given according depending based using note see what how why who here today now most some many all
    each every any several few another other others none neither either both only
    """)


def capped(said: str) -> str:
    """Words with a capital in front, unless they open with a name in code or one without a vowel: npm."""
    first = said.split(" ", 1)[0]
    is_code = re.search(r"[_.()\d/:]\w|\w[(_]|[a-z][A-Z]", first) or not re.search(r"[aeiouyAEIOUY]", first)
    return said if is_code else said[:1].upper() + said[1:]


def lacks_subject(said: str) -> bool:
    """Whether a clause opens with its verb ("Removes the file"): who does it, stands elsewhere."""
    first, _, rest = said.partition(" ")
    low = first.lower()
    is_third = low in _THIRD or not {low.removesuffix("s"), low.removesuffix("es")}.isdisjoint(
        IMPERATIVES - {low}
    )
    return is_third and (words_of(rest) or [""])[0].lower() in _AFTER_VERB


def is_clipped(case: str) -> bool:
    """Whether a condition is told without what it holds for: "used with it", "set to true"."""
    return bool(_CLIPPED.match(case)) or lacks_subject(case)


def name_in(study: Study, said: str) -> str:
    """The front of a sentence as it stands inside one, if it is nothing but a name; "" otherwise."""
    said_words = said.split()
    low = [word.lower() for word in said_words]
    if not 1 <= len(low) <= _NAME_WORDS or low[-1] in _ENDS_OPEN or not words_of(said):
        return ""
    if any(word in _CLAUSE_WORDS for word in low) or (len(low) == 1 and is_stop(low[0])):
        return ""
    if '"' in said or (len(low) > 1 and low[0] in IMPERATIVES and not study.lexicon.is_sure_noun(low[0])):
        return ""
    if low[0].endswith("ly") or low[0] in _OPENERS or (low[-1] in SMALL_WORDS):
        return ""
    if (low[0].endswith(("ed", "ing")) and said[1:2].islower()) or _is_bare(low):
        return ""
    head = words_of(said)[-1]
    if not study.lexicon.is_noun(head) or (len(low) == 1 and study.lexicon.is_verb(low[0])):
        return ""
    return in_sentence(said, study.lexicon)


def _is_bare(low: list[str]) -> bool:
    """Whether a name is "the event" or "a method": which one, only the sentence before says."""
    return len(low) <= 2 and low[-1] in PLACEHOLDERS and low[0] in ("the", "a", "an", low[-1])


def is_many(said: str) -> bool:
    """Whether a subject takes a verb without -s, by its head before any "of"."""
    front = re.split(r" (?:of|in|on|for|with|from|to|at|by) ", said)[0]
    head = (words_of(front) or [""])[-1].lower()
    return head.endswith("s") and not head.endswith(("ss", "us", "is"))
