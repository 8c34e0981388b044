"""What a caller brings along whose submission shares a transaction with those that come at the same time."""

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.idempotency import Answer, Call
from aifactory.resources.interface.door import Submitted
from aifactory.resources.interface.given import CheckedRequest


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be stored and submitted once, and answered.

    ``check`` reads only, and may be asked again in another transaction. ``answer`` is pure. ``alone``: for
    its size it would keep others waiting.
    """

    call: Call
    check: Callable[[Tx], Awaitable[CheckedRequest]]
    answer: Callable[[CheckedRequest, Submitted], Answer]
    alone: bool = False


@runtime_checkable
class Submissions(Protocol):
    """Stores and submits what comes at the same time in one transaction."""

    async def create(self, creation: Creation) -> Answer:
        """Do a creation and return its answer, or its twin's, once it is durable.

        Raises what its ``check`` and ``Resources.submit`` raise, IdempotencyInProgress, IdempotencyMismatch,
        and Unavailable when too many wait.
        """
        ...


def call_without_key() -> Call:
    """Return the call of who does not ask for idempotency."""
    return Call(scope="", route="", key=None, body=b"")
