import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.granulation.test_item_rules import SOUND
from tests.unit.granulation.trees import course_tree, quiz_tree

from aifactory.granulation.exports import EXPORTS, ImportRefused, as_json
from aifactory.granulation.exports.markdown_items import answer, question
from aifactory.granulation.exports.markdown_text import escape
from aifactory.granulation.tree import SIMULATED_NOTICE, Item, Node, Origin, Tree, walk

TREES = {"course": course_tree(), "two levels": course_tree(activities=0), "quiz": quiz_tree()}


@pytest.mark.parametrize("origin", Origin)
def test_markdown_says_at_its_top_that_no_model_wrote_a_simulated_tree(origin):
    text = EXPORTS["markdown"].write(msgspec.structs.replace(course_tree(), origin=origin)).decode()
    top = text.partition("\n## ")[0]
    assert (f"**{SIMULATED_NOTICE}**" in top.split("\n")) == (origin is Origin.SIMULATED)
    assert ("simulated" in text) == (origin is Origin.SIMULATED)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_json_reads_back_to_an_equal_tree_with_nothing_lost(tree):
    assert as_json.read(EXPORTS["json"].write(tree)) == tree
    assert EXPORTS["json"].losses(tree) == []


NAMES = st.text(min_size=1, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NODES = st.builds(
    Node,
    id=NAMES,
    kind=NAMES,
    level=st.integers(1, 3),
    ordinal=st.integers(0, 99),
    title=st.text(max_size=30),
    summary=st.text(max_size=30),
    minutes=st.none() | st.integers(0, 600),
    fields=st.dictionaries(NAMES, VALUES, max_size=3),
)


@given(st.lists(NODES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=3), st.text(max_size=30))
def test_json_round_trips_any_tree_and_markdown_takes_it(nodes, fields, title):
    tree = Tree(
        structure_type="other",
        title=title,
        summary=title,
        language="en",
        origin=Origin.HUMAN,
        depth=1,
        fields=fields,
        nodes=tuple(nodes),
    )
    assert as_json.read(as_json.export(tree)) == tree
    if not any({"item", "items"} & node.fields.keys() for node in nodes):
        EXPORTS["markdown"].write(tree).decode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format":"other","version":1,"tree":{}}',
        b'{"format":"aifactory.tree","version":2,"tree":{}}',
        b'{"format":"aifactory.tree","version":1,"tree":{}}',
        as_json.export(TREES["quiz"])[:-40],
        as_json.export(msgspec.structs.replace(TREES["quiz"], schema_version=9)),
    ],
    ids=range(11),
)
def test_what_is_no_export_is_refused(raw):
    with pytest.raises(ImportRefused):
        as_json.read(raw)


@pytest.mark.parametrize("name", sorted(EXPORTS))
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_the_same_tree_gives_the_same_bytes(name, tree):
    turned = msgspec.structs.replace(tree, fields=dict(reversed(tree.fields.items())))
    assert EXPORTS[name].write(tree) == EXPORTS[name].write(turned)


def markdown(name: str) -> str:
    return EXPORTS["markdown"].write(TREES[name]).decode()


def test_the_document_has_a_heading_for_every_node_in_order():
    headings = [
        match.group(1) for match in re.finditer(r"^#{2,4} (\d[\d.]*) ", markdown("course"), re.MULTILINE)
    ]
    assert headings == [path for path, _ in walk(TREES["course"])]


@pytest.mark.parametrize("name", sorted(TREES))
def test_the_document_says_everything_that_a_reader_needs(name):
    text = markdown(name)
    for _, node in walk(TREES[name]):
        wanted = [
            node.title,
            node.summary,
            *node.fields.get("keyPoints", []),
            node.fields.get("instructions", ""),
        ]
        wanted += [item.stem for item in node.items]
        wanted += [option.text for item in node.items for option in item.options]
        assert [one for one in wanted if escape(one) not in text] == []
    for entry in TREES[name].fields.get("glossary", []):
        assert f"**{entry['term']}** – {escape(entry['definition'])}" in text
    assert text.startswith(f"# {TREES[name].title}\n")
    assert text.endswith("\n")
    assert "\n\n\n" not in text


def test_answers_stand_only_in_the_key_at_the_end():
    body, _, key = markdown("quiz").partition("## Answer key")
    items = [item for _, node in walk(TREES["quiz"]) for item in node.items]
    for number, item in enumerate(items, 1):
        right = next(option.text for option in item.options if option.correct)
        assert re.search(rf"\*\*Question {number}:\*\* [A-Z]\. {re.escape(right)}", key)
        assert item.feedback not in body


def test_sources_are_numbered_and_cited():
    text = markdown("course")
    numbers = {int(one) for one in re.findall(r"\\\[(\d+)\\\]", text)}
    listed = re.findall(r"^(\d+)\. “", text.partition("## Sources")[2], re.MULTILINE)
    assert [int(one) for one in listed] == sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("plain", SOUND, ids=lambda plain: plain["kind"] + plain["stem"][:12])
def test_every_kind_of_item_is_asked_and_answered(plain):
    item = msgspec.convert(plain, Item)
    asked, answered = "\n".join(question(item, 1)), "\n".join(answer(item, 1))
    assert escape(item.stem) in asked
    assert "**Question 1:** –" not in answered


def test_order_and_match_do_not_show_their_answers():
    steps = ("Mix the flour", "Fold the dough", "Bake the loaf")
    item = msgspec.convert({**SOUND[0], "kind": "order", "options": [], "steps": steps}, Item)
    assert [line[5:] for line in question(item, 1) if line.startswith("- ")] == sorted(steps)
    assert "**Question 1:** C, B, A" in answer(item, 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# not a heading", r"\# not a heading"),
        ("1. not a list", r"1\. not a list"),
        ("- not a list", r"\- not a list"),
        ("a *b* `c` <d> [e]", r"a \*b\* \`c\` \<d> \[e\]"),
        ("snake_case stays", "snake_case stays"),
        ("_not emphasis_", r"\_not emphasis\_"),
        ("the ____ gap", r"the \_\_\_\_ gap"),
        ("AT&amp;T and &copy;", "AT&amp;amp;T and &amp;copy;"),
        ("two\nlines", "two lines"),
        ("3.5 percent, 2 - 1", "3.5 percent, 2 - 1"),
    ],
)
def test_text_shows_in_markdown_as_it_is(text, shown):
    assert escape(text) == shown


def test_markdown_declares_what_it_drops():
    lost = {loss.field for loss in EXPORTS["markdown"].losses(TREES["course"])}
    assert {"id", "origin", "state", "items.id", "source.sha256"} <= lost
    assert all(loss.reason for loss in EXPORTS["markdown"].losses(TREES["course"]))


def test_fields_of_unknown_types_are_shown_by_name():
    node = Node(
        id="p", kind="phase", level=1, ordinal=1, title="Plan", fields={"exitGate": "All agree", "cost": 3}
    )
    tree = Tree(
        structure_type="workflow",
        title="Work",
        summary="",
        language="en",
        origin=Origin.LLM,
        depth=1,
        nodes=(node,),
    )
    text = EXPORTS["markdown"].write(tree).decode()
    assert "**Exit gate:** All agree" in text
    assert "**Cost:** 3" in text
