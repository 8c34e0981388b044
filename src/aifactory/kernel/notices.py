"""Notices between the parts and processes of the fleet: told after commit, allowed to get lost.

A notice says "look again", never what there is to see; whoever waits for one looks by itself now and then.
"""

import contextlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import anyio
import asyncpg
import structlog

from aifactory.kernel.db import CONNECTION_FAULTS, Database, DatabaseUnavailable
from aifactory.kernel.ids import new_id
from aifactory.kernel.loop import LoopHealth, Wake, run_loop

log = structlog.get_logger()

Heard = Callable[[frozenset[UUID] | None], None]

CHANNEL = "aifactory"
MAX_KEYS = 300  #: a payload has at most 8,000 bytes
TOGETHER_SECONDS = 0.015
CHECK_SECONDS = 20.0
ANSWER_SECONDS = 5.0
LAST_ROUND_SECONDS = 0.5
_NOTIFY = "SELECT pg_notify($1, told) FROM unnest($2::text[]) told"


class Notices:
    """One process's ears and voice: one connection that listens, and tells what is waiting to be told.

    ``wake`` is for the loop that calls ``round``; without that loop, notices stay in this process.
    """

    def __init__(self, *, database: Database) -> None:
        self.database = database
        self.wake = Wake()
        self.health = LoopHealth(name="notices", stale_after=timedelta(seconds=3 * CHECK_SECONDS))
        self.sent = 0
        self._name = new_id().hex
        self._subscribers: dict[str, list[Heard]] = {}
        self._waiting: dict[str, set[UUID] | None] = {}
        self._connection: asyncpg.Connection[Any] | None = None
        self._answered = 0.0

    @property
    def is_listening(self) -> bool:
        """Whether notices of other processes are heard now."""
        return self._connection is not None and not self._connection.is_closed()

    def subscribe(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Call ``heard`` with the keys of each notice, None for "anything"; returns how to undo this."""
        self._subscribers.setdefault(topic, []).append(heard)

        def undo() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers[topic].remove(heard)

        return undo

    def tell(self, topic: str, keys: Iterable[UUID] = ()) -> None:
        """Tell this process at once and the others shortly; never waits. Call it after commit.

        No keys mean "anything".
        """
        told = frozenset(keys) or None
        self._hear(topic, told)
        waiting = self._waiting.setdefault(topic, set())
        if waiting is not None:
            waiting.update(told or ())
            if told is None or len(waiting) > MAX_KEYS:
                self._waiting[topic] = None
        self.wake.set()

    def _hear(self, topic: str, keys: frozenset[UUID] | None) -> None:
        for heard in list(self._subscribers.get(topic, ())):
            try:
                heard(keys)
            except Exception:
                log.exception("notices.subscriber_failed", topic=topic)

    async def round(self) -> float:
        """Connect if need be, tell what is waiting. Returns the seconds until the connection is checked."""
        connection = await self._listening()
        if self._waiting:
            # The first goes at once; what comes soon after it goes along with the next.
            await anyio.sleep_until(self._answered + TOGETHER_SECONDS)
        waiting, self._waiting = self._waiting, {}
        payloads = [_payload(self._name, topic, keys) for topic, keys in waiting.items()]
        if payloads or anyio.current_time() - self._answered >= CHECK_SECONDS:
            try:
                with anyio.fail_after(ANSWER_SECONDS):
                    await connection.fetch(_NOTIFY, CHANNEL, payloads)
            except BaseException:
                self._drop()
                raise
            self._answered = anyio.current_time()
            self.sent += len(payloads)
        return 0.0 if self._waiting else CHECK_SECONDS

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Run the loop that tells and hears the other processes; on leaving, tell what still waits."""
        stop = anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(run_loop, self.round, health=self.health, wake=self.wake, stop=stop))
                try:
                    yield
                finally:
                    stop.set()
                    self.wake.set()
                    tasks.cancel_scope.deadline = anyio.current_time() + LAST_ROUND_SECONDS
            if self._waiting:  # a process that ends has handed its work back
                try:
                    with anyio.move_on_after(LAST_ROUND_SECONDS):
                        await self.round()
                except (DatabaseUnavailable, *CONNECTION_FAULTS) as error:
                    log.warning("notices.last_round_failed", error=str(error))
        finally:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def _listening(self) -> "asyncpg.Connection[Any]":
        """Return the open connection. What was told while there was none is lost: everyone is to look."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._connection = None
        connection = await self.database.own_connection()
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                # A notice is worth no wait for the disk.
                await connection.execute("SET synchronous_commit = off")
                await connection.add_listener(CHANNEL, self._receive)
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(lambda _: self.wake.set())
        self._connection, self._answered = connection, anyio.current_time()
        for topic in list(self._subscribers):
            self._hear(topic, None)
        return connection

    def _receive(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        told = _read(str(payload))
        if told is not None and told[0] != self._name:
            self._hear(told[1], told[2])


def _payload(sender: str, topic: str, keys: set[UUID] | None) -> str:
    told = ",".join(urlsafe_b64encode(key.bytes)[:22].decode() for key in keys or ())
    return f"{sender} {topic} {told}"


def _read(payload: str) -> tuple[str, str, frozenset[UUID] | None] | None:
    """Return sender, topic and keys; None for what is no notice of ours."""
    sender, _, rest = payload.partition(" ")
    topic, _, told = rest.partition(" ")
    try:
        keys = frozenset(UUID(bytes=urlsafe_b64decode(key + "==")) for key in told.split(",") if key)
    except ValueError:
        return None
    return (sender, topic, keys or None) if topic else None
