"""Group commit: submissions that come at the same time share one transaction.

The first one waits for nobody. Whoever comes while a group is under way goes into the next one, and each is
given its own result: what spoils a group is found by doing its parts again, in the end each submission alone.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from copy import copy
from itertools import compress

import anyio
import asyncpg
import structlog

from aifactory.kernel import idempotency
from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.errors import AppError, Unavailable
from aifactory.kernel.idempotency import Answer
from aifactory.resources.interface import CheckedRequest, Creation, NewExecution, Submitted
from aifactory.resources.interface.together import call_without_key
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
StoreRequests = Callable[[Tx, Sequence[CheckedRequest]], Awaitable[None]]


class _Seat:
    """One caller's place in a group: what it brings, as it was checked last, and what became of it."""

    def __init__(self, creation: Creation) -> None:
        self.creation = creation
        self.checked: CheckedRequest | None = None
        self.result: Answer | Exception | None = None
        self.told = anyio.Event()

    def tell(self, result: Answer | Exception) -> None:
        self.result = result
        self.told.set()

    async def check(self, tx: Tx) -> CheckedRequest:
        self.checked = await self.creation.check(tx)
        return self.checked

    def answer(self) -> Answer:
        """Give the result, or raise it."""
        if isinstance(self.result, Exception):
            raise self.result
        assert self.result is not None
        return self.result


class Batcher:
    """Implements ``Submissions``. ``submit_many`` and ``store_requests``: see these functions."""

    def __init__(self, *, database: Database, submit_many: SubmitMany, store_requests: StoreRequests) -> None:
        self.database = database
        self.submit_many = submit_many
        self.store_requests = store_requests
        self._waiting: deque[_Seat] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(self, creation: Creation) -> Answer:
        """See ``Submissions.create``.

        A caller that is cancelled while it waits for a group has submitted nothing; later its work may be
        committed all the same.
        """
        seat = _Seat(creation)
        if creation.alone:
            await self._commit_or_tell([seat])
        else:
            await self._wait_for_group(seat)
        return seat.answer()

    async def submit(self, new: NewExecution) -> Submitted:
        """Submit with others what has its request already; raises what ``Resources.submit`` raises."""
        kept: list[Submitted] = []

        async def check(_: Tx) -> CheckedRequest:
            return CheckedRequest(new=new)

        def answer(_: CheckedRequest, submitted: Submitted) -> Answer:
            kept[:] = [submitted]
            return Answer(status=202, body=b"")

        await self.create(Creation(call=call_without_key(), check=check, answer=answer))
        return kept[0]

    async def _wait_for_group(self, seat: _Seat) -> None:
        if len(self._waiting) >= LONGEST_QUEUE:
            message = "More submissions wait than this process can take; try again."
            raise Unavailable(message, headers={"Retry-After": "1"})
        self._waiting.append(seat)
        if self._running < AT_ONCE:
            self._start()
        try:
            await seat.told.wait()
        except BaseException:
            if seat in self._waiting:
                self._waiting.remove(seat)
            raise

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
            if not self._running:  # cut short: whoever still waits has nobody who would take it
                for seat in self._waiting:
                    seat.tell(Unavailable("This process was interrupted; nothing was submitted."))
                self._waiting.clear()

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
                results = await self._submit(tx, group)
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

    async def _submit(self, tx: Tx, group: Sequence[_Seat]) -> list[Answer | AppError | None]:
        """Check, submit and store; give for each its answer, its refusal, or None: not decided here."""
        calls = [seat.creation.call for seat in group]
        taken = await idempotency.take_each(tx, calls)
        if taken == [False]:
            return [await idempotency.replay(tx, calls[0])]
        results: list[Answer | AppError | None] = [None] * len(group)
        checked: dict[int, CheckedRequest] = {}
        for place in compress(range(len(group)), taken):
            try:
                checked[place] = await group[place].check(tx)
            except AppError as refusal:
                results[place] = refusal
        became = await self.submit_many(tx, [one.new for one in checked.values()]) if checked else []
        answers: dict[int, Answer] = {}
        for (place, one), result in zip(checked.items(), became, strict=True):
            if isinstance(result, Submitted):
                answers[place] = results[place] = group[place].creation.answer(one, result)
            else:
                results[place] = result
        await self.store_requests(tx, [checked[place] for place in answers])
        await idempotency.finish_each(tx, [(calls[place], answer) for place, answer in answers.items()])
        await idempotency.give_back(
            tx, [calls[place] for place, mine in enumerate(taken) if mine and place not in answers]
        )
        return results


def _by_budgets(group: Sequence[_Seat]) -> list[list[_Seat]]:
    """Part a group by the budgets that its members count on; whose twin runs or has a source stands alone."""
    parts: dict[Hashable, list[_Seat]] = {}
    for number, seat in enumerate(group):
        if seat.checked is None or seat.checked.new.source is not None:
            parts[number] = [seat]
        else:
            new = seat.checked.new
            parts.setdefault((new.client_id, new.key_id, new.template), []).append(seat)
    return list(parts.values())
