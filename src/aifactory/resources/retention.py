"""Retention and erasure: content goes when its tier keeps it no longer, or when the operator says so.

What is left is what money and work were: ids, states, times, counts, ledger. Each transaction is short and
leaves nothing half done, so that any process may go on after any other died. Lock order: executions,
requests, then stored data, each by id; what is cancelled is cancelled in a transaction of its own, before.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import asyncpg
import structlog

from aifactory.kernel import audit
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, DataId, text_id
from aifactory.resources import history
from aifactory.resources.interface import (
    ClientNotFound,
    ContentKeeper,
    Erased,
    ErasedExecution,
    Erasing,
    Erasure,
    ExecutionState,
    Reason,
    UnfinishedWork,
)
from aifactory.resources.queries import partitions
from aifactory.resources.queries import retention as queries
from aifactory.resources.settlement import end_executions
from aifactory.resources.storage import KEPT

log = structlog.get_logger()

TOGETHER = 20
OTHERS_TOGETHER = 200
ROUND_SECONDS = 1.0
PAUSE_SECONDS = 60.0
CANCELLED = Reason(code="content_erased", message="Cancelled: the client's content is being erased.")

LATER = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.CheckViolationError,
    asyncpg.QueryCanceledError,
)

Step = Callable[[Tx, ClientId | None], Awaitable[tuple[Erased, bool]]]


class Retention:
    """Erases what is due. ``keepers``: the domains that keep content beside the Resource Manager."""

    def __init__(self, *, database: Database, keepers: Sequence[ContentKeeper]) -> None:
        self.database = database
        self.keepers = keepers
        self._rests_until = 0.0
        self._goes_on = False
        self._divisor = 1  # grows where a batch takes longer than a statement may

    # Maintenance.

    async def round(self) -> int:
        """Once a minute, in one process of all: erase for about a second; what is left comes the next time.

        Returns how many executions and requests were erased.
        """
        if anyio.current_time() < self._rests_until:
            return 0
        self._rests_until = anyio.current_time() + PAUSE_SECONDS
        if not self._goes_on:
            async with self.database.begin() as tx:
                if not await queries.take_round(tx):
                    return 0
            await self.keep_history()
        erased, self._goes_on = await self._erase(None, ROUND_SECONDS)
        if self._goes_on:
            self._rests_until = 0.0
        if erased != Erased():
            log.info("retention.erased", executions=erased.executions, requests=erased.requests)
        return erased.executions + erased.requests

    async def keep_history(self) -> tuple[list[str], list[str]]:
        """Make the coming months' parts of the history, drop those that nobody wants; return their names.

        Each in a transaction of its own, that gives up soon where others work: there is another minute.
        """
        async with self.database.begin() as tx:
            parts = await partitions.list_parts(tx)
            made = history.missing(parts, tx.now)
            oldest = None
            if any(history.is_old(part, tx.now) for part in parts):
                oldest = await partitions.oldest_kept(tx)
            dropped = history.unwanted(parts, tx.now, oldest)
        changes = [(partitions.make_part, part) for part in made]
        changes += [(partitions.drop_part, part) for part in dropped]
        done = {part.name for change, part in changes if await self._change(change, part)}
        return [part.name for part in made if part.name in done], [
            part.name for part in dropped if part.name in done
        ]

    async def _change(
        self, change: Callable[[Tx, history.Part], Awaitable[None]], part: history.Part
    ) -> bool:
        try:
            async with self.database.begin() as tx:
                await partitions.lock_history(tx)
                is_there = part in await partitions.list_parts(tx)
                if is_there == (change is partitions.make_part):
                    return False  # another process was first
                await change(tx, part)
        except LATER as error:
            log.info("retention.history_later", part=part.name, reason=type(error).__name__)
            return False
        return True

    # By order.

    async def order(self, tx: Tx, *, client_id: ClientId, cancel_unfinished: bool, actor: str) -> None:
        """See ``ContentEraser.order``."""
        before = await queries.lock_order(tx, client_id)
        if before is None:
            raise ClientNotFound("There is no client with this id.")
        unfinished = await queries.unfinished_of(tx, client_id)
        if unfinished and not cancel_unfinished:
            message = "Wait for them, or send cancelUnfinished=true to have them cancelled."
            raise UnfinishedWork(
                f"Executions that have not ended: {unfinished:,}. {message}", unfinished=unfinished
            )
        await queries.order(tx, client_id, cancel=cancel_unfinished)
        await self._record(
            tx,
            client_id,
            actor,
            "client.content_erasure_ordered",
            before={"eraseBefore": before["erase_before"], "unfinished": unfinished},
            after={"eraseBefore": tx.now, "cancelUnfinished": cancel_unfinished},
        )

    async def carry_out(self, client_id: ClientId, *, seconds: float, actor: str) -> Erasing:
        """See ``ContentEraser.carry_out``."""
        erased, more = await self._erase(client_id, seconds)
        async with self.database.begin() as tx:
            left = more or await queries.has_left(tx, client_id)
            if erased != Erased():
                await self._record(
                    tx,
                    client_id,
                    actor,
                    "client.content_erased",
                    after={**_counts(erased), "complete": not left},
                )
        return Erasing(erased=erased, complete=not left)

    async def _record(
        self,
        tx: Tx,
        client_id: ClientId,
        actor: str,
        action: str,
        *,
        after: dict[str, Any],
        before: dict[str, Any] | None = None,
    ) -> None:
        await audit.record(
            tx,
            actor=actor,
            action=action,
            object_kind="client",
            object_id=text_id("client", client_id),
            before=before,
            after=after,
        )

    # Erasing.

    async def _erase(self, client_id: ClientId | None, seconds: float) -> tuple[Erased, bool]:
        """Do every step until nothing of it is due or the time is over; tell whether there may be more."""
        ends = anyio.current_time() + seconds
        total = Erased()
        steps: tuple[Step, ...] = (self._executions, self._alone, self._uploads)
        for step in steps:
            more = True
            while more:
                try:
                    async with self.database.begin() as tx:
                        erased, more = await step(tx, client_id)
                except asyncpg.QueryCanceledError:
                    if self._divisor > OTHERS_TOGETHER:
                        raise
                    self._take_less()
                else:
                    total += erased
                if more and anyio.current_time() >= ends:
                    return total, True
        return total, False

    def _take_less(self) -> None:
        """Halve the batches from now on: one took longer than a statement may."""
        self._divisor *= 2
        log.warning("retention.halved", executions=self._some(TOGETHER), others=self._some(OTHERS_TOGETHER))

    def _some(self, most: int) -> int:
        return max(1, most // self._divisor)

    async def _executions(self, tx: Tx, client_id: ClientId | None) -> tuple[Erased, bool]:
        """Erase some executions with all that is kept of them; what is still to be cancelled is, alone."""
        limit = self._some(TOGETHER)
        due = await queries.due_executions(tx, client_id, limit)
        open_ones = [row["id"] for row in due if not row["final"]]
        if open_ones:
            tx.tell("abort", await end_executions(tx, open_ones, ExecutionState.CANCELLED, CANCELLED))
            return Erased(), True
        locked = await queries.lock_unerased(tx, [row["id"] for row in due])
        executions = [
            ErasedExecution(id=row["id"], request_id=row["request_id"], erasure=Erasure(row["erasure"]))
            for row in due
            if row["id"] in locked
        ]
        return await self._erase_executions(tx, executions), len(due) == limit

    async def _erase_executions(self, tx: Tx, executions: Sequence[ErasedExecution]) -> Erased:
        if not executions:
            return Erased()
        sources, steps = await queries.stored_for(tx, [one.id for one in executions])
        await queries.erase_executions(tx, executions)
        total = Erased(executions=len(executions), sources=tuple(sources))
        for keeper in self.keepers:
            total += await keeper.erase_with(tx, executions)
        await queries.delete_steps(tx, steps)
        return total + await self._erase_data(tx, total.sources)

    async def _alone(self, tx: Tx, client_id: ClientId | None) -> tuple[Erased, bool]:
        """Erase some of what belongs to no execution: drafts, and what the keepers have besides."""
        terms, total, more = await queries.load_terms(tx, client_id), Erased(), False
        for keeper in self.keepers if terms else ():
            erased, has_more = await keeper.erase_alone(tx, terms, self._some(OTHERS_TOGETHER))
            total, more = total + erased, more or has_more
        if client_id is not None:
            await queries.forget_answers(tx, client_id)
        return total + await self._erase_data(tx, total.sources), more

    async def _uploads(self, tx: Tx, client_id: ClientId | None) -> tuple[Erased, bool]:
        """Erase some uploads that nothing refers to."""
        limit = self._some(OTHERS_TOGETHER)
        due = await queries.due_uploads(tx, client_id, limit, KEPT)
        erased = await self._erase_data(tx, due)
        return erased, erased.data == limit

    async def _erase_data(self, tx: Tx, data_ids: Sequence[DataId]) -> Erased:
        """Empty stored data that nothing refers to any more.

        Locked first and looked at afterwards: whoever took it meanwhile, or let go of it, is seen.
        """
        if not data_ids:
            return Erased()
        locked = await queries.lock_data(tx, data_ids)
        free = await queries.unused(tx, locked)
        for keeper in self.keepers:
            free -= await keeper.still_needed(tx, sorted(free))
        return Erased(data=await queries.blank_data(tx, sorted(free)))


def _counts(erased: Erased) -> dict[str, int]:
    return {
        "erasedRequests": erased.requests,
        "erasedExecutions": erased.executions,
        "erasedTrees": erased.trees,
        "erasedData": erased.data,
    }
