"""What a source says outright, as question and answer: reasons, conditions, purposes, deeds and demands."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

import msgspec

from aifactory.granulation.offline.clauses import capped, is_clipped, is_many, lacks_subject, name_in
from aifactory.granulation.offline.grammar import IMPERATIVES, PREPOSITIONS
from aifactory.granulation.offline.quotable import is_plain
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import shorten
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import count_words, stem, words_of

REASON, CASE, PURPOSE, DEED, DEMAND = "reason", "case", "purpose", "deed", "demand"
_ANSWER_WORDS = (2, 26)
_ASKED_WORDS = (3, 24)
_LONGEST = 45
_MOST_VERBS = 4

_BECAUSE = re.compile(r"^(?P<what>[^;:—]+?),? because (?!of\b)(?P<why>[^;:—]+)\.$")
_SO_THAT = re.compile(r"^(?P<what>[^;:—,]+?),? so that (?P<why>[^;:—]+)\.$")
_HEDGED = re.compile(r"\b(?:not|only|partly|mainly|mostly|chiefly|largely|simply|just|perhaps|even)$", re.I)
_IF_FIRST = re.compile(
    r"^(?P<cue>If|When|Whenever|Once|Unless) (?P<case>[^,;:—()]+), (?:then )?(?P<then>[^;:—]+)\.$"
)
_IF_LAST = re.compile(r"^(?P<then>[^,;:—()]+?) (?P<cue>if|when|unless|once) (?P<case>[^,;:—()]+)\.$")
_NOT_BEFORE_IF = re.compile(
    r"\b(?:time|times|case|cases|point|only|even|especially|particularly|and|or|but|except|than|as|moment"
    r"|know"
    r"|see|check|determine|decide|whether|ask|used|to|not)$",
    re.IGNORECASE,
)
# A word in a case that only the sentence before explains.
_OPEN = re.compile(
    r"\b(?:it|they|them|this|these|those|such|its|their|one|ones|so|he|she|former|latter|both|otherwise)\b",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"^(?:or|and|but|nor|as|which|that)\b", re.IGNORECASE)
_POINTS_BACK = re.compile(r"\b(?:these|those|such (?!as\b)|former|latter|above|below)\b", re.IGNORECASE)
_PURPOSE = re.compile(
    r"^(?P<subject>[^,;:—()]{3,70}?) (?P<be>is|are) (?P<how>used|designed|intended|meant|needed|required"
    r"|useful) "
    r"(?P<why>(?:to|for) [^;:—]+)\.$"
)
_DEMAND = re.compile(
    r"^(?P<subject>[^,;:—]{3,70}?) (?P<modal>must|should|shall|can|may)(?P<no> not|not)? "
    r"(?P<what>[^;:—]+)\.$"
)
# What such a verb is done to can be asked for: "What does … return?".
_TAKES_OBJECT = word_set("""
    return contain include require support provide need produce represent define hold accept give emit
    receive affect measure show cause create remove prevent protect reduce increase release carry store
    specify describe indicate grant form build absorb attract supply offer raise lower cover determine
    control replace remain allow
    """)
# What such a verb does stands with it: "What does … do?".
_TELLS = word_set("""
    act apply become begin behave break change check close consist convert copy delete depend destroy
    disable drop enable end ensure execute exit expand fall feed find flow follow grow handle help ignore
    install keep kill lead let lie lift limit list load lose make move open pass perform print pull
    push put read record refer reject rely resolve rise run search select send separate set settle sink
    slow spread start stay stop strengthen swell take tell throw turn update wait wash weaken work write
    """)
_FORMS = {
    form: (verb, plural)
    for verb in _TAKES_OBJECT | _TELLS
    for form, plural in (
        (verb, True),
        (
            verb[:-1] + "ies"
            if verb.endswith("y") and verb[-2] not in "aeiou"
            else verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s"),
            False,
        ),
    )
}
_VERB = re.compile(rf" (?P<verb>{'|'.join(sorted(_FORMS, key=len, reverse=True))}) ")
# What such a verb asks for stands behind this preposition.
_WITH = {"depend": "on", "rely": "on", "consist": "of", "refer": "to", "lead": "to"}


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A statement as a question and its answer.

    ``frame`` is the question without its subject: answers to the same frame could be mistaken for each other.
    """

    kind: str
    frame: str
    line: Line
    subject: str
    question: str
    answer: str


@lru_cache(maxsize=1)
def statements_of(study: Study) -> tuple[Fact, ...]:
    """Everything of a source that is one of these, in text order; English only."""
    if study.language != "en":
        return ()
    return tuple(fact for line in study.lines if (fact := _fact(study, line)) is not None)


@lru_cache(maxsize=1)
def facts_of(study: Study) -> tuple[Fact, ...]:
    """The statements whose question has one answer in the source."""
    answers: dict[str, dict[str, Fact]] = {}
    for fact in statements_of(study):
        answers.setdefault(fact.question, {}).setdefault(fact.answer, fact)
    topic = frozenset(map(stem, words_of(study.digest.title)))
    return tuple(
        fact
        for fact in statements_of(study)
        if list(answers[fact.question].values()) == [fact]
        and not (fact.kind == DEED and _is_topic(fact, topic))
    )


def _is_topic(fact: Fact, topic: frozenset[str]) -> bool:
    """Whether a question is about what the whole source is about: much else would answer it as well."""
    subject = frozenset(map(stem, words_of(fact.subject))) - {"the"}
    return bool(subject) and subject <= topic


def facts_between(study: Study, first: int, last: int) -> tuple[Fact, ...]:
    """The facts in the lines from first up to, without, last."""
    return _between(facts_of(study), first, last)


def statements_between(study: Study, first: int, last: int) -> tuple[Fact, ...]:
    """The statements in the lines from first up to, without, last."""
    return _between(statements_of(study), first, last)


def _between(facts: tuple[Fact, ...], first: int, last: int) -> tuple[Fact, ...]:
    low = bisect_left(facts, first, key=lambda fact: fact.line.index)
    return facts[low : bisect_left(facts, last, key=lambda fact: fact.line.index)]


def _fact(study: Study, line: Line) -> Fact | None:
    if line.kind not in ("s", "b") or not 6 <= line.words <= _LONGEST or not is_plain(line):
        return None
    for read in (_reason, _case, _purpose, _demand, _deed):
        for fact in read(study, line):
            low, high = _ANSWER_WORDS
            if low <= count_words(fact.answer) <= high and fact.answer.count("“") == fact.answer.count("”"):
                return fact
    return None


def _reason(study: Study, line: Line) -> Iterator[Fact]:
    for pattern, opening, frame in ((_BECAUSE, "Because", "Why?"), (_SO_THAT, "So that", "What for?")):
        found = pattern.match(line.told)
        if not found or line.told.count(f" {opening.lower()} ") != 1:
            continue
        what, why = found["what"].rstrip(", "), found["why"]
        if (
            _is_asked(what)
            and not lacks_subject(what)
            and not _ASKS.search(what)
            and not _OPEN.search(what)
            and not _HEDGED.search(what)
        ):
            yield Fact(
                kind=REASON,
                frame=frame,
                line=line,
                subject=what,
                question=f"{what}. {frame}",
                answer=f"{opening} {why}.",
            )


def _case(study: Study, line: Line) -> Iterator[Fact]:
    first = _IF_FIRST.match(line.told)
    found = first or _IF_LAST.match(line.told)
    if not found or (not first and _NOT_BEFORE_IF.search(found["then"])):
        return
    cue, case, then = found["cue"].lower(), found["case"], found["then"]
    if not _is_asked(case) or _OPEN.search(case) or _POINTS_BACK.search(then) or _BROKEN.match(then):
        return
    if case.split()[0].lower() in _FORMS or re.search(r"\b(?:we|our|us|I)\b", f"{case} {then}"):
        return
    if not first and (count_words(then) < 4 or _OPEN.search(then) or " if " in then):
        return
    if is_clipped(case) or lacks_subject(then):
        return
    frame = _case_frame(study, then)
    if frame == _TO_DO and _LOG_HEADING.search(study.reading.sections[line.section].title):
        # "Fix the warning when a proxy is used" tells what was done in a version, not what to do.
        return
    yield Fact(
        kind=CASE,
        frame=frame,
        line=line,
        subject=f"{cue} {case}",
        question=f"{frame} {cue} {case}?",
        answer=f"{capped(then)}.",
    )


_TO_DO = "What should be done"
_LOG_HEADING = re.compile(
    r"^\W*v?\d+\.\d+(?:\.\d+)*\b(?!\.? [A-Z])|\b(?:19|20)\d\d\b|^(?:Fixed|Added|Changed|Removed)$"
)


def _case_frame(study: Study, then: str) -> str:
    """What is asked of a case: what to do in it, what may or must be then, or what comes of it."""
    opening = (words_of(then) or [""])[0].lower()
    if opening in IMPERATIVES and not study.lexicon.is_sure_noun(opening):
        return _TO_DO
    if opening == "you" or re.search(r"\b(?:must|should|may|can|shall|cannot)\b", then):
        return "What applies"
    return "What happens"


def _purpose(study: Study, line: Line) -> Iterator[Fact]:
    found = _PURPOSE.match(line.told)
    subject = name_in(study, found["subject"]) if found else ""
    if found and subject and not _POINTS_BACK.search(found["why"]):
        why = shorten(f"{found['why']}.", 22)
        yield Fact(
            kind=PURPOSE,
            frame=f"{found['be']} {found['how']}",
            line=line,
            subject=subject,
            question=f"What {found['be']} {subject} {found['how']} for?",
            answer=why[:1].upper() + why[1:],
        )


def _demand(study: Study, line: Line) -> Iterator[Fact]:
    found = _DEMAND.match(line.told)
    subject = name_in(study, found["subject"]) if found else ""
    if not found or not subject or _POINTS_BACK.search(found["what"]):
        return
    modal, what = found["modal"], shorten(f"{found['what']}.", 22).rstrip(".")
    denied = " not" if found["no"] else ""
    opening, _, rest = what.partition(" ")
    if opening == "be" and re.match(r"(?:\w+ly )?\w+(?:ed|en|t|de|ne)\b", rest):
        they = "They" if is_many(found["subject"]) else "It"
        question, answer = f"What {modal} be done with {subject}?", f"{they} {modal} be {rest}."
        frame = f"{modal} be done"
    elif opening == "be":
        question, answer, frame = (
            f"What {modal} {subject} be?",
            f"{capped(rest)}.",
            f"{modal} be",
        )
    elif opening in _AFTER_MODAL:
        return
    else:
        question, answer, frame = (
            f"What {modal} {subject} do?",
            f"{capped(what)}.",
            f"{modal} do",
        )
    if denied or (opening == "be" and rest.startswith("it ")):
        return
    yield Fact(
        kind=DEMAND,
        frame=frame,
        line=line,
        subject=subject,
        question=question,
        answer=answer,
    )


def _deed(study: Study, line: Line) -> Iterator[Fact]:
    if not line.told.endswith(".") or re.search(r"[;:—]", line.told):
        return
    for found in islice(_VERB.finditer(line.told), _MOST_VERBS):
        front, what = line.told[: found.start()], line.told[found.end() : -1]
        verb, plural = _FORMS[found["verb"]]
        if "," in front:
            return
        # A word like "list" or "uses" may also be the name before the verb.
        subject = name_in(study, front) if plural == is_many(front) else ""
        if subject and not _POINTS_BACK.search(what):
            yield _deed_of(line, subject, verb, found["verb"], shorten(f"{what}.", 22).rstrip("."))
            return


def _deed_of(line: Line, subject: str, verb: str, form: str, what: str) -> Fact:
    do, they = ("do", "They") if form == verb else ("does", "It")
    opening, _, rest = what.partition(" ")
    if opening == _WITH.get(verb, ""):
        question, answer, frame = f"What {do} {subject} {verb} {opening}?", rest, f"{verb} {opening}"
    elif verb in _TAKES_OBJECT and opening not in PREPOSITIONS and opening != "to":
        question, answer, frame = f"What {do} {subject} {verb}?", what, verb
    else:
        question, answer, frame = f"What {do} {subject} do?", f"{they} {form} {what}", do
    answer = f"{capped(answer)}."
    return Fact(
        kind=DEED,
        frame=frame,
        line=line,
        subject=subject,
        question=question,
        answer=answer,
    )


_ASKS = re.compile(r"\b(?:how|whether|question|what)\b", re.IGNORECASE)


_AFTER_MODAL = word_set("not also only never still even either have now then just instead easily")


def _is_asked(said: str) -> bool:
    low, high = _ASKED_WORDS
    return low <= count_words(said) <= high and said.count("“") == said.count("”")
