"""What learners do with a lesson: read, practise, compare, discuss, retell."""

import re
from collections.abc import Iterator, Sequence
from math import ceil

import msgspec

from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.digest import Procedure
from aifactory.granulation.offline.figures import figure_in
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.items import step_text
from aifactory.granulation.offline.objectives import Aim, listed, number_word, subject_of, topic_of
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.procedures import name_of, span_of, steps_of
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped, shorten
from aifactory.granulation.tree import Span

WORDS_PER_MINUTE = 200
PRACTICE_MINUTES = 2
SHORTEST, LONGEST = 3, 12
_MOST_READ = 2_000
_MOST_INSTRUCTIONS = 1_800
_REASON = re.compile(
    r"\b(?:because|therefore|so that|as a result|which is why|otherwise|depends on|must|should)\b", re.I
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
    study: Study, chunk: Chunk, title: str, aims: Sequence[Aim], points: Sequence[Point], most: int
) -> list[Task]:
    """Up to ``most`` activities: reading first where there is room, then what the lesson supports best."""
    if most < 1:
        return []
    desk = _Desk(study, chunk, title, aims, points)
    practice = list(desk.practice())
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

    def practice(self) -> Iterator[Task]:
        """Everything but reading that the lesson supports, best first."""
        study, chunk = self.study, self.chunk
        for procedure in study.procedures_between(chunk.first, chunk.last)[:1]:
            yield self._steps(procedure)
        if "contrast" in self.aims:
            yield self._contrast(self.aims["contrast"])
        if "define" in self.aims:
            used = [line.index for line in self._defined()]
            self.free = [point for point in self.free if point.line.index not in used]
            yield self._terms(self.aims["define"])
        figures = self._figure_points()[:3]
        if len(figures) >= 2:
            self.free = [
                point for point in self.free if point.line not in [figure.line for figure in figures]
            ]
            yield self._figures(figures)
        if (at := next((i for i, p in enumerate(self.free) if _REASON.search(p.text)), None)) is not None:
            yield self._discuss(self._point(at))
        if self.free:
            yield self._retell(self._point(-1))

    def _figure_points(self) -> list[Point]:
        lines = self.study.lines[self.chunk.first : self.chunk.last]
        used = {line.index for line in self._defined()} | {self.first_point.line.index}
        return [
            Point(shorten(line.told, 28), line)
            for line in lines
            if line.usable and line.kind == "s" and line.index not in used and figure_in(line.told)
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
        names = listed([f"“{term}”" for term in aim.terms])
        mean = "mean" if len(aim.terms) > 1 else "means"
        quotes = " ".join(f"“{shorten(line.told, 28)}”" for line in lines)
        # Two ways to do the same, so that the lessons of a course don't all look alike.
        if int(short_hash(names), 16) % 2:
            task = f"Close the text and write one sentence that says what {names} {mean}. Check it here: "
            close, product = "Mark what you left out.", "A short definition of each in your own words"
        else:
            task = f"Explain to a partner what {names} {mean}, with an example of your own. Then read: "
            close, product = "Agree on what your explanation lacked.", "An explanation with an example"
        return Task(
            kind="practice",
            purpose="define",
            title=f"Say what {names} {mean}",
            summary=f"The meaning of {names}, in your own words and checked against the source.",
            instructions=f"{task}{quotes} {close}",
            minutes=minutes_for(50 * len(aim.terms), 1),
            sources=tuple(study.reading.span(line) for line in lines),
            deliverable=product,
        )

    def _figures(self, points: Sequence[Point]) -> Task:
        quotes = " ".join(f"“{point.text}”" for point in points)
        return Task(
            kind="practice",
            purpose="figures",
            title=f"Remember the figures: {self.title}",
            summary=f"The figures that belong to {self.topic}, by heart and with their units.",
            instructions=f"Cover the numbers and say them from memory, with their units: {quotes}",
            minutes=minutes_for(30 * len(points), 1),
            sources=tuple(self.study.reading.span(point.line) for point in points),
            deliverable=f"{number_word(len(points)).capitalize()} sentences with the right figures",
        )

    def _discuss(self, point: Point) -> Task:
        names = self.study.book.best(point.line.index, point.line.index + 1, limit=1)
        topic = with_article(self.study, names[0].text) if names else self.subject
        return Task(
            kind="discuss",
            purpose="explain",
            title=f"Discuss the part that {topic} {'play' if _is_plural(topic) else 'plays'}",
            summary=f"Why it is so, and what happens if it is ignored: {topic}.",
            instructions=f"The source says: “{point.text}” Tell a partner in your own words why this is so. "
            "Then think of a case in which someone ignores it, and say what would happen.",
            minutes=minutes_for(point.line.words, 2),
            sources=(self.study.reading.span_of(point.line, point.text),),
        )

    def _retell(self, point: Point) -> Task:
        names = self.study.book.best(point.line.index, point.line.index + 1, limit=2)
        about = listed([with_article(self.study, phrase.text) for phrase in names]) if names else self.subject
        return Task(
            kind="reflect",
            purpose="explain",
            title=f"Tell it back: {about}",
            summary=f"A retelling from memory of what the source says about {about}.",
            instructions=f"Read this sentence once more: “{point.text}” Close the text and go on from there "
            "in three or four sentences, as you would for a friend who is new to the subject. Check what you "
            "left out.",
            minutes=minutes_for(60, 1),
            sources=(self.study.reading.span_of(point.line, point.text),),
            deliverable="Three or four sentences of your own",
        )


def _is_plural(name: str) -> bool:
    return name.endswith("s") and not name.endswith(("ss", "us", "is"))
