"""Flaws planted into sound questions of general knowledge: which of them do the rules of items find."""

import random
from collections import Counter
from collections.abc import Sequence

import msgspec

from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Node, Origin, Tree
from aifactory.granulation.validation import validate
from bench.granulation.figures import Figure, Measure
from bench.granulation.planting import PLANTS, Plain, Plant, sound
from bench.granulation.questions import PAIRS, QUESTIONS

ITEMS = 300
PER_QUIZ, PLANTED_PER_QUIZ = 15, 10
SEED = 20


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the rule that should find its flaw; none for a sound one."""

    item: Plain
    rule: str | None


def planted(seed: int = SEED, items: int = ITEMS) -> list[list[Planted]]:
    """Quizzes of fifteen questions: ten flaws, one flaw between two, three sound ones."""
    chance = random.Random(seed)
    turn = 0
    quizzes = []
    for number_of_quiz in range(items // PER_QUIZ):
        rule, place, extra, is_extra = PAIRS[number_of_quiz % len(PAIRS)]
        others = [one for one in range(len(QUESTIONS)) if one != place]
        chance.shuffle(others)
        first, second = sound(0, QUESTIONS[place], chance), sound(1, extra, chance)
        quiz = [
            Planted(item=first, rule=None if is_extra else rule),
            Planted(item=second, rule=rule if is_extra else None),
        ]
        for _ in range(PLANTED_PER_QUIZ):
            rule, plant = PLANTS[turn % len(PLANTS)]
            turn += 1
            quiz.append(Planted(item=_with(plant, len(quiz), others, chance), rule=rule))
        while len(quiz) < PER_QUIZ:
            quiz.append(Planted(item=sound(len(quiz), QUESTIONS[others.pop()], chance), rule=None))
        quizzes.append(quiz)
    return quizzes


def _with(plant: Plant, place: int, left: list[int], chance: random.Random) -> Plain:
    """A question that the flaw can be written into, taken from those that are left."""
    for candidate in list(left):
        item = sound(place, QUESTIONS[candidate], chance)
        if plant(item, chance):
            left.remove(candidate)
            return item
    raise LookupError(plant.__name__)


def found(quiz: Sequence[Planted]) -> set[tuple[str, str]]:
    """What the validator says of a quiz: a question's id and a rule."""
    nodes = tuple(
        Node(
            id=one.item["id"],
            kind="item",
            level=2,
            ordinal=place,
            title=f"Question {place}",
            fields={"item": one.item},
        )
        for place, one in enumerate(quiz, 1)
    )
    sections = tuple(
        Node(
            id=f"s{place}",
            kind="section",
            level=1,
            ordinal=place,
            title=f"Part {place}",
            summary="Questions of general knowledge.",
            fields={"objectiveIds": ["o1"]},
            children=nodes[start : start + 5],
        )
        for place, start in enumerate(range(0, len(nodes), 5), 1)
    )
    objective = {
        "id": "o1",
        "text": "Recall ten facts of general knowledge without looking them up",
        "bloom": "remember",
    }
    tree = Tree(
        structure_type="quiz",
        title="General knowledge",
        summary="Questions from many fields.",
        language="en",
        origin=Origin.HUMAN,
        depth=2,
        fields={"objectives": [objective]},
        nodes=sections,
    )
    ids = {one.item["id"] for one in quiz}
    violations = validate(tree, builtin_specs()["quiz"])
    return {
        (one.node_id, one.rule) for one in violations if one.rule.startswith("item.") and one.node_id in ids
    }


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Planted flaws and reports, by rule; a report is right where its flaw was planted."""

    planted: Counter[str]
    caught: Counter[str]
    reported: Counter[str]
    missed: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def recall(self) -> float:
        """The share of the planted flaws that was reported, 0–1."""
        return self.caught.total() / max(1, self.planted.total())

    @property
    def precision(self) -> float:
        """The share of the reports that name a planted flaw, 0–1."""
        return self.caught.total() / max(1, self.reported.total())


def findings(quizzes: Sequence[Sequence[Planted]]) -> Findings:
    """What was planted against what was reported."""
    sown, caught, reported = Counter[str](), Counter[str](), Counter[str]()
    missed, wrong = [], []
    for quiz in quizzes:
        stems = {one.item["id"]: one.item["stem"] for one in quiz}
        wanted = {(one.item["id"], one.rule) for one in quiz if one.rule is not None}
        seen = found(quiz)
        sown.update(rule for _, rule in wanted)
        reported.update(rule for _, rule in seen)
        caught.update(rule for _, rule in wanted & seen)
        missed += [f"{rule}: {_told(quiz, name)}" for name, rule in sorted(wanted - seen)]
        wrong += [f"{rule}: {stems[name][:70]}" for name, rule in sorted(seen - wanted)]
    return Findings(planted=sown, caught=caught, reported=reported, missed=tuple(missed), wrong=tuple(wrong))


def _told(quiz: Sequence[Planted], name: str) -> str:
    item = next(one.item for one in quiz if one.item["id"] == name)
    return f"{item['stem'][:60]} {' / '.join(one['text'] for one in item['options'])}"[:140]


def _counts(result: Findings, rule: str) -> tuple[int, int, int]:
    caught = result.caught[rule]
    return result.planted[rule], caught, result.reported[rule] - caught


def measure(*, quick: bool) -> Measure:
    """Recall and precision of the item rules on planted flaws."""
    quizzes = planted()
    result = findings(quizzes)
    rows = [
        (rule, *(str(one) for one in _counts(result, rule)))
        for rule in sorted(result.planted.keys() | result.reported.keys())
    ]
    return Measure(
        name="flaws",
        title="Flaws planted into questions",
        settings={
            "questions": f"{len(QUESTIONS)} of general knowledge, in quizzes of {PER_QUIZ}, by seed {SEED}",
            "flaws": f"one in a question, in {len(PLANTS)} ways by a script that reads nothing of these, "
            f"and {len(PAIRS)} pairs of questions that spoil one another",
            "found": "the rule meant is reported at the question; any other report counts against precision",
        },
        figures=(
            Figure(what="questions", value=sum(map(len, quizzes)), unit="", aim=ITEMS, least=True),
            Figure(what="flaws planted", value=result.planted.total(), unit=""),
            Figure(what="recall", value=100 * result.recall, unit="%", aim=93, least=True),
            Figure(what="precision", value=100 * result.precision, unit="%", aim=85, least=True),
        ),
        heads=("rule", "planted", "found", "reported elsewhere"),
        rows=tuple(rows),
        lists={"missed": result.missed, "reported where nothing was planted": result.wrong},
    )
