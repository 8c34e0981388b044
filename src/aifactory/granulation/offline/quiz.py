"""A quiz out of a source: sections with items, objectives and a blueprint that says what is tested."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.choosing import Chooser
from aifactory.granulation.offline.given import GivenObjectives
from aifactory.granulation.offline.identity import shares, short_hash
from aifactory.granulation.offline.items import Draft, drafts_of, spare_drafts
from aifactory.granulation.offline.objectives import listed, number_word, topic_of
from aifactory.granulation.offline.outline import Chunk, joined, outline
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import summarise, summary_text
from aifactory.granulation.offline.titles import Titles, fit_title, numbered, same_title
from aifactory.granulation.tree import Bloom, Item, ItemKind, Node, NodeState, Objective

LEAST_SECTIONS, LEAST_ITEMS = 2, 3
_MOST_OBJECTIVES = 40
_TITLE_WORDS = 9
# More items asked for than this, and a long source is divided into more parts: sentences for each item.
_FEW = 40
_ROOM = 4
_LABELS = {
    ItemKind.SINGLE: "Choose",
    ItemKind.TRUE_FALSE: "True or false",
    ItemKind.NUMERIC: "Missing number",
    ItemKind.CLOZE: "Missing word",
    ItemKind.ORDER: "Put in order",
    ItemKind.MATCH: "Match",
    ItemKind.SHORT: "Name the term",
}
_BLOOM_RANK = {bloom: rank for rank, bloom in enumerate(Bloom)}


class QuizMaker:
    """Makes the nodes of one quiz; items don't repeat or spoil each other over all sections."""

    def __init__(self, study: Study, per_level: tuple[int, ...]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._objectives: list[Objective] = []
        given = study.brief.objectives
        self._given = GivenObjectives(given, study) if given else None

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The sections, and the fields of the root."""
        plan = self._plan()
        weights = shares([len(drafts) for _, drafts in plan])
        taken: list[str] = []
        nodes = []
        for position, ((chunk, drafts), weight) in enumerate(zip(plan, weights, strict=True), 1):
            title = self._titles.of(chunk, taken, self._study.digest.title)
            taken.append(title)
            nodes.append(self._section(position, title, chunk, drafts, weight))
        cells: Counter[tuple[str, str, str]] = Counter()
        for node in nodes:
            for child in node.children:
                item = child.items[0]
                cells[item.objective_ids[0], item.bloom, item.difficulty] += 1
        blueprint = [
            {"objectiveId": objective, "bloom": bloom, "difficulty": difficulty, "count": count}
            for (objective, bloom, difficulty), count in cells.items()
        ]
        return tuple(nodes), {"objectives": msgspec.to_builtins(self._objectives), "blueprint": blueprint}

    def _plan(self) -> list[tuple[Chunk, list[Draft]]]:
        """Sections with their items; a part with too few of them joins its neighbour."""
        study = self._study
        most = self._per_level[1] if len(self._per_level) > 1 else LEAST_ITEMS
        least, fewest = min(most, LEAST_ITEMS), min(self._per_level[0], LEAST_SECTIONS)
        room = _ROOM * most if self._per_level[0] * most > _FEW else None
        plan = outline(study, most=self._per_level[0], inner=1, inner_least=1, room=room)
        parts = [pieces[0] for pieces in plan]
        offered = [self._drafts(part) for part in parts]
        is_filled = False
        while True:
            chosen = self._choose(offered, most)
            poor = min(range(len(parts)), key=lambda at: (len(chosen[at]), at))
            if len(chosen[poor]) >= least:
                break
            if len(parts) <= fewest and not is_filled:
                # Better a plain item than a part too few.
                offered = [[*all_of, *self._spare(part)] for all_of, part in zip(offered, parts, strict=True)]
                is_filled = True
                continue
            if len(parts) == 1:
                break
            left = (
                poor - 1
                if poor and (poor + 1 == len(parts) or _is_smaller(parts[poor - 1], parts[poor + 1]))
                else poor
            )
            parts[left : left + 2] = [joined(parts[left], parts[left + 1])]
            offered[left : left + 2] = [[*offered[left], *offered[left + 1]]]
        if len(parts) < fewest:
            whole = offered[0] if is_filled else [*offered[0], *self._spare(parts[0])]
            if halves := self._halves(parts[0], whole, least, most):
                return halves
        return [pair for pair in zip(parts, chosen, strict=True) if pair[1]]

    def _halves(
        self, part: Chunk, offered: Sequence[Draft], least: int, most: int
    ) -> list[tuple[Chunk, list[Draft]]]:
        """A lone part in two where its items are enough for two sections; [] where they are not."""
        lines = sorted(draft.line for draft in self._choose([offered], 2 * most)[0])
        for at in sorted(lines[1:], key=lambda line: abs(line - lines[len(lines) // 2])):
            bounds = ((part.first, at), (at, part.last))
            sides = [[draft for draft in offered if low <= draft.line < high] for low, high in bounds]
            chosen = self._choose(sides, most)
            if min(map(len, chosen)) >= least:
                return [(Chunk("", *bound), drafts) for bound, drafts in zip(bounds, chosen, strict=True)]
        return []

    def _drafts(self, part: Chunk) -> list[Draft]:
        """What a part supports; with given objectives, only what tests one of them."""
        return self._testing(drafts_of(self._study, part.first, part.last))

    def _testing(self, drafts: list[Draft]) -> list[Draft]:
        if self._given is None:
            return drafts
        return [draft for draft in drafts if self._given.tested_by(draft) is not None]

    def _spare(self, part: Chunk) -> list[Draft]:
        return self._testing(spare_drafts(self._study, part.first, part.last))

    def _choose(self, offered: Sequence[Sequence[Draft]], most: int) -> list[list[Draft]]:
        chooser = Chooser(self._study.language)
        least = min(most, LEAST_ITEMS)
        chosen = []
        for drafts in offered:
            first = chooser.choose(drafts, most, per_kind=max(2, (most + 2) // 3), least=least)
            if len(first) < least:
                first = chooser.choose(drafts, least, per_kind=most, least=least, taken=first)
            chosen.append(first)
        return chosen

    def _section(self, position: int, title: str, chunk: Chunk, drafts: Sequence[Draft], weight: int) -> Node:
        study = self._study
        summary = summarise(study, chunk.first, chunk.last)
        first = study.lines[chunk.first]
        objectives = self._tested(str(position), chunk, title, drafts)
        children: list[Node] = []
        for draft in drafts if len(self._per_level) > 1 else ():
            path = f"{position}.{len(children) + 1}"
            objective = objectives[draft.line, draft.kind]
            item = draft.as_item(
                objective.id, max(draft.bloom, objective.bloom, key=_BLOOM_RANK.__getitem__), path
            )
            children.append(_item_node(path, draft, item, [child.title for child in children]))
        return Node(
            id="n_" + short_hash(str(position), title),
            kind="section",
            level=1,
            ordinal=position,
            title=title,
            summary=summary_text(study, summary, chunk.first, chunk.last),
            minutes=sum(child.minutes or 0 for child in children) or None,
            sources=tuple(study.reading.span(point.line) for point in summary)
            or (study.reading.span(first),),
            state=NodeState.OK,
            fields={
                "objectiveIds": list(dict.fromkeys(one.id for one in objectives.values())),
                "weight": weight,
            },
            children=tuple(children),
        )

    def _tested(
        self, path: str, chunk: Chunk, title: str, drafts: Sequence[Draft]
    ) -> dict[tuple[int, str], Objective]:
        """The objective of each item, by line and kind: a given one, or one made of what items ask."""
        if self._given is None:
            made = self._objectives_of(path, chunk, title, drafts)
            return {(one.line, one.kind): made[_purpose_of(one)] for one in drafts}
        tested: dict[tuple[int, str], Objective] = {}
        for draft in drafts:
            objective = self._given.tested_by(draft)
            assert objective is not None, "only such drafts are offered"
            tested[draft.line, draft.kind] = objective
            if objective not in self._objectives:
                self._objectives.append(objective)
        return tested

    def _objectives_of(
        self, path: str, chunk: Chunk, title: str, drafts: Sequence[Draft]
    ) -> dict[str, Objective]:
        """An objective for each purpose that the section's items have."""
        made: dict[str, Objective] = {}
        topic = topic_of(self._study, chunk, title)
        for draft in drafts:
            purpose = _purpose_of(draft)
            if purpose in made:
                continue
            same = [
                other
                for other in drafts
                if other.purpose == draft.purpose and other.kind != ItemKind.TRUE_FALSE
            ]
            text, bloom = _objective_text(purpose, topic, same)
            made[purpose] = Objective(id="ob_" + short_hash(path, text), text=text, bloom=bloom)
        self._objectives.extend(made.values())
        return made


def _purpose_of(draft: Draft) -> str:
    special = {ItemKind.TRUE_FALSE: "truth", ItemKind.CLOZE: "recall"}
    return special.get(draft.kind, draft.purpose)


def _objective_text(purpose: str, topic: str, drafts: Sequence[Draft]) -> tuple[str, Bloom]:
    if purpose == "steps":
        name = drafts[0].asks.split(" steps ", 1)[-1]
        return (
            f"Order the {number_word(len(drafts[0].steps))} steps {name} correctly, without notes.",
            Bloom.APPLY,
        )
    if purpose == "figures":
        return (
            f"State the key figures on {topic} correctly, with their units and without notes.",
            Bloom.REMEMBER,
        )
    if purpose == "truth":
        return (
            f"Distinguish true from false statements on {topic}, without notes or mistakes.",
            Bloom.UNDERSTAND,
        )
    if purpose == "cases":
        return (
            f"Predict what follows in the cases that the source sets out on {topic}, without mistakes.",
            Bloom.UNDERSTAND,
        )
    if purpose == "define":
        terms = list(dict.fromkeys(draft.term for draft in drafts))[:3]
        word = "term" if len(terms) == 1 else "terms"
        return (
            f"Identify the {word} {listed(terms)} by definition, without notes or mistakes.",
            Bloom.REMEMBER,
        )
    if purpose == "explain":
        return (
            f"Identify what holds for {topic} among similar statements, with at least four out of five "
            f"correct.",
            Bloom.UNDERSTAND,
        )
    return f"Recall the main statements on {topic}, with at least four out of five correct.", Bloom.REMEMBER


def _item_node(path: str, draft: Draft, item: Item, taken: list[str]) -> Node:
    words = draft.asks.rstrip("?.").split()
    short = " ".join(words[:_TITLE_WORDS]).rstrip(",;:…") + ("…" if len(words) > _TITLE_WORDS else "")
    title = fit_title(f"{_LABELS.get(draft.kind, 'Question')}: {short}")
    if any(same_title(title, other) for other in taken):
        title = numbered(title, taken)
    return Node(
        id="n_" + short_hash(path, title),
        kind="item",
        level=2,
        ordinal=int(path.rsplit(".", 1)[-1]),
        title=title,
        minutes=2 if draft.kind in (ItemKind.ORDER, ItemKind.NUMERIC, ItemKind.MATCH) else 1,
        sources=draft.sources,
        state=NodeState.OK,
        fields={"item": msgspec.to_builtins(item)},
    )


def _is_smaller(one: Chunk, two: Chunk) -> bool:
    return one.last - one.first < two.last - two.first
