"""What a check found wrong, where, and how bad it is. Pure."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How bad a violation is: a gate makes the tree invalid, whatever else is good about it."""

    GATE = "gate"
    ERROR = "error"
    WARNING = "warning"


class Violation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One broken rule. ``path`` is empty for the root; ``pointer`` is a JSON Pointer into the tree."""

    path: str
    node_id: str
    rule: str
    severity: Severity
    message: str
    pointer: str


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All violations of a tree and which checks could and could not be made, with the reason."""

    violations: tuple[Violation, ...]
    checks_run: tuple[str, ...]
    checks_skipped: dict[str, str]
