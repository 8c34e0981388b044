"""What the routes of data references take and give. Pure."""

from datetime import datetime
from urllib.parse import quote

import msgspec

from aifactory.kernel.errors import UnsupportedMediaType, invalid
from aifactory.kernel.ids import text_id
from aifactory.kernel.problems import decode_strictly, has_bad_text
from aifactory.resources.blobs import Blob, pack
from aifactory.resources.interface import StoredData
from aifactory.resources.schemas import View
from aifactory.resources.storage import count_words

MEDIA_TYPES = ("text/markdown", "text/plain", "text/html", "text/x-rst", "application/json")
MAX_DATA_BYTES = 5 * 1024 * 1024
LONGEST_NAME = 200

_json_text = msgspec.json.Decoder(msgspec.Raw)


class UnsupportedData(UnsupportedMediaType):
    """Stored is text in UTF-8 only: Markdown, plain text, HTML, reStructuredText, JSON."""

    code, title = "unsupported_data", "This media type is not stored"


class Data(View, frozen=True, kw_only=True):
    """A data reference. ``storedBytes``: compressed where that pays; ``expiresAt`` null: with its request."""

    id: str
    client_id: str
    name: str
    media_type: str
    size_bytes: int
    stored_bytes: int
    words: int
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    erased: bool


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """Uploaded bytes that were checked and packed."""

    media_type: str
    blob: Blob
    words: int


def data_of(stored: StoredData) -> Data:
    """Return a data reference as it leaves."""
    return Data(
        id=text_id("data", stored.id),
        client_id=text_id("client", stored.client_id),
        name=stored.name,
        media_type=stored.media_type,
        size_bytes=stored.size_bytes,
        stored_bytes=stored.stored_bytes,
        words=stored.words,
        sha256=stored.sha256.hex(),
        created_at=stored.created_at,
        expires_at=stored.expires_at,
        erased=stored.erased_at is not None,
    )


def check_name(name: str) -> str:
    """Return the name of an upload. Raises Invalid."""
    if len(name) > LONGEST_NAME:
        raise invalid("/name", "too_long", f"/name: at most {LONGEST_NAME} characters.")
    if not name.strip():
        raise invalid("/name", "empty", "/name: give a name, or leave it out.")
    return name


def media_type_of(content_type: str | None, content_encoding: str | None) -> str:
    """Return the media type of an upload. Raises UnsupportedData."""
    kind, _, parameters = (content_type or "").partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "').lower()
    media_type = kind.strip().lower()
    if media_type not in MEDIA_TYPES or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedData(f"Send the bytes as they are, in UTF-8, with Content-Type: {_known()}.")
    if content_encoding and content_encoding.lower() != "identity":
        raise UnsupportedData("Send the body without Content-Encoding; it is compressed when it is stored.")
    return media_type


def read_upload(content: bytes, media_type: str) -> Upload:
    """Check that uploaded bytes are the text they should be, and pack them. Raises Invalid or Unreadable."""
    if not content.strip():
        raise invalid("", "empty", "The body has no words; send the text itself.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        message = f"The body is not UTF-8 (byte {error.start}); save the text in UTF-8 first."
        raise invalid("", "not_utf8", message) from error
    if has_bad_text(text.replace("\f", "")):  # a form feed is a page break in many a plain text
        message = "The body has control characters other than line breaks and tabs; send text only."
        raise invalid("", "control_character", message)
    if media_type == "application/json":
        decode_strictly(content, _json_text)
    return Upload(media_type=media_type, blob=pack(content), words=count_words(content))


def disposition(name: str) -> str:
    """Return a Content-Disposition that saves under a name, whatever the name holds."""
    plain = "".join(one if one.isascii() and (one.isalnum() or one in "-_. ") else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _known() -> str:
    return ", ".join(MEDIA_TYPES)
