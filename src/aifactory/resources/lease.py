"""A process's lease: who is alive, and who must not start anything."""

import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import structlog

import aifactory
from aifactory.kernel.db import CONNECTION_FAULTS, Database, DatabaseUnavailable
from aifactory.kernel.ids import ProcessId, new_id
from aifactory.resources.queries import processes

log = structlog.get_logger()

RENEW_SECONDS = 4.0
ANSWER_SECONDS = 5.0


class Lease:
    """This process's row in the fleet, renewed on a connection of its own that also holds a session lock.

    The lock tells neighbours on the same host at once that this process is gone; the lease tells everyone
    after 15 seconds. A process that could not renew for 10 seconds starts nothing.
    """

    def __init__(self, *, database: Database, slots: int, local_slots: int) -> None:
        self.database = database
        self.slots = slots
        self.local_slots = local_slots
        self.process_id = ProcessId(new_id())
        self.taken: Callable[[], None] = lambda: None
        self.loops: Callable[[], Mapping[str, Any]] = dict
        self.stopping = False
        self._connection: asyncpg.Connection[Any] | None = None
        self._locked = False
        self._registered = False
        self._renewed = 0.0

    @property
    def may_start(self) -> bool:
        """Whether this process is sure enough to be seen as alive, and does not stop."""
        return self.alive and not self.stopping

    @property
    def alive(self) -> bool:
        """Whether this process could renew its lease a short while ago."""
        return self._registered and time.monotonic() - self._renewed < processes.FENCE.total_seconds()

    async def round(self) -> float:
        """Register or renew once; returns the seconds until the next time."""
        try:
            await self._renew()
        except (*CONNECTION_FAULTS, DatabaseUnavailable) as error:
            log.warning("lease.not_renewed", error=str(error))
            await self._drop_connection()
            return 0.5
        return RENEW_SECONDS * random.uniform(0.8, 1.0)

    async def _renew(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection, self._locked = await self.database.own_connection(), False
        if not self._locked:  # the server may not have noticed yet that the last connection has gone
            self._locked = await self._connection.fetchval(
                "SELECT pg_try_advisory_lock($1)", self._lock_key, timeout=ANSWER_SECONDS
            )
        if not self._registered:
            await self._register()
        asked = time.monotonic()
        now = await self._connection.fetchval("SELECT clock_timestamp()", timeout=ANSWER_SECONDS)
        if not await processes.renew(
            self._connection,
            self.process_id,
            now=now + self.database.clock_offset,
            stopping=self.stopping,
            loops=self.loops(),
            timeout_seconds=ANSWER_SECONDS,
        ):
            await self._start_over()
        self._renewed = asked

    async def _start_over(self) -> None:
        """Our runs were given to others: stop them, and come back as a new process."""
        log.warning("lease.taken", process_id=str(self.process_id))
        self.taken()
        await self._drop_connection()
        self.process_id = ProcessId(new_id())
        self._registered = False
        raise DatabaseUnavailable("This process's lease was taken; registering again.")

    async def _register(self) -> None:
        async with self.database.begin() as tx:
            await processes.register(
                tx,
                process_id=self.process_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                lock_key=self._lock_key,
                slots=self.slots,
                local_slots=self.local_slots,
                version=aifactory.__version__,
            )
        self._registered = True

    @property
    def _lock_key(self) -> int:
        return self.process_id.int >> 1 & (1 << 63) - 1

    async def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def stop(self) -> None:
        """Start nothing from now on, and say so to the fleet; the lease goes on."""
        self.stopping = True
        try:
            async with self.database.begin() as tx:
                await processes.mark_stopping(tx, self.process_id)
        except DatabaseUnavailable:
            log.warning("lease.stop_not_told")

    async def release(self) -> None:
        """Leave the fleet; call when nothing runs any more."""
        try:
            async with self.database.begin() as tx:
                await processes.remove(tx, self.process_id)
        except DatabaseUnavailable:
            log.warning("lease.not_released")
        await self._drop_connection()
