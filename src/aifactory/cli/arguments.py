"""Arguments of the command line as values. Pure."""

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.client import Invalid

_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_parameters(pairs: list[str]) -> dict[str, Any]:
    """Return ``k=v`` pairs as parameters: ``a.b=1`` is nested, values are JSON if they can be.

    Raises Invalid.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        steps = name.split(".")
        if not sign or not all(steps):
            raise Invalid(f"--param {pair!r} is not like name=value.", code="bad_argument")
        place = found
        for step in steps[:-1]:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise Invalid(f"--param {name}: {step} has a value already.", code="bad_argument")
        place[steps[-1]] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def read_labels(pairs: list[str]) -> dict[str, str] | None:
    """Return ``k=v`` pairs as texts. Raises Invalid."""
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise Invalid(f"--metadata {pair!r} is not like name=value.", code="bad_argument")
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs} or None


def read_moment(option: str, text: str | None) -> datetime | timedelta | None:
    """Return a time like 2026-12-01T18:00Z or a span like 90m; without a zone it is this machine's.

    Raises Invalid.
    """
    if text is None:
        return None
    try:
        if span := re.fullmatch(r"(\d{1,5}) ?([smhd])", text.strip().lower(), re.ASCII):
            return timedelta(**{_SPANS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise Invalid(
            f"{option} {text!r} is no time like 2026-12-01T18:00 or 2026-12-01T18:00Z, and no span from now "
            "like 45s, 90m, 6h or 2d.",
            code="bad_argument",
        ) from error
