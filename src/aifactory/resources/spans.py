"""When something is that is waited for, in words: counted from the moment at which it is told. Pure."""

import math
from datetime import datetime

_ROUGH = (5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)


def not_before(now: datetime, moment: datetime | None) -> datetime | None:
    """Return when a gate opens; what should have opened by now does so now."""
    return None if moment is None else max(now, moment)


def told_at(at: datetime, now: datetime, *, about: str = "") -> str:
    """Return when something is that is waited for: in 12 s, or at any moment if it should be there by now."""
    return f"in {about}{spoken((at - now).total_seconds())}" if at > now else "at any moment"


def told_roughly(at: datetime, now: datetime) -> str:
    """Return it so coarsely that no other client's units follow from it and the pool's refill."""
    seconds = (at - now).total_seconds()
    return f"in about {spoken(next((each for each in _ROUGH if each >= seconds), seconds))}"


def spoken(seconds: float) -> str:
    """Return a span in words, rounded up: 0.4 s, 12 s, 2 min 5 s, 3 h 10 min, 4 d 2 h."""
    tenths = math.ceil(max(0.0, seconds) * 10 - 1e-6)
    if tenths < 600:
        return f"{tenths // 10} s" if tenths % 10 == 0 else f"{tenths / 10:.1f} s"
    whole = math.ceil(seconds - 1e-7)
    for size, unit, smaller_size, smaller in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            large, rest = divmod(math.ceil(whole / smaller_size), size // smaller_size)
            return f"{large} {unit}" if rest == 0 else f"{large} {unit} {rest} {smaller}"
    return f"{whole} s"
