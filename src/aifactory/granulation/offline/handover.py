"""What a later writer is told of each node: how long, in which tone, how urgent, how many minutes."""

import re
from collections.abc import Mapping, Sequence
from math import ceil

import msgspec

from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.tree import Node

# A text of this many words takes a minute to read at leisure, with what one does while reading.
_WORDS_PER_MINUTE = 120
_LEAST_WORDS = 60
_MOST_WORDS = 20_000
_READING = 200
_LEAF_WORDS = 150
_TONES = (
    (r"\b(?:child|children|kids?|pupils?|primary)\b", "warm and playful, short sentences"),
    (r"\b(?:student|students|university|college|undergraduate)\b", "clear and encouraging, terms explained"),
    (
        r"\b(?:professional|professionals|expert|experts|engineers?|managers?|developers?|specialists?|staff|nurses?"
        r"|doctors?|accountants?|team|teams)\b",
        "matter-of-fact and exact",
    ),
)
_PLAIN = "plain and friendly"
_HIGH, _LOW = 1, 3


def tone_for(audience: str) -> str:
    """The tone that suits an audience, in words for a writer."""
    return next((tone for form, tone in _TONES if re.search(form, audience, re.IGNORECASE)), _PLAIN)


def handed_over(
    nodes: Sequence[Node], *, tone: str, phrases: Mapping[str, float], language: str
) -> tuple[Node, ...]:
    """The nodes, and all below them, with their targets; what a maker has set itself stays.

    ``phrases`` are the stems of the source's keyphrases with their weights: siblings that say most of them
    come first.
    """
    worth = [_worth(node, phrases, language) for node in nodes]
    order = sorted(range(len(nodes)), key=lambda at: (-worth[at], at))
    priority = {at: min(_LOW, _HIGH + rank * _LOW // len(nodes)) for rank, at in enumerate(order)}
    made = []
    for at, node in enumerate(nodes):
        children = handed_over(node.children, tone=tone, phrases=phrases, language=language)
        made.append(handover(msgspec.structs.replace(node, children=children), tone, priority[at]))
    return tuple(made)


def handover(node: Node, tone: str, priority: int) -> Node:
    """A node with its targets; those of its children add up in it."""
    words = sum(child.fields["targetWords"] for child in node.children) or _words_of(node)
    minutes = sum(child.fields["estimatedMinutes"] for child in node.children)
    targets = {
        "targetWords": words,
        "tone": tone,
        "priority": priority,
        "estimatedMinutes": node.minutes or minutes or max(1, ceil(words / _READING)),
    }
    return msgspec.structs.replace(node, fields=targets | node.fields)


def _words_of(node: Node) -> int:
    """Words for a leaf: those that it plans itself, else what its minutes leave room for."""
    planned = node.fields.get("words")
    if isinstance(planned, int) and planned > 0:
        return planned
    if not node.minutes:
        return _LEAF_WORDS
    return max(_LEAST_WORDS, min(_MOST_WORDS, node.minutes * _WORDS_PER_MINUTE))


def _worth(node: Node, phrases: Mapping[str, float], language: str) -> float:
    said = stems_of(f"{node.title} {node.summary}", language)
    return sum(phrases.get(stem, 0.0) for stem in dict.fromkeys(said))


def in_hours(nodes: Sequence[Node], hours: float, bounds: tuple[int, int]) -> tuple[Node, ...]:
    """The nodes with their minutes stretched or pressed towards ``hours`` in all; leaves keep to bounds."""
    total = sum(map(_minutes, nodes))
    if not total:
        return tuple(nodes)
    return tuple(_stretched(node, hours * 60 / total, bounds) for node in nodes)


def _minutes(node: Node) -> int:
    return sum(map(_minutes, node.children)) or node.minutes or 0


def _stretched(node: Node, factor: float, bounds: tuple[int, int]) -> Node:
    children = tuple(_stretched(child, factor, bounds) for child in node.children)
    minutes = sum(child.minutes or 0 for child in children)
    if not minutes and node.minutes:
        minutes = max(bounds[0], min(bounds[1], round(node.minutes * factor)))
    return msgspec.structs.replace(node, minutes=minutes or node.minutes, children=children)
