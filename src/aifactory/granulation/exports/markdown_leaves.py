"""Cards as the rows of a table, claims as bullets, and what such short forms leave out. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from aifactory.granulation.exports.markdown_text import duration, escape
from aifactory.granulation.exports.model import EVERY_NODE, Loss
from aifactory.granulation.index import HANDOVER_FIELDS
from aifactory.granulation.tree import Node

EITHER_SIDE = "⇄"
# What a leaf in short form shows; any other field makes it a node like others.
_CARD = frozenset({"front", "back", "cardKind", "objectiveIds"})
_CLAIM = frozenset({"claim"})


def is_card(node: Node) -> bool:
    """Whether a node can be shown by its front and back alone."""
    fields = node.fields
    return not node.children and fields.keys() <= _CARD | HANDOVER_FIELDS and _texts(fields, "front", "back")


def is_claim(node: Node) -> bool:
    """Whether a node can be shown as a bullet."""
    return (
        not node.children and node.fields.keys() <= _CLAIM | HANDOVER_FIELDS and _texts(node.fields, "claim")
    )


def _texts(fields: dict[str, Any], *names: str) -> bool:
    return all(isinstance(fields.get(name), str) and fields[name].strip() for name in names)


def card_table(
    cards: Sequence[Node], marks: Callable[[Node], str], serves: Callable[[Node], str]
) -> list[str]:
    """Two columns, and a third one where cards serve objectives; ``marks`` are the numbers of sources."""
    served = [serves(card) for card in cards]
    names = ["Front", "Back", *(["Objectives"] if any(served) else [])]
    rows = [names, ["---"] * len(names)]
    for card, objectives in zip(cards, served, strict=True):
        either = f" {EITHER_SIDE}" if card.fields.get("cardKind") == "reversed" else ""
        cells = [_cell(card.fields["front"]) + either, _cell(card.fields["back"]) + marks(card)]
        rows.append([*cells, *([_cell(objectives)] if any(served) else [])])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(text: str) -> str:
    return escape(text).replace("|", "\\|")


def claim_line(node: Node, marks: str) -> str:
    """A bullet with a point's claim; its title, summary and facts only where they say more."""
    claim = node.fields["claim"]
    title = "" if opens_with_title(node) else f"**{escape(node.title.rstrip('.'))}.** "
    facts = [duration(node.minutes) if node.minutes else "", ", ".join(node.tags)]
    extra = f" *({escape(' · '.join(fact for fact in facts if fact))})*" if any(facts) else ""
    summary = f" {escape(node.summary)}" if node.summary.strip() else ""
    return f"- {title}{escape(claim)}{marks}{summary}{extra}"


def opens_with_title(node: Node) -> bool:
    """Whether a claim's title is only its opening words."""
    start = " ".join(node.title.rstrip("….!? ").split()).casefold()
    return bool(start) and " ".join(node.fields["claim"].split()).casefold().startswith(start)


def card_losses(nodes: Sequence[Node]) -> list[Loss]:
    """What the rows of cards leave out, as far as the cards have it."""
    cards = [node for node in nodes if is_card(node)]
    reason = "A card is shown by its front and back"
    held = {
        "title": bool(cards),
        "summary": any(card.summary.strip() for card in cards),
        "minutes": any(card.minutes for card in cards),
        "tags": any(card.tags for card in cards),
    }
    return [Loss(node=EVERY_NODE, field=f"card.{name}", reason=reason) for name, has in held.items() if has]
