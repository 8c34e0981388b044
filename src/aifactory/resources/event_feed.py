"""The events that somebody in this process follows, read by one reader for all of them."""

import contextlib
import itertools
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from uuid import UUID

import anyio
import structlog

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ExecutionId
from aifactory.kernel.loop import LoopHealth, Wake, run_loop
from aifactory.kernel.notices import Notices
from aifactory.resources.events import StoredEvent
from aifactory.resources.queries import events as queries

log = structlog.get_logger()

BUFFERED = 50  #: events that wait for one follower; the rest stays in the table until it has read these
READ_TOGETHER = 500
TOGETHER_SECONDS = 0.01
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 1.5, 2.5
IDLE_SECONDS = 10.0  #: nobody follows anything: only so that the loop is seen to live
LOOK_WITHOUT_FEED_SECONDS = 0.5


class Following:
    """One follower of one execution: each event after ``position`` once, in order."""

    def __init__(self, feed: "EventFeed", execution_id: ExecutionId, after: int) -> None:
        self.execution_id = execution_id
        self.position = after  #: the last event that was put into the buffer
        self._feed = feed
        self._buffer: deque[StoredEvent] = deque()
        self._full = False
        self._ready = anyio.Event()

    async def next(self, seconds: float) -> list[StoredEvent] | None:
        """Wait for events: none after ``seconds``, None when this process gives no more."""
        if not self._buffer and self._feed.is_open:
            with anyio.move_on_after(seconds):
                await self._ready.wait()
        batch = list(self._buffer)
        self._buffer.clear()
        self._ready = anyio.Event()
        if self._full:
            self._full = False
            self._feed.look(self.execution_id)
        return batch or ([] if self._feed.is_open else None)

    @property
    def room(self) -> int:
        """How many more events may wait for it."""
        return BUFFERED - len(self._buffer)

    def take(self, events: list[StoredEvent]) -> None:
        """Put the events that come after the last one into the buffer, as far as there is room."""
        events = events[: self.room]
        if events:
            self._buffer.extend(events)
            self.position = events[-1].seq
            self.wake()
        self._full = self.room <= 0

    def wake(self) -> None:
        """Let ``next`` return."""
        self._ready.set()


class EventFeed:
    """Reads new events of all followed executions, one query a round, when told or every two seconds.

    Events of one execution become visible in the order of their sequence (it is taken under the row lock), so
    "all after the last one" misses none.
    """

    def __init__(self, *, database: Database, notices: Notices) -> None:
        self.database = database
        self.notices = notices
        self.is_open = False  #: whether its reader runs and this process is not about to end
        self.wake = Wake()
        self.health = LoopHealth(name="events", stale_after=timedelta(seconds=30))
        self._followed: dict[ExecutionId, set[Following]] = {}
        self._due: set[ExecutionId] = set()
        self._poll_at = 0.0

    @property
    def followers(self) -> int:
        """How many follow something here."""
        return sum(map(len, self._followed.values()))

    @contextlib.contextmanager
    def follow(self, execution_id: ExecutionId, *, after: int) -> Iterator[Following]:
        """Follow an execution's events after a sequence number."""
        following = Following(self, execution_id, after)
        self._followed.setdefault(execution_id, set()).add(following)
        self.look(execution_id)
        try:
            yield following
        finally:
            others = self._followed[execution_id]
            others.discard(following)
            if not others:
                del self._followed[execution_id]

    async def until_ended(self, execution_id: ExecutionId, seconds: float) -> None:
        """Return when an execution has ended, at the latest after ``seconds``; sooner if nobody can tell."""
        if not self.is_open:
            await anyio.sleep(min(seconds, LOOK_WITHOUT_FEED_SECONDS))
            return
        with anyio.move_on_after(seconds), self.follow(execution_id, after=0) as following:
            while (batch := await following.next(seconds)) is not None:
                if any(event.final for event in batch):
                    return

    def look(self, execution_id: ExecutionId) -> None:
        """Read an execution's events in the next round, which comes at once."""
        self._due.add(execution_id)
        self.wake.set()

    def close(self) -> None:
        """Let every follower go: this process is to end."""
        self.is_open = False
        for following in itertools.chain.from_iterable(self._followed.values()):
            following.wake()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the reader."""
        stop = anyio.Event()
        undo = self.notices.subscribe("events", self._hear)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(run_loop, self.round, health=self.health, wake=self.wake, stop=stop))
                self.is_open = True
                yield
                tasks.cancel_scope.cancel()
        finally:
            undo()
            self.close()

    def _hear(self, keys: frozenset[UUID] | None) -> None:
        followed = self._followed.keys()
        due = followed if keys is None else followed & keys
        if due:
            self._due |= due
            self.wake.set()

    async def round(self) -> float:
        """Read what is due and hand it out. Returns the seconds until the next look."""
        if self._followed and anyio.current_time() >= self._poll_at:
            self._due |= self._followed.keys()
            self._poll_at = anyio.current_time() + random.uniform(SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS)
        elif self._due:
            await anyio.sleep(TOGETHER_SECONDS)  # what comes meanwhile is read along
        due, self._due = self._due & self._followed.keys(), set()
        try:
            await self._read(due)
        except BaseException:
            self._due |= due
            raise
        if self._due:
            return 0.0
        return max(0.0, self._poll_at - anyio.current_time()) if self._followed else IDLE_SECONDS

    async def _read(self, due: set[ExecutionId]) -> None:
        """Read from each place at which a follower with room stands; the full ones read on later."""
        standing = {
            (following.execution_id, following.position)
            for execution_id in due
            for following in self._followed[execution_id]
            if following.room > 0
        }
        places = list(standing)
        for first in range(0, len(places), READ_TOGETHER):
            async with self.database.begin() as tx:
                found = await queries.read_after(tx, places[first : first + READ_TOGETHER], limit=BUFFERED)
            self._hand_out(found)

    def _hand_out(self, found: dict[queries.Place, list[StoredEvent]]) -> None:
        reached = {
            following: (following.execution_id, following.position)
            for execution_id in {place[0] for place in found}
            for following in self._followed.get(execution_id, ())
        }
        for following, place in reached.items():
            following.take(found.get(place, []))
        for place, events in found.items():
            if len(events) == BUFFERED:  # there may be more
                self.look(place[0])
