"""What learners do with a lesson: read, practise, compare, judge, discuss, retell."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import ceil

import msgspec

from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.concepts import mentions, term_key
from aifactory.granulation.offline.digest import Procedure
from aifactory.granulation.offline.facts import CASE, DEMAND, REASON, Fact, facts_between
from aifactory.granulation.offline.figures import figure_in
from aifactory.granulation.offline.gaps import GAP
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.items import step_text
from aifactory.granulation.offline.objectives import Aim, listed, number_word, subject_of, topic_of
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.procedures import name_of, span_of, steps_of
from aifactory.granulation.offline.quotable import is_quotable
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped, key_points, shorten
from aifactory.granulation.tree import Span

WORDS_PER_MINUTE = 200
PRACTICE_MINUTES = 2
SHORTEST, LONGEST = 3, 12
_MOST_READ = 2_000
_MOST_INSTRUCTIONS = 1_800
_REASON = re.compile(
    r"\b(?:because|therefore|so that|as a result|which is why|otherwise|depends on|must|should)\b", re.I
)


# With more tasks than these asked for, there are some that work on one sentence each.
_FEW = 4
_ON_A_SENTENCE = (
    (
        "practice",
        "Draw {about}",
        "Turn this sentence into a drawing without words: “{said}” Show it to somebody who tells you what "
        "it says. Improve the drawing where the two of you differ.",
        "A drawing that speaks for itself",
    ),
    (
        "discuss",
        "Put {about} to the test",
        "Take this statement: “{said}” Think of an observation that would show it to be wrong. Say who "
        "could make it, and what you would then believe instead.",
        "An observation that would refute the statement",
    ),
    (
        "practice",
        "Write a question on {about}",
        "The answer is given: “{said}” Write the question that it answers, and two wrong answers that a "
        "hasty reader would choose. Try them on a partner.",
        "A question with one right and two tempting answers",
    ),
    (
        "reflect",
        "What you knew about {about}",
        "Read: “{said}” Note what you believed about this before, where you had it from, and what has "
        "changed now.",
        "Three short notes: before, from where, now",
    ),
    (
        "practice",
        "Shorten what is said of {about}",
        "Say this in at most eight words without losing what matters: “{said}” Then put back the word that "
        "you miss most.",
        "A sentence of eight words",
    ),
    (
        "discuss",
        "Ask an expert about {about}",
        "Suppose that the author of this sentence sat opposite you: “{said}” Prepare two questions that the "
        "text leaves open, and say where you would look for the answers.",
        "Two open questions, each with a place to look",
    ),
    (
        "project",
        "A notice on {about}",
        "Make a notice for a wall out of this: “{said}” It names whom it concerns, what to do, and why, in "
        "large letters on one sheet.",
        "A notice on one sheet",
    ),
)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """An activity before it has a place in the tree; ``purpose`` is that of the aim it practises."""

    kind: str
    purpose: str
    title: str
    summary: str
    instructions: str
    minutes: int
    sources: tuple[Span, ...]
    deliverable: str = ""


def minutes_for(words: int, practice: int = 0) -> int:
    """Reading time plus practice, within the length a leaf may have."""
    return max(SHORTEST, min(LONGEST, ceil(words / WORDS_PER_MINUTE) + PRACTICE_MINUTES * practice))


def tasks_of(
    study: Study,
    chunk: Chunk,
    title: str,
    aims: Sequence[Aim],
    points: Sequence[Point],
    most: int,
    used: Counter[str] | None = None,
) -> list[Task]:
    """Up to ``most`` activities: reading first where there is room, then what the lesson supports best.

    ``used`` counts the forms of practice in the tree so far: of those that fit, the rarest come first.
    """
    if most < 1:
        return []
    desk = _Desk(study, chunk, title, aims, points)
    if most > _FEW:
        desk.lay_out(2 * most)
    practice = desk.practice(Counter() if used is None else used, max(1, most - 1))
    if most == 1 and practice:
        return [desk.with_reading(practice[0])]
    return [desk.reading(), *practice[: most - 1]]


class _Desk:
    """One lesson and what of it has been used: each activity works with another sentence."""

    def __init__(
        self, study: Study, chunk: Chunk, title: str, aims: Sequence[Aim], points: Sequence[Point]
    ) -> None:
        self.study = study
        self.chunk = chunk
        self.title = title
        self.aims = {aim.purpose: aim for aim in aims}
        self.free = list(points)
        self.cited: set[int] = set()
        self.words = study.reading.words_between(chunk.first, chunk.last)
        self.subject = subject_of(study, chunk, title)
        self.topic = topic_of(study, chunk, title)
        terms = [term.lower() for term in self.aims["define"].terms] if "define" in self.aims else []
        phrases = [p.text for p in study.book.best(chunk.first, chunk.last, limit=6, boost=study.focus)]
        # What another activity asks for need not be asked here as well.
        self.phrases = [p for p in phrases if not any(p.lower() in term for term in terms)][:3]
        opening = study.lines[chunk.first].shown.split()
        self.opening = " ".join(opening[:6]).rstrip(",;:.") + ("…" if len(opening) > 6 else "")
        taken = {line.index for line in self._defined()} | {aim.line for aim in aims}
        self.first_point = self._point(
            next((i for i, p in enumerate(points) if p.line.index not in taken), 0)
        )

    def _point(self, at: int) -> Point:
        """Take a key point; if there are none left, the first line has to do."""
        if self.free:
            self.cited.add(self.free[at].line.index)
            return self.free.pop(at)
        line = self.study.lines[self.chunk.first]
        return Point(line.shown, line)

    def _defined(self) -> list[Line]:
        """The lines that define the terms of the lesson's aim, in text order."""
        terms = self.aims["define"].terms if "define" in self.aims else ()
        found = [d for d in self.study.defined_between(self.chunk.first, self.chunk.last) if d.term in terms]
        return [self.study.lines[d.sentence] for d in sorted(found, key=lambda d: d.start)]

    def _length(self) -> str:
        if self.words > _MOST_READ:
            return f"the first {_MOST_READ:,} words"
        return f"about {max(10, round(self.words, -1)):,} words"

    def reading(self) -> Task:
        """Read the passage, with an eye on its main phrases."""
        look = f" While reading, note one sentence each about {listed(self.phrases)}." if self.phrases else ""
        direct = self.subject.startswith(("how ", "why ", "what ", "when ", "where "))
        return Task(
            kind="read",
            purpose="explain",
            title=f"Read {self.subject}" if direct else f"Read about {self.subject}",
            summary=clipped(self.first_point.text),
            instructions=f"Read the passage that begins “{self.opening}” ({self._length()}).{look}",
            minutes=minutes_for(min(_MOST_READ, self.words)),
            sources=(self.study.reading.span_of(self.first_point.line, self.first_point.text),),
        )

    def with_reading(self, task: Task) -> Task:
        """A practice that begins with reading, for lessons with one activity."""
        read = f"First read the passage that begins “{self.opening}” ({self._length()}). "
        minutes = minutes_for(min(_MOST_READ, self.words), 1)
        return msgspec.structs.replace(task, instructions=read + task.instructions, minutes=minutes)

    def practice(self, used: Counter[str], most: int) -> list[Task]:
        """Up to ``most`` forms of practice: those that an objective asks for, then what is rare so far."""
        forms = list(self._forms())
        ranked = sorted(
            forms, key=lambda form: (form[0] not in self.aims or form[0] == "explain", used[form[0]])
        )
        tasks: list[Task] = []
        for name, make in ranked:
            task = make() if len(tasks) < most else None
            if task is not None:
                used[name] += 1
                tasks.append(task)
        return [*tasks, *self._further(most - len(tasks))]

    def lay_out(self, most: int) -> None:
        """Put more points on the desk than those that the lesson lists."""
        known = frozenset(point.line.index for point in self.free) | self.cited
        more = key_points(self.study, self.chunk.first, self.chunk.last, most=most, avoid=known)
        self.free += [point for point in more if point.line.index not in known]

    def _further(self, most: int) -> list[Task]:
        """Tasks on single sentences, in turns of form, for lessons that have the matter for many."""
        tasks: list[Task] = []
        while len(tasks) < most and (point := self._take(lambda _: True)) is not None:
            kind, title, instructions, deliverable = _ON_A_SENTENCE[len(tasks) % len(_ON_A_SENTENCE)]
            task = self._on_point(
                point,
                kind=kind,
                title=title.format(about=self._about(point)),
                summary=clipped(point.text),
                instructions=instructions.replace("{said}", point.text),
                deliverable=deliverable,
            )
            tasks += [] if any(task.title == other.title for other in tasks) else [task]
        return tasks

    def _forms(self) -> Iterator[tuple[str, Callable[[], Task | None]]]:
        """The forms of practice that the lesson has the matter for, by name, best first."""
        study, chunk = self.study, self.chunk
        if procedures := study.procedures_between(chunk.first, chunk.last)[:1]:
            yield "steps", lambda: self._steps(procedures[0])
        if "contrast" in self.aims:
            yield "contrast", lambda: self._contrast(self.aims["contrast"])
        if "define" in self.aims:
            yield "define", lambda: self._terms(self.aims["define"])
        facts = facts_between(study, chunk.first, chunk.last)
        if len(cases := [fact for fact in facts if fact.kind == CASE]) >= 2:
            yield "cases", lambda: self._cases(cases[:3])
        if len(rules := [fact for fact in facts if fact.kind == DEMAND and "must" in fact.frame]) >= 2:
            yield "rules", lambda: self._rules(rules[:3])
        if reason := next((fact for fact in facts if fact.kind == REASON and fact.frame == "Why?"), None):
            yield "reasons", lambda: self._reason(reason)
        if len(self._figure_points()) >= 2:
            yield "figures", lambda: self._figures(self._figure_points()[:3])
        if self._has_code():
            yield "code", self._code
        yield "examples", self._examples
        if len(self.phrases) >= 3:
            yield "map", self._map
        yield "discuss", self._discuss
        yield "retell", self._retell
        yield "questions", self._questions

    def _has_code(self) -> bool:
        start, end = self.study.lines[self.chunk.first].start, self.study.lines[self.chunk.last - 1].end
        return "\n```" in self.study.reading.text[start:end]

    def _take(self, suits: Callable[[Point], bool]) -> Point | None:
        """A key point that no other activity works with, if there is one that suits."""
        at = next((i for i, point in enumerate(self.free) if is_quotable(point.line) and suits(point)), None)
        return None if at is None else self._point(at)

    def _figure_points(self) -> list[Point]:
        used = {line.index for line in self._defined()} | {self.first_point.line.index}
        return [
            Point(shorten(line.told, 28), line)
            for line in self.study.lines[self.chunk.first : self.chunk.last]
            if is_quotable(line) and line.kind == "s" and line.index not in used and figure_in(line.told)
        ]

    def _steps(self, procedure: Procedure) -> Task:
        study = self.study
        lines = steps_of(study, procedure)
        name, count = name_of(study, procedure, self.title), number_word(len(lines))
        steps = " ".join(f"{number}. {step_text(line)}" for number, line in enumerate(lines, 1))
        if len(steps) > _MOST_INSTRUCTIONS:
            steps = steps[:_MOST_INSTRUCTIONS].rsplit(" ", 1)[0] + "…"
        return Task(
            kind="practice",
            purpose="steps",
            title=f"Work through the {count} steps {name}",
            summary=f"The {count} steps {name}, one at a time.",
            instructions="Carry out these steps, or walk through them in your mind if you lack the means: "
            f"{steps} After each step, write down what it is for and how you can tell that it has worked.",
            minutes=minutes_for(sum(line.words for line in lines), 2),
            sources=(span_of(study, procedure),),
            deliverable=f"A checklist of the {count} steps with one remark each",
        )

    def _contrast(self, aim: Aim) -> Task:
        one, two = (with_article(self.study, term) for term in aim.terms[:2])
        line = self.study.lines[aim.line]
        quote = shorten(line.told, 40)
        return Task(
            kind="practice",
            purpose="contrast",
            title=f"Compare {one} with {two}",
            summary=clipped(quote),
            instructions=f"Draw a table with a column for {one} and a column for {two}. Start from this "
            f"sentence: “{quote}” Enter at least two differences and one thing they have in common.",
            minutes=minutes_for(line.words, 2),
            sources=(self.study.reading.span(line),),
            deliverable="A table with two columns and at least three rows",
        )

    def _terms(self, aim: Aim) -> Task:
        study, lines = self.study, self._defined()
        used = [line.index for line in lines]
        self.free = [point for point in self.free if point.line.index not in used]
        names = listed([f"“{term}”" for term in aim.terms])
        mean = "mean" if len(aim.terms) > 1 else "means"
        # What a good answer speaks of, and not the answer.
        held = [p.text for line in lines for p in study.book.best(line.index, line.index + 1, limit=7)]
        own = {term.lower() for term in aim.terms}
        held = [name for name in dict.fromkeys(held) if name.lower() not in own]
        check = f" Check that you have spoken of {listed(held)}." if held else ""
        # Two ways to do the same, so that the lessons of a course don't all look alike.
        if int(short_hash(names), 16) % 2:
            task, product = (
                f"Close the text and write one sentence that says what {names} {mean}.",
                "definition",
            )
        else:
            task, product = (
                f"Explain to a partner what {names} {mean}, with a case of your own.",
                "explanation",
            )
        return Task(
            kind="practice",
            purpose="define",
            title=f"Say what {names} {mean}",
            summary=f"The meaning of {names} in your own words{' with ' + listed(held) if held else ''}.",
            instructions=f"{task}{check} Then look up how the source says it.",
            minutes=minutes_for(50 * len(aim.terms), 1),
            sources=tuple(study.reading.span(line) for line in lines),
            deliverable=f"A short {product} of each in your own words",
        )

    def _cases(self, facts: Sequence[Fact]) -> Task:
        asked = " ".join(f"({number}) {fact.question}" for number, fact in enumerate(facts, 1))
        count = number_word(len(facts))
        return self._on_facts(
            facts,
            kind="practice",
            purpose="cases",
            title=f"Say what follows: {count} cases of {self.topic}",
            summary=clipped(f"Cases to answer from memory: {'; '.join(fact.subject for fact in facts)}."),
            instructions=f"Answer from memory, one sentence each: {asked} Then look each case up, and "
            f"correct "
            "in another colour what you had wrong.",
            deliverable=f"{count.capitalize()} answers, corrected",
        )

    def _rules(self, facts: Sequence[Fact]) -> Task:
        rules = " ".join(f"({number}) {shorten(fact.line.told, 30)}" for number, fact in enumerate(facts, 1))
        return self._on_facts(
            facts,
            kind="practice",
            purpose="rules",
            title=f"Judge a case by the rules: {self.topic}",
            summary=clipped(f"Rules to judge by: {shorten(facts[0].line.told, 30)}"),
            instructions=f"These rules are in the source: {rules} Make up one case that keeps all of them "
            f"and "
            "one that breaks one. Give both to a partner, who says which is which and names the rule.",
            deliverable="Two cases, and the rule that the second one breaks",
        )

    def _reason(self, fact: Fact) -> Task:
        return self._on_facts(
            [fact],
            kind="discuss",
            purpose="reasons",
            title=f"Ask why: {' '.join(fact.subject.split()[:9])}",
            summary=clipped(f"{fact.subject}: your reason first, then the source's."),
            instructions=f"“{fact.subject}.” Write down why you think this is so before you look it up. Then "
            "read the reason that the source gives, and tell a partner in what yours differs.",
            deliverable="Your reason, and the source's in your own words",
        )

    def _on_facts(
        self,
        facts: Sequence[Fact],
        *,
        kind: str,
        purpose: str,
        title: str,
        summary: str,
        instructions: str,
        deliverable: str,
    ) -> Task:
        """A practice with some facts, whose sentences no other one works with."""
        used = [fact.line.index for fact in facts]
        self.free = [point for point in self.free if point.line.index not in used]
        return Task(
            kind=kind,
            purpose=purpose if purpose in self.aims else "explain",
            title=title,
            summary=summary,
            instructions=instructions,
            minutes=minutes_for(sum(fact.line.words for fact in facts), 2),
            sources=tuple(self.study.reading.span(fact.line) for fact in facts),
            deliverable=deliverable,
        )

    def _figures(self, points: Sequence[Point]) -> Task:
        lines = [point.line for point in points]
        self.free = [point for point in self.free if point.line not in lines]
        asked = " ".join(f"“{_without_figure(point.text)}”" for point in points)
        return Task(
            kind="practice",
            purpose="figures",
            title=f"Estimate the figures: {self.title}",
            summary=f"The figures that belong to {self.topic}: estimated first, then looked up.",
            instructions=f"Estimate the missing numbers before you look them up: {asked} Then find each in "
            f"the "
            "source, and note how far off you were and what would have helped you to guess better.",
            minutes=minutes_for(30 * len(points), 1),
            sources=tuple(map(self.study.reading.span, lines)),
            deliverable=f"{number_word(len(points)).capitalize()} estimates beside the right figures",
        )

    def _code(self) -> Task:
        point = self._mention()
        return self._on_point(
            point,
            kind="practice",
            title=f"Try the example: {self.title}",
            summary=clipped(point.text),
            instructions="Type in the example that the source gives here and run it, or follow it line by "
            "line "
            f"on paper. Then change one thing that has to do with {self.topic}. Say first what will come "
            f"of it, "
            "and check.",
            deliverable="The changed example with one line on what you expected and what came",
        )

    def _examples(self) -> Task | None:
        point = self._take(lambda point: not figure_in(point.text))
        if point is None:
            return None
        return self._on_point(
            point,
            kind="practice",
            title=f"Find a case of your own: {self._about(point)}",
            summary=clipped(point.text),
            instructions=f"The source states: “{point.text}” Find one case from your own experience to which "
            "this applies, and one to which it seems not to apply. Say for each what decides it.",
            deliverable="Two cases with a sentence each on what decides them",
        )

    def _map(self) -> Task:
        point = self._mention()
        names = listed([with_article(self.study, phrase) for phrase in self.phrases])
        return self._on_point(
            point,
            kind="practice",
            title=f"Draw how {listed(self.phrases)} belong together",
            summary=clipped(point.text),
            instructions=f"Write {names} on a sheet and draw a line wherever the text relates two of them. "
            f"Put "
            "two or three words on each line that say how. Compare with somebody else's sheet.",
            deliverable="A drawing with a word or two on every line",
        )

    def _discuss(self) -> Task | None:
        point = self._take(lambda point: bool(_REASON.search(point.text)))
        if point is None:
            return None
        return self._on_point(
            point,
            kind="discuss",
            title=f"Discuss what depends on {self._about(point)}",
            summary=clipped(point.text),
            instructions=f"The source says: “{point.text}” Suppose that this did not hold. With a partner, "
            f"list "
            "what would be otherwise, and decide who would notice it first.",
        )

    def _retell(self) -> Task | None:
        point = self._take(lambda _: True)
        if point is None:
            return None
        return self._on_point(
            point,
            kind="reflect",
            title=f"Tell it back: {self._about(point)}",
            summary=clipped(point.text),
            instructions=f"Read this sentence once more: “{point.text}” Close the text and go on from there "
            "in three or four sentences, as you would for a friend who is new to the subject. Check what "
            "you left out.",
            deliverable="Three or four sentences of your own",
        )

    def _questions(self) -> Task:
        names = listed(self.phrases) if self.phrases else self.topic
        point = self._mention()
        return self._on_point(
            point,
            kind="discuss",
            title=f"Ask three questions about {self.topic}",
            summary=clipped(point.text),
            instructions=f"Write three questions on {names} that the passage answers: one about what, one "
            f"about "
            "why, one about what if. Put them to a partner, and judge the answers by the text.",
            deliverable="Three questions with the answers of the text",
        )

    def _mention(self) -> Point:
        """The line that speaks of most of what the lesson is about, and that no activity starts from yet."""
        wanted = [term_key(phrase, self.study.language) for phrase in self.phrases]
        lines = self.study.lines[self.chunk.first : self.chunk.last]
        scored = [
            (
                line.index not in self.cited,
                is_quotable(line) and self.study.definition_at(line) is None,
                sum(mentions(line.stems, key) for key in wanted),
                -line.index,
            )
            for line in lines
        ]
        line = self.study.lines[-max(scored)[3]]
        self.cited.add(line.index)
        return Point(shorten(line.told, 34), line)

    def _about(self, point: Point) -> str:
        names = self.study.book.best(point.line.index, point.line.index + 1, limit=1)
        return with_article(self.study, names[0].text) if names else self.subject

    def _on_point(
        self, point: Point, *, kind: str, title: str, summary: str, instructions: str, deliverable: str = ""
    ) -> Task:
        return Task(
            kind=kind,
            purpose="explain",
            title=title,
            summary=summary,
            instructions=instructions,
            minutes=minutes_for(point.line.words, 2),
            sources=(self.study.reading.span_of(point.line, point.text),),
            deliverable=deliverable,
        )


def _without_figure(told: str) -> str:
    """A sentence with a gap where its figure was."""
    figure = figure_in(told)
    return f"{told[: figure.start]}{GAP}{told[figure.end :]}" if figure else told
