"""What an export format is, and what it says that it loses. Pure."""

from collections.abc import Callable

import msgspec

from aifactory.granulation.tree import Tree

EVERY_NODE = "*"


class ImportRefused(ValueError):
    """A document that is no tree of ours; the message says why."""


class Loss(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A field that a format drops: at one node (its path, empty for the root), or at every node (``*``)."""

    node: str
    field: str
    reason: str


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A format: how it is named outside, written, and what it loses of a given tree.

    ``security`` is the Content-Security-Policy that a browser needs to show it; None leaves the server's.
    """

    media_type: str
    extension: str
    write: Callable[[Tree], bytes]
    losses: Callable[[Tree], list[Loss]]
    security: Callable[[], str] | None = None
