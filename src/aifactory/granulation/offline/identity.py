"""Short names and shares that follow from content, the same on every machine and in every process."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise

_DIGITS = 10


def short_hash(*parts: str) -> str:
    """Ten hexadecimal digits of the parts."""
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def shares(sizes: Sequence[int]) -> list[int]:
    """Whole per cents in proportion to sizes, 100 in all."""
    total = sum(sizes) or 1
    return [
        high - low
        for low, high in pairwise(round(100 * sum(sizes[:at]) / total) for at in range(len(sizes) + 1))
    ]
