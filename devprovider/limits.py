"""Requests and tokens per minute and model, as buckets that refill evenly. Pure: time is passed in."""

import math

import msgspec

from devprovider.settings import Model

UNLIMITED = 1_000_000_000


class _Bucket(msgspec.Struct):
    """What is left of a minute's allowance."""

    capacity: float
    left: float
    at: float

    def refill(self, now: float) -> None:
        gained = max(0.0, now - self.at) * self.capacity / 60
        self.left = min(self.capacity, self.left + gained)
        self.at = max(self.at, now)

    def seconds_until(self, wanted: float) -> float:
        missing = min(wanted, self.capacity) - self.left
        return max(0.0, missing * 60 / self.capacity)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a call may run, else what was short (``requests`` or ``tokens``) and for how long."""

    allowed: bool
    short_of: str = ""
    limit: int = 0
    used: int = 0
    wait_seconds: float = 0
    headers: tuple[tuple[str, str], ...] = ()


class Limits:
    """The buckets of all models."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def admit(self, model: Model, tokens: int, now: float) -> Verdict:
        """Take one request and its tokens, or nothing; a call larger than a minute's tokens never fits."""
        wanted = {"requests": 1, "tokens": tokens}
        limits = {"requests": model.requests_per_minute, "tokens": model.tokens_per_minute}
        buckets = {kind: self._bucket(model.id, kind, limits[kind] or UNLIMITED, now) for kind in wanted}
        short = next((kind for kind in wanted if buckets[kind].left < wanted[kind]), "")
        if not short:
            for kind, bucket in buckets.items():
                bucket.left -= wanted[kind]
        headers = tuple(header for kind, bucket in buckets.items() for header in _headers(kind, bucket))
        if not short:
            return Verdict(allowed=True, headers=headers)
        bucket = buckets[short]
        return Verdict(
            allowed=False,
            short_of=short,
            limit=int(bucket.capacity),
            used=math.ceil(bucket.capacity - bucket.left),
            wait_seconds=bucket.seconds_until(wanted[short]),
            headers=headers,
        )

    def clear(self) -> None:
        """Start every minute anew."""
        self._buckets.clear()

    def _bucket(self, model: str, kind: str, capacity: int, now: float) -> _Bucket:
        bucket = self._buckets.get((model, kind))
        if bucket is None or bucket.capacity != capacity:
            bucket = self._buckets[model, kind] = _Bucket(capacity=capacity, left=capacity, at=now)
        bucket.refill(now)
        return bucket


def _headers(kind: str, bucket: _Bucket) -> list[tuple[str, str]]:
    reset = (bucket.capacity - bucket.left) * 60 / bucket.capacity
    return [
        (f"x-ratelimit-limit-{kind}", str(int(bucket.capacity))),
        (f"x-ratelimit-remaining-{kind}", str(max(0, int(bucket.left)))),
        (f"x-ratelimit-reset-{kind}", duration(reset)),
    ]


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``12ms``, ``1.5s``, ``2m3s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    shown = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{shown}s" if minutes else f"{shown}s"
