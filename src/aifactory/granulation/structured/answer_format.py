"""A struct type as the format of a model's answer: what the provider is sent, and back without loss. Pure."""

import re
from typing import Any

import msgspec

from aifactory.granulation.structured.codec import AnswerError, FromWire, to_wire
from aifactory.granulation.structured.limits import (
    LimitReport,
    SchemaTooLarge,
    excesses,
    measure,
    refuse_wide,
)
from aifactory.granulation.structured.provider_schema import provider_schema
from aifactory.granulation.structured.shapes import Record, shape_of
from aifactory.granulation.structured.text import clean, parse
from aifactory.resources.interface import SchemaProfile

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLACE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class AnswerFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent (``name``, ``schema``) and how the answer is read back into ``type_``."""

    name: str
    type_: Any
    profile: SchemaProfile
    schema: dict[str, Any]
    report: LimitReport
    shape: Record

    def decode(self, raw: str) -> Any:
        """The value that a strict answer holds; raises `AnswerError`, also for characters that no text
        column holds.
        """
        text, notes = clean(raw)
        if notes:
            raise AnswerError("", "characters that cannot be stored")
        return self.convert(parse(text), FromWire())

    def convert(self, parsed: Any, undo: FromWire) -> Any:
        """The value in parsed JSON; raises `AnswerError`."""
        try:
            return msgspec.convert(undo.read(self.shape, parsed), self.type_, strict=True)
        except msgspec.ValidationError as error:
            raise _placed(str(error)) from None


def answer_format(type_: Any, *, name: str, profile: SchemaProfile) -> AnswerFormat:
    """The format for a struct type (also one made at run time).

    Raises `RecursiveType`, `UnsupportedType`, or `SchemaTooLarge` over our limits or 60 % of a provider's.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a format's name is 1 to 64 of A-Z, a-z, 0-9, _ and -, not {name!r}")
    shape = shape_of(type_)
    refuse_wide(shape)
    schema = provider_schema(shape, profile)
    report = measure(schema)
    if too_much := excesses(report, profile):
        raise SchemaTooLarge(f"{name} for {profile}: {', '.join(too_much)}")
    return AnswerFormat(name=name, type_=type_, profile=profile, schema=schema, report=report, shape=shape)


def wire(value: Any, type_: Any) -> Any:
    """A value of a struct type in the provider's form, plain JSON data; raises ValueError for infinities."""
    return to_wire(shape_of(type_), value)


def _placed(message: str) -> AnswerError:
    """msgspec's message with its place as a JSON Pointer."""
    found = _PLACE.search(message)
    if found is None:
        return AnswerError("", message)
    steps = (name or index for name, index in _STEP.findall(found[1]))
    return AnswerError("".join(f"/{step}" for step in steps), message[: found.start()])
