"""Reading a model's answer: strictly, then out of its wrapping, then without its cut tail. Pure."""

import re
from enum import StrEnum
from typing import Any

import msgspec

from aifactory.granulation.structured.answer_format import AnswerFormat
from aifactory.granulation.structured.codec import AnswerError, FromWire
from aifactory.granulation.structured.text import (
    MAX_CHARACTERS,
    clean,
    complete,
    cut_out,
    escape_breaks,
    parse,
)

MAX_NOTES = 20
_REFUSAL = re.compile(
    r"\W*(i[’']?m (very |so |really )?sorry|sorry,|i (can[’']?t|cannot|can not|won[’']?t|will not)\b"
    r"|i[’']?m (unable|not able)|i am (sorry|unable|not able)|unfortunately, i|as an ai\b|i must decline)",
    re.IGNORECASE,
)


class Fault(StrEnum):
    """Why an answer gave no value.

    unreadable: no single JSON object; wrong_types: JSON, but not of the type; cut: ended by its length with
    nothing whole in it; refused: the model said no in prose.
    """

    UNREADABLE = "unreadable"
    WRONG_TYPES = "wrong_types"
    CUT = "cut"
    REFUSED = "refused"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A value, or a fault with its place and message.

    ``repaired`` says what was done to the text before the types passed. For a cut text, ``cut`` is True,
    ``cut_path`` the JSON Pointer of the list that was open ("" if none) and ``survived`` how many of its
    elements are in the value.
    """

    value: Any = None
    fault: Fault | None = None
    path: str = ""
    message: str = ""
    repaired: tuple[str, ...] = ()
    cut: bool = False
    cut_path: str = ""
    survived: int = 0


def read_answer(text: str, format: AnswerFormat, *, finish_is_length: bool) -> Reading:
    """Read an answer: parse strictly, cut out of prose and fences, close a cut tail; the types must pass.

    ``finish_is_length`` is True where the provider says that the answer ended by its length.
    """
    if len(text) > MAX_CHARACTERS:
        return Reading(fault=Fault.UNREADABLE, message="longer than any answer")
    usable, notes = clean(text)
    try:
        return _typed(parse(usable), format, notes)
    except AnswerError:
        return _unwrapped(usable, format, notes, finish_is_length=finish_is_length)


def _unwrapped(text: str, format: AnswerFormat, notes: tuple[str, ...], *, finish_is_length: bool) -> Reading:
    found, closed = cut_out(text)
    if not found:
        refused = _REFUSAL.match(text) is not None and not finish_is_length
        fault = Fault.REFUSED if refused else Fault.CUT if finish_is_length else Fault.UNREADABLE
        return Reading(fault=fault, message="no single JSON object", repaired=notes)
    if found.strip() != text.strip():
        notes += ("text around the object removed",)
    escaped = escape_breaks(found)
    if escaped != found:
        notes += ("bare line ends in strings escaped",)
    if not closed:
        return _completed(escaped, format, notes, finish_is_length=finish_is_length)
    try:
        return _typed(parse(escaped), format, notes)
    except AnswerError as error:
        return Reading(fault=Fault.UNREADABLE, message=error.message, repaired=notes)


def _completed(text: str, format: AnswerFormat, notes: tuple[str, ...], *, finish_is_length: bool) -> Reading:
    """What is whole in a cut text, if the types take it."""
    hopeless = Fault.CUT if finish_is_length else Fault.UNREADABLE
    kept = complete(text)
    if kept is None:
        return Reading(fault=hopeless, message="cut before anything was whole", repaired=notes, cut=True)
    try:
        parsed = parse(kept.text)
    except AnswerError as error:
        return Reading(fault=hopeless, message=error.message, repaired=notes, cut=True)
    if kept.survived == 0 and not _has_elements(parsed):
        return Reading(fault=hopeless, message="cut before any element was whole", repaired=notes, cut=True)
    reading = _typed(parsed, format, (*notes, "cut tail dropped", *_absent(parsed, format)))
    if reading.fault is not None:
        return msgspec.structs.replace(reading, fault=hopeless, cut=True)
    return msgspec.structs.replace(reading, cut=True, cut_path=kept.path, survived=kept.survived)


def _has_elements(parsed: Any) -> bool:
    """Whether any list of the root holds something; without lists there is nothing to miss."""
    values = list(parsed.values()) if isinstance(parsed, dict) else []
    lists = [value for value in values if isinstance(value, list)]
    return not lists or any(lists)


def _absent(parsed: Any, format: AnswerFormat) -> tuple[str, ...]:
    """The root's properties that were lost with the tail and so take their type's default."""
    present = parsed if isinstance(parsed, dict) else {}
    lost = [prop.name for prop in format.shape.properties if prop.name not in present]
    return (f"left at their defaults: {', '.join(lost)}",) if lost else ()


def _typed(parsed: Any, format: AnswerFormat, notes: tuple[str, ...]) -> Reading:
    undo = FromWire(lenient=True)
    try:
        value = format.convert(parsed, undo)
    except AnswerError as error:
        return Reading(fault=Fault.WRONG_TYPES, path=error.path, message=error.message, repaired=notes)
    extra = len(undo.notes) - MAX_NOTES
    more = (f"and {extra} more",) if extra > 0 else ()
    return Reading(value=value, repaired=(*notes, *undo.notes[:MAX_NOTES], *more))
