"""Source material: text, files and uploads as a request's ``source``."""

from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from aifactory.client.calls import create
from aifactory.client.errors import Invalid
from aifactory.client.exchange import Plan, ReadFile, Session, fetch
from aifactory.client.models import DataRef, StoredData, Text

Source: TypeAlias = str | Path | Text | DataRef | StoredData

LARGEST_INLINE_BYTES = 512 * 1024  #: more is uploaded first, once, instead of sent with each try
_MARKDOWN = ("markdown", "text/markdown")
_KINDS = {
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".mdown": _MARKDOWN,
    ".html": ("html", "text/html"),
    ".htm": ("html", "text/html"),
    ".rst": ("rst", "text/x-rst"),
    ".json": ("text", "application/json"),
}
_PLAIN = ("text", "text/plain")


def prepare(session: Session, parameters: dict[str, Any], source: Source | None) -> Plan[dict[str, Any]]:
    """Return parameters with their source, which is read and uploaded as needed."""
    if source is None:
        return parameters
    if isinstance(source, Path):
        content = yield ReadFile(source)
        format_, media_type = kind_of(source)
        if len(content) > LARGEST_INLINE_BYTES:
            stored = yield from upload(session, content, name=source.name, media_type=media_type)
            return parameters | {"source": {"dataRef": stored.id}}
        source = Text(text=_decode(source, content), format=format_, name=source.name)
    if isinstance(source, str):
        source = Text(text=source)
    if isinstance(source, Text):
        return parameters | {"source": msgspec.to_builtins(source)}
    return parameters | {"source": {"dataRef": source.id}}


def kind_of(path: Path) -> tuple[str, str]:
    """Return the format and the media type that a file's name tells."""
    return _KINDS.get(path.suffix.lower(), _PLAIN)


def upload(
    session: Session,
    content: str | bytes | Path,
    *,
    name: str | None = None,
    media_type: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[StoredData]:
    """Store source material (text, UTF-8 bytes or a file) for several requests."""
    if isinstance(content, Path):
        name, media_type = name or content.name, media_type or kind_of(content)[1]
        body: bytes = yield ReadFile(content)
    else:
        body = content.encode() if isinstance(content, str) else content
    call = create(session, "/api/data", None, key=idempotency_key)
    return (
        yield from fetch(
            session,
            msgspec.structs.replace(
                call,
                query={"name": name or "source.md"},
                headers=call.headers | {"Content-Type": media_type or "text/markdown"},
                body=body,
            ),
            StoredData,
        )
    )


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.", code="not_utf8"
        ) from error
