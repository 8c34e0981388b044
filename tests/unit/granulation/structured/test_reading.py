"""Reading what a model wrote, whole, wrapped or cut."""

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st
from msgspec import Meta, defstruct
from tests.unit.granulation.structured.random_types import typed_values

from aifactory.granulation.structured import Fault, Reading, SchemaTooLarge, answer_format, read_answer, wire
from aifactory.granulation.structured.text import MAX_CHARACTERS, clean, complete, cut_out
from aifactory.resources.interface import SchemaProfile

SLOW = settings(max_examples=100, suppress_health_check=list(HealthCheck))


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    minutes: int = 0
    bloom: Literal["apply", "create"] = "apply"
    parts: tuple[str, ...] = ()


class Outline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str = ""
    nodes: tuple[Node, ...]
    sources: tuple[str, ...] = ()
    ready: bool = False


FORM = answer_format(Outline, name="outline", profile=SchemaProfile.OPENAI)
NODES = '{"title":"A","minutes":1,"bloom":"apply","parts":["p"]},{"title":"B","minutes":2}'
WHOLE = f'{{"title":"T","nodes":[{NODES}],"sources":["s1","s2"],"ready":true}}'


def read(text: str, *, finish_is_length: bool = False) -> Reading:
    return read_answer(text, FORM, finish_is_length=finish_is_length)


def test_a_strict_answer_is_read_without_notes() -> None:
    reading = read(f"\n {WHOLE}\n")
    assert reading == Reading(value=msgspec.json.decode(WHOLE, type=Outline))


@pytest.mark.parametrize(
    "wrapped",
    [
        f"```json\n{WHOLE}\n```",
        f"Here is [the] outline of {{topic}}:\n```\n{WHOLE}\n```\nAnything else?",
        f"<think>Let's see: 3 nodes.</think>{WHOLE}",
        f"\ufeff{WHOLE}",
    ],
)
def test_an_object_is_cut_out_of_fences_and_prose(wrapped: str) -> None:
    reading = read(wrapped)
    assert reading.value == msgspec.json.decode(WHOLE, type=Outline)
    assert reading.repaired == ("text around the object removed",)
    assert not reading.cut


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON at all",
        WHOLE + WHOLE,
        f"First {WHOLE} then {{}}",
        f"{{ nodes: [{WHOLE}] }}",
        f"[{WHOLE}",
        '{"nodes": [tru]}',
        '{"nodes": [],}',
        "{'nodes': []}",
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_what_is_not_one_json_object_is_unreadable(text: str) -> None:
    reading = read(text)
    assert (reading.fault, reading.value) == (Fault.UNREADABLE, None)


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "I cannot write this course.", "Unfortunately, I must…"],
)
def test_prose_that_says_no_is_a_refusal(text: str) -> None:
    assert read(text).fault is Fault.REFUSED


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[]", ""),
        ('{"nodes": {}}', "/nodes"),
        ('{"nodes": [{"title": "A", "minutes": "5"}]}', "/nodes/0/minutes"),
        ('{"nodes": [{"title": "A", "minutes": 5.5}]}', "/nodes/0/minutes"),
        ('{"nodes": [{"title": "A", "minutes": 1e300}]}', "/nodes/0/minutes"),
        ('{"nodes": [{"title": "A", "minutes": true}]}', "/nodes/0/minutes"),
        ('{"nodes": [], "ready": 1}', "/ready"),
        ('{"nodes": [], "ready": "true"}', "/ready"),
        ('{"nodes": null}', "/nodes"),
        ('{"nodes": [{"title": "A", "bloom": "Apply"}]}', "/nodes/0/bloom"),
        ('```\n{"title": "T"}\n```', ""),
    ],
)
def test_what_the_types_refuse_stays_refused(text: str, path: str) -> None:
    reading = read(text)
    assert (reading.fault, reading.path, reading.value) == (Fault.WRONG_TYPES, path, None)


def test_a_whole_float_and_space_around_an_enum_value_pass_with_a_note() -> None:
    reading = read('{"nodes": [{"title": " A ", "minutes": 5.0, "bloom": " create\\n"}]}')
    assert reading.value.nodes == (Node(title=" A ", minutes=5, bloom="create"),)
    assert [note.partition(":")[0] for note in reading.repaired] == ["/nodes/0/minutes", "/nodes/0/bloom"]


@pytest.mark.parametrize(
    ("type_", "written", "value"),
    [
        (Literal["a"] | str, " a ", " a "),
        (Literal["a"] | int, " a ", "a"),
        (int | float, 5.0, 5.0),
        (Literal[5] | float, 5.0, 5.0),
        (int | str, 5.0, 5),
        (Literal[5], 5.0, 5),
    ],
)
def test_nothing_is_changed_that_the_type_takes_as_it_is(type_: Any, written: Any, value: Any) -> None:
    form = answer_format(defstruct("T", [("x", type_)]), name="n", profile=SchemaProfile.OPENAI)
    reading = read_answer(json.dumps({"x": written}), form, finish_is_length=False)
    assert (reading.value.x, type(reading.value.x)) == (value, type(value))
    assert bool(reading.repaired) == (type(written) is not type(value) or written != value)


def test_a_tag_loses_surrounding_space_too() -> None:
    one, other = (defstruct(name, [("a", int)], tag=name, tag_field="kind") for name in ("one", "other"))
    form = answer_format(defstruct("T", [("x", one | other)]), name="n", profile=SchemaProfile.OPENAI)
    reading = read_answer('{"x": {"kind": "other ", "a": 2.0}}', form, finish_is_length=False)
    assert reading.value.x == other(a=2)
    assert len(reading.repaired) == 2


def test_many_notes_are_shortened() -> None:
    reading = read(json.dumps({"nodes": [{"title": "A", "minutes": 5.0}] * 30}))
    assert len(reading.repaired) == 21
    assert reading.repaired[-1] == "and 10 more"


def test_a_cut_list_keeps_its_closed_elements_and_says_how_many() -> None:
    reading = read(WHOLE[: WHOLE.index(',"minutes":2')], finish_is_length=True)
    assert [node.title for node in reading.value.nodes] == ["A"]
    assert (reading.cut, reading.cut_path, reading.survived) == (True, "/nodes", 1)
    assert reading.repaired == ("cut tail dropped", "left at their defaults: sources, ready")


def test_a_cut_after_the_lists_keeps_them_whole_and_drops_half_a_literal() -> None:
    reading = read(WHOLE[: WHOLE.index("ue}")], finish_is_length=True)
    assert len(reading.value.nodes) == 2
    assert (reading.cut_path, reading.value.ready) == ("", False)


def test_half_a_string_and_half_a_number_are_never_kept() -> None:
    form = answer_format(defstruct("T", [("n", list[int | str])]), name="n", profile=SchemaProfile.OPENAI)
    assert read_answer('{"n": [12, 34', form, finish_is_length=True).value.n == [12]
    assert read_answer('{"n": [12, 34,', form, finish_is_length=True).value.n == [12, 34]
    assert read_answer('{"n": ["a", "b\\"', form, finish_is_length=True).value.n == ["a"]
    assert read_answer('{"n": ["a", "b"', form, finish_is_length=True).value.n == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["", "{", '{"tit', '{"title": "T", "no', '{"title": "T", "nodes": [{"title": "A"']
)
def test_a_cut_before_anything_whole_is_a_cut(text: str) -> None:
    reading = read(text, finish_is_length=True)
    assert (reading.fault, reading.value) == (Fault.CUT, None)


def test_a_list_that_the_types_want_longer_is_not_kept_short() -> None:
    at_least = Annotated[list[int], Meta(min_length=3)]
    form = answer_format(defstruct("T", [("n", at_least)]), name="n", profile=SchemaProfile.OPENAI)
    assert read_answer('{"n": [1, 2, 3, 4', form, finish_is_length=True).value.n == [1, 2, 3]
    assert read_answer('{"n": [1, 2, 3', form, finish_is_length=True).fault is Fault.CUT


def test_an_unclosed_answer_that_claims_to_be_whole_is_closed_too() -> None:
    reading = read(WHOLE[:-1] + "\n")
    assert reading.value == msgspec.json.decode(WHOLE, type=Outline)
    assert reading.repaired == ("cut tail dropped",)
    assert read(WHOLE[:5]).fault is Fault.UNREADABLE


@pytest.mark.parametrize(
    "odd", ["\x00", "\x1b", "\x9f", "\ud800", "\\u0000", "\\u001F", "\\ud83d", "\\uDE00"]
)
def test_characters_that_cannot_be_stored_are_removed_with_a_note(odd: str) -> None:
    reading = read(f'{{"nodes": [{{"title": "A{odd}B"}}]}}')
    assert reading.value.nodes[0].title == "AB"
    assert reading.repaired == ("1 unusable characters removed",)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("\\ud83d\\ude00", "😀"), ("\\\\u0000", "\\u0000"), ("\\t\\n", "\t\n"), ("\\\\\\u0041", "\\A")],
)
def test_other_escapes_stay(written: str, meant: str) -> None:
    reading = read(f'{{"nodes": [{{"title": "{written}"}}]}}')
    assert reading == Reading(value=Outline(nodes=(Node(title=meant),)))


def test_bare_line_ends_inside_strings_are_escaped() -> None:
    reading = read('{"nodes":\n [{"title": "one\n\ttwo"}]}')
    assert reading.value.nodes[0].title == "one\n\ttwo"
    assert reading.repaired == ("bare line ends in strings escaped",)


PIECES = [
    "\\",
    "u",
    "00",
    "0000",
    "\\u0000",
    "d83d",
    "\\ude00",
    "\x00",
    '"',
    "a",
    "\ud800",
    "\\u00",
    "{",
    "1",
]


@SLOW
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("\\u00\\u000000")
@example("\\u00\x0000")
def test_nothing_unusable_gets_past_the_cleaning(inner: str) -> None:
    reading = read(f'{{"nodes": [{{"title": "{inner}"}}]}}')
    for node in reading.value.nodes if reading.value else ():
        assert clean(node.title) == (node.title, ()) or "\\u" in node.title
        assert "\x00" not in node.title
        node.title.encode()


def lists_are_prefixes(part: Any, whole: Any) -> bool:
    """Whether each list in a value is a beginning of the same list in another; elements are equal."""
    if isinstance(part, dict):
        return all(lists_are_prefixes(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return part == whole[: len(part)]
    return True


@SLOW
@given(typed=typed_values(), data=st.data(), finish_is_length=st.booleans(), spaced=st.booleans())
def test_any_beginning_of_a_document_fails_or_gives_beginnings_of_its_lists(
    typed: tuple[Any, Any], data: st.DataObject, finish_is_length: bool, spaced: bool
) -> None:
    type_, value = typed
    try:
        form = answer_format(type_, name="answer", profile=SchemaProfile.GEMINI)
    except SchemaTooLarge:
        reject()
    document = json.dumps(wire(value, type_), indent=1 if spaced else None, ensure_ascii=spaced)
    end = data.draw(st.integers(0, len(document)))
    reading = read_answer(document[:end], form, finish_is_length=finish_is_length)
    if reading.fault is not None:
        assert end < len(document)
        return
    assert lists_are_prefixes(wire(reading.value, type_), wire(value, type_))
    assert end < len(document) or (reading.value == value and not reading.repaired)


def test_every_beginning_of_a_document_is_honest() -> None:
    whole = json.loads(WHOLE)
    for end in range(len(WHOLE)):
        reading = read(WHOLE[:end], finish_is_length=True)
        if reading.fault is None:
            assert reading.cut
            written = wire(reading.value, Outline)
            for part, one in zip(written["nodes"], whole["nodes"], strict=False):
                assert part == {"minutes": 0, "bloom": "apply", "parts": []} | one
            assert written["sources"] == whole["sources"][: len(written["sources"])]
            assert written["title"] in ("", "T")


JSONISH = st.text(st.sampled_from('{}[]",:\\ tfn01.eu\n`a\x00'), max_size=60)


@SLOW
@given(JSONISH, st.booleans())
def test_no_text_makes_reading_fail(text: str, finish_is_length: bool) -> None:
    reading = read('{"nodes":[' + text, finish_is_length=finish_is_length)
    assert (reading.value is None) == (reading.fault is not None)
    complete(text)
    cut_out(text)


HUGE = {
    "lists": '{"nodes":' + "[" * 300_000,
    "closed lists": "[" * 150_000 + "]" * 150_000,
    "objects": '{"a":' * 60_000,
    "elements": '{"nodes":[' + '{"a":' * 60_000,
    "an open string of escapes": '{"' + '\\"' * 150_000,
    "quotes and line ends": '{"' + '\n"' * 150_000,
    "backslashes": '{"' + "\\" * 300_000,
    "spaces after braces": "{ " * 150_000,
    "space": "{" + " " * 300_000,
    "digits": '{"nodes":[' + "1" * 300_000 + "]}",
    "empty objects": "{}" * 150_000,
    "many elements": '{"nodes":[' + '{"title":"a"},' * 20_000,
}


@pytest.mark.parametrize("shape", HUGE)
def test_deep_and_huge_texts_are_read_in_one_pass(shape: str) -> None:
    # Anything worse than linear in these sizes would take hours.
    reading = read(HUGE[shape], finish_is_length=True)
    assert (reading.fault is None) == (shape == "many elements")
