"""What an item says: its right answers, and everything in it. Pure."""

import re

from aifactory.granulation.tree import Item, ItemKind
from aifactory.granulation.words import normalized

CHOICE_KINDS = frozenset({ItemKind.SINGLE, ItemKind.MULTI})
_ARTICLE = re.compile(r"^(?:a|an|the)\s+")


def key_texts(item: Item) -> tuple[str, ...]:
    """The texts of the right answer, as far as it is one text: right options, the first accepted spelling."""
    if item.kind in CHOICE_KINDS:
        return tuple(option.text for option in item.options if option.correct)
    return item.accepted[:1] if item.kind in (ItemKind.SHORT, ItemKind.CLOZE) else ()


def without_article(text: str) -> str:
    """A text in lower case and without its first article; signs stay where there are no words."""
    return _ARTICLE.sub("", normalized(text) or text.strip())


def answer_texts(item: Item) -> tuple[str, ...]:
    """All texts of the right answer, steps and pairs too."""
    pairs = tuple(f"{pair.left} {pair.right}" for pair in item.pairs)
    return key_texts(item) + item.steps + pairs


def item_text(item: Item) -> str:
    """Everything that an item says, for comparison with a source."""
    options = (option.text for option in item.options)
    return "\n".join((item.stem, item.feedback, *answer_texts(item), *item.accepted, *options))
