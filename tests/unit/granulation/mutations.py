"""Ways to make a tree worse, each at a strength of 1 to 3, for testing that the score notices."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from aifactory.granulation.tree import Tree

Plain = dict[str, Any]
# Returns False where the operator does not apply to the tree.
Operator = Callable[[Plain, int, random.Random], bool]

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


def mutate(tree: Tree, operator: Operator, strength: int, seed: int) -> Tree | None:
    """The tree made worse, or None where the operator does not apply."""
    plain = msgspec.json.decode(msgspec.json.encode(tree))
    if not operator(plain, strength, random.Random(seed)):
        return None
    return msgspec.convert(plain, Tree)


def nodes_of(plain: Plain) -> Iterator[Plain]:
    def visit(nodes: list[Plain]) -> Iterator[Plain]:
        for node in nodes:
            yield node
            yield from visit(node.get("children", []))

    return visit(plain["nodes"])


def leaves_of(plain: Plain) -> list[Plain]:
    return [node for node in nodes_of(plain) if not node.get("children")]


def items_of(plain: Plain) -> list[Plain]:
    found = []
    for node in nodes_of(plain):
        found += [node["fields"]["item"]] if "item" in node["fields"] else node["fields"].get("items", [])
    return found


def objectives_of(plain: Plain) -> list[Plain]:
    found = list(plain["fields"].get("objectives", []))
    for node in nodes_of(plain):
        found += node["fields"].get("objectives", [])
    return found


def _some(places: list[Plain], strength: int, chance: random.Random) -> list[Plain]:
    # The places of a lower strength are among those of a higher one.
    return chance.sample(places, len(places))[:strength]


def drop_module(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Leave out branches with all that points at them, so that ids stay closed."""
    if len(plain["nodes"]) <= strength:
        return False
    for _ in range(strength):
        gone = plain["nodes"].pop(chance.randrange(len(plain["nodes"])))
        own = {one["id"] for one in gone["fields"].get("objectives", [])}
        own |= set(gone["fields"].get("objectiveIds", [])) if gone["kind"] == "section" else set()
        for node in nodes_of(plain):
            fields = node["fields"]
            if "requires" in fields:
                fields["requires"] = [one for one in fields["requires"] if one != gone["id"]]
            if "objectiveIds" in fields:
                fields["objectiveIds"] = [one for one in fields["objectiveIds"] if one not in own]
    return True


def duplicate_leaf(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Overwrite leaves with the words of another leaf, each keeping its id."""
    leaves = leaves_of(plain)
    if len(leaves) <= strength:
        return False
    model, *others = _some(leaves, strength + 1, chance)
    for leaf in others:
        leaf["title"], leaf["summary"] = model["title"], model.get("summary", "")
        if "instructions" in leaf["fields"]:
            leaf["fields"]["instructions"] = model["fields"]["instructions"]
        if "keyPoints" in leaf["fields"]:
            leaf["fields"]["keyPoints"] = list(model["fields"]["keyPoints"])
        if "item" in leaf["fields"]:
            leaf["fields"]["item"] = {**model["fields"]["item"], "id": leaf["fields"]["item"]["id"]}
    return True


def swap_order(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Move branches behind one that requires them, where modules require others."""
    nodes = plain["nodes"]
    needing = [node for node in nodes if node["fields"].get("requires")]
    for node in needing[-strength:]:
        nodes.remove(node)
        nodes.insert(0, node)
    return len(needing) >= strength


def add_cycle(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Make the first modules require the last."""
    if plain["structureType"] != "course" or len(plain["nodes"]) < 2:
        return False
    for node in plain["nodes"][:strength]:
        node["fields"].setdefault("requires", []).append(plain["nodes"][-1]["id"])
    return True


def orphan_objective(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Take away whatever practises and assesses some objectives."""
    names = {one["id"] for one in _some(objectives_of(plain), strength, chance)}
    rest = [one["id"] for one in objectives_of(plain) if one["id"] not in names]
    if not rest:
        return False
    for node in nodes_of(plain):
        fields = node["fields"]
        for holder in (
            fields,
            fields.get("assessment") or {},
            *fields.get("items", []),
            fields.get("item") or {},
        ):
            if "objectiveIds" in holder:
                holder["objectiveIds"] = [one for one in holder["objectiveIds"] if one not in names] or [
                    rest[0]
                ]
    return True


def vague_verb(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Replace the verbs of some objectives by one that nobody can observe."""
    for one in _some(objectives_of(plain), strength, chance):
        one["text"] = "Understand " + one["text"].split(" ", 1)[-1]
    return bool(objectives_of(plain))


def wrong_key(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Mark a distractor of sourced single-choice items as the key."""
    sourced = [one for one in items_of(plain) if one["kind"] == "single" and one.get("sources")]
    for one in _some(sourced, strength, chance):
        right = next(place for place, option in enumerate(one["options"]) if option.get("correct"))
        wrong = chance.choice([place for place in range(len(one["options"])) if place != right])
        one["options"][right]["correct"], one["options"][wrong]["correct"] = False, True
        one["options"][wrong]["rationale"] = one["options"][right].get("rationale", "")
    return bool(sourced)


def _singles(plain: Plain) -> list[Plain]:
    return [one for one in items_of(plain) if one["kind"] == "single"]


def two_keys(plain: Plain, strength: int, chance: random.Random) -> bool:
    for one in _some(_singles(plain), strength, chance):
        for option in one["options"]:
            option["correct"] = True
    return bool(_singles(plain))


def longest_key(plain: Plain, strength: int, chance: random.Random) -> bool:
    for one in _some(_singles(plain), strength, chance):
        for option in one["options"]:
            if option.get("correct"):
                longest = max(len(other["text"]) for other in one["options"])
                while len(option["text"]) < 2 * longest + 10:
                    option["text"] += ", which is what the passage says about it"
    return bool(_singles(plain))


def all_above(plain: Plain, strength: int, chance: random.Random) -> bool:
    for one in _some(_singles(plain), strength, chance):
        wrong = [option for option in one["options"] if not option.get("correct")]
        wrong[-1]["text"] = "All of the above"
    return bool(_singles(plain))


def off_topic_leaf(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Overwrite leaves with something else; their citations go."""
    topics = chance.sample(NONSENSE, strength)
    for leaf, (title, text) in zip(_some(leaves_of(plain), strength, chance), topics, strict=False):
        leaf["title"], leaf["summary"], leaf["sources"] = title, text, []
        if "instructions" in leaf["fields"]:
            leaf["fields"]["instructions"] = text
        if "keyPoints" in leaf["fields"]:
            leaf["fields"]["keyPoints"] = [text, title, text[::-1]]
        if "item" in leaf["fields"]:
            leaf["fields"]["item"] |= {"stem": f"What about this: {text}", "sources": [], "feedback": ""}
    return True


def empty_summary(plain: Plain, strength: int, chance: random.Random) -> bool:
    for node in _some([node for node in nodes_of(plain) if node.get("summary")], strength, chance):
        node["summary"] = ""
    return True


def skew_sizes(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Move children of one branch to another; the first of a branch stays."""
    first = max(plain["nodes"], key=lambda node: len(node.get("children", [])))
    others = [node for node in plain["nodes"] if node is not first]
    movable = [(node, child) for node in others for child in node.get("children", [])[1:]]
    for node, child in movable[:strength]:
        node["children"].remove(child)
        first["children"].append(child)
    return len(movable) >= strength


def raise_reading_level(plain: Plain, strength: int, chance: random.Random) -> bool:
    """End every sentence of the summaries and instructions with more and longer words."""
    clause = " considering methodological institutionalisation notwithstanding epistemological" * strength
    for node in nodes_of(plain):
        if node.get("summary"):
            node["summary"] = node["summary"].replace(".", clause + ".")
        if "instructions" in node["fields"]:
            node["fields"]["instructions"] = node["fields"]["instructions"].replace(".", clause + ".")
    return plain["structureType"] == "course"


def fake_citation(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Change a number of quotes, so that the source does not say them."""
    spans = [span for node in nodes_of(plain) for span in node.get("sources", [])]
    for span in _some(spans, strength, chance):
        span["quote"] = "Experts agree that " + span["quote"].lower()
    return bool(spans)


def paraphrase_leaf(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Overwrite leaves with another leaf's words in another order, a fifth of them left out."""
    leaves = [leaf for leaf in leaves_of(plain) if len(_words_of(leaf)) >= 10]
    if len(leaves) <= strength:
        return False
    model, *others = _some(leaves, strength + 1, chance)
    for leaf in others:
        kept = [word for word in _words_of(model) if chance.random() < 0.8]
        chance.shuffle(kept)
        text = " ".join(kept).capitalize() + "."
        leaf["title"] = f"Again: {model['title']}"
        if "instructions" in leaf["fields"]:
            leaf["fields"]["instructions"], leaf["summary"] = text, ""
        elif "item" in leaf["fields"]:
            leaf["fields"]["item"]["stem"] = text[:-1] + "?"
            leaf["fields"]["item"] |= {
                name: model["fields"]["item"][name]
                for name in ("options", "accepted", "steps", "pairs")
                if name in model["fields"]["item"]
            }
        else:
            leaf["summary"] = text
    return True


def _words_of(leaf: Plain) -> list[str]:
    fields = leaf["fields"]
    stem = fields["item"]["stem"] if "item" in fields else ""
    return (fields.get("instructions") or leaf.get("summary") or stem).rstrip(".?").split()


OPERATORS: dict[str, Operator] = {
    operator.__name__: operator
    for operator in (
        drop_module,
        duplicate_leaf,
        paraphrase_leaf,
        swap_order,
        add_cycle,
        orphan_objective,
        vague_verb,
        wrong_key,
        two_keys,
        longest_key,
        all_above,
        off_topic_leaf,
        empty_summary,
        skew_sizes,
        raise_reading_level,
        fake_citation,
    )
}
# The sub-score that each should move most; a gate counts as well.
NAMED = {
    "drop_module": "coverage",
    "duplicate_leaf": "nonRedundancy",
    "paraphrase_leaf": "nonRedundancy",
    "swap_order": "order",
    "orphan_objective": "alignment",
    "vague_verb": "form",
    "wrong_key": "itemQuality",
    "longest_key": "itemQuality",
    "all_above": "itemQuality",
    "empty_summary": "form",
    "skew_sizes": "balance",
    "raise_reading_level": "readability",
    "fake_citation": "grounding",
}
