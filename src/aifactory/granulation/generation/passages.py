"""Passages of a source: its sentences under labels that a model can cite, shared out among parts. Pure.

A model never quotes: it names a label, and the label stands for an exact span of the source.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.rules_learning import term_key
from aifactory.granulation.tree import Concept, Span
from aifactory.granulation.words import content_stems

_LABEL = re.compile(r"^\[?s([0-9]{1,7})\]?$")
LEAST_WORDS = 4
# Some sentences around what the outline cited give a writer the context.
_AROUND = 2
_LEAST_SHARED = 2


class Passages:
    """The sentences of a digest's source, by index."""

    def __init__(self, digest: Digest, text: str) -> None:
        self._digest = digest
        self._text = text
        self._stems: dict[int, frozenset[str]] = {}
        self.usable = [
            index
            for index, sentence in enumerate(digest.sentences)
            if sentence.end - sentence.start > 0
            and len(text[sentence.start : sentence.end].split()) >= LEAST_WORDS
        ] or list(range(len(digest.sentences)))

    def line(self, index: int) -> str:
        """Return a sentence on one line, as a prompt shows it."""
        sentence = self._digest.sentences[index]
        return " ".join(self._text[sentence.start : sentence.end].split())

    def span(self, index: int) -> Span:
        """Return a sentence's exact place in the source."""
        sentence = self._digest.sentences[index]
        return Span(start=sentence.start, end=sentence.end, quote=self._text[sentence.start : sentence.end])

    def known(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Return the sentences that labels stand for; a label that stands for none is dropped."""
        found = (_LABEL.match(label.strip()) for label in labels)
        indexes = (int(match.group(1)) for match in found if match)
        return tuple(dict.fromkeys(index for index in indexes if index < len(self._digest.sentences)))

    def nearest(self, said: str, among: Sequence[int]) -> list[int]:
        """Return the sentence that shares most of its words with what is said, if one shares enough."""
        wanted = self._stems_of(said)
        best, most = -1, 0.0
        for index in among:
            own = self._line_stems(index)
            shared = len(own & wanted) / (len(own) ** 0.5 or 1)
            if shared > most and len(own & wanted) >= _LEAST_SHARED:
                best, most = index, shared
        return [best] if best >= 0 else []

    def _stems_of(self, text: str) -> frozenset[str]:
        return frozenset(content_stems(text, self._digest.language))

    def _line_stems(self, index: int) -> frozenset[str]:
        if index not in self._stems:
            self._stems[index] = self._stems_of(self.line(index))
        return self._stems[index]

    def glossary(self, terms: Sequence[str]) -> list[dict[str, Any]]:
        """Return what the source says of the terms that it defines, with the place."""
        language = self._digest.language
        wanted = {term_key(term, language) for term in terms}
        entries = []
        for concept in self._digest.concepts:
            if term_key(concept.term, language) in wanted:
                wanted.discard(term_key(concept.term, language))
                span = Span(
                    start=concept.start, end=concept.end, quote=self._text[concept.start : concept.end]
                )
                entry = Concept(term=concept.term, definition=concept.phrase, sources=(span,))
                entries.append(msgspec.to_builtins(entry))
        return entries

    def shares(self, cited: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """Share the source out: a part gets what was cited for it with its surroundings, in order.

        What nobody cited goes to the part whose citations come nearest before it, so that nothing is lost;
        parts that cite nothing get an even slice.
        """
        count = len(cited)
        owned: list[set[int]] = [set() for _ in range(count)]
        owner_of: dict[int, int] = {}
        for part, indexes in enumerate(cited):
            for index in indexes:
                owner_of.setdefault(index, part)
                owned[part].update(range(max(0, index - _AROUND), index + _AROUND + 1))
        if owner_of:
            current = owner_of[min(owner_of)]
            for index in self.usable:
                current = owner_of.get(index, current)
                owned[current].add(index)
        for part in range(count):
            if not cited[part]:
                size = len(self.usable) / count
                owned[part].update(
                    self.usable[int(part * size) : max(int(part * size) + 1, int((part + 1) * size))]
                )
        usable = set(self.usable)
        return [tuple(sorted(indexes & usable)) for indexes in owned]

    def within(self, indexes: Sequence[int], characters: int) -> list[tuple[str, str]]:
        """Return as many sentences with labels as fit, evenly spread when not all do."""
        lengths = [len(self.line(index)) + 8 for index in indexes]
        total = sum(lengths)
        if total > characters and indexes:
            keep = max(1, int(len(indexes) * characters / total))
            step = len(indexes) / keep
            indexes = [indexes[int(position * step)] for position in range(keep)]
        chosen, left = [], characters
        for index in indexes:
            line = self.line(index)
            left -= len(line) + 8
            if left < 0:
                break
            chosen.append((label_of(index), line))
        return chosen

    def overview(self, characters: int) -> list[tuple[str, str]]:
        """Return the sentences that open each section, then more, as many as fit, in order."""
        firsts: list[int] = []
        seen: dict[int, int] = {}
        for index in self.usable:
            section = self._digest.sentences[index].section
            seen[section] = seen.get(section, 0) + 1
            if seen[section] <= 2:
                firsts.append(index)
        budget = characters - sum(len(self.line(index)) + 8 for index in firsts)
        if budget <= 0:
            return self.within(firsts, characters)
        rest = [index for index in self.usable if index not in set(firsts)]
        more = [int(label[1:]) for label, _ in self.within(rest, budget)]
        return [(label_of(index), self.line(index)) for index in sorted([*firsts, *more])]


def label_of(index: int) -> str:
    """Return the label of a sentence."""
    return f"s{index}"
