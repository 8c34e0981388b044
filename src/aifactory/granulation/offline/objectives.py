"""Objectives: one measurable verb, what it is done to, and under which condition."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec

from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.digest import Definition, Procedure
from aifactory.granulation.offline.facts import CASE, DEMAND, REASON, Fact, facts_between
from aifactory.granulation.offline.grammar import FORMULA
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.phrases import is_telling
from aifactory.granulation.offline.procedures import name_of
from aifactory.granulation.offline.sequences import ordered_steps
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.titles import (
    gerund_base,
    in_sentence,
    is_structural,
    kind_of_title,
    unnumbered,
)
from aifactory.granulation.tree import Bloom

_NUMBER_WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_CONTRAST = re.compile(
    r"\b(?:whereas|unlike|in contrast|by contrast|compared (?:with|to)|differs? from|different from"
    r"|rather than|while"
    r"|on the other hand|more than|less than|\w+er than)\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"(?<![\w.])\d[\d.,]*\s?(?:%|°|[^\W\d_]{1,})")
_EXAMPLE = re.compile(r"\b(?:for example|for instance|such as|e\.g\.)", re.IGNORECASE)
# How a rule that binds is framed; "may" and "can" only permit.
_BINDING = ("must", "should", "shall")
_LEAST_FIGURES = 3
_LEAST_RULES = 2
_REASON_WORDS = 13
_MOST_WORDS = 25
# Both halves of a compound count.
_COUNTED = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class Aim(msgspec.Struct, frozen=True):
    """An objective before it has an id, and what it is about."""

    text: str
    bloom: Bloom
    purpose: str
    terms: tuple[str, ...] = ()
    line: int = -1


def fitting(*wordings: str) -> str:
    """The first of some wordings that is short enough for an objective, else the shortest."""
    lengths = [len(_COUNTED.findall(wording)) for wording in wordings]
    return next(
        (w for w, n in zip(wordings, lengths, strict=True) if n <= _MOST_WORDS),
        wordings[lengths.index(min(lengths))],
    )


def number_word(number: int) -> str:
    """Small numbers in words."""
    return _NUMBER_WORDS[number] if number < len(_NUMBER_WORDS) else str(number)


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def subject_of(study: Study, chunk: Chunk, title: str) -> str:
    """What a part is about, as words that can follow "Explain"."""
    if is_structural(title) or (chunk.title and kind_of_title(title) == "place"):
        names = [phrase.text for phrase in study.book.best(chunk.first, chunk.last, limit=2)]
        return listed([with_article(study, name) for name in names]) if names else f"“{title}”"
    if not chunk.title and not chunk.merged:
        return _generated_subject(study, title)
    if chunk.merged:
        names = [unnumbered(child.title) for child in chunk.children if child.title]
        if not 1 <= len(names) <= 2:
            return f"the main points of {_topics(study, names, title)}"
        if any(kind_of_title(name) in ("place", "sentence") for name in names):
            return f"the main points of “{title}”"
        return listed([clause_of(study, name) for name in names])
    return clause_of(study, title)


def _topics(study: Study, names: Sequence[str], title: str) -> str:
    """Two of many headings, and how many more there are; the title where these are no names."""
    first = [unnumbered(name) for name in names[:2]]
    if len(names) < 3 or any(
        kind_of_title(name) not in ("name", "doing") or re.search(r"[:;,“”]", name) for name in first
    ):
        return f"“{title}”"
    rest = len(names) - 2
    topics = f"{number_word(rest)} related topic{'s' if rest > 1 else ''}"
    return f"{', '.join(_topic(study, name) for name in first)} and {topics}"


def _generated_subject(study: Study, title: str) -> str:
    """A title made of phrases, each with its article."""
    inside = in_sentence(title, study.lexicon)
    if kind_of_title(title) == "question":
        return inside
    return listed([with_article(study, name) for name in inside.split(" and ")])


def topic_of(study: Study, chunk: Chunk, title: str) -> str:
    """What a part is about, as words that can follow "on"."""
    if chunk.merged:
        names = [unnumbered(child.title) for child in chunk.children if child.title]
        plain = all(kind_of_title(name) in ("doing", "name") for name in names)
        if plain and 1 <= len(names) <= 2:
            return listed([_topic(study, name) for name in names])
        return _topics(study, names, title)
    if chunk.title:
        if is_structural(title) or kind_of_title(title) == "place":
            return subject_of(study, chunk, title)
        return _topic(study, title)
    return subject_of(study, chunk, title)


def _topic(study: Study, title: str) -> str:
    kind = kind_of_title(title)
    if kind == "doing":
        return in_sentence(title, study.lexicon)
    return clause_of(study, title) if kind == "name" and ":" not in title else f"“{title}”"


def clause_of(study: Study, title: str) -> str:
    """A title as the object of "Explain": how to …, why …, a name with its article, or quoted."""
    inside = in_sentence(title.rstrip("…"), study.lexicon)
    kind = kind_of_title(title)
    if kind == "name" and ":" not in title and ";" not in title:
        return with_article(study, inside)
    if kind == "doing":
        return _how_to(inside)
    if kind == "command" and "," not in inside:
        return f"how to {inside}"
    if kind == "question" and not title.endswith("?"):
        return inside
    return f"the main point of “{title}”" if not title.endswith("?") else f"the answer to “{title}”"


def _how_to(doing: str) -> str:
    words = doing.split()
    base = gerund_base(words[0])
    if len(words) > 2 and words[1] in ("and", "or") and not words[2].endswith("ing"):
        return doing
    if not base:
        return doing if len(words) < 2 or words[1] in ("and", "or") else f"the main points of {doing}"
    for at in range(2, len(words)):
        if words[at - 1] in ("and", "or") and words[at].endswith("ing"):
            second = gerund_base(words[at])
            if not second:
                return f"the main points of {doing}"
            words[at] = second
    return f"how to {' '.join([base, *words[1:]])}"


def aims_of(study: Study, chunk: Chunk, title: str) -> list[Aim]:
    """What a learner can do after one lesson, the best supported first."""
    first, last = chunk.first, chunk.last
    terms = study.defined_between(first, last)
    procedures = [one for one in study.procedures_between(first, last) if ordered_steps(study, one)][:1]
    aims = [_procedure_aim(study, procedure, title) for procedure in procedures]
    if formula := next((d for d in terms if FORMULA.search(d.phrase)), None):
        aims.append(_formula_aim(study, formula))
    if contrast := _contrast(study, terms, first, last):
        aims.append(contrast)
    topic = topic_of(study, chunk, title)
    facts = facts_between(study, first, last)
    aims += _fact_aims(facts, topic)
    aims.append(_explain_aim(study, chunk, title, terms, facts))
    if terms:
        aims.append(_define_aim(terms))
    figures = sum(bool(_FIGURE.search(line.shown)) for line in study.lines[first:last])
    if figures >= _LEAST_FIGURES and not terms:
        aims.append(_figures_aim(study, chunk, title))
    return aims


def _procedure_aim(study: Study, procedure: Procedure, title: str) -> Aim:
    count = number_word(len(ordered_steps(study, procedure)))
    name = name_of(study, procedure, title)
    return Aim(
        f"Perform the {count} steps {name} without leaving one out or swapping two.", Bloom.APPLY, "steps"
    )


def _formula_aim(study: Study, term: Definition) -> Aim:
    name = with_article(study, term.term)
    return Aim(
        f"Calculate {name} correctly from given figures, using the formula in the lesson.",
        Bloom.APPLY,
        "formula",
        (term.term,),
    )


def _contrast(study: Study, terms: list[Definition], first: int, last: int) -> Aim | None:
    """Two terms that a sentence of the part sets against each other."""
    own = [d.term for d in terms]
    names = [*own, *(d.term for d in study.definitions if d not in terms)]
    named = (name for name in names if is_telling(name, study.lexicon))
    near = [name for name in named if study.mentions.between(name, first, last)][:12]
    for line in study.lines[first:last]:
        if not line.usable or not _CONTRAST.search(line.told):
            continue
        inside = [name for name in near if line.index in study.mentions.of(name)]
        for one, two in combinations(inside, 2):
            if one in own and one not in two and two not in one and _are_parted(line.told, one, two):
                return Aim(
                    f"Compare {with_article(study, one)} with {with_article(study, two)}, naming at least "
                    "two "
                    "differences given in the lesson.",
                    Bloom.ANALYZE,
                    "contrast",
                    (one, two),
                    line.index,
                )
    return None


def _are_parted(sentence: str, one: str, two: str) -> bool:
    """Whether the contrast stands between the two terms, and not beside them."""
    low = sentence.lower()
    left, right = sorted((low.find(one.lower()), low.find(two.lower())))
    return left >= 0 and bool(_CONTRAST.search(sentence[left:right]) or _CONTRAST.match(sentence))


def _fact_aims(facts: Sequence[Fact], topic: str) -> Iterator[Aim]:
    """What can be done with the rules, cases and reasons of a lesson."""
    rules = [fact for fact in facts if fact.kind == DEMAND and fact.frame.startswith(_BINDING)]
    if len(rules) >= _LEAST_RULES:
        text = fitting(
            f"Judge whether a given case of {topic} keeps the rules in the lesson, citing at least two of "
            f"them.",
            "Judge whether a given case keeps the rules in the lesson, citing at least two of them.",
        )
        yield Aim(text, Bloom.EVALUATE, "rules", line=rules[0].line.index)
    cases = [fact for fact in facts if fact.kind == CASE]
    if len(cases) >= _LEAST_RULES:
        text = fitting(
            f"Distinguish at least two cases of {topic} that the lesson sets out, using what follows in "
            f"each.",
            "Distinguish at least two cases that the lesson sets out, using what follows in each of them.",
        )
        yield Aim(text, Bloom.ANALYZE, "cases", line=cases[0].line.index)
    for fact in facts:
        if (
            fact.kind == REASON
            and fact.frame == "Why?"
            and len(_COUNTED.findall(fact.subject)) <= _REASON_WORDS
        ):
            what = (
                f"{fact.subject[:1].lower()}{fact.subject[1:]}"
                if fact.subject[1:2].islower()
                else fact.subject
            )
            text = fitting(
                f"Explain why {what}, using the reason given in the lesson and one example of your own.",
                f"Explain why {what}, using the one reason given in the lesson.",
            )
            yield Aim(text, Bloom.UNDERSTAND, "reasons", line=fact.line.index)
            return


def _explain_aim(
    study: Study, chunk: Chunk, title: str, terms: list[Definition], facts: Sequence[Fact]
) -> Aim:
    subject = subject_of(study, chunk, title)
    low = subject.lower()
    names = [d.term for d in terms if d.term.lower() not in low][:2]
    phrases = [
        phrase.text
        for phrase in study.book.best(chunk.first, chunk.last, limit=12)
        if (phrase.count > 1 or len(phrase.stems) > 1) and is_telling(phrase.text, study.lexicon)
    ]
    fresh = [phrase for phrase in phrases if phrase.lower() not in low]
    names = (names + [p for p in fresh if all(p not in name and name not in p for name in names)])[:2]
    is_clause = subject.startswith(("how ", "why ", "what ", "when ", "where "))
    verb = "Explain" if terms or facts or is_clause else "Describe"
    examples = sum(bool(_EXAMPLE.search(line.told)) for line in study.lines[chunk.first : chunk.last])
    if examples >= _LEAST_RULES and not is_clause and not terms:
        text = fitting(
            f"Illustrate {subject} with at least two examples of your own, using those of the lesson as "
            f"models.",
            f"Illustrate {subject} with at least two examples of your own.",
        )
        return Aim(text, Bloom.UNDERSTAND, "explain", tuple(names))
    if not names:
        text = fitting(
            f"{verb} {subject} in your own words, giving at least two facts from the lesson.",
            f"{verb} the main ideas of this lesson in your own words, giving at least two facts from it.",
        )
        return Aim(text, Bloom.UNDERSTAND, "explain")
    word = "term" if len(names) == 1 else "terms"
    text = fitting(
        f"{verb} {subject} in your own words, correctly using the {word} {listed(names)}.",
        f"{verb} {subject} in your own words, correctly using the term {names[0]}.",
        f"{verb} {subject} in your own words.",
        f"{verb} the main ideas of this lesson in your own words, correctly using the term {names[0]}.",
    )
    return Aim(text, Bloom.UNDERSTAND, "explain", tuple(names))


def _define_aim(terms: list[Definition]) -> Aim:
    names = tuple(d.term for d in sorted(terms[:3], key=lambda d: d.start))
    word, each = ("term", "in one sentence") if len(names) == 1 else ("terms", "in one sentence each")
    return Aim(f"Define the {word} {listed(names)} {each}, without notes.", Bloom.REMEMBER, "define", names)


def _figures_aim(study: Study, chunk: Chunk, title: str) -> Aim:
    topic = topic_of(study, chunk, title)
    text = (
        f"State at least three figures that the lesson gives on {topic}, with their units and without notes."
    )
    return Aim(text, Bloom.REMEMBER, "figures")


def outcome_of(study: Study, chunk: Chunk, title: str, position: int, purposes: Sequence[str]) -> Aim:
    """What a learner can do after a whole module."""
    subject = subject_of(study, chunk, title)
    low = subject.lower()
    terms = [d.term for d in study.defined_between(chunk.first, chunk.last) if d.term.lower() not in low][:3]
    if "steps" in purposes:
        text = fitting(
            f"Carry out the procedures on {topic_of(study, chunk, title)} in a real case, leaving out no "
            "step.",
            f"Carry out the procedures of part {position + 1} of the source in a real case, leaving out "
            "no step.",
        )
        return Aim(text, Bloom.APPLY, "outcome")
    if "rules" in purposes and position % 2:
        text = fitting(
            f"Judge a given case of {topic_of(study, chunk, title)} by the source, citing at least two of "
            f"its "
            "rules.",
            f"Judge a given case by part {position + 1} of the source, citing at least two of its rules.",
        )
        return Aim(text, Bloom.EVALUATE, "outcome")
    if terms and position % 2 == 0:
        text = fitting(
            f"Explain {subject} to a beginner in your own words, using terms such as {listed(terms)}.",
            f"Explain {subject} to a beginner in your own words, using terms such as {terms[0]}.",
            f"Explain {subject} to a beginner in your own words.",
            f"Explain part {position + 1} of the source in your own words, using terms such as {terms[0]}.",
        )
        return Aim(text, Bloom.UNDERSTAND, "outcome")
    if "contrast" in purposes:
        text = fitting(
            f"Analyze {subject}, using at least two comparisons made in the source.",
            f"Analyze part {position + 1} of the source, using at least two of the comparisons that it "
            "makes.",
        )
        return Aim(text, Bloom.ANALYZE, "outcome")
    if "cases" in purposes:
        text = fitting(
            f"Distinguish the cases of {topic_of(study, chunk, title)}, using at least three conditions from "
            "the source.",
            f"Distinguish the cases in part {position + 1} of the source, using at least three of its "
            f"conditions.",
        )
        return Aim(text, Bloom.ANALYZE, "outcome")
    if "reasons" in purposes:
        text = fitting(
            f"Explain {subject} to a beginner in your own words, giving at least two reasons from the "
            f"source.",
            f"Explain part {position + 1} of the source in your own words, giving at least two of its "
            f"reasons.",
        )
        return Aim(text, Bloom.UNDERSTAND, "outcome")
    text = fitting(
        f"Summarize {subject} in five sentences, using facts and terms from the source.",
        f"Summarize part {position + 1} of the source in five sentences, using its facts and terms.",
    )
    return Aim(text, Bloom.UNDERSTAND, "outcome")
