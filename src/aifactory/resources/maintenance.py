"""What nobody asks for: rescue of lost runs, expiry, closing of empty lanes. Each is a short transaction."""

import os
import socket
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import JobId, ProcessId
from aifactory.resources.interface import ExecutionState, Reason, Worker
from aifactory.resources.lease import Lease
from aifactory.resources.queries import processes, queue, tick
from aifactory.resources.settlement import LOST, Ended, end_executions, settle

log = structlog.get_logger()

YOUNG = timedelta(seconds=60)
EXPIRED = Reason(code="deadline", message="The deadline passed before the work was done.")


class Upkeep(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of maintenance did; ``unwanted``: runs of this process to abort."""

    rescued: int
    expired: int
    closed_lanes: int
    unwanted: tuple[JobId, ...]


class Maintenance:
    """One process's share of the upkeep; every process does all of it, the locks keep it single."""

    def __init__(self, *, database: Database, workers: dict[str, Worker], lease: Lease) -> None:
        self.database = database
        self.workers = workers
        self.lease = lease

    async def round(self) -> Upkeep:
        """Do one round."""
        rescued = await self.rescue()
        expired = await self.expire()
        async with self.database.begin() as tx:
            closed = await queue.close_empty_lanes(tx)
        async with self.database.begin() as tx:
            unwanted = await processes.unwanted_runs(tx, self.lease.process_id)
        return Upkeep(rescued=rescued, expired=expired, closed_lanes=closed, unwanted=tuple(unwanted))

    async def rescue(self) -> int:
        """Settle as lost what dead processes ran; keeps the jobs' age. Returns how many jobs."""
        async with self.database.begin() as tx:
            if not await tick.try_decider_lock(tx):
                return 0
            await tick.read_control(tx)
            lost = await self._lost_runs(tx)
            if lost:
                await settle(tx, lost, self.workers)
                log.warning("maintenance.rescued", jobs=len(lost))
        return len(lost)

    async def _lost_runs(self, tx: Tx) -> list[Ended]:
        dead = await self._dead(tx)
        runs = await processes.orphaned_runs(tx)
        lost = [Ended(job_id=row["job_id"], token=row["token"], outcome=LOST) for row in runs]
        for process in dead:
            young = process["lease_until"] - processes.LEASE - process["started_at"] < YOUNG
            rows = await processes.runs_of(tx, [process["id"]])
            attempts = {row["job_id"]: row["attempt"] for row in rows}
            lost += [
                Ended(
                    job_id=row["job_id"],
                    token=row["token"],
                    outcome=LOST,
                    # A process that dies young again and again may be killed by one of its jobs.
                    crashed=young and attempts[row["job_id"]] > 1,
                )
                for row in rows
            ]
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
