"""Versions of what is edited: an ETag of its content, and ``If-Match`` against lost updates. Pure."""

import hashlib

import msgspec

from aifactory.kernel.errors import VersionChanged


def etag_of(content: object) -> str:
    """Return the ETag of what can be edited; pass only that part of an object, not what changes by itself."""
    encoded = msgspec.json.encode(content, order="deterministic", enc_hook=str)
    return f'"{hashlib.sha256(encoded).hexdigest()[:16]}"'


def check_if_match(if_match: str | None, current: str | None) -> None:
    """Pass when there is no ``If-Match``, or it names the current ETag; None: there is no object yet.

    Raises VersionChanged.
    """
    if if_match is None:
        return
    named = [one.strip() for one in if_match.split(",")]
    if current is not None and ("*" in named or current in named):
        return
    raise VersionChanged("This has changed since it was read; read it again and send its new ETag.")
