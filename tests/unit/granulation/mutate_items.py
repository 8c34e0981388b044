"""Ways to make objectives, questions and cards worse."""

import random

from tests.unit.granulation.plain_trees import Plain, items_of, leaves_of, nodes_of, objectives_of, some


def orphan_objective(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Take away whatever practises and assesses some objectives."""
    names = {one["id"] for one in some(objectives_of(plain), strength, chance)}
    rest = [one["id"] for one in objectives_of(plain) if one["id"] not in names]
    if not rest:
        return False
    for node in nodes_of(plain):
        fields = node["fields"]
        items = [*fields.get("items", []), fields.get("item") or {}]
        for holder in (fields, fields.get("assessment") or {}, *items):
            if "objectiveIds" in holder:
                left = [one for one in holder["objectiveIds"] if one not in names]
                holder["objectiveIds"] = left or [rest[0]]
    return bool(names)


def vague_verb(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Replace the verbs of some objectives by one that nobody can observe."""
    for one in some(objectives_of(plain), strength, chance):
        one["text"] = "Understand " + one["text"].split(" ", 1)[-1]
    return bool(objectives_of(plain))


def wrong_key(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Mark a distractor of sourced single-choice items as the key."""
    sourced = [one for one in _singles(plain) if one.get("sources")]
    for one in some(sourced, strength, chance):
        right = next(place for place, option in enumerate(one["options"]) if option.get("correct"))
        wrong = chance.choice([place for place in range(len(one["options"])) if place != right])
        one["options"][right]["correct"], one["options"][wrong]["correct"] = False, True
        one["options"][wrong]["rationale"] = one["options"][right].get("rationale", "")
    return bool(sourced)


def _singles(plain: Plain) -> list[Plain]:
    return [one for one in items_of(plain) if one["kind"] == "single"]


def two_keys(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Mark every option of single-choice items as right."""
    for one in some(_singles(plain), strength, chance):
        for option in one["options"]:
            option["correct"] = True
    return bool(_singles(plain))


def longest_key(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Let the key run on until it is twice as long as any other option."""
    for one in some(_singles(plain), strength, chance):
        longest = max(len(other["text"]) for other in one["options"])
        for option in one["options"]:
            while option.get("correct") and len(option["text"]) < 2 * longest + 10:
                option["text"] += ", which is what the passage says about it"
    return bool(_singles(plain))


def all_above(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Let the last wrong option be about the others."""
    for one in some(_singles(plain), strength, chance):
        wrong = [option for option in one["options"] if not option.get("correct")]
        wrong[-1]["text"] = "All of the above"
    return bool(_singles(plain))


def card_gives_away(plain: Plain, strength: int, chance: random.Random) -> bool:
    """Write the back of cards into their front."""
    cards = [leaf for leaf in leaves_of(plain) if "front" in leaf["fields"]]
    for card in some(cards, strength, chance):
        fields = card["fields"]
        fields["front"] = f"{fields['front'].rstrip('?')}, that is {fields['back'].rstrip('.')}?"
    return bool(cards)
