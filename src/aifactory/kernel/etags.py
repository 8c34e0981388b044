"""ETags, of contents and of versions; ``If-Match`` against lost updates, ``If-None-Match``. Pure."""

import hashlib
from typing import Any

import msgspec

from aifactory.kernel.errors import VersionChanged


def etag_of(content: object) -> str:
    """Return the ETag of what can be edited; pass only that part of an object, not what changes by itself."""
    encoded = msgspec.json.encode(content, order="deterministic", enc_hook=str)
    return f'"{hashlib.sha256(encoded).hexdigest()[:16]}"'


def version_etag(version: int) -> str:
    """Return the ETag of what has numbered versions."""
    return f'"{version}"'


def check_version(if_match: str | None, version: int | None) -> None:
    """Do what ``check_if_match`` does with a version's ETag. Raises VersionChanged, with the version."""
    current = None if version is None else version_etag(version)
    check_if_match(if_match, current, current_version=version or 0)


def check_if_match(if_match: str | None, current: str | None, **told: Any) -> None:
    """Pass when there is no ``If-Match``, or it names the current ETag; None: there is no object yet.

    Raises VersionChanged, with what is ``told``.
    """
    if if_match is None:
        return
    named = [one.strip() for one in if_match.split(",")]
    if current is not None and ("*" in named or current in named):
        return
    raise VersionChanged("This has changed since it was read; read it again and send its new ETag.", **told)


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Tell whether ``If-None-Match``, a list or ``*``, has this ETag; weak or strong makes no difference."""
    named = {one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")}
    return "*" in named or etag.removeprefix("W/") in named
