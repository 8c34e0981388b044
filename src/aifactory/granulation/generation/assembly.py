"""From a plan and its answers to a tree: ids closed, references backward, spans exact, gaps filled. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from aifactory.granulation.generation.closing import closed
from aifactory.granulation.generation.fields import FieldReader
from aifactory.granulation.generation.items import item_from
from aifactory.granulation.generation.nodes import (
    in_source_order,
    leaves_of,
    renumbered,
    replaced,
    sum_of_minutes,
    with_fields,
)
from aifactory.granulation.generation.passages import Passages
from aifactory.granulation.generation.plan import (
    Plan,
    PlannedObjective,
    PlannedPart,
    fitted_summary,
    fitted_title,
    one_line,
)
from aifactory.granulation.generation.plan_keys import declared_rows
from aifactory.granulation.generation.recipe import Recipe, expanded_fields, title_field
from aifactory.granulation.generation.repairs import Repair, RepairedBy
from aifactory.granulation.generation.roots import gathered_fields
from aifactory.granulation.generation.wholes import close_root, source_info, weighted, with_targets
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.titles import numbered, same_title
from aifactory.granulation.specs import LevelSpec
from aifactory.granulation.tree import Node, NodeState, Objective, Origin, Span, Tree

_TITLE_WORDS = 9
_MOST_SOURCES = 3

Answers = Mapping[str, Sequence[dict[str, Any]]]
"""Answers by ``expand.<part>`` and ``items.<part>``, in the order of their calls."""


class Assembled(msgspec.Struct, frozen=True, kw_only=True):
    """A tree put together, what was changed on the way, and the parts that stayed unwritten."""

    tree: Tree
    repairs: tuple[Repair, ...]
    missing: tuple[str, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the tree is to say about itself."""

    language: str
    origin: Origin
    target_audience: str = ""
    level: str = ""


Fill = Callable[[PlannedPart], tuple[Node, list[dict[str, Any]]] | None]
"""Writes a part offline: its node and the root objectives that it refers to, or None."""


def assemble(
    plan: Plan,
    answers: Answers,
    recipe: Recipe,
    asked: Asked,
    *,
    passages: Passages | None,
    digest: Digest | None,
    fill: Fill,
) -> Assembled:
    """Put a tree together from what came; parts without an answer are filled or left out."""
    return _Assembly(plan, recipe, asked, passages).make(answers, digest, fill)


class _Assembly:
    def __init__(self, plan: Plan, recipe: Recipe, asked: Asked, passages: Passages | None) -> None:
        self.plan = plan
        self.recipe = recipe
        self.asked = asked
        self.passages = passages
        self.repairs = [Repair(path="", rule="outline", by=RepairedBy.RULE, note=fix) for fix in plan.fixes]
        own = [one for part in plan.parts for one in part.objectives]
        roots = "outcome" if recipe.part_objectives else "objective"
        self.ids = {one.key: _objective_id(one) for one in (*plan.objectives, *own)}
        self.blooms = {self.ids[one.key]: one.bloom for one in (*plan.objectives, *own)}
        named = [key for part in plan.parts for key in (part.key, *(child.key for child in part.children))]
        self.ids |= {key: "n_" + short_hash(plan.title, key) for key in named}
        # What the root declares keeps its key for an id.
        self.ids |= {row["id"]: row["id"] for rows in declared_rows(plan, recipe).values() for row in rows}
        self.root_space = roots
        self.reader = FieldReader(self.ids)

    def make(self, answers: Answers, digest: Digest | None, fill: Fill) -> Assembled:
        nodes: list[Node] = []
        borrowed: list[dict[str, Any]] = []
        missing: list[str] = []
        for part in self.plan.parts:
            node = self._part(part, answers)
            if node is None and (filled := fill(part)) is not None:
                node, objectives = filled
                node = msgspec.structs.replace(node, id=self.ids[part.key])
                borrowed += objectives
                self._told(node.title, "part", RepairedBy.OFFLINE, "no usable answer; written offline")
            if node is None:
                missing.append(part.key)
                node = self._unwritten(part)
            nodes.append(node)
        nodes = self._without_unwritten(nodes)
        nodes = [renumbered(node, 1, at) for at, node in enumerate(weighted(nodes), 1)]
        objectives = [*(self._objective(one) for one in self.plan.objectives), *borrowed]
        nodes, fields = close_root(nodes, objectives, self.recipe, self.passages)
        whole = closed(nodes, self.plan.fields | self._gathered(answers) | fields, self.recipe.spec)
        for rule, note in whole.notes:
            self._told("", rule, RepairedBy.RULE, note)
        tree = Tree(
            structure_type=self.recipe.spec.type,
            title=self.plan.title,
            summary=self.plan.summary,
            language=self.asked.language,
            origin=self.asked.origin,
            depth=self.recipe.counts.depth,
            target_audience=self.asked.target_audience,
            level=self.asked.level,
            source=source_info(digest),
            fields=whole.fields,
            nodes=tuple(with_targets(whole.nodes, digest, self.asked.target_audience, self.asked.language)),
        )
        # A tree is stored as JSON: let nothing in its fields differ from what comes back.
        tree = msgspec.json.decode(msgspec.json.encode(tree), type=Tree)
        return Assembled(tree=tree, repairs=tuple(self.repairs), missing=tuple(missing))

    def _gathered(self, answers: Answers) -> dict[str, list[Any]]:
        """What the parts' answers say of the root: entries that join nodes, in the order of the parts."""
        fields = gathered_fields(self.recipe)
        rows: dict[str, list[Any]] = {name: [] for name in fields}
        for part in self.plan.parts:
            for answer in answers.get(f"expand.{part.key}", ()):
                for name, found in self.reader.read(fields, answer).items():
                    rows[name] += found
        return rows

    def _told(self, path: str, rule: str, by: RepairedBy, note: str) -> None:
        self.repairs.append(Repair(path=path, rule=rule, by=by, note=note))

    # Parts.

    def _part(self, part: PlannedPart, answers: Answers) -> Node | None:
        """Return a part's node, or None when too few of its children were written."""
        expansions = answers.get(f"expand.{part.key}", ())
        if not expansions and self.recipe.children:
            return None
        children = self._children(part, expansions, answers.get(f"items.{part.key}", ()))
        if self.recipe.children:
            least = min(self.recipe.spec.levels[1].min, self.recipe.children)
            if len(children) < least:
                return None
        level = self.recipe.spec.levels[0]
        fields: dict[str, Any] = {}
        for answer in expansions:
            fields = {**self._fields(level, 0, answer), **fields}
        fields |= self._planned_fields(part)
        node = self._node(
            level,
            key=part.key,
            title=part.title,
            summary=part.summary,
            minutes=sum_of_minutes(children),
            sources=self._spans(part.cited, f"{part.title} {part.summary}", part),
            fields=fields,
            children=children,
        )
        if "sourceOrder" in self.recipe.spec.rules:
            node = in_source_order(node)
        return self._aligned(node, part)

    def _planned_fields(self, part: PlannedPart) -> dict[str, Any]:
        recipe, fields = self.recipe, dict[str, Any]()
        if recipe.part_objectives:
            fields[recipe.part_objectives] = [self._objective(one) for one in part.objectives]
        if recipe.part_needs and part.requires:
            fields[recipe.part_needs] = [self.ids[key] for key in part.requires]
        if recipe.part_objective_refs and not recipe.part_objectives:
            fields[recipe.part_objective_refs] = [self.ids[one.key] for one in self.plan.objectives_for(part)]
        return fields

    def _objective(self, one: PlannedObjective) -> dict[str, Any]:
        objective = Objective(
            id=self.ids[one.key],
            text=one_line(one.text),
            bloom=one.bloom,
            outcome_ids=tuple(self.ids[key] for key in one.serves if key in self.ids),
        )
        built: dict[str, Any] = msgspec.to_builtins(objective)
        return built

    def _unwritten(self, part: PlannedPart) -> Node:
        """A part that nothing could be written for, as planned: it says that it failed."""
        level = self.recipe.spec.levels[0]
        node = self._node(
            level, key=part.key, title=part.title, summary=part.summary, fields=self._planned_fields(part)
        )
        return msgspec.structs.replace(node, state=NodeState.FAILED)

    def _without_unwritten(self, nodes: list[Node]) -> list[Node]:
        """Leave failed parts out while enough are left; what required them no longer does."""
        least = min(self.recipe.spec.levels[0].min, self.recipe.parts)
        written = [node for node in nodes if node.state is not NodeState.FAILED]
        kept = written if len(written) >= least else nodes
        there = {node.id for node in kept}
        for node in nodes:
            if node.id not in there:
                self._told(node.title, "part", RepairedBy.DROPPED, "nothing usable was written for it")
        needs = self.recipe.part_needs
        if needs is None:
            return kept
        return [
            with_fields(node, {needs: [one for one in node.fields.get(needs, []) if one in there]})
            for node in kept
        ]

    # Below parts.

    def _children(
        self, part: PlannedPart, expansions: Sequence[dict[str, Any]], items: Sequence[dict[str, Any]]
    ) -> list[Node]:
        recipe = self.recipe
        if not recipe.children:
            return []
        level = recipe.spec.levels[1]
        if recipe.children_are_items:
            written = [one for answer in expansions for one in answer.get("items", ())]
            return self._item_nodes(part, written[: recipe.children], level)
        of_child = {child["key"]: child["items"] for answer in items for child in answer.get("children", ())}
        if not recipe.children_are_titled:
            found = [one for answer in expansions for one in answer.get("children", ())][: recipe.children]
            return self._distinct(
                self._child(part, f"{part.key}c{at}", None, one, level, 1) for at, one in enumerate(found, 1)
            )
        found_by_key: dict[str, dict[str, Any]] = {}
        for answer in expansions:
            for one in answer.get("children", ()):
                found_by_key.setdefault(one["key"], one)
        made = []
        for child in part.children:
            if child.key in found_by_key:
                node = self._child(part, child.key, child.title, found_by_key[child.key], level, 1)
                if recipe.item_list:
                    node = self._with_items(node, of_child.get(child.key, ()), part, recipe.item_list)
                made.append(node)
        return made

    def _child(
        self,
        part: PlannedPart,
        key: str,
        title: str | None,
        answer: dict[str, Any],
        level: LevelSpec,
        depth: int,
    ) -> Node:
        below = []
        if depth + 1 < self.recipe.counts.depth:
            under = self.recipe.spec.levels[depth + 1]
            most = self.recipe.counts.per_level[depth + 1]
            below = self._distinct(
                self._child(part, f"{key}a{at}", None, one, under, depth + 1)
                for at, one in enumerate(answer.get("children", ())[:most], 1)
            )
        fields = self._fields(level, depth, answer)
        named = answer.get(title_field(level) or "title", "")
        said = f"{title or named} {answer.get('summary', '')} {_spoken(fields)}"
        return self._node(
            level,
            key=key,
            title=title or title_from(named),
            summary=answer.get("summary", ""),
            minutes=self._minutes(level, answer, below),
            sources=self._spans(self._known(answer.get("sources", ())), said, part),
            fields=fields,
            children=below,
        )

    def _minutes(self, level: LevelSpec, answer: dict[str, Any], below: Sequence[Node]) -> int | None:
        if (total := sum_of_minutes(below)) is not None:
            return total
        if "leafMinutes" not in level.rules:
            return None
        low, high = self.recipe.spec.leaf_minutes
        return max(low, min(high, int(answer["minutes"])))

    def _with_items(
        self, node: Node, answers: Sequence[dict[str, Any]], part: PlannedPart, name: str
    ) -> Node:
        items = []
        for at, answer in enumerate(answers, 1):
            item = self._item(f"{node.id}.{at}", answer, part)
            if item is not None:
                items.append(item)
        return with_fields(node, {name: items}) if items else node

    def _item(self, key: str, answer: dict[str, Any], part: PlannedPart) -> dict[str, Any] | None:
        sources = self._spans(self._known(answer.get("sources", ())), answer["stem"], part)
        return item_from(key, answer, self.ids, self.blooms, sources)

    def _item_nodes(self, part: PlannedPart, written: list[dict[str, Any]], level: LevelSpec) -> list[Node]:
        nodes: list[Node] = []
        for at, answer in enumerate(written, 1):
            key = f"{part.key}c{at}"
            item = self._item(key, answer, part)
            if item is None:
                continue
            spans = msgspec.convert(item.get("sources", []), tuple[Span, ...])
            nodes.append(
                self._node(
                    level,
                    key=key,
                    title=title_from(answer["stem"]),
                    minutes=2 if answer["kind"] in ("order", "numeric") else 1,
                    sources=spans,
                    fields={"item": item},
                )
            )
        return self._distinct(nodes)

    def _distinct(self, nodes: Iterable[Node]) -> list[Node]:
        """Number titles that siblings share where the title only repeats what the node says."""
        kept: list[Node] = []
        for node in nodes:
            taken = [other.title for other in kept]
            level = next(one for one in self.recipe.spec.levels if one.kind == node.kind)
            if title_field(level) and any(same_title(node.title, other) for other in taken):
                node = msgspec.structs.replace(node, title=numbered(node.title, taken))
            kept.append(node)
        return kept

    # Values.

    def _fields(self, level: LevelSpec, depth: int, answer: dict[str, Any]) -> dict[str, Any]:
        return self.reader.read(expanded_fields(level, self.recipe, depth), answer)

    def _known(self, labels: Sequence[str]) -> tuple[int, ...]:
        return self.passages.known(labels) if self.passages is not None else ()

    def _spans(self, cited: Sequence[int], said: str, part: PlannedPart) -> tuple[Span, ...]:
        """Return exact spans: what was cited, or else the part's passage that says most nearly the same."""
        if self.passages is None:
            return ()
        chosen = list(cited)[:_MOST_SOURCES] or self.passages.nearest(said, part.lines)
        return tuple(self.passages.span(index) for index in chosen)

    def _node(
        self,
        level: LevelSpec,
        *,
        key: str,
        title: str,
        summary: str = "",
        minutes: int | None = None,
        sources: tuple[Span, ...] = (),
        fields: dict[str, Any],
        children: Sequence[Node] = (),
    ) -> Node:
        depth = next(at for at, one in enumerate(self.recipe.spec.levels, 1) if one is level)
        return Node(
            id=self.ids.get(key) or "n_" + short_hash(self.plan.title, key),
            kind=level.kind,
            level=depth,
            ordinal=1,
            title=fitted_title(title, f"{level.title} {key}"),
            summary=fitted_summary(summary),
            minutes=minutes,
            sources=sources,
            origin=self.asked.origin,
            state=NodeState.OK,
            fields=fields,
            children=tuple(children),
        )

    # The whole.

    def _aligned(self, node: Node, part: PlannedPart) -> Node:
        """Let every objective of a part be practised below it and assessed by its assessment."""
        if not self.recipe.part_objectives:
            return node
        wanted = [self.ids[one.key] for one in part.objectives]
        assessment = node.fields.get("assessment")
        if isinstance(assessment, dict):
            found = assessment.get("objectiveIds", [])
            missing = [name for name in wanted if name not in found]
            if missing:
                self._told(part.title, "alignment.unassessed", RepairedBy.RULE, "assessment covers them all")
                node = with_fields(node, {"assessment": {**assessment, "objectiveIds": [*found, *missing]}})
        leaves = leaves_of(node)
        for name in wanted:
            if leaves and not any(name in leaf.fields.get("objectiveIds", ()) for leaf in leaves):
                least = min(leaves, key=lambda leaf: len(leaf.fields.get("objectiveIds", ())))
                own = [*least.fields.get("objectiveIds", ()), name]
                node = replaced(node, with_fields(least, {"objectiveIds": own}))
                leaves = leaves_of(node)
                self._told(least.title, "alignment.unpractised", RepairedBy.RULE, "practises one more")
        return node


def _objective_id(one: PlannedObjective) -> str:
    return one.id or "ob_" + short_hash(one.key, one.text)


def title_from(text: str) -> str:
    """Return the first words of a text that a node without a title of its own is named after."""
    words = one_line(text).rstrip("?.").split()
    return " ".join(words[:_TITLE_WORDS]) + ("…" if len(words) > _TITLE_WORDS else "")


def _spoken(fields: dict[str, Any]) -> str:
    """The texts of a node's fields."""
    texts = [value for value in fields.values() if isinstance(value, str)]
    for value in fields.values():
        if isinstance(value, list):
            texts += [inner for inner in value if isinstance(inner, str) and " " in inner]
    return " ".join(texts)
