"""What nobody asks for: rescue of lost runs, expiry, the end of stranded work, closing of empty lanes.

Each is a short transaction.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import msgspec
import structlog

from aifactory.kernel import idempotency
from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.ids import JobId, ProcessId, text_id
from aifactory.resources import provider_store
from aifactory.resources.interface import ExecutionState, Reason, Worker
from aifactory.resources.job_ends import Ended
from aifactory.resources.lease import Lease
from aifactory.resources.providers import has_key
from aifactory.resources.queries import circuits, data, handshakes, processes, queue, tick, upkeep
from aifactory.resources.settlement import LOST, end_executions, settle_group, strand

log = structlog.get_logger()

YOUNG = timedelta(seconds=60)
PURGE_SECONDS = 60.0
PURGED_TOGETHER = 500
KEYS_PURGED_TOGETHER = 5000
PURGES_A_ROUND = 50
KEYS_KEPT_AFTER = timedelta(seconds=15)
TICKLESS = timedelta(seconds=2)
STRANDED_AFTER = timedelta(seconds=60)
STRANDED_AT_ONCE = 100
STRANDED_TRIES = 5
EXPIRED = Reason(code="deadline", message="The deadline passed before the work was done.")


class Upkeep(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of maintenance did; ``unwanted``: runs of this process to abort."""

    rescued: int
    expired: int
    stranded: int
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
        environ: Mapping[str, str],
        stranded_after: timedelta = STRANDED_AFTER,
        retain: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self.database = database
        self.retain = retain
        self.workers = workers
        self.lease = lease
        self.known_tokens = known_tokens
        self.stranded_after = stranded_after
        self.environ = environ
        self._alone_since: datetime | None = None
        self._keys_kept: datetime | None = None
        self._kept_alone = False
        self._off_since: dict[str, datetime] = {}
        self._strandings_failed: dict[JobId, int] = {}
        self._purged: float | None = None

    async def round(self) -> Upkeep:
        """Do one round: a look in one transaction, then only what it found."""
        async with self.database.begin() as tx:
            seen = await upkeep.look(tx, self.lease.process_id, self.known_tokens())
            if seen.last_tick_at is None or abs(tx.now - seen.last_tick_at) >= TICKLESS:
                await tick.note_tick(tx)  # before anybody is taken for dead: there may have been an outage
            dead = seen.has_neighbours and bool(await self._dead(tx))
            down = await self._long_down(tx)
            keys_due = self._keys_due(seen, tx.now)
        rescued = await self.rescue() if seen.lost or dead else 0
        expired = await self.expire() if seen.late else 0
        if keys_due:
            await self.keep_keys()
        stranded = await self.end_stranded(down) if seen.waiting else 0
        closed = await self._close_lanes() if seen.empty_lanes else 0
        return Upkeep(
            rescued=rescued,
            expired=expired,
            stranded=stranded,
            closed_lanes=closed,
            purged=await self.purge() + await self._retain(),
            unwanted=seen.unwanted,
        )

    async def _close_lanes(self) -> int:
        async with self.database.begin() as tx:
            return await queue.close_empty_lanes(tx)

    async def reopen_orphans(self) -> int:
        """Put queued jobs whose lane is gone into one again; there should be none. Returns how many."""
        async with self.database.begin() as tx:
            reopened = await upkeep.reopen_orphans(tx)
        if reopened:
            log.error("maintenance.orphans", jobs=reopened)
        return reopened

    async def purge(self) -> int:
        """Once a minute, delete what has outlived its time: step results, idempotency keys, handshakes.

        And look for what should never be there. Each transaction is short: more may have gathered, while
        nobody was there, than one statement may take.
        """
        now = anyio.current_time()
        if self._purged is not None and now - self._purged < PURGE_SECONDS:
            return 0
        self._purged = now
        await self.reopen_orphans()
        return sum(
            [
                await self._purge(delete, together)
                for delete, together in (
                    (idempotency.forget_old, KEYS_PURGED_TOGETHER),
                    (handshakes.forget_old, KEYS_PURGED_TOGETHER),
                    (data.delete_expired, PURGED_TOGETHER),
                )
            ]
        )

    async def _retain(self) -> int:
        """Erase content that is kept no longer; a fault in that must not stand in the way of the rest."""
        try:
            return 0 if self.retain is None else await self.retain()
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("maintenance.retention_failed")
            return 0

    async def _purge(self, delete: Callable[[Tx, int], Awaitable[int]], together: int) -> int:
        purged = 0
        for _ in range(PURGES_A_ROUND):
            async with self.database.begin() as tx:
                deleted = await delete(tx, together)
            purged += deleted
            if deleted < together:
                break
        return purged

    def _keys_due(self, seen: upkeep.Look, now: datetime) -> bool:
        """Whether to note keys: now and then, and when this one has a key that nobody had or is alone now."""
        self._note_neighbours(now, alone=not seen.has_living_neighbours)
        if any(has_key(variable or None, self.environ) for variable in seen.missing_keys):
            return True
        due = self._keys_kept is None or now - self._keys_kept >= KEYS_KEPT_AFTER
        newly_alone = self._is_alone(now) and not self._kept_alone
        return due or newly_alone

    def _note_neighbours(self, now: datetime, *, alone: bool) -> None:
        if not alone:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now

    def _is_alone(self, now: datetime) -> bool:
        """Whether nobody else has lived for a lease: one that starts notes its keys before it has one."""
        return self._alone_since is not None and now - self._alone_since >= processes.LEASE

    async def keep_keys(self) -> None:
        """Note which providers have their key in a living process, as far as this one can tell.

        The last process that had a key may have died, and its work must not wait for it for ever.
        """
        async with self.database.begin() as tx:
            neighbours = await processes.living(tx, but=self.lease.process_id)
            self._note_neighbours(tx.now, alone=not neighbours)
            alone = self._is_alone(tx.now)
            await provider_store.note_keys(tx, self.environ, alone=alone)
        self._keys_kept, self._kept_alone = tx.now, alone

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
        rows = await processes.runs_of(tx, self.lease.process_id, tx.now - upkeep.FORGOTTEN_AFTER)
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
        resumed = await processes.resumed_at(tx)
        outage = resumed is None or tx.now - resumed < processes.LEASE
        return [
            process
            for process in await processes.others(tx, self.lease.process_id)
            if _seen_dead(process) or (process["expired"] and not outage)
        ]

    async def expire(self) -> int:
        """End executions whose deadline has passed."""
        async with self.database.begin() as tx:
            late = await processes.past_deadline(tx)
            running = await end_executions(tx, late, ExecutionState.EXPIRED, EXPIRED) if late else []
            tx.tell("abort", running)
        return len(late)

    async def end_stranded(self, down: list[str] | None = None) -> int:
        """Fail queued jobs none of whose providers could be called for a while: their worker goes on without.

        Returns how many, at most a batch; an error of one job does not stand in the way of the others.
        ``down``: those providers, if that is known already.
        """
        if down is None:
            async with self.database.begin() as tx:
                down = await self._long_down(tx)
        if not down:
            self._strandings_failed.clear()
            return 0
        hopeless = [key for key, tries in self._strandings_failed.items() if tries >= STRANDED_TRIES]
        async with self.database.begin() as tx:
            job_ids = await circuits.stranded_jobs(tx, down, STRANDED_AT_ONCE, but=hopeless)
        if not job_ids:
            return 0
        log.warning("maintenance.stranded", jobs=len(job_ids), providers=down)
        try:
            return await self._strand(job_ids)
        except DatabaseUnavailable:
            raise
        except Exception:
            log.warning("maintenance.stranded_group_failed", jobs=len(job_ids), exc_info=True)
        return sum([await self._strand_alone(job_id) for job_id in job_ids])

    async def _strand(self, job_ids: list[JobId]) -> int:
        async with self.database.begin() as tx:
            return await strand(tx, job_ids, self.workers)

    async def _strand_alone(self, job_id: JobId) -> int:
        """End one job; what fails again and again is set aside, told once, until providers are back."""
        try:
            ended = await self._strand([job_id])
        except DatabaseUnavailable:
            raise
        except Exception:
            tries = self._strandings_failed[job_id] = self._strandings_failed.get(job_id, 0) + 1
            if tries == STRANDED_TRIES:
                log.exception("maintenance.stranded_failed", job_id=text_id("job", job_id))
            return 0
        self._strandings_failed.pop(job_id, None)
        return ended

    async def _long_down(self, tx: Tx) -> list[str]:
        """Return the providers that have been down without a break for long enough.

        How long one has been switched off is written nowhere: this process counts from when it saw it first.
        """
        down = await circuits.down_since(tx)
        self._off_since = {
            name: self._off_since.get(name, tx.now) for name, since in down.items() if since is None
        }
        return sorted(
            name
            for name, since in down.items()
            if tx.now - (since or self._off_since[name]) >= self.stranded_after
        )


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
