"""Identifiers: UUIDv7 inside; outside a prefix and 26 base32hex characters, so text order is time order."""

from typing import NewType
from uuid import UUID

from uuid_utils.compat import uuid7

ClientId = NewType("ClientId", UUID)
UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)
KeyId = NewType("KeyId", UUID)
CredentialId = NewType("CredentialId", UUID)
TemplateId = NewType("TemplateId", UUID)
RequestId = NewType("RequestId", UUID)
ExecutionId = NewType("ExecutionId", UUID)
StageId = NewType("StageId", UUID)
JobId = NewType("JobId", UUID)
TreeId = NewType("TreeId", UUID)
DataId = NewType("DataId", UUID)
ProcessId = NewType("ProcessId", UUID)
BudgetId = NewType("BudgetId", UUID)

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_LENGTH = 26
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_PAIR_SHIFTS = range(120, -1, -10)


def new_id() -> UUID:
    """Return a fresh UUIDv7."""
    return uuid7()


def text_id(prefix: str, value: UUID) -> str:
    """Return the outside form of an id, for example ``req_06…``."""
    number = value.int
    pairs = [_PAIRS[number >> shift & 1023] for shift in _PAIR_SHIFTS]
    return f"{prefix}_{''.join(pairs)}"


def parse_id(prefix: str, text: str) -> UUID | None:
    """Return the id that ``text_id(prefix, …)`` wrote, or None when the text is no such id."""
    head, _, digits = text.partition("_")
    if head != prefix or len(digits) != _LENGTH:
        return None
    number = 0
    for digit in digits:
        value = _VALUES.get(digit)
        if value is None:
            return None
        number = (number << 5) | value
    return UUID(int=number) if number < 1 << 128 else None
