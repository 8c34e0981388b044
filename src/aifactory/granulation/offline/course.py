"""A course out of a source: modules, lessons, activities."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.activities import Task, minutes_for, tasks_of
from aifactory.granulation.offline.choosing import Chooser
from aifactory.granulation.offline.glossary import Terms
from aifactory.granulation.offline.identity import shares, short_hash
from aifactory.granulation.offline.items import Draft, drafts_of
from aifactory.granulation.offline.objectives import Aim, aims_of, outcome_of
from aifactory.granulation.offline.outline import Chunk, outline, room_for
from aifactory.granulation.offline.procedures import title_of
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, key_points, summarise, summary_text
from aifactory.granulation.offline.titles import Titles, fit_title, same_title
from aifactory.granulation.tree import Bloom, Item, Node, NodeState, Objective, Span

_MOST_OBJECTIVES = 5
_MOST_OUTCOMES = 8
_MOST_ITEMS = 5
# Words of two titles that an objective can name both.
_LONGEST_RUN = 9
_MOST_POINTS = 6
_TAGS = 3
_BLOOM_RANK = {bloom: rank for rank, bloom in enumerate(Bloom)}


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson while its module is made."""

    chunk: Chunk
    title: str
    aims: tuple[Aim, ...]
    objectives: tuple[Objective, ...] = ()


class CourseMaker:
    """Makes the nodes of one course; knows what has been introduced and asked so far."""

    def __init__(self, study: Study, per_level: tuple[int, ...]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._chooser = Chooser(study.language)
        self._terms = Terms(study)
        self._outcomes: list[Objective] = []
        self._practised: Counter[str] = Counter()

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The modules, and the fields of the root."""
        depth = len(self._per_level)
        lessons_most = self._per_level[1] if depth > 1 else 3
        plan = outline(
            self._study,
            most=self._per_level[0],
            inner=lessons_most,
            inner_least=min(2, lessons_most),
            room=room_for(self._per_level[0] * lessons_most),
        )
        taken: list[str] = []
        nodes: list[Node] = []
        weights = shares([parts[0].last - parts[0].first for parts in plan])
        for position, (parts, weight) in enumerate(zip(plan, weights, strict=True), 1):
            title = self._titles.of(parts[0], taken, self._study.digest.title)
            taken.append(title)
            nodes.append(self._module(str(position), title, parts, weight))
        return tuple(nodes), {
            "outcomes": msgspec.to_builtins(self._outcomes),
            "glossary": msgspec.to_builtins(self._terms.glossary()),
        }

    def _module(self, path: str, title: str, parts: list[Chunk], weight: int) -> Node:
        study, part = self._study, parts[0]
        summary = summarise(study, part.first, part.last)
        node_id = "n_" + short_hash(path, title)
        lessons = self._plan_lessons(path, title, parts[1:] or [part])
        outcome = self._outcome(path, part, title, lessons)
        lessons = _with_objectives(path, self._in_runs(lessons), outcome.id if outcome else "")
        objectives = list(dict.fromkeys(one for lesson in lessons for one in lesson.objectives))
        needs: Counter[str] = Counter()
        children = []
        for position, lesson in enumerate(lessons, 1):
            node, used = self._lesson(f"{path}.{position}", position, lesson, summary, node_id)
            children.append(node)
            needs.update(used)
        if len(self._per_level) < 2:
            children = []
        requires = [name for name, count in needs.most_common() if name != node_id and count >= 2][:2]
        applied = any(_BLOOM_RANK[objective.bloom] >= 2 for objective in objectives)
        return Node(
            id=node_id,
            kind="module",
            level=1,
            ordinal=int(path),
            title=title,
            summary=summary_text(study, summary, part.first, part.last),
            minutes=sum(child.minutes or 0 for child in children) or minutes_for(_words(study, part)),
            tags=self._tags(part),
            sources=_spans(study, summary, part),
            state=NodeState.OK,
            fields={
                "objectives": msgspec.to_builtins(objectives),
                "requires": sorted(requires),
                "assessment": {
                    "kind": "assignment" if applied else "quiz",
                    "weight": weight,
                    "objectiveIds": [objective.id for objective in objectives],
                },
            },
            children=tuple(children),
        )

    def _plan_lessons(self, path: str, above: str, pieces: Sequence[Chunk]) -> list[Lesson]:
        taken: list[str] = []
        lessons = []
        for piece in pieces:
            title = self._lesson_title(piece, taken, above)
            taken.append(title)
            lessons.append(Lesson(chunk=piece, title=title, aims=tuple(aims_of(self._study, piece, title))))
        return lessons

    def _lesson_title(self, piece: Chunk, taken: list[str], above: str) -> str:
        """A heading, else the lead-in of steps that fill the lesson, else phrases."""
        if not piece.title and not piece.merged:
            for procedure in self._study.procedures_between(piece.first, piece.last):
                title = fit_title(title_of(self._study, procedure))
                if title and 2 * len(procedure.steps) >= piece.last - piece.first and title not in taken:
                    return title
        return self._titles.of(piece, taken, above)

    def _in_runs(self, lessons: list[Lesson]) -> list[Lesson]:
        """The lessons; neighbours with one aim in common where a module has too many for one each."""
        if len(lessons) <= _MOST_OBJECTIVES:
            return lessons
        made: list[Lesson] = []
        for at in range(_MOST_OBJECTIVES):
            first, last = (round(len(lessons) * edge / _MOST_OBJECTIVES) for edge in (at, at + 1))
            run = lessons[first:last]
            whole = Chunk("", run[0].chunk.first, run[-1].chunk.last, merged=True)
            title = " and ".join(lesson.title for lesson in (run[0], run[-1])[: len(run)])
            if len(title.split()) > _LONGEST_RUN:
                title = run[0].title
            aim = _first_aim(aims_of(self._study, whole, title))
            made += [msgspec.structs.replace(lesson, aims=(aim,)) for lesson in run]
        return made

    def _outcome(self, path: str, part: Chunk, title: str, lessons: Sequence[Lesson]) -> Objective | None:
        if len(self._outcomes) >= _MOST_OUTCOMES:
            return self._outcomes[-1]
        purposes = [aim.purpose for lesson in lessons for aim in lesson.aims]
        aim = outcome_of(self._study, part, title, len(self._outcomes), purposes)
        outcome = Objective(id="oc_" + short_hash(path, aim.text), text=aim.text, bloom=aim.bloom)
        self._outcomes.append(outcome)
        return outcome

    def _lesson(
        self, path: str, position: int, lesson: Lesson, above: Sequence[Point], module: str
    ) -> tuple[Node, list[str]]:
        """A lesson's node, and the modules whose concepts it uses, one entry per mention."""
        study, chunk = self._study, lesson.chunk
        taken = frozenset(point.line.index for point in above)
        summary = summarise(
            study, chunk.first, chunk.last, most=1 if chunk.last - chunk.first < 7 else 2, avoid=taken
        )
        summary = summary or summarise(study, chunk.first, chunk.last, most=1)
        points = key_points(
            study,
            chunk.first,
            chunk.last,
            most=_MOST_POINTS,
            avoid=taken | {point.line.index for point in summary},
        )
        needs = self._terms.needs(chunk.first, chunk.last)
        introduces = self._terms.introduce(chunk.first, chunk.last, module)
        items = self._items(path, lesson)
        activities = self._activities(path, lesson, points)
        words = _words(study, chunk)
        node = Node(
            id="n_" + short_hash(path, lesson.title),
            kind="lesson",
            level=2,
            ordinal=position,
            title=lesson.title,
            summary=summary_text(study, summary or points[:1], chunk.first, chunk.last),
            minutes=sum(child.minutes or 0 for child in activities) or minutes_for(words, 1),
            tags=self._tags(chunk),
            sources=_spans(study, [*summary, *points[:2]], chunk),
            state=NodeState.OK,
            fields={
                "objectiveIds": [objective.id for objective in lesson.objectives],
                "keyPoints": [point.text for point in points],
                "introduces": introduces,
                "needs": [term for term, _ in needs],
                "items": msgspec.to_builtins(items),
            },
            children=tuple(activities),
        )
        return node, [self._terms.owners[term] for term, count in needs for _ in range(count)]

    def _items(self, path: str, lesson: Lesson) -> list[Item]:
        def suits(draft: Draft) -> bool:
            return _objective_for(draft, lesson) is not None

        drafts = filter(suits, drafts_of(self._study, lesson.chunk.first, lesson.chunk.last))
        items = []
        for draft in self._chooser.choose(
            drafts, min(_MOST_ITEMS, 1 + (lesson.chunk.last - lesson.chunk.first) // 4), per_kind=2
        ):
            found = _objective_for(draft, lesson)
            if found:
                items.append(
                    draft.as_item(found.id, max(draft.bloom, found.bloom, key=_BLOOM_RANK.__getitem__), path)
                )
        return items

    def _activities(self, path: str, lesson: Lesson, points: Sequence[Point]) -> list[Node]:
        if len(self._per_level) < 3:
            return []
        tasks = tasks_of(
            self._study, lesson.chunk, lesson.title, lesson.aims, points, self._per_level[2], self._practised
        )
        nodes: list[Node] = []
        for task in tasks:
            title = fit_title(task.title)
            if not any(same_title(title, node.title) for node in nodes):
                nodes.append(_activity(f"{path}.{len(nodes) + 1}", len(nodes) + 1, title, task, lesson))
        return _all_practised(nodes, lesson)

    def _tags(self, chunk: Chunk) -> tuple[str, ...]:
        best = self._study.book.best(chunk.first, chunk.last, limit=_TAGS, boost=self._study.focus)
        return tuple(phrase.text for phrase in best)


def _with_objectives(path: str, lessons: Sequence[Lesson], outcome: str) -> list[Lesson]:
    """Give every lesson an objective, then a second one while the module has room.

    More lessons than a module may have objectives are given one for each run of neighbours.
    """
    chosen: list[list[Aim]] = [[_first_aim(lesson.aims)] for lesson in lessons]
    room = max(0, _MOST_OBJECTIVES - len(lessons))
    practised: Counter[str] = Counter()
    for lesson, aims in zip(lessons, chosen, strict=True):
        rest = [aim for aim in lesson.aims if aim.text != aims[0].text]
        if room and rest:
            # What no other lesson of the module asks for, so that they don't all look alike.
            aims.append(min(rest, key=lambda aim: practised[aim.purpose]))
            practised[aims[-1].purpose] += 1
            room -= 1
    made = []
    for lesson, aims in zip(lessons, chosen, strict=True):
        # Lessons that ask for the same share an objective.
        objectives = tuple(
            Objective(
                id="ob_" + short_hash(path, aim.text),
                text=aim.text,
                bloom=aim.bloom,
                outcome_ids=(outcome,) if outcome else (),
            )
            for aim in aims
        )
        made.append(msgspec.structs.replace(lesson, aims=tuple(aims), objectives=objectives))
    return made


def _first_aim(aims: Sequence[Aim]) -> Aim:
    """What the lesson is for: its explanation, unless it is all about doing something."""
    return next((aim for aim in aims if aim.purpose in ("steps", "formula")), None) or next(
        aim for aim in aims if aim.purpose == "explain"
    )


def _objective_for(draft: Draft, lesson: Lesson) -> Objective | None:
    """The lesson's objective that an item tests: the same purpose, else a level that it can reach."""
    pairs = list(zip(lesson.aims, lesson.objectives, strict=False))
    # Recalling what follows in a case tests that it was understood; telling cases apart takes more.
    purpose = "explain" if draft.purpose == "cases" else draft.purpose
    for aim, objective in pairs:
        if aim.purpose == purpose:
            return objective
    for _, objective in sorted(pairs, key=lambda pair: _BLOOM_RANK[pair[1].bloom]):
        if (
            0 <= _BLOOM_RANK[objective.bloom] - _BLOOM_RANK[draft.bloom] <= 1
            and objective.bloom <= Bloom.UNDERSTAND
        ):
            return objective
    return None


def _activity(path: str, position: int, title: str, task: Task, lesson: Lesson) -> Node:
    same = [
        objective.id
        for aim, objective in zip(lesson.aims, lesson.objectives, strict=False)
        if aim.purpose == task.purpose
    ]
    ids = same or [objective.id for objective in lesson.objectives[:1]]
    fields: dict[str, Any] = {
        "activityKind": task.kind,
        "instructions": task.instructions,
        "objectiveIds": ids,
    }
    if task.deliverable:
        fields["deliverable"] = task.deliverable
    return Node(
        id="n_" + short_hash(path, title),
        kind="activity",
        level=3,
        ordinal=position,
        title=title,
        summary=task.summary,
        minutes=task.minutes,
        sources=task.sources,
        state=NodeState.OK,
        fields=fields,
    )


def _all_practised(nodes: list[Node], lesson: Lesson) -> list[Node]:
    """Let the first activity serve the objectives that no other one does."""
    served = {name for node in nodes for name in node.fields["objectiveIds"]}
    missing = [objective.id for objective in lesson.objectives if objective.id not in served]
    if nodes and missing:
        fields = {**nodes[0].fields, "objectiveIds": [*nodes[0].fields["objectiveIds"], *missing]}
        nodes[0] = msgspec.structs.replace(nodes[0], fields=fields)
    return nodes


def _words(study: Study, chunk: Chunk) -> int:
    return study.reading.words_between(chunk.first, chunk.last)


def _spans(study: Study, points: Sequence[Point], chunk: Chunk) -> tuple[Span, ...]:
    chosen = {point.line.index: point for point in points}
    if not chosen:
        return (study.reading.span(study.lines[chunk.first]),)
    return tuple(study.reading.span_of(point.line, point.text) for point in list(chosen.values())[:3])
