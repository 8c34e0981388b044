from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.devprovider.prompts import (
    INTEGER,
    TEXT,
    answer,
    closed,
    items_schema,
    many,
    one_of,
    user_text,
)

from devprovider.schema_rules import strict_problem

NAMES = st.sampled_from(
    [
        "title",
        "summary",
        "key",
        "sources",
        "nodes",
        "children",
        "requires",
        "needs",
        "introduces",
        "keyPoints",
        "objectiveIds",
        "minutes",
        "text",
        "bloom",
        "front",
        "back",
        "kind",
        "claim",
        "term",
        "definition",
        "reason",
        "steps",
        "tags",
        "weight",
        "anything",
        "instructions",
        "verdict",
    ]
)
LEAVES = st.sampled_from(
    [
        TEXT,
        INTEGER,
        {"type": "number"},
        {"type": "boolean"},
        {"type": ["string", "null"]},
        {"type": "string", "maxLength": 9},
        {"type": "integer", "minimum": 2, "maximum": 5},
        one_of("a1", "b2", "c3"),
        {"anyOf": [TEXT, {"type": "null"}]},
    ]
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(NAMES, inner, min_size=1, max_size=5).map(lambda parts: closed(**parts))
    return st.one_of(
        inner.map(many),
        objects,
        inner.map(lambda one: {"anyOf": [one, {"type": "null"}]}),
        st.just(items_schema()),
    )


SCHEMAS = st.dictionaries(NAMES, st.recursive(LEAVES, grown, max_leaves=8), min_size=1, max_size=5).map(
    lambda properties: closed(**properties)
)


@settings(max_examples=150)
@given(schema=SCHEMAS, words=st.sampled_from(["", "x", "Bees make honey in a hive.", user_text("Plan.")]))
def test_any_strict_schema_is_filled_with_what_it_allows(schema: Any, words: str) -> None:
    if strict_problem(schema):
        return
    jsonschema_rs.validate(schema, answer(words, schema))


@settings(max_examples=100)
@given(words=st.text(max_size=400))
def test_any_words_are_answered(words: str) -> None:
    schema = closed(title=TEXT, nodes=many(closed(title=TEXT, summary=TEXT)), items=items_schema())
    jsonschema_rs.validate(schema, answer(words, schema))
