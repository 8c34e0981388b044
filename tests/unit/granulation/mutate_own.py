"""Ways to make worse what only some types have: requirements, edges, steps, threads, skills, headings."""

import random
from collections.abc import Iterator
from itertools import pairwise

from tests.unit.granulation.mutate_nodes import NONSENSE
from tests.unit.granulation.plain_trees import Plain, nodes_of, some


def swap_order(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Put what builds on something, or cites what comes later, before it."""
    swap = _SWAPS.get(plain["structureType"])
    return swap is not None and swap(plain, strength)


def _move_needing(plain: Plain, strength: int) -> bool:
    """Branches that require others come first."""
    nodes = plain["nodes"]
    needing = [node for node in nodes if node.get("fields", {}).get("requires")]
    for node in needing[-strength:]:
        nodes.remove(node)
        nodes.insert(0, node)
    return len(needing) >= strength


def _move_last(plain: Plain, strength: int) -> bool:
    """The last sections come first, the last of all before the others."""
    nodes = plain["nodes"]
    if len(nodes) <= strength:
        return False
    nodes[:] = [*reversed(nodes[-strength:]), *nodes[:-strength]]
    return True


def _turn_edges(plain: Plain, strength: int) -> bool:
    """Prerequisites stand behind what they are for."""
    place = {node["id"]: number for number, node in enumerate(nodes_of(plain))}
    met = [
        edge
        for edge in plain["fields"]["edges"]
        if edge["edgeKind"] == "prerequisite" and place[edge["from"]] < place[edge["to"]]
    ]
    for edge in met[-strength:]:
        edge["from"], edge["to"] = edge["to"], edge["from"]
    return len(met) >= strength


def _move_steps(plain: Plain, strength: int) -> bool:
    """Steps stand before the one that they follow, and still require it."""
    all_steps = [node for node in nodes_of(plain) if node["kind"] == "step"]
    swapped = 0
    for phase in reversed(plain["nodes"]):
        steps = phase.get("children", [])
        if swapped == strength or len(steps) < 2 or steps[-2] is all_steps[0]:
            continue
        before, after = steps[-2:]
        if not before["fields"].get("requires"):  # it would now follow the other one
            before["fields"]["requires"] = [all_steps[all_steps.index(before) - 1]["id"]]
        after["fields"]["requires"] = sorted({*after["fields"].get("requires", []), before["id"]})
        steps[-2:] = [after, before]
        swapped += 1
    return swapped == strength


def _swap_threads(plain: Plain, strength: int) -> bool:
    """Threads are closed where they were opened, and opened where they were closed."""
    scenes = list(_scenes(plain))
    met = [
        (thread["id"], opening, closing)
        for thread in plain["fields"].get("threads", [])
        for opening, scene in enumerate(scenes)
        if thread["id"] in scene.get("opens", [])
        for closing, other in enumerate(scenes)
        if thread["id"] in other.get("closes", []) and closing > opening
    ]
    for name, opening, closing in met[:strength]:
        scenes[opening]["opens"].remove(name)
        scenes[closing]["closes"].remove(name)
        scenes[opening].setdefault("closes", []).append(name)
        scenes[closing].setdefault("opens", []).append(name)
    return len(met) >= strength


def _scenes(plain: Plain) -> Iterator[Plain]:
    return (node["fields"] for node in nodes_of(plain) if node["kind"] == "scene")


_SWAPS = {
    "course": _move_needing,
    "learning_path": _move_needing,
    "document": _move_last,
    "knowledge_map": _turn_edges,
    "workflow": _move_steps,
    "novel": _swap_threads,
}


def add_cycle(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Let the last require the first ones, and those the last."""
    if plain["structureType"] == "knowledge_map":
        names = [node["id"] for node in plain["nodes"]]
        pairs = [(one, names[-1]) for one in names[:-1][:strength]]
        edges = [
            {"from": one, "to": to, "edgeKind": "prerequisite"}
            for pair in pairs
            for one, to in (pair, pair[::-1])
        ]
        plain["fields"]["edges"] += edges
        return bool(edges)
    kind = {"course": "module", "learning_path": "milestone", "workflow": "step"}.get(plain["structureType"])
    nodes = [node for node in nodes_of(plain) if node["kind"] == kind]
    for node in nodes[:-1][:strength]:
        for one, other in ((node, nodes[-1]), (nodes[-1], node)):
            known = one["fields"].setdefault("requires", [])
            known += [other["id"]] if other["id"] not in known else []
    return len(nodes) > 1


def cut_edge(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Take away every edge that leads out of some branches of a map."""
    if plain["structureType"] != "knowledge_map" or len(plain["nodes"]) <= strength:
        return False
    for branch in some(plain["nodes"], strength, chance):
        inside = {node["id"] for node in nodes_of({"nodes": [branch]})}
        edges = plain["fields"]["edges"]
        edges[:] = [edge for edge in edges if (edge["from"] in inside) == (edge["to"] in inside)]
    return True


def unreachable_step(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Let no way lead to the last steps of a workflow: those before go back, and no other leads there."""
    steps = [node for node in nodes_of(plain) if node["kind"] == "step"]
    if plain["structureType"] != "workflow" or len(steps) <= strength + 1:
        return False
    back = [{"label": label, "to": steps[0]["id"], "rework": True} for label in ("Yes", "No")]
    for before, lost in list(pairwise(steps))[-strength:]:
        lost["fields"].pop("requires", None)
        for step in steps:
            for branch in step["fields"].get("decision", {}).get("branches", []):
                if branch["to"] == lost["id"]:
                    branch |= {"to": steps[0]["id"], "rework": True}
        question = "Is the work of this step done again?"
        before["fields"].setdefault("decision", {"question": question, "branches": back})
    return True


def open_thread(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Close some threads of a plot nowhere."""
    threads = [one["id"] for one in plain["fields"].get("threads", [])]
    if plain["structureType"] != "novel" or not threads:
        return False
    gone = set(some(threads, strength, chance))
    for scene in _scenes(plain):
        if "closes" in scene:
            scene["closes"] = [one for one in scene["closes"] if one not in gone]
    return True


def falling_skill(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Let some skills end below where they start."""
    skills = [node for node in nodes_of(plain) if node["kind"] == "skill"]
    for skill in some(skills, strength, chance):
        fields = skill["fields"]
        fields["from"], fields["to"] = fields["to"], fields["from"]
    return bool(skills)


def hollow_evidence(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Let some skills be shown by something that nothing of theirs is about."""
    shown = [node for node in nodes_of(plain) if node["kind"] == "skill" and _is_shown(node)]
    for skill in some(shown, strength, chance):
        skill["fields"]["evidence"] = NONSENSE[0][1]
    return bool(shown)


def _is_shown(skill: Plain) -> bool:
    told = [
        skill["title"],
        skill.get("summary", ""),
        *(child["title"] for child in skill.get("children", [])),
    ]
    return _share_a_word(" ".join(told), skill["fields"]["evidence"])


def _is_taken_up(heading: Plain) -> bool:
    claims = " ".join(child["fields"].get("claim", "") for child in heading["children"])
    return _share_a_word(f"{heading['title']} {heading.get('summary', '')}", claims)


def _share_a_word(one: str, other: str) -> bool:
    return not {word for word in one.lower().split() if len(word) > 4}.isdisjoint(other.lower().split())


def hollow_heading(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Head the innermost parts of a document with something that they say nothing about."""
    inner = [
        node
        for node in nodes_of(plain)
        if node.get("children")
        and not any(child.get("children") for child in node["children"])
        and _is_taken_up(node)
    ]
    for node, (title, _) in zip(some(inner, strength, chance), NONSENSE, strict=False):
        node["title"] = title
        if node.get("summary"):
            node["summary"] = f"{title}."
    return plain["structureType"] == "document"
