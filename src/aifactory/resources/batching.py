"""Group commit: submissions that come at the same time share one transaction.

The first one waits for nobody. Whoever comes while a group is under way goes into the next one, and each is
given its own result: what spoils a group is found by doing its parts again, in the end each submission alone.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from copy import copy

import anyio
import asyncpg
import structlog

from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.errors import AppError, Unavailable
from aifactory.resources.interface import NewExecution, Submitted
from aifactory.resources.submission import Result

log = structlog.get_logger()

TOGETHER = 32  #: submissions of a transaction at most
LONGEST_QUEUE = 1000  #: submissions that wait for a group at most
AT_ONCE = 2
# Nobody's submission is the reason, so to try each one alone would only make it worse.
_DATABASE_FAULTS = (
    DatabaseUnavailable,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)

SubmitMany = Callable[[Tx, Sequence[NewExecution]], Awaitable[list[Result]]]


class _Seat:
    """One caller's place in a group: what it submits, and what became of it."""

    def __init__(self, new: NewExecution) -> None:
        self.new = new
        self.result: Submitted | Exception | None = None
        self.told = anyio.Event()

    def tell(self, result: Submitted | Exception) -> None:
        self.result = result
        self.told.set()


class Batcher:
    """Submits in groups, each by ``submit_many`` in a transaction; see the function of that name."""

    def __init__(self, *, database: Database, submit_many: SubmitMany) -> None:
        self.database = database
        self.submit_many = submit_many
        self._waiting: deque[_Seat] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, new: NewExecution) -> Submitted:
        """Submit with others and return once it is durable; raises what ``Resources.submit`` raises.

        A caller that is cancelled while it waits for a group has submitted nothing; later its work may be
        committed all the same. Raises Unavailable when too many wait.
        """
        if len(self._waiting) >= LONGEST_QUEUE:
            message = "More submissions wait than this process can take; try again."
            raise Unavailable(message, headers={"Retry-After": "1"})
        seat = _Seat(new)
        self._waiting.append(seat)
        if self._running < AT_ONCE:
            self._start()
        try:
            await seat.told.wait()
        except BaseException:
            if seat in self._waiting:
                self._waiting.remove(seat)
            raise
        if isinstance(seat.result, Submitted):
            return seat.result
        assert seat.result is not None
        raise seat.result

    async def close(self) -> None:
        """Wait until every group that is under way or waits has been committed or refused."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _start(self) -> None:
        """Commit groups in a task of its own, which no caller's end cancels, and in nobody's log context."""
        task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        self._running += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        """Commit groups until nobody waits; whoever comes after that look starts the next task."""
        try:
            while self._waiting:
                await self._commit_or_tell(
                    [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
                )
        finally:
            self._running -= 1

    async def _commit_or_tell(self, group: Sequence[_Seat]) -> None:
        try:
            await self._commit(group)
        finally:  # whoever stops the loop stops this too: nobody waits for ever
            for seat in group:
                if not seat.told.is_set():
                    seat.tell(Unavailable("This process stops; whether it was submitted is not known."))

    async def _commit(self, group: Sequence[_Seat]) -> None:
        """Submit a group; what can't be done together is done in parts."""
        try:
            async with self.database.begin() as tx:
                results = await self.submit_many(tx, [seat.new for seat in group])
                if len(group) == 1 and isinstance(results[0], AppError):
                    raise results[0]  # what it has kept of its source is undone
        except _DATABASE_FAULTS as error:
            for seat in group:
                seat.tell(copy(error))
        except Exception as error:
            if len(group) == 1:
                group[0].tell(error)
                return
            log.info("submissions.apart", count=len(group), error=type(error).__name__)
            parts = _by_budgets(group)
            for part in parts if len(parts) > 1 else [[seat] for seat in group]:
                await self._commit(part)
        else:
            undecided = []
            for seat, result in zip(group, results, strict=True):
                if result is None:
                    undecided.append(seat)
                else:
                    seat.tell(result)
            for part in _by_budgets(undecided):
                await self._commit(part)


def _by_budgets(group: Sequence[_Seat]) -> list[list[_Seat]]:
    """Part a group by the budgets that its members count on; what has a source stands alone."""
    parts: dict[Hashable, list[_Seat]] = {}
    for number, seat in enumerate(group):
        new = seat.new
        alone = None if new.source is None else number
        parts.setdefault((new.client_id, new.key_id, new.template, alone), []).append(seat)
    return list(parts.values())
