"""Erasing content: what the Resource Manager asks of the domains that keep some, and what it offers."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import ContentErased
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, RequestId


class Erasure(StrEnum):
    """Why content was erased: its tier keeps it no longer, or the operator erased the client's content."""

    RETENTION = "retention"
    REQUEST = "request"


class ErasedExecution(msgspec.Struct, frozen=True, kw_only=True):
    """A locked execution whose content is being erased."""

    id: ExecutionId
    request_id: RequestId
    erasure: Erasure


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """Until when a client's content is due: by its tier's retention, by an erasure that was ordered.

    Either may be missing, not both. What was made at or before one of them is due.
    """

    client_id: ClientId
    kept_from: datetime | None
    erase_before: datetime | None

    @property
    def due_before(self) -> datetime:
        """The later of the two."""
        return max(moment for moment in (self.kept_from, self.erase_before) if moment is not None)


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How much was erased; ``sources``: stored data that what was erased referred to."""

    requests: int = 0
    executions: int = 0
    trees: int = 0
    data: int = 0
    others: int = 0
    sources: tuple[DataId, ...] = ()

    def __add__(self, other: "Erased") -> "Erased":
        """Add up."""
        return Erased(
            requests=self.requests + other.requests,
            executions=self.executions + other.executions,
            trees=self.trees + other.trees,
            data=self.data + other.data,
            others=self.others + other.others,
            sources=self.sources + other.sources,
        )


@runtime_checkable
class ContentKeeper(Protocol):
    """A domain that keeps content. Figures, ids, states and times stay; each call is part of the given Tx."""

    async def erase_with(self, tx: Tx, executions: Sequence[ErasedExecution]) -> Erased:
        """Erase what is kept of executions, which are locked and already marked as erased.

        A request is erased with the last of its executions. Locks requests in the order of their ids.
        """
        ...

    async def erase_alone(self, tx: Tx, terms: Sequence[Term], limit: int) -> tuple[Erased, bool]:
        """Erase at most ``limit`` of each kind that is due and has no execution; tell if more may be."""
        ...

    async def still_needed(self, tx: Tx, data_ids: Sequence[DataId]) -> set[DataId]:
        """Return those of some stored data, locked by the caller, that content refers to which is kept."""
        ...


class Erasing(msgspec.Struct, frozen=True, kw_only=True):
    """How far an erasure has come; not ``complete``: maintenance goes on with it."""

    erased: Erased
    complete: bool


@runtime_checkable
class ContentEraser(Protocol):
    """What the Resource Manager offers: to erase all content of a client, in short transactions."""

    async def order(self, tx: Tx, *, client_id: ClientId, cancel_unfinished: bool, actor: str) -> None:
        """Note that all content of a client up to now is to be erased; nothing stops that any more.

        Raises ClientNotFound, or UnfinishedWork unless that is to be cancelled.
        """
        ...

    async def carry_out(self, client_id: ClientId, *, seconds: float, actor: str) -> Erasing:
        """Erase what is due of a client for about so many seconds. No transaction may be open."""
        ...


_WHY = {
    Erasure.RETENTION: "its tier keeps content no longer",
    Erasure.REQUEST: "the operator erased the client's content",
}


def refuse_erased(erased_at: datetime | None, erasure: str | None) -> None:
    """Raise ContentErased for what was erased."""
    if erased_at is None or erasure is None:
        return
    raise ContentErased(
        f"The content was erased at {erased_at:%Y-%m-%d %H:%M} UTC: {_WHY[Erasure(erasure)]}. "
        "Its state, times and cost can still be read.",
        erased_at=erased_at,
        erasure=erasure,
    )
