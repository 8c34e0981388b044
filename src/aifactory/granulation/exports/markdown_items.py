"""Items as questions in the text, and their answers for the key at the end. Pure."""

import string

from aifactory.granulation.exports.markdown_text import escape, paragraphs, words_of
from aifactory.granulation.tree import Item, ItemKind

KIND_NAMES = {
    ItemKind.SINGLE: "one answer",
    ItemKind.MULTI: "several answers",
    ItemKind.TRUE_FALSE: "true or false",
    ItemKind.SHORT: "short answer",
    ItemKind.NUMERIC: "number",
    ItemKind.MATCH: "match",
    ItemKind.ORDER: "put in order",
    ItemKind.CLOZE: "fill the gap",
    ItemKind.ESSAY: "essay",
}


def letter(position: int) -> str:
    """A, B, … for a position; numbers after Z."""
    return string.ascii_uppercase[position] if position < 26 else str(position + 1)


def shuffled(texts: list[str]) -> list[str]:
    """The texts in an order that does not show the answer and is the same in every export: alphabetical."""
    return sorted(texts, key=lambda text: (text.casefold(), text))


def question(item: Item, number: int) -> list[str]:
    """The lines of a question, without its answer."""
    points = f"{item.points} point" + ("s" if item.points != 1 else "")
    facts = f"{KIND_NAMES[item.kind]} · {item.difficulty} · {points}"
    lines = [f"**Question {number}** *({facts})*", ""]
    for paragraph in paragraphs(item.stem) or [""]:
        lines += [paragraph, ""]
    lines += _choices(item)
    if item.hint:
        lines += [f"*Hint:* {escape(item.hint)}", ""]
    return lines


def _choices(item: Item) -> list[str]:
    if item.options:
        return [*(f"- {letter(place)}. {escape(one.text)}" for place, one in enumerate(item.options)), ""]
    if item.kind is ItemKind.MATCH:
        right = shuffled([pair.right for pair in item.pairs])
        lines = [f"- {place}. {escape(pair.left)}" for place, pair in enumerate(item.pairs, 1)]
        lines += [f"- {letter(place)}. {escape(text)}" for place, text in enumerate(right)]
        return [*lines, ""]
    if item.kind is ItemKind.ORDER:
        return [
            *(f"- {letter(place)}. {escape(text)}" for place, text in enumerate(shuffled(list(item.steps)))),
            "",
        ]
    if item.kind is ItemKind.ESSAY and item.rubric:
        lines = ["| Criterion | Points |", "|---|---|"]
        lines += [
            f"| {escape(line.criterion).replace('|', chr(92) + '|')} | {line.points} |"
            for line in item.rubric
        ]
        return [*lines, ""]
    return []


def answer(item: Item, number: int) -> list[str]:
    """The lines of an answer, with why it is right and what is wrong about the others."""
    lines = [f"**Question {number}:** {_solution(item)}"]
    for place, option in enumerate(item.options):
        if option.rationale.strip():
            lines.append(f"- {letter(place)}: {escape(option.rationale)}")
    if item.feedback.strip() and all(item.feedback != option.rationale for option in item.options):
        lines.append(f"- {escape(item.feedback)}")
    lines.append(f"- *{words_of(item.bloom)}*")
    return [lines[0], "", *lines[1:], ""]


def _solution(item: Item) -> str:
    if item.options:
        return ", ".join(
            f"{letter(place)}. {escape(one.text)}" for place, one in enumerate(item.options) if one.correct
        )
    if item.kind is ItemKind.TRUE_FALSE:
        return {True: "True", False: "False", None: "–"}[item.answer]
    if item.kind is ItemKind.NUMERIC and item.value is not None:
        tolerance = f" ± {item.tolerance:g}" if item.tolerance else ""
        return f"{item.value:g}{tolerance}{' ' + escape(item.unit) if item.unit else ''}"
    if item.kind is ItemKind.MATCH:
        right = shuffled([pair.right for pair in item.pairs])
        return ", ".join(
            f"{place}{letter(right.index(pair.right))}" for place, pair in enumerate(item.pairs, 1)
        )
    if item.kind is ItemKind.ORDER:
        given = shuffled(list(item.steps))
        return ", ".join(letter(given.index(step)) for step in item.steps)
    if item.accepted:
        return " / ".join(escape(one) for one in item.accepted)
    return "by the rubric" if item.kind is ItemKind.ESSAY else "–"
