"""Which fault a call meets, and what it does to an answer. Pure: seeded by prompt and repetition."""

from typing import Any

import msgspec

from devprovider import draw
from devprovider.errors import ApiError
from devprovider.settings import FAULTS, Faults

REFUSAL = "I'm sorry, but I can't help with that request. (simulated refusal)"
_PROSE = (
    "Sure, I would be glad to help with that. It is worth saying first that the subject has many sides.",
    "Certainly! Below you find some thoughts, in no particular order, about the subject of the request.",
    "<<<\x7b nodes: [ title = Introduction ; ; summary = \x7d \x7d see above",
)


def fault_of(faults: Faults, model: str, *parts: object) -> str:
    """The fault that chance gives, "" for none."""
    if faults.models and model not in faults.models:
        return ""
    chance = draw.share("fault", *parts)
    for name in FAULTS:
        chance -= getattr(faults, name)
        if chance < 0:
            return name
    return ""


def refused(fault: str, faults: Faults, *parts: object) -> ApiError:
    """The error of a call that a fault keeps from being served."""
    if fault == "rate_limited":
        told = draw.share("retry_after", *parts) < faults.retry_after
        seconds = f"{faults.retry_after_seconds:g}"
        headers = (("retry-after", seconds),) if told else ()
        said = "Rate limit reached (simulated). Please try again later."
        return ApiError(429, said, type="requests", code="rate_limit_exceeded", headers=headers, fault=fault)
    status = draw.pick((500, 502, 503), "status", *parts)
    said = "The server had an error while processing your request (simulated)."
    return ApiError(status, said, type="server_error", fault=fault)


def without_json(seed: str) -> str:
    """Something that holds no JSON."""
    return draw.pick(_PROSE, seed, "garbage")


def in_fence(text: str) -> str:
    """The answer between prose, as chat models like to put it."""
    return f"Here is the result that you asked for:\n\n```json\n{text}\n```\n\nI hope this helps."


def wrongly_typed(text: str, seed: str) -> str:
    """The JSON with one value of another type; other text stays as it is."""
    try:
        answer = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    places = list(_places(answer))
    if places:
        holder, name = draw.pick(places, seed, "wrong_type")
        holder[name] = _other_type(holder[name])
    return msgspec.json.encode(answer).decode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        pairs = [(value, name) for name, part in value.items() if part is not None]
        return pairs + [place for part in value.values() for place in _places(part)]
    if isinstance(value, list):
        return [place for part in value for place in _places(part)]
    return []


def _other_type(value: Any) -> Any:
    if isinstance(value, str):
        return {"value": value}
    if isinstance(value, list):
        return "one, two and three"
    return "unknown" if isinstance(value, (int, float, bool)) else [value]
