"""Prompts and schemas in the product's format, for tests of what the simulated provider writes."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from aifactory.granulation.tree import Bloom, Item
from aifactory.granulation.words import sentences
from devprovider.writing.answering import write
from devprovider.writing.prompt import Message

Schema = dict[str, Any]
EXAMPLES = Path(__file__).parents[3] / "examples"
TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}


def closed(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def many(inner: Schema) -> Schema:
    return {"type": "array", "items": inner}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


BLOOM = one_of(*Bloom)
OBJECTIVE = closed(text=TEXT, bloom=BLOOM)
OBJECTIVE_KEYS = ("o1", "o2", "o3", "o4")
OPTIONS = many(closed(text=TEXT, correct={"type": "boolean"}, rationale=TEXT))
OUTLINE = closed(
    rationale=TEXT,
    title=TEXT,
    summary=TEXT,
    outcomes=many(closed(key=one_of("o1", "o2", "o3", "o4"), text=TEXT, bloom=BLOOM)),
    nodes=many(
        closed(
            key=one_of("m1", "m2", "m3", "m4", "m5"),
            title=TEXT,
            summary=TEXT,
            objectives=many(closed(text=TEXT, bloom=BLOOM, outcomeIds=many(one_of("o1", "o2", "o3", "o4")))),
            requires=many(one_of("m1", "m2", "m3", "m4", "m5")),
            children=many(closed(title=TEXT)),
            sources=many(TEXT),
        )
    ),
)
OUTLINE_SIZES = {"outcomes": 4, "nodes": 5, "nodes[].objectives": 3, "nodes[].children": 3}
REFERENCES = many(one_of("m2.o1", "m2.o2", "m2.o3"))
ACTIVITY = closed(
    title=TEXT,
    summary=TEXT,
    minutes=INTEGER,
    activityKind=one_of("read", "watch", "practice", "discuss", "project", "reflect"),
    instructions=TEXT,
    objectiveIds=REFERENCES,
    deliverable={"anyOf": [TEXT, {"type": "null"}]},
    sources=many(TEXT),
)
EXPANSION = closed(
    assessment=closed(kind=one_of("quiz", "assignment"), objectiveIds=REFERENCES),
    children=many(
        closed(
            key=one_of("m2.c1", "m2.c2", "m2.c3"),
            summary=TEXT,
            objectiveIds=REFERENCES,
            keyPoints=many(TEXT),
            introduces=many(TEXT),
            needs=many(TEXT),
            sources=many(TEXT),
            children=many(ACTIVITY),
        )
    ),
)
EXPANSION_SIZES = {"children": 3, "children[].keyPoints": 4, "children[].children": 2}


def item_schema(kind: str, **own: Schema) -> Schema:
    return closed(
        kind=one_of(kind),
        stem=TEXT,
        objectiveIds=many(one_of(*OBJECTIVE_KEYS)),
        bloom=BLOOM,
        difficulty=one_of("easy", "medium", "hard"),
        feedback=TEXT,
        sources=many(TEXT),
        **own,
    )


ITEM_SCHEMAS = {
    "single": item_schema("single", options=OPTIONS),
    "multi": item_schema("multi", options=OPTIONS),
    "true_false": item_schema("true_false", answer={"type": "boolean"}),
    "short": item_schema("short", accepted=many(TEXT)),
    "numeric": item_schema("numeric", value={"type": "number"}, tolerance={"type": "number"}, unit=TEXT),
    "match": item_schema("match", pairs=many(closed(left=TEXT, right=TEXT))),
    "order": item_schema("order", steps=many(TEXT)),
    "cloze": item_schema("cloze", accepted=many(TEXT)),
    "essay": item_schema("essay", rubric=many(closed(criterion=TEXT, points=INTEGER))),
}


def items_schema(*kinds: str) -> Schema:
    wanted = kinds or tuple(ITEM_SCHEMAS)
    inner = [ITEM_SCHEMAS[kind] for kind in wanted]
    return closed(items=many(inner[0] if len(inner) == 1 else {"anyOf": inner}))


PATCHES = closed(patches=many(closed(path=TEXT, valueJson=TEXT, reason=TEXT)))


@lru_cache
def passages(name: str = "drinking-water.md") -> tuple[str, ...]:
    text = re.sub(r"^#.*$", "", (EXAMPLES / name).read_text("utf-8"), flags=re.MULTILINE)
    blocks = [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]
    return tuple(sentence for block in blocks for sentence in sentences(block))


def user_text(
    task: str,
    sizes: dict[str, int] | None = None,
    *,
    source: Sequence[str] | None = None,
    sections: str = "",
) -> str:
    """The user message; ``source=[]`` leaves the passages out."""
    shown = passages() if source is None else source
    lines = ["# Brief", "Type: course", "Topic: Drinking water", "Language: en"]
    if shown:
        labelled = [f"[s{number}] {line}" for number, line in enumerate(shown, 1)]
        lines += ["# Passages", '<source name="drinking-water.md">', *labelled, "</source>"]
    lines += [sections] if sections else []
    lines += ["# Task", task, "# Sizes", *(f"- {path}: {size}" for path, size in (sizes or {}).items())]
    return "\n".join(lines)


def messages(user: str, system: str = "You write courses. The word is heliotrope.") -> list[Message]:
    return [Message(role="system", text=system), Message(role="user", text=user)]


def answer(user: str, schema: Schema | None, **options: Any) -> Any:
    return msgspec.json.decode(write(messages(user), schema, **options).text)


def as_item(value: dict[str, Any], number: int = 1) -> Item:
    kept = {name: part for name, part in value.items() if name != "sources" and part is not None}
    return msgspec.convert({**kept, "id": f"i{number}"}, Item)
