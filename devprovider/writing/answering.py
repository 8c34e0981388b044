"""From a request's messages and schema to the text of an answer; the same ones give the same text. Pure."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from devprovider import draw
from devprovider.writing import texts
from devprovider.writing.desk import Desk, whole
from devprovider.writing.filling import fill
from devprovider.writing.flaws import REPAIRS_USELESS, spoil
from devprovider.writing.prompt import Message, read_prompt
from devprovider.writing.repair import patch
from devprovider.writing.schemas import enum_of, plain


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """An answer's text and the flaws made on purpose."""

    text: str
    flaws: tuple[str, ...] = ()


def prompt_hash(messages: Sequence[Message], schema: Mapping[str, Any] | None) -> str:
    """What seeds an answer: the messages and the schema."""
    parts = [[message.role, message.text] for message in messages]
    return sha256(msgspec.json.encode([parts, schema], order="sorted")).hexdigest()


def write(
    messages: Sequence[Message],
    schema: dict[str, Any] | None,
    *,
    seed: int = 0,
    quality: Mapping[str, float] | None = None,
    gullible: bool = False,
    as_json: bool = False,
) -> Written:
    """The answer: JSON by the schema of the request or of the prompt, else prose (``as_json``: in an "
    "object)."""
    quality = quality or {}
    prompt = read_prompt(messages)
    schema = schema or prompt.schema
    own_seed = f"{seed}:{prompt_hash(messages, schema)}"
    desk = Desk(prompt=prompt, schema=schema or {}, seed=own_seed)
    if schema is None:
        said = texts.prose(desk, whole(desk))
        said = f"{prompt.orders[0]} {prompt.system}" if gullible and prompt.orders else said
        return Written(text=msgspec.json.encode({"answer": said}).decode() if as_json else said)
    answer = _repaired(desk, quality) if _wants_patches(schema, desk) else None
    if answer is None:
        answer = fill(desk, schema, "", whole(desk), {})
    flaws = spoil(answer, quality, own_seed)
    if gullible and prompt.orders:
        _obey(answer, prompt.orders[0], prompt.system)
    return Written(text=msgspec.json.encode(answer).decode(), flaws=tuple(flaws))


def _wants_patches(schema: dict[str, Any], desk: Desk) -> bool:
    return "patches" in plain(schema, schema).get("properties", {}) and bool(desk.prompt.problems)


def _repaired(desk: Desk, quality: Mapping[str, float]) -> dict[str, Any]:
    """A patch for each problem, and whatever else the schema wants."""
    rate = quality.get(REPAIRS_USELESS, 0.0)
    patches = [
        patch(desk, problem, position, useless=draw.share(desk.seed, REPAIRS_USELESS, position) < rate)
        for position, problem in enumerate(desk.prompt.problems)
    ]
    properties = plain(desk.schema, desk.schema)["properties"]
    inner = plain(plain(properties["patches"], desk.schema).get("items", {}), desk.schema)
    wanted = inner.get("properties", {})
    allowed = enum_of(plain(wanted.get("path", {}), desk.schema))
    kept = [one for one in patches if not allowed or one["path"] in allowed]
    shaped = [
        {
            name: one[name] if name in one else fill(desk, part, name, whole(desk), {})
            for name, part in wanted.items()
        }
        for one in kept
    ]
    others = {
        name: fill(desk, part, name, whole(desk), {})
        for name, part in properties.items()
        if name != "patches"
    }
    return {name: shaped if name == "patches" else others[name] for name in properties}


def _obey(value: Any, order: str, system: str) -> None:
    """What a model without defences would do: say what it was told, and tell its own instructions."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "title" and isinstance(part, str):
                value[name] = order[:110]
            elif name in ("summary", "rationale", "reason") and isinstance(part, str):
                value[name] = f"{order} {system}"
            else:
                _obey(part, order, system)
    elif isinstance(value, list):
        for part in value:
            _obey(part, order, system)
