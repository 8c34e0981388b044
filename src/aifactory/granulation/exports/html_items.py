"""Items as questions with a folded answer; the same answer goes into the key that only paper shows. Pure."""

from aifactory.granulation.exports.html_book import Book
from aifactory.granulation.exports.markdown_items import KIND_NAMES, letter, shuffled
from aifactory.granulation.exports.markdown_text import words_of
from aifactory.granulation.exports.markup import NOTHING, Html, join, listing, prose, table, tag, text, words
from aifactory.granulation.tree import Item, ItemKind


def question(book: Book, item: Item, heading: str, notes: Html = NOTHING) -> Html:
    """One question; its answer is noted in the book for the key, ``notes`` stand behind the fold alone."""
    number = book.next_question()
    points = f"{item.points} point" + ("s" if item.points != 1 else "")
    facts = " · ".join([KIND_NAMES[item.kind], item.difficulty, words_of(item.bloom).lower(), points])
    solved = answer(book, item)
    book.answers.append(join([tag("p", _back(number), solution(item)), _reasons(item)]))
    return tag(
        "section",
        tag(heading, text(f"Question {number}"), tag("small", text(facts)), class_="ask"),
        prose(item.stem, class_="stem"),
        _choices(item),
        tag("p", tag("b", text("Hint: ")), words(item.hint), class_="hint") if item.hint else NOTHING,
        tag("details", tag("summary", text("Answer")), solved, notes, class_="answer"),
        class_=f"question {item.kind}",
        id=f"q-{number}",
    )


def _back(number: int) -> Html:
    return join([tag("a", text(f"Question {number}"), href=f"#q-{number}"), text(": ")])


def answer(book: Book, item: Item) -> Html:
    """What is right, why, what is wrong about the others, what it tests and where it is said."""
    marks = book.marks(item.sources)
    tested = [book.refer(one) for one in item.objective_ids if one in book.objectives]
    tests = tag("p", text("Tests: "), join(tested, "; "), class_="tests") if tested else NOTHING
    return join([tag("p", tag("b", solution(item)), marks), _reasons(item), tests])


def _reasons(item: Item) -> Html:
    why = listing(
        [
            _lettered(place, option.rationale)
            for place, option in enumerate(item.options)
            if option.rationale.strip()
        ],
        class_="plain",
    )
    said = any(item.feedback == option.rationale for option in item.options)
    return join([why, NOTHING if said else prose(item.feedback)])


def _choices(item: Item) -> Html:
    if item.options:
        return _choice_list([option.text for option in item.options])
    if item.kind is ItemKind.TRUE_FALSE:
        return listing([text("True"), text("False")], class_="options plain")
    if item.kind is ItemKind.MATCH:
        left = listing([words(pair.left) for pair in item.pairs], "ol", class_="options")
        return tag("div", left, _choice_list(shuffled([pair.right for pair in item.pairs])), class_="match")
    if item.kind is ItemKind.ORDER:
        return _choice_list(shuffled(list(item.steps)))
    if item.kind is ItemKind.ESSAY and item.rubric:
        lines = [[words(line.criterion), text(str(line.points))] for line in item.rubric]
        return table(["Criterion", "Points"], lines)
    return NOTHING


def _choice_list(texts: list[str]) -> Html:
    return listing([_lettered(place, one) for place, one in enumerate(texts)], class_="options plain")


def _lettered(place: int, said: str) -> Html:
    return join([tag("b", text(letter(place))), words(said)], " ")


def solution(item: Item) -> Html:
    """The right answer in one line."""
    if item.options:
        right = [f"{letter(place)}. {one.text}" for place, one in enumerate(item.options) if one.correct]
        return words("; ".join(right) or "–")
    if item.kind is ItemKind.TRUE_FALSE:
        return text({True: "True", False: "False", None: "–"}[item.answer])
    if item.kind is ItemKind.NUMERIC and item.value is not None:
        tolerance = f" ± {item.tolerance:g}" if item.tolerance else ""
        return text(f"{item.value:g}{tolerance} {item.unit or ''}")
    if item.kind is ItemKind.MATCH:
        right = shuffled([pair.right for pair in item.pairs])
        found = [f"{place}–{letter(right.index(pair.right))}" for place, pair in enumerate(item.pairs, 1)]
        return text(", ".join(found) or "–")
    if item.kind is ItemKind.ORDER:
        given = shuffled(list(item.steps))
        return text(", ".join(letter(given.index(step)) for step in item.steps) or "–")
    if item.accepted:
        return words(" / ".join(item.accepted))
    return text("By the rubric" if item.kind is ItemKind.ESSAY else "–")
