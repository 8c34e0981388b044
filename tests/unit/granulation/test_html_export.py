"""Trees as one page: whole, well formed, inert, and the same bytes each time."""

import base64
import hashlib
import html
import itertools
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.granulation.export_trees import HAND_MADE, node, tree
from tests.unit.granulation.offline.samples import make
from tests.unit.granulation.test_exports import NODES, VALUES
from tests.unit.granulation.test_item_rules import SOUND
from tests.unit.granulation.trees import course_tree, quiz_tree

from aifactory.granulation.exports import EXPORTS
from aifactory.granulation.exports.as_html import security, style
from aifactory.granulation.tree import SIMULATED_NOTICE, Node, Origin, Tree, walk

VOID = {"meta", "br", "hr"}
BLOCKS = {"p", "li", "td", "th", "dt", "dd", "div", "summary", "h1", "h2", "h3", "h4"}
TREES = {
    **HAND_MADE,
    "course": course_tree(),
    "quiz": quiz_tree(),
    "flashcards": make("drinking-water.md", "flashcards", 4, 10)[1],
    "document": make("drinking-water.md", "document", 5, 2, 3)[1],
}


class Page(HTMLParser):
    """A page taken apart: what is open is closed again, and where everything leads."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[tuple[int, str]] = []
        self.words: list[str] = []
        self.raw = content.decode()
        self.feed(self.raw)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in BLOCKS:
            self.words.append(" ")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if self.headings and any(re.fullmatch("h[1-6]", one) for one in self.open):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def all(self, attribute: str) -> list[str]:
        return [held[attribute] for _, held in self.tags if attribute in held]


def page(of: Tree) -> Page:
    return Page(EXPORTS["html"].write(of))


@cache
def page_of(name: str) -> Page:
    return page(TREES[name])


@pytest.fixture(params=TREES, ids=TREES)
def shown(request: pytest.FixtureRequest) -> tuple[Tree, Page]:
    return TREES[request.param], page_of(request.param)


def test_a_page_is_one_file_that_asks_nothing_of_anybody(shown: tuple[Tree, Page]) -> None:
    _, found = shown
    tags = {name for name, _ in found.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"}
    assert not {name for _, held in found.tags for name in held} & {"src", "srcset", "style", "data"}
    assert not [name for _, held in found.tags for name in held if name.startswith("on")]
    assert "url(" not in style()
    assert "@import" not in style()
    assert "<" not in style()


def test_its_policy_allows_its_own_style_and_nothing_else(shown: tuple[Tree, Page]) -> None:
    inner = re.search("<style>(.*)</style>", shown[1].raw, re.DOTALL)
    assert inner is not None
    digest = base64.b64encode(hashlib.sha256(inner.group(1).encode()).digest()).decode()
    policy = next(held["content"] for _, held in shown[1].tags if "http-equiv" in held)
    assert policy == security() == EXPORTS["html"].security()  # type: ignore[misc]
    assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def test_ids_are_unique_and_every_link_inside_leads_to_one(shown: tuple[Tree, Page]) -> None:
    ids = shown[1].all("id")
    assert len(ids) == len(set(ids))
    inside = [one[1:] for one in shown[1].all("href") if one.startswith("#")]
    assert set(inside) - set(ids) == set()
    assert all(one.startswith(("#", "https://", "http://")) for one in shown[1].all("href"))


def test_headings_begin_at_one_and_skip_no_level(shown: tuple[Tree, Page]) -> None:
    levels = [level for level, _ in shown[1].headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert [two for one, two in itertools.pairwise(levels) if two > one + 1] == []


def test_a_page_says_everything_that_its_tree_says(shown: tuple[Tree, Page]) -> None:
    told, found = shown
    missing = [said for said in _said(told) if " ".join(said.split()) not in found.text]
    assert missing == []


def _said(told: Tree) -> list[str]:
    """All prose of a tree: every text in it that is no id, no choice and no repeated title."""
    found = [told.title, told.summary]
    found += _texts({key: one for key, one in told.fields.items() if key != "blueprint"})
    for _, one in walk(told):
        short = one.kind in {"card", "point", "item"}
        found += [*([] if short else [one.title]), one.summary, *one.tags, *_texts(one.fields)]
    names = {one.id for _, one in walk(told)} | set(re.findall(r'"id":"([^"]+)"', _plain(told)))
    quick = {"yesBut", "noAnd", "yes", "reversed", "basic", "cloze", "single", *KINDS, *BLOOM}
    return [one for one in found if one not in names | quick]


KINDS = {
    "prerequisite",
    "part_of",
    "related",
    "contrasts",
    "example_of",
    "applies_to",
    "quiz",
    "assignment",
    "project",
}
BLOOM = {"remember", "understand", "apply", "analyze", "evaluate", "create"}


def _plain(told: Tree) -> str:
    return msgspec.json.encode(told).decode()


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [one for held in value.values() for one in _texts(held)]
    return [one for held in value for one in _texts(held)] if isinstance(value, (list, tuple)) else []


def test_every_node_has_a_place_that_can_be_linked_to(shown: tuple[Tree, Page]) -> None:
    ids = set(shown[1].all("id"))
    assert {"n-" + path.replace(".", "-") for path, _ in walk(shown[0])} <= ids


def test_the_same_tree_gives_the_same_bytes(shown: tuple[Tree, Page]) -> None:
    turned = msgspec.structs.replace(shown[0], fields=dict(reversed(shown[0].fields.items())))
    assert EXPORTS["html"].write(turned).decode() == shown[1].raw


HOSTILE = (
    "</style><script>alert(1)</script> ]]> --> <!-- \" ' onload=alert(1) &lt; \u202eevil\u202c \x00 "
    "javascript:alert(1) https://example.org/?a=1&b=\"'><u>"
)
LONG = "w" * 5_000


@pytest.mark.parametrize("name", TREES)
def test_hostile_text_shows_as_text_wherever_it_stands(name: str) -> None:
    plain = msgspec.json.decode(_plain(TREES[name]))
    bad = msgspec.convert(_poisoned(plain, set()), Tree)
    found = page(bad)
    tame = {one for tree in TREES for one, _ in page_of(tree).tags}
    assert {one for one, _ in found.tags} <= tame
    assert all(re.match(r"(#[\w-]+|https?://[^<>\"]+)\Z", one) for one in found.all("href"))
    assert found.text.count("</style><script>alert(1)</script>") >= 3
    assert "\x00" not in found.raw


_KEPT = {
    "id",
    "kind",
    "structureType",
    "language",
    "origin",
    "state",
    "cardKind",
    "sha256",
    "bloom",
    "difficulty",
}


def _poisoned(value: Any, long: set[str], name: str = "") -> Any:
    """Every text that a person or a model wrote, with the poison behind it; long words once a field."""
    if isinstance(value, dict):
        return {key: one if key in _KEPT else _poisoned(one, long, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_poisoned(one, long, name) for one in value]
    if not isinstance(value, str):
        return value
    word = "" if name in long else f" {LONG}"
    long.add(name)
    return f"{value}{word} {HOSTILE}"


def test_names_cannot_become_markup() -> None:
    bad = node('"><b>', '"><i>', "Step", **{'"><u>': "x", "<s>": [{"<em>": 1}], "role": "<q>"})
    found = page(tree('"><h1>', "T", bad, summary="s", **{"<a>": [{"id": "<b>", "name": "<u>"}]}))
    assert not {one for one, _ in found.tags} & {"b", "i", "u", "s", "em", "q"}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(NODES, max_size=4),
    st.dictionaries(st.text(max_size=12), VALUES, max_size=3),
    st.text(max_size=30),
)
def test_any_tree_becomes_a_sound_page(nodes: list[Node], fields: dict[str, Any], title: str) -> None:
    known = [
        "item",
        "items",
        "glossary",
        "objectives",
        "edges",
        "threads",
        "roles",
        "decision",
        "blueprint",
        "cast",
    ]
    value = next(iter(fields.values()), None)
    held = fields | dict.fromkeys(known, value)
    odd = Node(id="x", kind="k", level=1, ordinal=1, title=title, fields=held)
    whole = Tree(
        structure_type="other",
        title=title,
        summary=title,
        language=title,
        origin=Origin.HUMAN,
        depth=1,
        fields=held,
        nodes=(*nodes, odd),
    )
    ids = page(whole).all("id")
    assert len(ids) == len(set(ids))
    EXPORTS["html"].losses(whole)


@pytest.mark.parametrize("origin", Origin)
def test_a_simulated_tree_says_so_under_its_title(origin: Origin) -> None:
    found = page(msgspec.structs.replace(course_tree(), origin=origin))
    assert (SIMULATED_NOTICE in found.text) == (origin is Origin.SIMULATED)


@pytest.mark.parametrize("plain", SOUND, ids=lambda plain: plain["kind"] + plain["stem"][:12])
def test_every_kind_of_item_is_asked_and_answered_folded_and_in_the_key(plain: dict[str, Any]) -> None:
    found = page(tree("quiz", "Quiz", node("it_1", "item", "Something else", item=plain), summary=""))
    assert " ".join(plain["stem"].split()) in found.text
    question, _, key = found.raw.partition('class="end key"')
    answer = re.search(r'<details class="answer"><summary>Answer</summary><p><b>(.*?)</b>', question)
    assert answer is not None
    assert answer.group(1) != "–"
    assert answer.group(1) in key


def test_answers_stand_behind_their_fold_or_in_the_key_alone() -> None:
    found = html.unescape(page_of("quiz").raw)
    open_text = re.sub('<details class="answer">.*?</details>', "", found.partition('class="end key"')[0])
    items = [item for _, one in walk(TREES["quiz"]) for item in one.items]
    assert items
    for item in items:
        assert item.feedback
        assert item.feedback not in open_text
        assert item.feedback in found


def test_sources_are_cited_quoted_and_lead_back() -> None:
    found = page_of("course")
    listed = [one for one in found.all("id") if one.startswith("s-")]
    assert listed == [f"s-{number}" for number in range(1, len(listed) + 1)]
    assert len(listed) > 3
    back = {one[1:] for one in found.all("href") if one.startswith("#r-")}
    assert back == {one for one in found.all("id") if one.startswith("r-")}
    spans = {span.quote for _, one in walk(TREES["course"]) for span in one.sources}
    assert [quote for quote in spans if " ".join(quote.split()) not in found.text] == []


def test_references_are_shown_by_name_and_not_by_id() -> None:
    for name, ids in {
        "workflow": r"\b(ro|st|ph|ta)_\d",
        "novel": r"\b(ca|pl|th|sc|ch|an)_\d",
        "learning_path": r"\b(mi|sk|ac)_\d",
        "knowledge_map": r"\b(co|su|de)_\d",
    }.items():
        found = page_of(name)
        assert re.findall(ids, found.text) == []
    assert "No → 1.1 Write the recipe back for rework" in page_of("workflow").text
    assert "A letter nobody opened It was a gift. 1.1.1 2.1.1" in page_of("novel").text


def test_a_map_draws_an_arc_for_every_edge_and_lists_them_all() -> None:
    found = page_of("knowledge_map")
    edges = TREES["knowledge_map"].fields["edges"]
    assert sum(held.get("class") == "line" for _, held in found.tags) == len(edges)
    rows = re.findall(r'<td data-label="Relation"><div><span class="edge k\d">', found.raw)
    assert len(rows) == len(edges)


def test_a_crowded_map_is_a_table_alone() -> None:
    many = [{"from": "co_1", "to": "co_2", "edgeKind": "related"}] * 200
    found = page(msgspec.structs.replace(TREES["knowledge_map"], fields={"edges": many}))
    assert "svg" not in {one for one, _ in found.tags}
    assert found.text.count("is related to") == 200


def test_a_gap_is_drawn_and_an_address_can_be_followed() -> None:
    told = tree("other", "T", summary="See https://example.org/a_(b), or ____ (http://x.test/?a=1&b=2).")
    found = page(told)
    assert found.all("href")[-2:] == ["https://example.org/a_(b", "http://x.test/?a=1&b=2"]
    assert '<span class="gap">____</span>' in found.raw
    assert told.summary in found.text


def test_what_a_page_drops_is_declared() -> None:
    lost = {(loss.node, loss.field) for loss in EXPORTS["html"].losses(TREES["quiz"])}
    assert lost == {
        ("", "schemaVersion"),
        ("", "source.sha256"),
        ("*", "id"),
        ("*", "origin"),
        ("*", "state"),
        ("*", "items.id"),
    }
    bare = EXPORTS["html"].losses(tree("other", "T", summary=""))
    assert [loss.field for loss in bare] == ["schemaVersion"]


def test_a_page_says_its_language_and_direction() -> None:
    arabic = msgspec.structs.replace(HAND_MADE["novel"], language="ar-EG")
    assert page(arabic).tags[0] == ("html", {"lang": "ar-EG", "dir": "rtl"})
    assert page(HAND_MADE["novel"]).tags[0] == ("html", {"lang": "en"})


def _light(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_all_colours_of_text_can_be_read_on_all_grounds_in_light_and_dark() -> None:
    blocks = re.findall(r":root \{(.*?)\}", style(), re.DOTALL)
    held = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(held) == 3  # light, dark, print
    edges = re.findall(r"\.k\d \{ color: (#[0-9a-f]{6})", style())
    assert len(edges) == 12
    held[0] |= dict(zip("abcdef", edges[:6], strict=True))
    held[1] |= dict(zip("abcdef", edges[6:], strict=True))
    for colours in held:
        grounds = [colours.pop("paper"), colours.pop("tint")]
        colours.pop("line")
        for text, ground in itertools.product(colours.values(), grounds):
            high, low = sorted((_light(text), _light(ground)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
