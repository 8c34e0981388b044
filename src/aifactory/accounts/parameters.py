"""A request's open parameters: what can be checked without knowing the template. Pure."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from aifactory.kernel.errors import TooLarge, invalid
from aifactory.kernel.problems import escape, refuse_value

MAX_DEPTH = 8
MAX_KEYS = 200
MAX_SOURCE_BYTES = 5 * 1024 * 1024

_LARGEST = 2**53


class SourceFormat(StrEnum):
    """How a source text is written."""

    MARKDOWN = "markdown"
    TEXT = "text"
    HTML = "html"
    RST = "rst"

    @property
    def media_type(self) -> str:
        """The media type under which the text is stored."""
        return next(kind for kind, one in FORMATS.items() if one is self)


FORMATS = {
    "text/markdown": SourceFormat.MARKDOWN,
    "text/plain": SourceFormat.TEXT,
    "text/html": SourceFormat.HTML,
    "text/x-rst": SourceFormat.RST,
}


class Source(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Source material: its text, or a reference to stored data; exactly one of them.

    Without ``format`` a text is Markdown, and stored data what its media type says.
    """

    text: str | None = None
    data_ref: str | None = None
    format: SourceFormat | None = None
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""


def check_parameters(parameters: dict[str, Any], pointer: str = "/parameters") -> None:
    """Refuse what no template could want: too deep, too many keys, numbers beyond 2**53. Raises Invalid."""
    budget = [MAX_KEYS]
    _check(parameters, pointer, 1, budget)


def _check(value: Any, pointer: str, depth: int, budget: list[int]) -> None:
    if isinstance(value, dict):
        _check_depth(pointer, depth)
        budget[0] -= len(value)
        if budget[0] < 0:
            raise invalid(pointer, "too_many_keys", f"At most {MAX_KEYS} keys are taken in all.")
        for key, inner in value.items():
            _check(inner, f"{pointer}/{escape(key)}", depth + 1, budget)
    elif isinstance(value, list):
        _check_depth(pointer, depth)
        for index, inner in enumerate(value):
            _check(inner, f"{pointer}/{index}", depth + 1, budget)
    elif isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:  # NaN is not within, too
        raise invalid(pointer, "out_of_range", f"{pointer}: numbers beyond ±2^53 are not taken.")


def _check_depth(pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise invalid(pointer, "too_deep", f"{pointer}: at most {MAX_DEPTH} levels are taken.")


def read_source(parameters: dict[str, Any]) -> Source | None:
    """Return the source material of the parameters, if any. Raises Invalid or TooLarge."""
    given, pointer = parameters.get("source"), "/parameters/source"
    if given is None:
        return None
    try:
        source = msgspec.convert(given, Source)
    except msgspec.ValidationError as error:
        raise refuse_value(str(error), below=pointer) from error
    if (source.text is None) == (source.data_ref is None):
        raise invalid(pointer, "one_of", f"{pointer}: give text or dataRef, one of them.")
    if source.text is not None:
        if not source.text.strip():
            raise invalid(f"{pointer}/text", "empty", f"{pointer}/text has no words.")
        if len(source.text.encode()) > MAX_SOURCE_BYTES:
            raise TooLarge("Source material may have 5 MiB; split it or shorten it.")
    return source


def format_of(media_type: str) -> SourceFormat:
    """Return how stored data of a media type is read as a source. Raises Invalid if it can't be."""
    found, pointer = FORMATS.get(media_type), "/parameters/source/dataRef"
    if found is None:
        message = (
            f"{pointer}: {media_type} is not read as a source. Upload it as {' or '.join(FORMATS)}, or "
            "say format: text to take it as it is."
        )
        raise invalid(pointer, "unsupported_format", message)
    return found
