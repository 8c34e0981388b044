"""More words, more keywords and copies gain nothing; the same said otherwise costs nothing; all types."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from bench.granulation.mutations import Base, bases
from tests.unit.granulation.plain_trees import (
    Plain,
    alike_leaves,
    has_prose,
    leaves_of,
    nodes_of,
    prose_fields,
)
from tests.unit.granulation.trees import KEYPHRASES, SOURCE, course_counts, course_tree, quiz_tree

from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree

FILLER = " This part is important and it is worth the time that it takes."
# Half of the keyphrases are missing in the last two, so stuffing has something to gain.
NAMES = (*builtin_specs(), "course of half", "quiz of half")


def base(name: str) -> Base:
    if name in builtin_specs():
        # The examples of the repository rather than trees by hand, where there are both: they are less even.
        return [one for one in bases(quick=True) if one.tree.structure_type == name][-1]
    tree = course_tree(modules=2, lessons=2) if name.startswith("course") else quiz_tree(sections=2)
    return Base(name=name, tree=tree, text=SOURCE, phrases=KEYPHRASES, counts=course_counts(tree))


def exact(of: Base, plain: Plain) -> float:
    result = of.scored(msgspec.convert(plain, Tree))
    return -1.0 if result.exact is None else result.exact


def phrases_of(of: Base) -> list[str]:
    return [phrase for phrase, _ in of.phrases or KEYPHRASES]


def plain_of(of: Base) -> Plain:
    plain: Plain = msgspec.json.decode(msgspec.json.encode(of.tree))
    return plain


def add(node: Plain, text: str) -> None:
    """Say more where a node says most of what it says."""
    place = next((name for name in prose_fields(node) if isinstance(node["fields"][name], str)), "")
    if node.get("summary") or not place:
        node["summary"] = node.get("summary", "") + text
    else:
        node["fields"][place] += text


def fill_everywhere(plain: Plain, phrases: list[str]) -> None:
    for node in nodes_of(plain):
        if "item" not in node["fields"]:
            add(node, FILLER)


def fill_once(plain: Plain, phrases: list[str]) -> None:
    add(next(nodes_of(plain)), FILLER)


def list_keywords(plain: Plain, phrases: list[str]) -> None:
    add(next(nodes_of(plain)), " Keywords: " + ", ".join(phrases)[:180] + ".")


def list_keywords_in_leaves(plain: Plain, phrases: list[str]) -> None:
    for place, leaf in enumerate(leaves_of(plain)):
        if "item" not in leaf["fields"]:
            add(leaf, f" About {phrases[place % len(phrases)]} and {phrases[(place + 1) % len(phrases)]}.")


def sentence_of_keywords(plain: Plain, phrases: list[str]) -> None:
    add(next(nodes_of(plain)), f" It is about the {' and the '.join(phrases[:9]).lower()}.")


def tag_keywords(plain: Plain, phrases: list[str]) -> None:
    for node in nodes_of(plain):
        node["tags"] = phrases[:6]


def root_keywords(plain: Plain, phrases: list[str]) -> None:
    plain["summary"] += " " + " ".join(phrases)


def copy_leaf(plain: Plain, phrases: list[str]) -> None:
    leaf = alike_leaves(plain)[0]
    parent = next(node for node in nodes_of(plain) if leaf in node.get("children", []))
    copied = msgspec.json.decode(msgspec.json.encode(leaf)) | {"id": leaf["id"] + "copy"}
    if "item" in copied["fields"]:
        copied["fields"]["item"]["id"] += "copy"
    parent["children"].append(copied)


def empty_words(plain: Plain, phrases: list[str]) -> None:
    for leaf in leaves_of(plain):
        leaf["title"] += " and so on and so forth"


PADDING: tuple[Callable[[Plain, list[str]], None], ...] = (
    fill_everywhere,
    fill_once,
    list_keywords,
    list_keywords_in_leaves,
    sentence_of_keywords,
    tag_keywords,
    root_keywords,
    copy_leaf,
    empty_words,
)


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_keyword_stuffing_never_gain_a_point(name):
    of = base(name)
    before = exact(of, plain_of(of))
    gained = {}
    for pad in PADDING:
        plain = plain_of(of)
        pad(plain, phrases_of(of))
        gained[pad.__name__] = exact(of, plain) - before
    assert {pad: gain for pad, gain in gained.items() if gain > 1} == {}


def renamed(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return f"zz_{value}" if isinstance(value, str) and value in names else value


def ids_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["id"]} if isinstance(value.get("id"), str) else set()
        return own.union(*map(ids_in, value.values()))
    return set().union(*map(ids_in, value)) if isinstance(value, list) else set()


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], chance) for key in chance.sample(list(value), len(value))}
    return [shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", builtin_specs())
def test_ids_key_order_white_space_and_ordinals_change_nothing_in_any_type(name):
    of = base(name)
    plain = plain_of(of)
    before = exact(of, plain)
    plain = shuffled(renamed(plain, ids_in(plain)), random.Random(3))
    for node in nodes_of(plain):
        node["ordinal"] += 40
        for holder, key in (
            (node, "title"),
            (node, "summary"),
            *((node["fields"], one) for one in prose_fields(node)),
        ):
            if has_prose(holder.get(key)):
                # As many as before: the length of a text is counted with its white space.
                holder[key] = "\xa0".join(holder[key].split(" "))
    assert exact(of, plain) == before


@pytest.mark.parametrize("name", builtin_specs())
def test_an_empty_tree_of_any_type_is_worth_nothing_with_its_source(name):
    of = base(name)
    result = of.scored(msgspec.structs.replace(of.tree, nodes=()))
    assert (result.exact, {part.value for part in result.sub_scores.values()}) == (0, {0})
