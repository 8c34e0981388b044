"""A deck of flashcards out of a source: groups by its parts, cards in its order."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from aifactory.granulation.offline.cards import CardDraft, cards_between, leans, spare_cards
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.outline import Chunk, joined, outline
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, shorten, summarise, summary_text
from aifactory.granulation.offline.titles import Titles, fit_title, numbered, same_title
from aifactory.granulation.offline.words import stem, words_of
from aifactory.granulation.rules_cards import CLOZE
from aifactory.granulation.tree import Node, NodeState

LEAST_GROUPS, LEAST_CARDS = 2, 5
_TITLE_WORDS = 9
# Cards of a group that are many, and the part of them that is enough.
_MANY, _FULL = 12, 0.7
# More cards asked for than this, and a long source is divided into more parts: sentences for each card.
_FEW = 40
_ROOM = 3
_LEAD_WORDS = 34
_ALIKE = 0.55
_SAME_ANSWER = 2


class DeckMaker:
    """Makes the nodes of one deck; no sentence is asked for twice in it."""

    def __init__(self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._told = frozenset(point.line.index for point in opening)

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The groups, and no fields of the root."""
        taken: list[str] = []
        nodes = []
        for position, (chunk, drafts) in enumerate(self._plan(), 1):
            title = self._titles.of(chunk, taken, self._study.digest.title)
            taken.append(title)
            nodes.append(self._group(position, title, chunk, drafts))
        return tuple(nodes), {}

    def _plan(self) -> list[tuple[Chunk, list[CardDraft]]]:
        """Groups with their cards; a part with too few of them joins its smaller neighbour."""
        study = self._study
        most = self._per_level[1] if len(self._per_level) > 1 else LEAST_CARDS
        least, fewest = min(most, LEAST_CARDS), min(self._per_level[0], LEAST_GROUPS)
        room = _ROOM * most if self._per_level[0] * most > _FEW else None
        plan = outline(study, most=self._per_level[0], inner=1, inner_least=1, room=room)
        parts = [pieces[0] for pieces in plan]
        offered = [cards_between(study, part.first, part.last) for part in parts]
        is_filled = False
        while True:
            chosen = _choose(offered, most)
            poor = min(range(len(parts)), key=lambda at: (len(chosen[at]), at))
            if len(chosen[poor]) >= least:
                break
            if len(parts) <= fewest and not is_filled:
                # Better a plain card than a group too few.
                offered = [[*cards, *self._spare(part)] for cards, part in zip(offered, parts, strict=True)]
                is_filled = True
                continue
            if len(parts) == 1:
                break
            left = _smaller_neighbour(parts, poor)
            parts[left : left + 2] = [joined(parts[left], parts[left + 1])]
            offered[left : left + 2] = [[*offered[left], *offered[left + 1]]]
        if most > _MANY and not is_filled:
            # Who asks for many cards gets plain ones too, in groups that would have few.
            few = [len(kept) < _FULL * most for kept in chosen]
            offered = [
                [*cards, *(self._spare(part) if plain else ())]
                for cards, part, plain in zip(offered, parts, few, strict=True)
            ]
            chosen = _choose(offered, most)
        if len(parts) < fewest:
            whole = offered[0] if is_filled else [*offered[0], *self._spare(parts[0])]
            if halves := self._halves(parts[0], whole, least, most):
                return halves
        return [pair for pair in zip(parts, chosen, strict=True) if pair[1]]

    def _spare(self, part: Chunk) -> list[CardDraft]:
        return spare_cards(self._study, part.first, part.last)

    def _halves(
        self, part: Chunk, offered: Sequence[CardDraft], least: int, most: int
    ) -> list[tuple[Chunk, list[CardDraft]]]:
        """A lone part in two where its cards are enough for two groups; [] where they are not."""
        lines = sorted(draft.line for draft in _choose([offered], 2 * most)[0])
        for at in sorted(lines[1:], key=lambda line: abs(line - lines[len(lines) // 2])):
            bounds = ((part.first, at), (at, part.last))
            sides = [[draft for draft in offered if low <= draft.line < high] for low, high in bounds]
            chosen = _choose(sides, most)
            if min(map(len, chosen)) >= least:
                return [(Chunk("", *bound), drafts) for bound, drafts in zip(bounds, chosen, strict=True)]
        return []

    def _group(self, position: int, title: str, chunk: Chunk, drafts: Sequence[CardDraft]) -> Node:
        study = self._study
        asked = frozenset(draft.line for draft in drafts)
        points = self._lead(chunk, asked) or summarise(study, chunk.first, chunk.last, most=1)
        children: list[Node] = []
        for draft in drafts if len(self._per_level) > 1 else ():
            path = f"{position}.{len(children) + 1}"
            children.append(_card_node(path, draft, [child.title for child in children]))
        return Node(
            id="n_" + short_hash(str(position), title),
            kind="group",
            level=1,
            ordinal=position,
            title=title,
            summary=summary_text(study, points, chunk.first, chunk.last),
            sources=tuple(study.reading.span(point.line) for point in points)
            or (study.reading.span(study.lines[chunk.first]),),
            state=NodeState.OK,
            children=tuple(children),
        )

    def _lead(self, chunk: Chunk, asked: frozenset[int]) -> list[Point]:
        """How the part begins, without what its cards ask for: a summary would spoil them."""
        for line in self._study.lines[chunk.first : chunk.last]:
            is_free = line.index not in asked and line.index not in self._told
            if is_free and line.usable and line.kind == "s" and not leans(line.told):
                return [Point(shorten(line.told, _LEAD_WORDS), line)]
        return []


def _choose(offered: Sequence[Sequence[CardDraft]], most: int) -> list[list[CardDraft]]:
    """At most ``most`` cards of each part, in text order, none of which asks what another one does."""
    taken = _Taken()
    chosen: list[list[CardDraft]] = []
    for drafts in offered:
        taken.answers_here.clear()
        kept: list[CardDraft] = []
        gaps: list[CardDraft] = []
        for draft in drafts:
            if draft.kind == CLOZE and 2 * (len(gaps) + 1) > most:
                continue
            if len(kept) >= most:
                break
            if taken.is_free(draft):
                taken.add(draft)
                kept.append(draft)
                gaps += [draft] if draft.kind == CLOZE else []
        # Half of a group may be gaps, and more only where there would be no group without them.
        while 2 * len(gaps) > len(kept) > min(most, LEAST_CARDS):
            kept.remove(gaps.pop())
        chosen.append(sorted(kept, key=lambda draft: draft.line))
    return chosen


class _Taken:
    """What the cards of a deck ask for so far, and those of the group at hand."""

    def __init__(self) -> None:
        self._lines: set[int] = set()
        self._said: set[str] = set()
        self._fronts: list[frozenset[str]] = []
        self._answers: Counter[str] = Counter()
        self.answers_here: set[str] = set()

    def is_free(self, draft: CardDraft) -> bool:
        """Whether no card asks for this sentence, for what it says, or for the same word too often."""
        answer = _answer_of(draft)
        # The same word in every second gap would teach only that word; a number may come up again.
        if answer and (answer in self.answers_here or self._answers[answer] >= _SAME_ANSWER):
            return False
        if draft.line in self._lines or draft.front.casefold() in self._said:
            return False
        return not any(_alike(draft.stems, one) for one in self._fronts)

    def add(self, draft: CardDraft) -> None:
        """Remember a card."""
        answer = _answer_of(draft)
        if answer:
            self._answers[answer] += 1
            self.answers_here.add(answer)
        self._lines.add(draft.line)
        self._said.add(draft.front.casefold())
        self._fronts.append(draft.stems)


def _answer_of(draft: CardDraft) -> str:
    """The word that a gap asks for, in any number; "" for other cards and for figures."""
    return " ".join(map(stem, words_of(draft.back))) if draft.kind == CLOZE else ""


def _alike(one: frozenset[str], two: frozenset[str]) -> bool:
    # A term is no sentence: "spring tide" does not repeat a card that only speaks of one.
    return len(one & two) > _ALIKE * max(3, min(len(one), len(two)))


def _smaller_neighbour(parts: Sequence[Chunk], at: int) -> int:
    """The left one of the two parts to join."""
    if at + 1 == len(parts):
        return at - 1
    if not at:
        return at
    before, after = parts[at - 1], parts[at + 1]
    return at - 1 if before.last - before.first < after.last - after.first else at


def _card_node(path: str, draft: CardDraft, taken: list[str]) -> Node:
    words = draft.front.rstrip("?.").split()
    short = " ".join(words[:_TITLE_WORDS]).rstrip(",;:…") + ("…" if len(words) > _TITLE_WORDS else "")
    title = fit_title(short)
    if len(title) < 3 or any(same_title(title, other) for other in taken):
        title = numbered(title or "Card", taken)
    return Node(
        id="n_" + short_hash(path, title),
        kind="card",
        level=2,
        ordinal=int(path.rsplit(".", 1)[-1]),
        title=title,
        sources=draft.sources,
        state=NodeState.OK,
        fields={"front": draft.front, "back": draft.back, "cardKind": draft.kind},
    )
