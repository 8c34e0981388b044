"""What nobody asks for: rescue of lost runs, expiry, closing of empty lanes. Each is a short transaction."""

import os
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio
import msgspec
import structlog

from aifactory.kernel import idempotency
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import JobId, ProcessId
from aifactory.resources.interface import ExecutionState, Reason, Worker
from aifactory.resources.lease import Lease
from aifactory.resources.queries import control, processes, queue, tick
from aifactory.resources.settlement import LOST, Ended, end_executions, settle_group

log = structlog.get_logger()

YOUNG = timedelta(seconds=60)
PURGE_SECONDS = 60.0
FORGOTTEN_AFTER = timedelta(seconds=10)
EXPIRED = Reason(code="deadline", message="The deadline passed before the work was done.")


class Upkeep(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of maintenance did; ``unwanted``: runs of this process to abort."""

    rescued: int
    expired: int
    closed_lanes: int
    purged: int
    unwanted: tuple[JobId, ...]


class Maintenance:
    """One process's share of the upkeep; every process does all of it, the locks keep it single."""

    def __init__(
        self,
        *,
        database: Database,
        workers: dict[str, Worker],
        lease: Lease,
        known_tokens: Callable[[], set[UUID]],
    ) -> None:
        self.database = database
        self.workers = workers
        self.lease = lease
        self.known_tokens = known_tokens
        self._purged: float | None = None

    async def round(self) -> Upkeep:
        """Do one round."""
        rescued = await self.rescue()
        expired = await self.expire()
        async with self.database.begin() as tx:
            closed = await queue.close_empty_lanes(tx)
        async with self.database.begin() as tx:
            unwanted = await processes.unwanted_runs(tx, self.lease.process_id)
        purged = await self.purge()
        return Upkeep(
            rescued=rescued, expired=expired, closed_lanes=closed, purged=purged, unwanted=tuple(unwanted)
        )

    async def purge(self) -> int:
        """Once a minute, delete what has outlived its time: step results, idempotency keys."""
        now = anyio.current_time()
        if self._purged is not None and now - self._purged < PURGE_SECONDS:
            return 0
        self._purged = now
        async with self.database.begin() as tx:
            return await control.delete_expired_data(tx) + await idempotency.forget_old(tx)

    async def rescue(self) -> int:
        """Settle as lost what dead processes ran; keeps the jobs' age. Returns how many jobs.

        A dead process is struck off first: from then on nobody else can think that it owns its runs.
        """
        async with self.database.begin() as tx:
            if not await processes.try_rescue_lock(tx):
                return 0
            await tick.read_control(tx)
            lost = [*await self._orphaned(tx), *await self._forgotten(tx), *await self._of_dead(tx)]
        if lost:
            log.warning("maintenance.rescue", jobs=len(lost))
            await settle_group(self.database, lost, self.workers)
        return len(lost)

    async def _orphaned(self, tx: Tx) -> list[Ended]:
        """Return runs of processes that were struck off without being settled."""
        return [_lost(row) for row in await processes.orphaned_runs(tx)]

    async def _forgotten(self, tx: Tx) -> list[Ended]:
        """Return runs of this process that it knows nothing of: the answer to its claim never came."""
        rows = await processes.runs_of(tx, self.lease.process_id, tx.now - FORGOTTEN_AFTER)
        known = self.known_tokens()
        return [_lost(row) for row in rows if row["token"] not in known]

    async def _of_dead(self, tx: Tx) -> list[Ended]:
        """Strike dead processes off and return what they ran.

        A process that dies young again and again may be killed by one of its jobs.
        """
        lost = []
        for process in await self._dead(tx):
            young = process["lease_until"] - processes.LEASE - process["started_at"] < YOUNG
            rows = await processes.runs_of(tx, ProcessId(process["id"]), tx.now)
            lost += [_lost(row, crashed=young and row["attempt"] > 1) for row in rows]
            await processes.remove(tx, ProcessId(process["id"]))
        return lost

    async def _dead(self, tx: Tx) -> list[Any]:
        """Return processes that are gone: seen dead on this host, or their lease is over.

        After an outage nobody could renew, so nobody's lease counts until one whole lease later.
        """
        outage = tx.now - await processes.resumed_at(tx) < processes.LEASE
        return [
            process
            for process in await processes.others(tx, self.lease.process_id)
            if _seen_dead(process) or (process["expired"] and not outage)
        ]

    async def expire(self) -> int:
        """End executions whose deadline has passed."""
        async with self.database.begin() as tx:
            late = await processes.past_deadline(tx)
            if late:
                await end_executions(tx, late, ExecutionState.EXPIRED, EXPIRED)
        return len(late)


def _lost(row: Any, *, crashed: bool = False) -> Ended:
    return Ended(job_id=row["job_id"], token=row["token"], outcome=LOST, crashed=crashed)


def _seen_dead(process: Any) -> bool:
    """Whether a process of this host has lost its session and is not there any more."""
    if process["host"] != socket.gethostname() or not process["session_gone"]:
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(process["pid"] == os.getpid())  # the pid is ours now, so the other one is gone
