"""Seeded chance: the same parts give the same number in every process. Pure."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
_SCALE = 2.0**-64


def share(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts only."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) * _SCALE


def below(limit: int, *parts: object) -> int:
    """A whole number from 0 to limit - 1."""
    return min(limit - 1, int(share(*parts) * limit))


def pick(choices: Sequence[T], *parts: object) -> T:
    """One of the choices."""
    return choices[below(len(choices), *parts)]
