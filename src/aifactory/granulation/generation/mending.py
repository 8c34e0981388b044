"""Flaws of a tree: what rules can mend, what a model is asked to mend, what is taken out in the end. Pure.

Trees are edited as plain JSON values, by the JSON Pointers that checks report, and read back as a whole: an
edit that no longer reads as a tree, or that leaves its node worse than before, is undone.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from aifactory.granulation.generation.fields import trimmed
from aifactory.granulation.generation.repairs import Repair, RepairedBy
from aifactory.granulation.offline.titles import numbered
from aifactory.granulation.tree import NodeState, Tree
from aifactory.granulation.violations import Severity, Violation

MOST_PROBLEMS = 24
PROBLEMS_A_CALL = 8
LONGEST_VALUE = 1_500
LONGEST_TEXT = 2_000
# What a new value can not mend, or only by one who reads the rest: ids, references, counts, repeats.
_NOT_ASKED = (
    "redundancy.",
    "ids.",
    "levels.",
    "graph.",
    "order.",
    "alignment.",
    "schema.",
    "span.",
    "object.",
    "language.",
)
_TEXTS = ("summary", "rationale", "feedback")
_FAULTS = (Severity.GATE, Severity.ERROR)
_PLACE = re.compile(r"[0-9]{1,6}")

Check = Callable[[Tree], Sequence[Violation]]


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A value that a check found wrong, as a model is shown it."""

    path: str
    rule: str
    message: str
    value: Any


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """A tree after some edits, the violations that are left, and what was changed."""

    tree: Tree
    violations: tuple[Violation, ...]
    repairs: tuple[Repair, ...]


def problems_of(tree: Tree, violations: Iterable[Violation]) -> list[Problem]:
    """Return what is worth asking a model to mend, worst first, one for each place."""
    document = _document(tree)
    found: dict[str, Problem] = {}
    for one in violations:
        if one.severity not in _FAULTS or one.rule.startswith(_NOT_ASKED):
            continue
        path = _whole_value(one.pointer)
        value = _get(document, path)
        if value is None or len(json.dumps(value)) > LONGEST_VALUE:
            continue
        if path in found:
            message = f"{found[path].message}. {one.message}"
            found[path] = msgspec.structs.replace(found[path], message=message)
        elif len(found) < MOST_PROBLEMS:
            found[path] = Problem(path=path, rule=one.rule, message=one.message, value=value)
    return list(found.values())


def _whole_value(pointer: str) -> str:
    """An option is judged beside the others, so all of them are shown."""
    head, _, tail = pointer.partition("/options/")
    return f"{head}/options" if tail else pointer


def grouped(problems: Sequence[Problem], calls: int) -> list[list[Problem]]:
    """Divide problems among at most so many calls; what is over is left as it is."""
    groups = [
        list(problems[start : start + PROBLEMS_A_CALL]) for start in range(0, len(problems), PROBLEMS_A_CALL)
    ]
    return groups[:calls]


def sibling_titles(tree: Tree, problems: Sequence[Problem]) -> list[str]:
    """Return the titles beside those that are to be changed."""
    document = _document(tree)
    titles: list[str] = []
    for problem in problems:
        if problem.path.endswith("/title") and problem.path.count("/") > 2:
            siblings = _get(document, problem.path.rsplit("/", 2)[0]) or []
            titles += [one["title"] for one in siblings if one["title"] != problem.value]
    return list(dict.fromkeys(titles))[:30]


def apply_rules(tree: Tree, violations: Sequence[Violation], check: Check) -> Mended:
    """Mend what follows from the rest: references to nothing, outcomes nobody serves, missing rationales."""
    edits = _Edits(tree)
    late = [one for one in violations if one.rule in ("order.late", "order.unknown", "flow.input_late")]
    for one in sorted(late, key=lambda one: _place(one.pointer), reverse=True):
        edits.remove(one.pointer, one.rule, RepairedBy.RULE)
    for one in violations:
        if one.rule == "alignment.outcome_unserved":
            edits.serve_outcome(one.pointer)
        elif one.rule == "item.rationale":
            edits.borrow_rationale(one.pointer)
    return edits.read(check, violations)


def apply_patches(
    tree: Tree, violations: Sequence[Violation], patches: Iterable[dict[str, Any]], check: Check
) -> Mended:
    """Put a model's values in place; at a node that has more faults than before, none of them stay."""
    edits = _Edits(tree)
    for patch in patches:
        edits.patch(patch["path"], patch["valueJson"], patch["reason"])
    mended = edits.read(check, violations)
    worse = _worse(violations, mended.violations)
    if not worse:
        return mended
    edits = _Edits(tree)
    kept = 0
    for patch in patches:
        if edits.node_id(patch["path"]) not in worse:
            edits.patch(patch["path"], patch["valueJson"], patch["reason"])
            kept += 1
    again = edits.read(check, violations)
    if kept and not _worse(violations, again.violations):
        return again
    return Mended(tree=tree, violations=tuple(violations), repairs=())


def _worse(before: Iterable[Violation], after: Iterable[Violation]) -> set[str]:
    """Return the nodes with more faults than before; a gate weighs more than any number of errors."""

    def weighed(violations: Iterable[Violation]) -> Counter[str]:
        counted: Counter[str] = Counter()
        for one in violations:
            counted[one.node_id] += {Severity.GATE: 1000, Severity.ERROR: 1}.get(one.severity, 0)
        return counted

    old, new = weighed(before), weighed(after)
    return {node_id for node_id, weight in new.items() if weight > old[node_id]}


def salvage(tree: Tree, violations: Sequence[Violation], check: Check, least_children: int) -> Mended:
    """Take out what stayed wrong: faulty items where enough are left, repeated titles by a number."""
    edits = _Edits(tree)
    faulty = {
        pointer
        for one in violations
        if one.severity in _FAULTS and one.rule.startswith("item.") and (pointer := _item_of(one.pointer))
    }
    for one in violations:
        if one.rule == "text.sibling_title":
            edits.number_title(one.pointer)
        elif one.rule == "item.one_key":
            edits.keep_first_key(one.pointer)
    for pointer in sorted(faulty, key=_place, reverse=True):
        edits.drop_item(pointer, least_children)
    return edits.read(check, violations)


def _item_of(pointer: str) -> str | None:
    """Return the pointer of the item (or of the node that consists of it) that a pointer lies in."""
    head, found, tail = pointer.partition("/fields/items/")
    if found:
        return f"{head}/fields/items/{tail.split('/')[0]}"
    head, found, _ = pointer.partition("/fields/item")
    return head if found else None


def _place(pointer: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(step), "") if step.isdigit() else (-1, step) for step in pointer.split("/"))


def _document(tree: Tree) -> Any:
    """Return a tree as plain JSON values, free to be changed."""
    return msgspec.json.decode(msgspec.json.encode(tree))


def _get(document: Any, pointer: str) -> Any:
    """Return the value at a pointer, or None."""
    for step in pointer.split("/")[1:]:
        if isinstance(document, list):
            place = int(step) if _PLACE.fullmatch(step) else len(document)
            document = document[place] if place < len(document) else None
        elif isinstance(document, dict):
            # What is empty is not stored.
            document = document.get(step, "" if step in _TEXTS else None)
        else:
            return None
    return document


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "kind" in value and "id" in value


def _is_open(pointer: str) -> bool:
    """Whether a model may change what stands there: not the whole, and nothing that others refer to."""
    return pointer.startswith("/") and pointer.rpartition("/")[2] not in ("", "id")


class _Edits:
    """Edits of one tree, on a copy of its JSON form."""

    def __init__(self, tree: Tree) -> None:
        self.original = tree
        self.document = _document(tree)
        self.repairs: list[Repair] = []

    def read(self, check: Check, before: Sequence[Violation]) -> Mended:
        """Read the edited tree back; if it no longer is one, nothing was changed."""
        if not self.repairs:
            return Mended(tree=self.original, violations=tuple(before), repairs=())
        try:
            tree = msgspec.convert(self.document, Tree)
        except msgspec.ValidationError:
            return Mended(tree=self.original, violations=tuple(before), repairs=())
        return Mended(tree=tree, violations=tuple(check(tree)), repairs=tuple(self.repairs))

    def node_id(self, pointer: str) -> str:
        """Return the id of the innermost node that a pointer lies in, empty at the root."""
        node_pointer = pointer.partition("/fields")[0]
        while node_pointer:
            value = _get(self.document, node_pointer)
            if _is_node(value):
                return str(value["id"])
            node_pointer = node_pointer.rpartition("/")[0]
        return ""

    def patch(self, pointer: str, value_json: str, reason: str) -> None:
        """Put a value of the same JSON type in place of another."""
        old = _get(self.document, pointer)
        try:
            # Refuses what a tree could not be stored with: NaN, half surrogates.
            new = _clean(msgspec.json.decode(value_json))
        except (ValueError, RecursionError):
            new = _clean(value_json) if isinstance(old, str) and value_json.strip() else None
        if new is None or type(new) is not type(old) or new == old or not _is_open(pointer):
            return
        self._set(pointer, new, "patch", RepairedBy.PATCH, trimmed(reason, 200))
        self._mark(pointer)

    def _mark(self, pointer: str) -> None:
        """Say at the node that it was repaired."""
        node_pointer = pointer.partition("/fields")[0]
        while node_pointer and not _is_node(_get(self.document, node_pointer)):
            node_pointer = node_pointer.rpartition("/")[0]
        node = _get(self.document, node_pointer) if node_pointer else None
        if isinstance(node, dict):
            node["state"] = NodeState.REPAIRED.value

    def _set(self, pointer: str, value: Any, rule: str, by: RepairedBy, note: str = "") -> None:
        parent, step = self._parent(pointer)
        before = _get(self.document, pointer)
        parent[step] = value
        self.repairs.append(Repair(path=pointer, rule=rule, by=by, note=note, before=before, after=value))

    def _parent(self, pointer: str) -> tuple[Any, Any]:
        head, _, step = pointer.rpartition("/")
        parent = _get(self.document, head) if head else self.document
        return parent, int(step) if isinstance(parent, list) else step

    def remove(self, pointer: str, rule: str, by: RepairedBy) -> None:
        """Take an entry out of its list."""
        parent, step = self._parent(pointer)
        if isinstance(parent, list) and step < len(parent):
            self.repairs.append(Repair(path=pointer, rule=rule, by=by, before=parent.pop(step)))

    def serve_outcome(self, pointer: str) -> None:
        """Let the objective that serves least serve an outcome that none serves."""
        outcome = _get(self.document, pointer)
        objectives = [
            (f"/nodes/{at}/fields/objectives/{own}", one)
            for at, node in enumerate(self.document.get("nodes", []))
            for own, one in enumerate(node.get("fields", {}).get("objectives", []))
        ]
        if outcome and objectives:
            path, least = min(objectives, key=lambda pair: len(pair[1].get("outcomeIds", ())))
            served = [*least.get("outcomeIds", ()), outcome["id"]]
            least.setdefault("outcomeIds", [])
            self._set(f"{path}/outcomeIds", served, "alignment.outcome_unserved", RepairedBy.RULE)

    def borrow_rationale(self, pointer: str) -> None:
        """Let the feedback of an item explain its key."""
        head = pointer.partition("/options")[0]
        item = _get(self.document, head)
        if not isinstance(item, dict) or not item.get("feedback"):
            return
        for at, option in enumerate(item.get("options", ())):
            if option.get("correct") and not option.get("rationale"):
                option["rationale"] = ""
                path = f"{head}/options/{at}/rationale"
                self._set(path, item["feedback"], "item.rationale", RepairedBy.RULE)

    def number_title(self, pointer: str) -> None:
        """Make a repeated title different by a number."""
        title = _get(self.document, pointer)
        siblings = _get(self.document, pointer.rsplit("/", 2)[0])
        if isinstance(title, str) and isinstance(siblings, list):
            new = numbered(title, [one["title"] for one in siblings])
            self._set(pointer, new, "text.sibling_title", RepairedBy.RULE)

    def keep_first_key(self, pointer: str) -> None:
        """Of several correct options of a single-choice item, leave the first."""
        options = _get(self.document, pointer)
        if not isinstance(options, list):
            return
        first = next((at for at, one in enumerate(options) if one.get("correct")), None)
        if first is not None:
            kept = [
                {**one, "correct": True} if at == first else {k: v for k, v in one.items() if k != "correct"}
                for at, one in enumerate(options)
            ]
            self._set(pointer, kept, "item.one_key", RepairedBy.RULE, "the first correct option stays")

    def drop_item(self, pointer: str, least: int) -> None:
        """Take out an item that stayed faulty, unless too few would be left beside it."""
        parent, step = self._parent(pointer)
        if not isinstance(parent, list) or step >= len(parent):
            return
        if "/fields/items/" in pointer or len(parent) > least:
            dropped = parent.pop(step)
            self.repairs.append(Repair(path=pointer, rule="item", by=RepairedBy.DROPPED, before=dropped))


def _clean(value: Any) -> Any:
    """A model's value without control characters and within lengths."""
    if isinstance(value, str):
        return trimmed("".join(one for one in value if one >= " " or one in "\n\t"), LONGEST_TEXT)
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    return value
