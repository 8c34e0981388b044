"""Ways to make a tree of any type worse: its branches, leaves, texts, sizes, citations."""

import random
from collections.abc import Callable

from tests.unit.granulation.plain_trees import (
    Plain,
    alike_leaves,
    copied_fields,
    forget,
    leaves_of,
    nodes_of,
    prose_fields,
    rewritten,
    some,
    told,
)

NONSENSE = (
    (
        "Engines of racing cars",
        "Turbochargers compress intake air so that pistons receive additional oxygen each cycle.",
    ),
    (
        "Planets beyond Neptune",
        "Icy asteroids orbit slowly because gravity weakens across immense interplanetary distances.",
    ),
    (
        "Opening moves in chess",
        "Bishops develop early while castling protects kings against surprising attacks.",
    ),
    (
        "Tax on second homes",
        "Municipal councils levy surcharges whenever properties remain unoccupied throughout winter.",
    ),
    (
        "Repairing violins",
        "Luthiers regraduate spruce plates before varnishing instruments with amber resin.",
    ),
    (
        "Satellite antennas",
        "Parabolic reflectors concentrate microwave signals towards sensitive receivers.",
    ),
)
CLAUSE = " considering methodological institutionalisation notwithstanding epistemological"


def drop_module(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Leave out branches with all that points at them, so that ids stay closed."""
    if len(plain["nodes"]) <= strength:
        return False
    for _ in range(strength):
        gone = plain["nodes"].pop(chance.randrange(len(plain["nodes"])))
        inside = list(nodes_of({"nodes": [gone]}))
        names = {node["id"] for node in inside}
        names |= {one["id"] for node in inside for one in node["fields"].get("objectives", [])}
        if gone["kind"] == "section":
            names |= _served_here_only(plain, gone)
        forget(plain, names)
        for rows in (plain.get("fields", {}).get("objectives", []),):
            rows[:] = [one for one in rows if one["id"] not in names]
        _without_single_branches(plain)
    return True


def _served_here_only(plain: Plain, gone: Plain) -> set[str]:
    """The objectives of a quiz that no other section is for."""
    others = {name for node in plain["nodes"] for name in node.get("fields", {}).get("objectiveIds", [])}
    return set(gone["fields"].get("objectiveIds", [])) - others


def _without_single_branches(plain: Plain) -> None:
    for node in nodes_of(plain):
        if len(node["fields"].get("decision", {}).get("branches", [1, 2])) < 2:
            del node["fields"]["decision"]


def duplicate_leaf(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Overwrite leaves with the words of another leaf, each keeping its id and what it refers to."""
    leaves = alike_leaves(plain)
    if len(leaves) <= strength:
        return False
    model, *others = some(leaves, strength + 1, chance)
    for leaf in others:
        leaf["title"] = model["title"]
        if leaf.get("summary") or model.get("summary"):
            leaf["summary"] = model.get("summary", "")
        leaf["fields"] |= copied_fields(model)
        if "item" in leaf["fields"]:
            leaf["fields"]["item"] = {**model["fields"]["item"], "id": leaf["fields"]["item"]["id"]}
    return True


def paraphrase_leaf(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Overwrite leaves with another leaf's words in another order, a fifth of them left out."""
    leaves = [leaf for leaf in alike_leaves(plain) if len(_words_of(leaf)) >= 10]
    if len(leaves) <= strength:
        return False

    def write(text: str) -> str:
        kept = [word for word in text.rstrip(".?").split() if chance.random() < 0.8]
        chance.shuffle(kept)
        return " ".join(kept).capitalize() + (text[-1] if text.endswith((".", "?")) else "")

    model, *others = some(leaves, strength + 1, chance)
    for leaf in others:
        leaf["title"] = f"Again: {model['title']}"
        _say_again(leaf, model, write)
    return True


def _say_again(leaf: Plain, model: Plain, write: Callable[[str], str]) -> None:
    fields, source = leaf["fields"], model["fields"]
    if "item" in fields:
        answers = ("options", "accepted", "steps", "pairs")
        fields["item"] |= {name: source["item"][name] for name in answers if name in source["item"]}
        fields["item"]["stem"] = write(source["item"]["stem"].rstrip(".?") + "?")
    elif "front" in fields:
        front = write(source["front"].rstrip(".?") + "?")
        fields |= {"front": front, "back": source["back"], "cardKind": "basic"}
    else:
        if leaf.get("summary"):
            leaf["summary"] = write(model.get("summary", ""))
        fields |= {name: rewritten(source[name], write) for name in prose_fields(model)}


def _words_of(leaf: Plain) -> list[str]:
    fields = leaf["fields"]
    texts = [fields[name] for name in prose_fields(leaf) if isinstance(fields[name], str)]
    asked = fields["item"]["stem"] if "item" in fields else fields.get("front", "")
    return (asked or " ".join([leaf.get("summary", ""), *texts])).split()


def off_topic_leaf(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Overwrite leaves with something else; their citations go."""
    topics = chance.sample(NONSENSE, strength)
    for leaf, (title, text) in zip(some(leaves_of(plain), strength, chance), topics, strict=False):
        leaf["title"], leaf["sources"] = title, []
        if leaf.get("summary"):
            leaf["summary"] = text
        for name in prose_fields(leaf):
            leaf["fields"][name] = rewritten(leaf["fields"][name], lambda _, said=text: said)
        if "front" in leaf["fields"]:
            leaf["fields"] |= {"front": f"What about this: {title}?", "back": text, "cardKind": "basic"}
        if "item" in leaf["fields"]:
            leaf["fields"]["item"] |= {"stem": f"What about this: {text}", "sources": [], "feedback": ""}
    return True


def empty_summary(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Take summaries away where their level requires one."""
    nodes = told(plain)
    for node in some(nodes, strength, chance):
        node["summary"] = ""
    return bool(nodes)


def skew_sizes(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Move children into the largest branch from its neighbours, so that their order stays."""
    nodes = plain["nodes"]
    place = max(range(len(nodes)), key=lambda one: len(nodes[one].get("children", [])))
    children = nodes[place].get("children", [])
    moved = 0
    for after in nodes[place + 1 :]:
        while moved < strength and len(after.get("children", [])) > 1:
            children.append(after["children"].pop(0))
            moved += 1
        if len(after.get("children", [])) > 1:
            break
    for before in reversed(nodes[:place]):
        while moved < strength and len(before.get("children", [])) > 1:
            children.insert(0, before["children"].pop())
            moved += 1
    return moved == strength


def raise_reading_level(plain: Plain, strength: int, chance: random.Random) -> bool:
    """End every sentence that nodes tell with more and longer words."""

    def write(text: str) -> str:
        said = text if text.endswith((".", "?", "!")) else text + "."
        return said.replace(". ", CLAUSE * strength + ". ")[:-1] + CLAUSE * strength + said[-1]

    for node in nodes_of(plain):
        if node.get("summary"):
            node["summary"] = write(node["summary"])
        if "item" in node["fields"]:
            node["fields"]["item"]["stem"] = write(node["fields"]["item"]["stem"])
        for name in prose_fields(node):
            if isinstance(node["fields"][name], str) and len(node["fields"][name].split()) >= 5:
                node["fields"][name] = write(node["fields"][name])
    return True


def fake_citation(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Change a number of quotes, so that the source does not say them."""
    spans = [span for node in nodes_of(plain) for span in node.get("sources", [])]
    for span in some(spans, strength, chance):
        span["quote"] = "Experts agree that " + span["quote"].lower()
    return bool(spans)
