"""The local step that takes from earlier trees what a stage is given: a text to read, objectives. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from aifactory.granulation.generation.nodes import items_below
from aifactory.granulation.offline.brief import GivenObjective
from aifactory.granulation.steps import Made, Refused
from aifactory.granulation.tree import Concept, Node, Objective, Origin, Span, Tree, walk

# Fields whose texts a reader would read, in this order.
_READ = ("keyPoints", "instructions", "claim", "front", "back")
_DEEPEST_HEADING = 6


def take(source: bytes | None, objectives: bytes | None, most_words: int) -> Made | Refused:
    """Take the text of one tree and the objectives of another; at most so many words of each."""
    artifacts: dict[str, bytes] = {}
    words = 0
    if source is not None:
        tree = msgspec.json.decode(source, type=Tree)
        if tree.origin is Origin.OFFLINE and tree.source is None:
            message = (
                "The earlier stage made a frame of a topic, which tells nothing. Give the request a source."
            )
            return Refused(code="source_is_frame", message=message)
        text = text_of(tree, most_words)
        artifacts["source"] = text.encode()
        words += min(most_words, len(text.split()))
    if objectives is not None:
        taken = objectives_of(msgspec.json.decode(objectives, type=Tree))
        if not taken:
            message = "The stage that the objectives were to come from has none."
            return Refused(code="no_objectives", message=message)
        artifacts["objectives"] = msgspec.json.encode(taken)
        words += min(most_words, sum(len(one.text.split()) for one in taken))
    return Made(artifacts=artifacts, words_read=words)


def objectives_of(tree: Tree) -> list[GivenObjective]:
    """Return a tree's objectives in its order, with the passage of its source that treats each."""
    places: dict[str, list[Span]] = {}
    for _, node in walk(tree):
        for name in node.fields.get("objectiveIds", ()):
            places.setdefault(name, []).extend(_spans_below(node))
    found = _root_objectives(tree)
    found += [(one, node) for _, node in walk(tree) for one in node.objectives]
    taken: dict[str, GivenObjective] = {}
    for objective, owner in found:
        spans = places.get(objective.id) or (list(_spans_below(owner)) if owner is not None else [])
        given = GivenObjective(
            id=objective.id,
            text=objective.text,
            bloom=objective.bloom,
            start=min((span.start for span in spans), default=-1),
            end=max((span.end for span in spans), default=-1),
            source=tree.source.sha256 if tree.source is not None else "",
        )
        taken.setdefault(objective.id, given)
    return list(taken.values())


def _root_objectives(tree: Tree) -> list[tuple[Objective, Node | None]]:
    stored = msgspec.convert(tree.fields.get("objectives", []), list[Objective])
    return [(one, None) for one in stored]


def _spans_below(node: Node) -> Iterator[Span]:
    yield from node.sources
    for item in items_below(node):
        yield from item.sources
    for child in node.children:
        yield from _spans_below(child)


def text_of(tree: Tree, most_words: int) -> str:
    """Return a tree as Markdown to read, without questions; whole nodes only, within the words."""
    parts = [f"# {tree.title}\n\n{tree.summary}\n"]
    left = most_words - len(parts[0].split())
    for path, node in walk(tree):
        part = _part(node, path.count(".") + 2)
        left -= len(part.split())
        if left < 0:
            break
        parts.append(part)
    for concept in msgspec.convert(tree.fields.get("glossary", []), list[Concept]):
        part = f"{concept.term}: {concept.definition}\n"
        left -= len(part.split())
        if left >= 0:
            parts.append(part)
    return "\n".join(parts)


def _part(node: Node, level: int) -> str:
    lines = [f"{'#' * min(level, _DEEPEST_HEADING)} {node.title}\n"]
    if node.summary:
        lines.append(f"{node.summary}\n")
    for name in _READ:
        lines += [f"{text}\n" for text in _texts(node.fields.get(name))]
    return "\n".join(lines)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
