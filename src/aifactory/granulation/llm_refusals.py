"""What a provider's refusals and headers mean: faults, health, pauses and what is left. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import msgspec

from aifactory.resources.interface import Health, JobFault, Signal

LONGEST_PAUSE_SECONDS = 3600.0
"""No provider stops a pool for longer, whatever its headers say."""

ERROR_BYTES = 65_536
"""As much of an error's body is read."""

# Health is the provider's, not the call's: a key that is missing here says nothing of it, and who refuses a
# request properly is well, so that a probe with a bad request does not leave its circuit half-open for ever.
_KINDS: dict[str, tuple[str, bool, Health]] = {
    "no_api_key": ("The provider's API key is not set.", True, Health.UNKNOWN),
    "refused_key": ("The provider refused the API key.", True, Health.REFUSED_KEY),
    "quota_exhausted": ("The provider's account has no quota left.", True, Health.REFUSED_KEY),
    "rate_limited": ("The provider's rate limit was reached.", True, Health.UNKNOWN),
    "unknown_model": ("The provider does not know the model or the address.", False, Health.GOOD),
    "bad_request": ("The provider refused the request.", False, Health.GOOD),
    "provider_error": ("The provider failed.", True, Health.BAD),
    "unreachable": ("The provider could not be reached.", True, Health.BAD),
    "timeout": ("The provider did not answer in time.", True, Health.BAD),
    "cut_off": ("The connection to the provider was lost.", True, Health.BAD),
    "bad_answer": ("The provider's answer could not be read.", True, Health.BAD),
    "too_long": ("The provider's answer was longer than it was allowed to be.", True, Health.BAD),
}
_NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_FILTERED = {"content_filter", "content_policy_violation"}
_RATE = {"rate_limit_exceeded", "rate_limit_error", "429"}

_DETAIL_CHARACTERS = 160
_ECHO_CHARACTERS = 24
_SECRET = re.compile(r"(?i)https?://\S+|\b(?:sk|pk|key|bearer)[-_ ][^\s'\"]{6,}")
# A gateway's words for a connection behind it that was lost, sent as an error of its own.
_LOST_BEHIND = re.compile(
    r"(?i)connection ?error|connection (?:\w+ )?(?:lost|reset|closed|aborted)|disconnect"
    r"|not completed|incomplete|timed? ?out"
)
_BEHIND = "llm_provider-"
"""How LiteLLM names a header that it passes on from the provider behind it."""

_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)(ms|s))?"
)


def fault_of(code: str, *, detail: str = "", retry_after_seconds: float | None = None) -> JobFault:
    """Return the fault with this code; its message is fixed but for the detail."""
    message, retryable, _ = _KINDS[code]
    return JobFault(
        code=code,
        message=f"{message[:-1]}: {detail}" if detail else message,
        retryable=retryable,
        retry_after_seconds=retry_after_seconds,
    )


def health_of(code: str) -> Health:
    """Return what a fault says about its provider's health."""
    return _KINDS[code][2]


def error_in(body: bytes) -> dict[str, Any] | None:
    """Return the error that a body tells in one of the usual forms, or None."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if isinstance(document, list) and document:
        document = document[0]  # Gemini's compatible endpoint sends a list of one
    if not isinstance(document, dict):
        return None
    error = document if document.get("object") == "error" else document.get("error")
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else None


def _names_in(error: Mapping[str, Any]) -> set[str]:
    return {str(error.get(name)) for name in ("code", "type")}


def code_of_status(status: int, error: Mapping[str, Any]) -> str:
    """Return the fault of an answer with this status; 3xx count as the provider's failure."""
    names = _names_in(error)
    if status == 402 or (status < 500 and names & _NO_QUOTA):
        return "quota_exhausted"
    if status == 404 or (status < 500 and "model_not_found" in names):
        return "unknown_model"
    if status in (401, 403):
        return "refused_key"
    if status == 429:
        return "rate_limited"
    if status < 400 or status in (408, 409, 425) or status >= 500:
        return "provider_error"
    return "bad_request"


def code_of_late_error(error: object) -> str:
    """Return the fault of an error that came after a good status."""
    names = _names_in(error) if isinstance(error, Mapping) else set()
    if names & _NO_QUOTA:
        return "quota_exhausted"
    return "rate_limited" if names & _RATE else "provider_error"


def is_filtered(status: int, error: Mapping[str, Any]) -> bool:
    """Return whether a 4xx means that the provider's filter refused the content."""
    return 400 <= status < 500 and bool(_names_in(error) & _FILTERED)


def nothing_served(status: int, error: Mapping[str, Any] | None) -> bool:
    """Return whether an answer with this status can't have been billed.

    A gateway's own 5xx page, its time-out, a connection that it lost: none tells of the model behind it.
    """
    if status < 500 and status != 408:
        return True
    if error is None or status == 504:
        return status < 500
    return not _LOST_BEHIND.search(str(error.get("message")))


def detail_of(error: Mapping[str, Any], *, key: str, prompt: tuple[str, ...]) -> str:
    """Return the provider's own words, short, without the key, addresses, or anything of the prompt."""
    message = error.get("message")
    if not isinstance(message, str):
        return ""
    printable = "".join(c if c.isprintable() else " " for c in message[: 8 * _DETAIL_CHARACTERS])
    words = _SECRET.sub("…", printable.replace(key, "…") if key else printable)
    told = " ".join(words.split())[:_DETAIL_CHARACTERS].rstrip()
    windows = range(max(1, len(told) - _ECHO_CHARACTERS + 1))
    echoes = (told[at : at + _ECHO_CHARACTERS] in text for at in windows for text in prompt)
    return "" if len(told) >= _ECHO_CHARACTERS and any(echoes) else told


def signal_of(headers: Mapping[str, str], health: Health) -> Signal:
    """Return what an answer's rate headers say is left."""
    return Signal(
        health=health,
        remaining_units=_count(headers.get("x-ratelimit-remaining-tokens")),
        remaining_requests=_count(headers.get("x-ratelimit-remaining-requests")),
    )


def failure_signal(headers: Mapping[str, str], fault: JobFault, now: datetime) -> Signal:
    """Return the signal of a failed call: as on a good answer, with the pause that it asks for."""
    blocked = pause_of(headers, now)
    if blocked is None and fault.code == "rate_limited":
        blocked = _reset_of(headers)
    return msgspec.structs.replace(
        signal_of(headers, health_of(fault.code)),
        blocked_seconds=blocked,
        error=f"{fault.code}: {fault.message}",
    )


def pause_of(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that retry-after-ms or Retry-After ask for, at most an hour."""
    milliseconds = _number(_told(headers, "retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, LONGEST_PAUSE_SECONDS)
    told = _told(headers, "retry-after")
    seconds = _number(told)
    if seconds is None and told is not None:
        seconds = _until(told, _date(headers.get("date", "")) or now)
    return None if seconds is None else min(seconds, LONGEST_PAUSE_SECONDS)


def _told(headers: Mapping[str, str], name: str) -> str | None:
    return headers.get(name, headers.get(_BEHIND + name))


def _reset_of(headers: Mapping[str, str]) -> float | None:
    """Return when what is used up comes back; when nothing is said to be used up, the sooner of both."""
    resets = {
        kind: seconds
        for kind in ("tokens", "requests")
        if (seconds := _duration(headers.get(f"x-ratelimit-reset-{kind}"))) is not None
    }
    used_up = [resets[kind] for kind in resets if _count(headers.get(f"x-ratelimit-remaining-{kind}")) == 0]
    return max(used_up) if used_up else min(resets.values(), default=None)


def _count(told: str | None) -> int | None:
    digits = (told or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 12 else None


def _number(told: str | None) -> float | None:
    try:
        number = float(told or "")
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None


def _duration(told: str | None) -> float | None:
    """Return the seconds in "6m0s", "20ms" or "1.5"."""
    number = _number(told)
    match = _DURATION.fullmatch((told or "").strip())
    if number is None and match and any(match.groups()):
        days, hours, minutes, rest, unit = match.groups()
        number = int(days or 0) * 86_400 + int(hours or 0) * 3600 + int(minutes or 0) * 60
        number += float(rest or 0) / (1000 if unit == "ms" else 1)
    return None if number is None else min(number, LONGEST_PAUSE_SECONDS)


def _date(told: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(told)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _until(told: str, now: datetime) -> float | None:
    moment = _date(told)
    seconds = None if moment is None else (moment - now).total_seconds()
    return seconds if seconds is not None and seconds >= 0 else None
