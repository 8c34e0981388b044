"""Problem documents (RFC 9457): one shape for every refusal, whatever raised it. Pure."""

import re
from typing import Any

import asyncpg
import msgspec
from sqlalchemy.exc import DBAPIError

from aifactory.kernel.bodies import allowed_values, money_as_text
from aifactory.kernel.errors import AppError, FieldError, Invalid, Unavailable, Unreadable, invalid

PROBLEM_MEDIA_TYPE = "application/problem+json"
LONGEST_TOLD = 1000
BAD_CHOICE = "Invalid enum value"  #: how msgspec begins to refuse what is none of a few values

_RETRY_SOON = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InsufficientResourcesError,
)
_AT = re.compile(r" - at `(?:key in )?`?\$(?P<path>[^`]*)`$")
_FIELD = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")


class Internal(AppError):
    """A fault of ours; its traceback is in the log under the request's id."""


class Busy(Unavailable):
    """The database is there but could not finish in time."""

    code, title = "busy", "Too busy to finish that in time"


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The members that every problem document has."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    retryable: bool
    errors: tuple[FieldError, ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the error catalogue."""

    code: str
    title: str
    status: int
    retryable: bool
    meaning: str


def problem_members(error: AppError, *, instance: str, request_id: str) -> dict[str, Any]:
    """Return the members of the problem document of an error, those of its own kind included."""
    problem = Problem(
        type=f"/docs/errors#{error.code}",
        title=error.title,
        status=error.status,
        detail=_cut(error.detail),
        instance=instance,
        code=error.code,
        request_id=request_id,
        retryable=error.retryable,
        errors=tuple(
            FieldError(pointer=_cut(fault.pointer), code=fault.code, message=_cut(fault.message))
            for fault in error.errors
        ),
    )
    members: dict[str, Any] = msgspec.to_builtins(problem)
    return members | {camel(name): value for name, value in error.extras.items()}


def _cut(text: str) -> str:
    """Return a text, shortened if what was sent, and is told again in it, is long."""
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}…"


def camel(name: str) -> str:
    """Return ``snake_case`` as ``camelCase``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def as_app_error(error: BaseException) -> AppError | None:
    """Return the refusal that a fault of the database or of an input stands for, if any."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, msgspec.ValidationError):
        return refuse_value(str(error))
    if isinstance(error, DBAPIError) and error.orig is not None:
        return as_app_error(error.orig.__cause__ or error.orig)
    if isinstance(error, _RETRY_SOON):
        return Busy("The database could not finish that in time; try again.", headers={"Retry-After": "1"})
    return None


def refuse_value(message: str, kind: Any = Any, *, below: str = "") -> Invalid:
    """Return the 422 for a message of msgspec, with a JSON Pointer to the value in a body of this type.

    ``below`` is the pointer to what was read, where that is not the whole body.
    """
    where = _AT.search(message)
    pointer = below + (_pointer(where["path"]) if where else "")
    text = message[: where.start()] if where else message
    code = "invalid_value"
    if field := _FIELD.match(text):
        code = "missing_field" if field["fault"] == "missing required" else "unknown_field"
        pointer = f"{pointer}/{escape(field['name'])}"
    elif text.startswith("Expected") and ", got" in text:
        code = "wrong_type"
    elif text.startswith("Expected"):
        code = "out_of_range"
    elif text.startswith(BAD_CHOICE):
        text = with_choices(text, allowed_values(kind, pointer))
    detail = f"{pointer or 'The body'}: {_in_words(text)}"
    return Invalid(detail, errors=(FieldError(pointer=pointer, code=code, message=_in_words(text)),))


def with_choices(text: str, values: list[str]) -> str:
    """Return a refusal of one of a few values, with those that are taken."""
    return f"{text}; one of: {', '.join(values)}" if values else text


def escape(name: str) -> str:
    """Return a field's name as a step of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def check_text(value: object, pointer: str = "") -> None:
    """Refuse control characters and lone surrogates in every string within. Raises Invalid."""
    if isinstance(value, str):
        if _BAD_TEXT.search(value):
            raise Invalid(
                f"{pointer or 'The text'} has a control character; only line breaks and tabs are taken.",
                errors=(
                    FieldError(
                        pointer=pointer, code="control_character", message="Remove control characters."
                    ),
                ),
            )
    elif isinstance(value, dict):
        for key, inner in value.items():
            check_text(key, pointer)
            check_text(inner, f"{pointer}/{escape(str(key))}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_text(inner, f"{pointer}/{index}")


_BAD_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
# What a JSON text must contain for one of its strings to hold such a character.
_SUSPECT_ESCAPE = re.compile(rb"\\(?:u00[01]|[bf]|u[dD][89a-fA-F])")


def has_bad_text(text: str) -> bool:
    """Tell whether a text has a control character other than a line break or a tab."""
    return _BAD_TEXT.search(text) is not None


def decode_strictly(body: bytes, decoder: "msgspec.json.Decoder[Any]") -> Any:
    """Decode a body into the decoder's type. Raises Unreadable (400) or Invalid (422), nothing else."""
    if not body.strip():
        raise Unreadable("A JSON body is needed, and there is none.")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"The body is not UTF-8 (byte {error.start}).") from error
    try:
        if _SUSPECT_ESCAPE.search(body):
            check_text(msgspec.json.decode(body))
        decoded = decoder.decode(body)
        pointer = money_as_text(decoded, body)
    except msgspec.ValidationError as error:
        _check_readable(body)  # the decoder stops at the first fault, which need not be the worst
        raise refuse_value(str(error), decoder.type) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unreadable(error) from error
    if pointer is not None:
        raise invalid(pointer, "wrong_type", f"{pointer}: Send money as a number, not as a text.")
    return decoded


def _check_readable(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except msgspec.ValidationError:
        return
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Unreadable:
    if isinstance(error, RecursionError):
        return Unreadable("The body is nested too deeply.")
    return Unreadable(f"The body is not JSON: {error}.")


def catalogue() -> list[Entry]:
    """List every code that a problem document can have: the classes imported so far, by status and code."""
    found: dict[str, Entry] = {}
    pending: list[type[AppError]] = [AppError]
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        meaning = (kind.__doc__ or "").strip().split("\n")[0]
        entry = Entry(
            code=kind.code, title=kind.title, status=kind.status, retryable=kind.retryable, meaning=meaning
        )
        found.setdefault(kind.code, entry)
    return sorted(found.values(), key=lambda entry: (entry.status, entry.code))


def _pointer(path: str) -> str:
    steps = (step["name"] or step["index"] for step in _STEP.finditer(path))
    return "".join(f"/{escape('*' if step == '...' else step)}" for step in steps)


def _in_words(text: str) -> str:
    words = text.replace("Object missing required field", "This field is needed:")
    words = words.replace("Object contains unknown field", "There is no field")
    return f"{words}." if not words.endswith(".") else words
