"""The record of what was changed in a result, by whom and why. Pure."""

from enum import StrEnum
from typing import Any

import msgspec


class RepairedBy(StrEnum):
    """Who changed something: a rule, a model's patch, the offline generator; or nobody could."""

    RULE = "rule"
    PATCH = "patch"
    OFFLINE = "offline"
    DROPPED = "dropped"


class Repair(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One change: where (a JSON Pointer, or a title), for which rule, from what to what."""

    path: str
    rule: str
    by: RepairedBy
    note: str = ""
    before: Any = None
    after: Any = None
