"""Problem documents from every kind of fault."""

import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.kernel.errors import AppError, Invalid, NotFound, Unreadable
from aifactory.kernel.problems import (
    as_app_error,
    camel,
    catalogue,
    decode_strictly,
    has_bad_text,
    problem_members,
)


class Inner(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    some_name: Annotated[str, msgspec.Meta(min_length=1)]


class Body(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    items: list[Inner] = []
    by_key: dict[str, Inner] = {}
    anything: dict[str, Any] = {}


DECODER = msgspec.json.Decoder(Body)


def fault(body: bytes) -> tuple[str, str]:
    with pytest.raises(Invalid) as refused:
        decode_strictly(body, DECODER)
    return refused.value.errors[0].pointer, refused.value.errors[0].code


def test_a_pointer_leads_to_the_fault() -> None:
    assert fault(b'{"items": [{"someName": "x"}, {}]}') == ("/items/1/someName", "missing_field")
    assert fault(b'{"items": [{"someName": "x", "a/b": 1}]}') == ("/items/0/a~1b", "unknown_field")
    assert fault(b'{"items": {}}') == ("/items", "wrong_type")
    assert fault(b'{"items": [{"someName": ""}]}') == ("/items/0/someName", "out_of_range")
    assert fault(b'{"byKey": {"x": {"someName": 1}}}') == ("/byKey/*/someName", "wrong_type")
    assert fault(b"[]") == ("", "wrong_type")
    assert fault(b'{"anything": {"a": ["\\u0007"]}}') == ("/anything/a/0", "control_character")


class Order(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    limit_usd: Decimal | None = None
    colour: Literal["red", "blue"] | None = None
    parts: list["Order"] = []


def test_money_is_a_number_and_a_choice_is_told_with_what_there_is_to_choose() -> None:
    decoder = msgspec.json.Decoder(Order)
    for body, pointer, detail in (
        ('{"limitUsd": "5"}', "/limitUsd", "as a number"),
        ('{"parts": [{}, {"limitUsd": "\uff15"}]}', "/parts/1/limitUsd", "as a number"),
        ('{"parts": [{"colour": "green"}]}', "/parts/0/colour", "one of: blue, red."),
    ):
        with pytest.raises(Invalid) as refused:
            decode_strictly(body.encode(), decoder)
        assert refused.value.errors[0].pointer == pointer
        assert detail in refused.value.detail
    exact = decode_strictly(b'{"limitUsd": 0.1234567890123456789, "parts": [{"limitUsd": 5}]}', decoder)
    assert (str(exact.limit_usd), exact.parts[0].limit_usd) == ("0.1234567890123456789", 5)


def test_an_escaped_backslash_is_no_control_character() -> None:
    body = decode_strictly(
        b'{"anything": {"a": "\\\\u0000", "b": "\\n\\t\\r", "c": "\\ud83d\\ude00"}}', DECODER
    )
    assert body.anything == {"a": "\\u0000", "b": "\n\t\r", "c": "\U0001f600"}


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    with contextlib.suppress(Unreadable, Invalid):
        decode_strictly(body, DECODER)


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_accepted_has_no_control_characters(value: Any) -> None:
    try:
        decoded = decode_strictly(json.dumps({"anything": {"v": value}}).encode(), DECODER)
    except (Unreadable, Invalid):
        return
    for text in _texts(decoded.anything):
        assert not has_bad_text(text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def test_extras_become_camel_case_members() -> None:
    error = NotFound("Nothing.", near_names=["a"], requiredTier="premium")
    members = problem_members(error, instance="/x", request_id="r")
    assert members["nearNames"] == ["a"]
    assert members["requiredTier"] == "premium"
    assert members["type"] == "/docs/errors#not_found"
    assert camel("current_state") == "currentState"


def test_what_was_sent_is_not_told_again_at_length() -> None:
    with pytest.raises(Invalid) as caught:
        decode_strictly(b'{"%s": 1}' % (b"x" * 100_000), msgspec.json.Decoder(Body))
    assert len(json.dumps(problem_members(caught.value, instance="/", request_id="r"))) < 5000


def test_faults_of_the_database_are_503_and_others_unknown() -> None:
    busy = as_app_error(asyncpg.QueryCanceledError("statement timeout"))
    assert isinstance(busy, AppError)
    assert (busy.status, busy.code) == (503, "busy")
    assert as_app_error(RuntimeError("x")) is None


def test_every_code_has_one_title_and_status() -> None:
    entries = catalogue()
    codes = [entry.code for entry in entries]
    assert len(codes) == len(set(codes))
    for entry in entries:
        assert 400 <= entry.status < 600
        assert entry.title
        assert entry.meaning
        assert entry.code == entry.code.lower()
