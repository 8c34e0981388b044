"""A tree as a document to read, with questions, answer key, glossary and sources. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from aifactory.granulation.exports.markdown_items import answer, question
from aifactory.granulation.exports.markdown_leaves import (
    EITHER_SIDE,
    card_losses,
    card_table,
    claim_line,
    is_card,
    is_claim,
)
from aifactory.granulation.exports.markdown_text import duration, escape, paragraphs, words_of
from aifactory.granulation.exports.model import EVERY_NODE, Loss
from aifactory.granulation.index import HANDOVER_FIELDS
from aifactory.granulation.tree import (
    SIMULATED_NOTICE,
    Concept,
    Item,
    Node,
    Objective,
    Origin,
    Span,
    Tree,
    walk,
)

# Fields with a place of their own in the document, or shown through another one.
_SHOWN = frozenset(
    {"objectives", "outcomes", "requires", "assessment", "objectiveIds", "keyPoints", "introduces", "needs"}
    | {"items", "item", "activityKind", "instructions", "deliverable", "glossary", "blueprint", "weight"}
)
_OPENING_WORDS = 6


def export(tree: Tree) -> bytes:
    """UTF-8 Markdown; the same tree gives the same bytes."""
    return _Writer(tree).document().encode()


def losses(tree: Tree) -> list[Loss]:
    """What the document does not show, as far as the tree has it."""
    nodes = [node for _, node in walk(tree)]
    dropped = [Loss(node="", field="schemaVersion", reason="A document to read has no schema")]
    if tree.source is not None:
        dropped.append(
            Loss(node="", field="source.sha256", reason="Shown is the source's name, not its hash")
        )
    dropped += [
        Loss(node=EVERY_NODE, field=field, reason=reason)
        for field, reason in (
            ("id", "Ids are replaced by the numbering"),
            ("origin", "Who wrote a node is not shown"),
            ("state", "The state of work is not shown"),
        )
        if nodes
    ]
    dropped += card_losses(nodes)
    held = {name for node in nodes for name in node.fields.keys() & HANDOVER_FIELDS}
    reason = "Targets for a later writer are no reader's business"
    dropped += [Loss(node=EVERY_NODE, field=name, reason=reason) for name in sorted(held)]
    if any(node.items for node in nodes):
        reason = (
            "Questions are numbered; ids, accepted spellings in order and shuffled parts stay readable only"
        )
        dropped.append(Loss(node=EVERY_NODE, field="items.id", reason=reason))
    return dropped


class _Writer:
    """Collects lines in order; numbers questions and sources as they come."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.lines: list[str] = []
        self.answers: list[str] = []
        self.spans: dict[tuple[int, int, str], int] = {}
        self.claims: set[str] = set()
        self.questions = 0
        self.paths = {node.id: path for path, node in walk(tree)}
        self.titles = {node.id: node.title for _, node in walk(tree)}
        self.objectives = {one.id: one for one in _objectives(tree)}

    def document(self) -> str:
        """The whole document, ending in one line break."""
        self._head()
        self._children("", self.tree.nodes, 2)
        if self.answers:
            self._add("## Answer key", "", *self.answers)
        self._glossary()
        self._sources()
        return "\n".join(self.lines).strip() + "\n"

    def _add(self, *lines: str) -> None:
        self.lines += lines

    def _head(self) -> None:
        tree = self.tree
        minutes = sum(_minutes(node) for node in tree.nodes)
        facts = [
            words_of(tree.structure_type),
            f"for {tree.target_audience}" if tree.target_audience else "",
            tree.level,
            f"language: {tree.language}",
            duration(minutes) if minutes else "",
            f"from {tree.source.name}" if tree.source else "",
        ]
        self._add(
            f"# {escape(tree.title)}", "", f"*{escape(' · '.join(fact for fact in facts if fact))}*", ""
        )
        if tree.origin is Origin.SIMULATED:
            self._add(f"**{SIMULATED_NOTICE}**", "")
        self._paragraphs(tree.summary)
        self._objective_list("## Outcomes", _as_objectives(tree.fields.get("outcomes")))
        self._objective_list("## Objectives", _as_objectives(tree.fields.get("objectives")))
        self._blueprint()
        self._other_fields(tree.fields)
        if any(node.fields.get("cardKind") == "reversed" for _, node in walk(tree)):
            self._add(f"*{EITHER_SIDE} marks a card that can be asked from either side.*", "")
        if tree.nodes:
            self._add("## Contents", "")
            for position, node in enumerate(tree.nodes, 1):
                time = f" *({duration(_minutes(node))})*" if _minutes(node) else ""
                self._add(f"- **{position}** {escape(node.title)}{time}")
                self._add(
                    *(
                        f"  - {position}.{place} {escape(child.title)}"
                        for place, child in enumerate(node.children, 1)
                        if child.kind != "item" and not is_card(child) and not is_claim(child)
                    )
                )
            self._add("")

    def _node(self, path: str, node: Node, depth: int) -> None:
        self._add(f"{'#' * min(depth, 6)} {path} {escape(node.title)}", "")
        self._facts(node)
        mark = self._marks(node)
        if node.summary.strip():
            self._paragraphs(node.summary, mark)
        elif mark:
            self._add(f"Source:{mark}", "")
        fields = node.fields
        self._paragraphs(_text(fields.get("instructions")))
        if _text(fields.get("deliverable")):
            self._add(f"**To hand in:** {escape(_text(fields.get('deliverable')))}", "")
        self._objective_list("**Objectives**", _as_objectives(fields.get("objectives")))
        if _texts(fields.get("keyPoints")):
            self._add("**Key points**", "", *(f"- {escape(one)}" for one in _texts(fields["keyPoints"])), "")
        terms = [
            f"**{label}:** {', '.join(escape(one) for one in _texts(fields[name]))}"
            for name, label in (("introduces", "New terms"), ("needs", "Builds on"))
            if _texts(fields.get(name))
        ]
        # Above bullets one line is enough.
        for line in [" · ".join(terms)] if any(map(is_claim, node.children)) else terms:
            self._add(*([line, ""] if line else []))
        if served := self._served(node):
            self._add(f"**Objectives:** {'; '.join(escape(one) for one in served)}.", "")
        self._assessment(fields.get("assessment"))
        self._other_fields(fields)
        for item in node.items:
            self._question(item)
        self._children(f"{path}.", node.children, depth + 1)

    def _children(self, prefix: str, nodes: Sequence[Node], depth: int) -> None:
        if nodes and all(map(is_card, nodes)):
            self._add(*card_table(nodes, self._marks, lambda card: "; ".join(self._served(card))), "")
            return
        for position, node in enumerate(nodes, 1):
            if is_claim(node):
                self.claims.add(" ".join(node.fields["claim"].split()))
                self._add(claim_line(node, self._marks(node)))
            else:
                self._node(f"{prefix}{position}", node, depth)
        if nodes and is_claim(nodes[-1]):
            self._add("")

    def _facts(self, node: Node) -> None:
        weight = node.fields.get("weight")
        facts = [
            _text(node.fields.get("activityKind")),
            duration(_minutes(node)) if _minutes(node) else "",
            f"weight {weight:g}" if isinstance(weight, (int, float)) else "",
            f"tags: {', '.join(node.tags)}" if node.tags else "",
        ]
        after = [
            f"{self.paths[one]} {self.titles[one]}"
            for one in _texts(node.fields.get("requires"))
            if one in self.paths
        ]
        facts.append(f"after {', '.join(after)}" if after else "")
        if any(facts):
            self._add(f"*{escape(' · '.join(fact for fact in facts if fact))}*", "")

    def _objective_list(self, heading: str, objectives: Sequence[Objective]) -> None:
        if objectives:
            self._add(heading, "", *(f"- {escape(one.text)} *({one.bloom})*" for one in objectives), "")

    def _served(self, node: Node) -> list[str]:
        ids = _texts(node.fields.get("objectiveIds"))
        return [self.objectives[one].text.rstrip(".") for one in ids if one in self.objectives]

    def _marks(self, node: Node) -> str:
        return "".join(f" \\[{self._source(span)}\\]" for span in node.sources)

    def _assessment(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        weight = value.get("weight")
        share = f", weight {weight:g}" if isinstance(weight, (int, float)) else ""
        served = [
            self.objectives[one].text for one in _texts(value.get("objectiveIds")) if one in self.objectives
        ]
        tail = f": {'; '.join(escape(one.rstrip('.')) for one in served)}." if served else ""
        self._add(f"**Assessment** ({escape(_text(value.get('kind')))}{share}){tail}", "")

    def _blueprint(self) -> None:
        rows = _dicts(self.tree.fields.get("blueprint"))
        if not rows:
            return
        self._add("## Blueprint", "", "| Objective | Bloom | Difficulty | Items |", "|---|---|---|---|")
        for row in rows:
            name = str(row.get("objectiveId", ""))
            text = self.objectives[name].text if name in self.objectives else name
            cells = [
                text,
                str(row.get("bloom", "")),
                str(row.get("difficulty", "")),
                str(row.get("count", "")),
            ]
            self._add("| " + " | ".join(escape(cell).replace("|", "\\|") for cell in cells) + " |")
        self._add("")

    def _other_fields(self, fields: dict[str, Any]) -> None:
        """Fields of types that this writer does not know: shown by name; targets are for a later writer."""
        for name in sorted(fields.keys() - _SHOWN - HANDOVER_FIELDS):
            value = fields[name]
            if isinstance(value, (str, int, float)):
                self._add(f"**{words_of(name)}:** {escape(str(value))}", "")
            elif value:
                shown = msgspec.json.encode(value, order="deterministic").decode()
                self._add(f"**{words_of(name)}:** {escape(shown)}", "")

    def _question(self, item: Item) -> None:
        self.questions += 1
        self._add(*question(item, self.questions))
        lines = answer(item, self.questions)
        lines[0] += "".join(f" \\[{self._source(span)}\\]" for span in item.sources)
        self.answers += lines

    def _glossary(self) -> None:
        entries = _as_concepts(self.tree.fields.get("glossary"))
        if entries:
            self._add("## Glossary", "")
            for entry in sorted(entries, key=lambda one: (one.term.casefold(), one.term)):
                marks = "".join(f" \\[{self._source(span)}\\]" for span in entry.sources)
                self._add(f"- **{escape(entry.term)}** – {escape(entry.definition)}{marks}")
            self._add("")

    def _sources(self) -> None:
        if self.spans:
            name = f" in {self.tree.source.name}" if self.tree.source else ""
            self._add("## Sources", "", escape(f"Passages{name}, with their characters from–to."), "")
            for (start, end, quote), number in self.spans.items():
                self._add(f"{number}. “{escape(self._quoted(quote))}” ({start}–{end})")
            self._add("")

    def _quoted(self, quote: str) -> str:
        """A quote; of one that stands as a claim in the text, its opening words."""
        words = quote.split()
        return " ".join(words[:_OPENING_WORDS]) + " …" if " ".join(words) in self.claims else quote

    def _source(self, span: Span) -> int:
        return self.spans.setdefault((span.start, span.end, span.quote), len(self.spans) + 1)

    def _paragraphs(self, text: str, mark: str = "") -> None:
        found = paragraphs(text)
        for position, paragraph in enumerate(found, 1):
            self._add(paragraph + (mark if position == len(found) else ""), "")


def _minutes(node: Node) -> int:
    return sum(_minutes(child) for child in node.children) or node.minutes or 0


def _objectives(tree: Tree) -> Iterable[Objective]:
    yield from _as_objectives(tree.fields.get("objectives"))
    for _, node in walk(tree):
        yield from _as_objectives(node.fields.get("objectives"))


def _as_objectives(value: Any) -> tuple[Objective, ...]:
    try:
        return msgspec.convert(value or (), tuple[Objective, ...])
    except msgspec.ValidationError:
        return ()


def _as_concepts(value: Any) -> tuple[Concept, ...]:
    try:
        return msgspec.convert(value or (), tuple[Concept, ...])
    except msgspec.ValidationError:
        return ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, (list, tuple)) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []
