"""What a tree's references and rules ask of all its parts together, which no single answer can keep. Pure.

Parts are written side by side: each knows the plan, none the others. So here references to what did not come
are dropped, required fields that nothing was said for are filled from what their node says, and paths, flows,
plots and maps are closed by rule.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from aifactory.granulation.generation.closing_edges import joined
from aifactory.granulation.generation.closing_flow import flowing
from aifactory.granulation.generation.closing_path import raised, with_time
from aifactory.granulation.generation.closing_story import told
from aifactory.granulation.generation.fields import trimmed
from aifactory.granulation.generation.nodes import every, refielded
from aifactory.granulation.generation.recipe import title_field
from aifactory.granulation.generation.roots import ANY_NODE, declared_space
from aifactory.granulation.specs import FieldSpec, FieldType, LevelSpec, StructureSpec, Use
from aifactory.granulation.tree import Node, NodeState

_NOTHING: tuple[Any, ...] = (None, "", [], {})


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes and root fields that hold together; ``notes`` are (rule, what was done)."""

    nodes: list[Node]
    fields: dict[str, Any]
    notes: tuple[tuple[str, str], ...]


def closed(nodes: Sequence[Node], fields: Mapping[str, Any], spec: StructureSpec) -> Closed:
    """Close references, fill what is required, and do what the type's rules ask of the whole."""
    there, kept, filled = _references_closed(list(nodes), dict(fields), spec)
    notes = [("schema.required", f"filled from what the node says: {filled} nodes")] if filled else []
    for rule, step in _STEPS.items():
        if spec.has_rule(rule):
            there, changes, kept = step(there, kept, spec)
            if changes:
                notes.append((rule, f"{changes} changes by rule"))
    kept, unused = _without_unused(there, kept, spec)
    if unused:
        notes.append(("ids.unused", f"left out, nothing refers to them: {', '.join(unused)}"))
    return Closed(nodes=there, fields=kept, notes=tuple(notes))


def _flowing(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[list[Node], int, dict[str, Any]]:
    levels = {level.kind: level for level in spec.levels if "flow" in level.rules}
    steps = [node for node in every(nodes) if node.kind in levels]
    changed = flowing(steps, have_inputs=any("inputs" in level.fields for level in levels.values()))
    return refielded(nodes, changed), len(changed), fields


_Step = Callable[[list[Node], dict[str, Any], StructureSpec], tuple[list[Node], int, dict[str, Any]]]
_STEPS: dict[str, _Step] = {
    "flow": _flowing,
    "story": told,
    "skillRise": raised,
    "workload": with_time,
    "edges": joined,
}


# References and required fields.


def _references_closed(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[list[Node], dict[str, Any], int]:
    known = _known(nodes, fields, spec)
    levels = {level.kind: level for level in spec.levels}
    earlier: set[str] = set()
    closing = _Closing(known, earlier)
    changed: dict[str, dict[str, Any]] = {}
    filled: set[str] = set()
    for node in every(nodes):
        level = levels[node.kind]
        own = closing.fields(level.fields, node.fields)
        changed[node.id] = _completed(own, level, node, known)
        if changed[node.id] != own:
            filled.add(node.id)
        earlier.add(node.id)
    root = closing.fields(spec.root_fields, fields)
    return [_marked(node, filled) for node in refielded(nodes, changed)], root, len(filled)


def _marked(node: Node, filled: set[str]) -> Node:
    children = tuple(_marked(child, filled) for child in node.children)
    state = NodeState.REPAIRED if node.id in filled else node.state
    return msgspec.structs.replace(node, state=state, children=children)


def _known(nodes: list[Node], fields: dict[str, Any], spec: StructureSpec) -> dict[str, list[str]]:
    """The ids of nodes and of what the root declares, by space."""
    known: dict[str, list[str]] = {ANY_NODE: [], **{level.kind: [] for level in spec.levels}}
    for node in every(nodes):
        known[ANY_NODE].append(node.id)
        known[node.kind].append(node.id)
    for name, field in spec.root_fields.items():
        space = declared_space(field)
        if space is not None:
            known[space] = [row["id"] for row in fields.get(name, ()) if "id" in row]
    return known


class _Closing:
    """Drops references to what is not there, or not in ``earlier`` where it has to be; that may grow."""

    def __init__(self, known: Mapping[str, Sequence[str]], earlier: set[str]) -> None:
        self._known = {space: frozenset(ids) for space, ids in known.items()}
        self._earlier = earlier

    def fields(self, specs: Mapping[str, FieldSpec], values: Mapping[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in values.items():
            own = self._value(specs[name], value) if name in specs else value
            if own not in _NOTHING:
                kept[name] = own
        return kept

    def _value(self, field: FieldSpec, value: Any) -> Any:
        if field.type is FieldType.REFERENCE:
            return value if self._is_there(field, value) else None
        if field.type is FieldType.OBJECT:
            own = self.fields(field.fields, value)
            lost = [name for name, one in field.fields.items() if one.required and name in value.keys() - own]
            return None if lost else own
        if field.of is not None:
            left = [one for one in (self._value(field.of, entry) for entry in value) if one not in _NOTHING]
            return left if len(left) == len(value) or len(left) >= (field.min or 0) else None
        return value

    def _is_there(self, field: FieldSpec, value: Any) -> bool:
        space = field.refers_to or ""
        if space not in self._known:
            return True
        has_to_be_earlier = field.use is Use.ORDER and value in self._known[ANY_NODE]
        return value in self._known[space] and (not has_to_be_earlier or value in self._earlier)


def _completed(
    values: dict[str, Any], level: LevelSpec, node: Node, known: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Fields with all that is required, as far as it follows from what the node says."""
    if title_field(level):
        return values
    return _filled(level.fields, values, node.summary or node.title, known)


def _filled(
    specs: Mapping[str, FieldSpec], values: dict[str, Any], said: str, known: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    whole = dict(values)
    for name, field in specs.items():
        if not field.required:
            continue
        own: Any = values.get(name)
        if field.type is FieldType.OBJECT:
            own = _filled(field.fields, own or {}, said, known)
        elif own is None:
            own = _stand_in(field, said, known)
        if own not in _NOTHING:
            whole[name] = own
    return whole


def _stand_in(field: FieldSpec, said: str, known: Mapping[str, Sequence[str]]) -> Any:
    match field.type:
        case FieldType.TEXT if field.refers_to is None and field.defines is None:
            return trimmed(said, int(field.max or 400))
        case FieldType.LIST:
            assert field.of is not None
            one = _stand_in(field.of, said, known)
            return [] if one in _NOTHING else [one]
        case FieldType.REFERENCE if field.use is not Use.ORDER:
            # Any object of the root may stand in for another, no node can.
            ids = known.get(field.refers_to or "", ())
            return None if not ids or ids[0] in known[ANY_NODE] else ids[0]
        case FieldType.CHOICE:
            return field.choices[0]
        case FieldType.INTEGER | FieldType.NUMBER:
            low = field.min or 0
            return int(low) if field.type is FieldType.INTEGER else float(low)
        case _:
            return None


def _without_unused(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[dict[str, Any], list[str]]:
    """Leave out what the root declares and nothing refers to, as long as enough is left."""
    kept, dropped = dict(fields), list[str]()
    for name, field in spec.root_fields.items():
        if declared_space(field) is None:
            continue
        rows = kept.get(name, [])
        others = [value for other, value in kept.items() if other != name]
        used = _texts([*(node.fields for node in every(nodes)), *others])
        most = len(rows) - int(field.min or (1 if field.required else 0))
        unused = [row["id"] for row in rows if row.get("id") not in used][: max(0, most)]
        dropped += unused
        kept[name] = [row for row in rows if row["id"] not in unused]
    return kept, dropped


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(_texts, inner))
