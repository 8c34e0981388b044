"""Work to be played: executions, their jobs, and what is known of each attempt before it is made. Pure."""

from datetime import datetime

import msgspec

from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import Hop, Urgency, Usage
from aifactory.resources.pricing import Price


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What jobs of one kind have in common: where they can run, their bounds, what one holds in money."""

    kind: str
    hops: tuple[Hop, ...]
    further_pools: tuple[str, ...] = ()
    needs: dict[str, int] = {}
    local: bool = False
    worker: str = "work"
    input_bound: int
    output_limit: int
    worst_nano: int = 0

    @property
    def units(self) -> int:
        """What a start takes from its pool."""
        return self.input_bound + self.output_limit


class Attempt(msgspec.Struct, kw_only=True, gc=False):
    """One attempt of a job: how long it takes, what it uses, whether another follows and after how long.

    ``usage`` None: nobody knows. ``price``: what it was when this was recorded, at ``hop``; else the pool's.
    """

    seconds: float
    usage: Usage | None
    retry_seconds: float | None = None
    price: Price | None = None
    hop: Hop | None = None


class Opening(msgspec.Struct, kw_only=True):
    """Jobs that open when so many others have ended."""

    waits_for: int
    calls: "list[Call]"


class Call(msgspec.Struct, kw_only=True):
    """A job to be played, all of its attempts, and what its end opens."""

    step: Step
    attempts: tuple[Attempt, ...]
    opens: tuple[Opening, ...] = ()


class Task(msgspec.Struct, kw_only=True):
    """An execution to be played; ``calls`` counts its jobs, ``first`` are those that open at once.

    ``ages_from``: its submission, or when it is due. ``ends_at``: when it was cancelled or ran out.
    ``later`` are jobs that open at a time, whatever has ended by then.
    """

    client_id: ClientId
    urgency: Urgency
    queue: str
    arrives_at: datetime
    ages_from: datetime
    hold_nano: int
    first: list[Call]
    calls: int
    ends_at: datetime | None = None
    later: list[tuple[datetime, list[Call]]] = []
