"""API keys, workers' secrets and session tokens: made, read, compared. Pure but for the randomness."""

import hashlib
import hmac
import re
import secrets
import zlib
from datetime import datetime, timedelta

import msgspec

from aifactory.kernel.errors import invalid

KEY, WORKER_SECRET = "aif", "aifw"  #: how the texts begin
LONGEST_LIFE = timedelta(days=3653)

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH, _SECRET_LENGTH, _CHECK_LENGTH = 10, 43, 6
_KEY = re.compile(r"((aifw?)_([0-9A-Za-z]{10})_([0-9A-Za-z]{43}))([0-9A-Za-z]{6})")
_TOKEN = re.compile(r"aifs_[0-9A-Za-z]{43}")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, or a worker's secret, taken apart; ``text`` is the whole and is shown once."""

    public_id: str
    secret: str
    text: str

    @property
    def sha256(self) -> bytes:
        """What is stored of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()


def make_key(kind: str = KEY) -> ApiKey:
    """Return a fresh key, or a WORKER_SECRET: 59 bits of id, 256 bits of secret, a checksum."""
    public_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    secret = _make_secret()
    head = f"{kind}_{public_id}_{secret}"
    return ApiKey(public_id=public_id, secret=secret, text=head + _checksum(head))


def parse_key(text: str, kind: str = KEY) -> ApiKey | None:
    """Read a key of a kind; None if it can't be one, its checksum included."""
    match = _KEY.fullmatch(text)
    if match is None or match[2] != kind or _checksum(match[1]) != match[5]:
        return None
    return ApiKey(public_id=match[3], secret=match[4], text=text)


def same_secret(key: ApiKey, stored_sha256: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(key.sha256, stored_sha256)


def check_end(expires_at: datetime | None, now: datetime, *, what: str) -> None:
    """Refuse an end in the past or too far ahead; ``what``: a key or a secret, in words. Raises Invalid."""
    if expires_at is not None and expires_at > now + LONGEST_LIFE:
        raise invalid("/expiresAt", "too_late", f"A {what} lasts at most ten years; leave it out for no end.")
    if expires_at is not None and expires_at <= now:
        raise invalid("/expiresAt", "in_the_past", f"The {what} would have expired already.")


def make_token() -> str:
    """Return a fresh session token."""
    return f"aifs_{_make_secret()}"


def token_sha256(text: str) -> bytes | None:
    """Return what is stored of a session token; None if the text can't be one."""
    return hashlib.sha256(text.encode()).digest() if _TOKEN.fullmatch(text) else None


def _make_secret() -> str:
    return _in_base62(secrets.randbits(256), _SECRET_LENGTH)


def _checksum(head: str) -> str:
    return _in_base62(zlib.crc32(head.encode()), _CHECK_LENGTH)


def _in_base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
