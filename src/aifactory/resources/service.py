"""The Resource Manager's side of its door: ``Resources`` for the other domains."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import invalid
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, JobId, KeyId, RequestId, StageId, text_id
from aifactory.kernel.page import Page, PageRequest
from aifactory.resources import estimates, events, flow_prices, storage, submission
from aifactory.resources.expected import Expectations
from aifactory.resources.interface import (
    ClientLimits,
    ClientNotFound,
    Estimate,
    EventMessage,
    ExecutionNotFound,
    ExecutionState,
    ExecutionView,
    FlowStage,
    NewExecution,
    Quote,
    Reason,
    StageWork,
    Step,
    StoredData,
    Submitted,
    Tier,
    Worker,
)
from aifactory.resources.off_peak import OffPeak
from aifactory.resources.queries import budgets, control, data, progress, retention, views
from aifactory.resources.queries import events as event_queries
from aifactory.resources.settlement import end_executions

LOOK_SECONDS = 0.25
CANCELLED = Reason(code="cancelled", message="Cancelled on request.")


async def sleep_a_little(_: ExecutionId, seconds: float) -> None:
    """Wait for nothing in particular, until it is time for the next look."""
    await anyio.sleep(min(seconds, LOOK_SECONDS))


class ResourceService:
    """Implements ``Resources``. ``wake`` and ``abort`` reach the scheduler of this process after commit.

    ``until_ended`` waits for an execution's end; without it, whoever waits looks often. ``off_peak`` is the
    operator's window. ``expectations``: what is foreseen of what is submitted.
    """

    def __init__(
        self,
        *,
        workers: dict[str, Worker],
        wake: Callable[[], None],
        abort: Callable[[list[JobId]], None],
        until_ended: Callable[[ExecutionId, float], Awaitable[None]] = sleep_a_little,
        off_peak: OffPeak | None = None,
        expectations: Expectations | None = None,
    ) -> None:
        self.workers = workers
        self.wake = wake
        self.abort = abort
        self.until_ended = until_ended
        self.off_peak = off_peak or OffPeak()
        self.expectations = expectations

    async def submit(self, tx: Tx, new: NewExecution) -> Submitted:
        """See ``Resources.submit``."""
        submitted = await submission.submit(tx, new, self._desk)
        self._tell_of(tx, [submitted])
        return submitted

    async def submit_many(self, tx: Tx, news: Sequence[NewExecution]) -> list[submission.Result]:
        """See ``submission.submit_many``."""
        results = await submission.submit_many(tx, news, self._desk)
        self._tell_of(tx, [one for one in results if isinstance(one, Submitted)])
        return results

    @property
    def _desk(self) -> submission.Desk:
        return submission.Desk(workers=self.workers, off_peak=self.off_peak, expectations=self.expectations)

    def _tell_of(self, tx: Tx, submitted: Sequence[Submitted]) -> None:
        if submitted:
            tx.after_commit(self.wake)
            tx.tell("work", [one.execution_id for one in submitted])

    async def quote(self, tx: Tx, new: NewExecution) -> Quote:
        """See ``Resources.quote``."""
        return (await flow_prices.price_flow(tx, new, self.workers)).quote

    async def estimate(self, tx: Tx, new: NewExecution) -> Estimate:
        """See ``Resources.estimate``."""
        return await estimates.estimate(tx, new, self.workers)

    async def describe_flow(self, tx: Tx, flow: tuple[FlowStage, ...], tier: Tier) -> tuple[Tier, Quote]:
        """See ``Resources.describe_flow``."""
        return await flow_prices.describe_flow(tx, flow, tier, self.workers)

    async def cancel(self, tx: Tx, execution_id: ExecutionId) -> ExecutionView:
        """See ``Resources.cancel``."""
        running = await end_executions(tx, [execution_id], ExecutionState.CANCELLED, CANCELLED)
        tx.after_commit(lambda: self.abort(running))
        tx.tell("abort", running)
        found = await views.find_execution(tx, client_id=None, execution_id=execution_id)
        if found is None:
            raise ExecutionNotFound("There is no such execution.")
        return found

    async def find_execution(
        self, tx: Tx, *, client_id: ClientId | None, execution_id: ExecutionId
    ) -> ExecutionView | None:
        """See ``Resources.find_execution``."""
        return await views.find_execution(tx, client_id=client_id, execution_id=execution_id)

    async def input_of(self, tx: Tx, execution_id: ExecutionId) -> dict[str, Any]:
        """See ``Resources.input_of``."""
        return await views.input_of(tx, execution_id)

    async def latest_executions(self, tx: Tx, request_ids: list[RequestId]) -> dict[RequestId, ExecutionView]:
        """See ``Resources.latest_executions``."""
        return await views.latest_executions(tx, request_ids)

    async def requests_kept(self, tx: Tx, request_ids: list[RequestId]) -> set[RequestId]:
        """See ``Resources.requests_kept``."""
        return await retention.requests_kept(tx, request_ids)

    async def list_executions(
        self, tx: Tx, *, client_id: ClientId | None, state: ExecutionState | None, page: PageRequest
    ) -> Page[ExecutionView]:
        """See ``Resources.list_executions``."""
        return await views.list_executions(tx, client_id=client_id, state=state, page=page)

    async def find_steps(self, tx: Tx, execution_id: ExecutionId) -> list[Step]:
        """See ``Resources.find_steps``."""
        return await progress.find_steps(tx, execution_id)

    async def find_stage_work(self, tx: Tx, stage_id: StageId) -> StageWork:
        """See ``Resources.find_stage_work``."""
        return await progress.find_stage_work(tx, stage_id)

    async def take_endings(self, tx: Tx, limit: int) -> list[EventMessage]:
        """See ``Resources.take_endings``."""
        return [
            events.message_of(event, subject)
            for event, subject in await event_queries.take_endings(tx, limit)
        ]

    async def wait_for_end(self, execution_id: ExecutionId, seconds: float) -> None:
        """See ``Resources.wait_for_end``."""
        await self.until_ended(execution_id, seconds)

    async def set_client(self, tx: Tx, limits: ClientLimits) -> None:
        """See ``Resources.set_client``."""
        await control.set_client(tx, limits)
        own = None if limits.tier is Tier.ENTERPRISE else await control.dedicated_pool(tx, limits.client_id)
        if own is not None:
            message = f"Pool {own} is dedicated to this client: give it to all, or to another, first."
            raise invalid("/tier", "dedicated_pool", message)

    async def inherit_key_budget(self, tx: Tx, *, old: KeyId, new: KeyId) -> None:
        """See ``Resources.inherit_key_budget``."""
        await budgets.inherit_key(tx, old=text_id("key", old), new=text_id("key", new))

    async def get_client(self, tx: Tx, client_id: ClientId, *, lock: bool = False) -> ClientLimits:
        """See ``Resources.get_client``."""
        if lock:
            await control.lock_client(tx, client_id)
        found = await control.find_client(tx, client_id)
        if found is None:
            raise ClientNotFound("There is no client with this id.")
        return found

    async def store_data(
        self, tx: Tx, *, client_id: ClientId, name: str, media_type: str, content: bytes
    ) -> DataId:
        """See ``Resources.store_data``."""
        return await storage.store(
            tx,
            client_id=client_id,
            kind=storage.SOURCE,
            name=name,
            media_type=media_type,
            content=content,
        )

    async def keep_data(self, tx: Tx, *, client_id: ClientId, data_id: DataId) -> None:
        """See ``Resources.keep_data``."""
        await storage.keep(tx, client_id=client_id, data_id=data_id, deadline=tx.now)

    async def find_data(self, tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> StoredData | None:
        """See ``Resources.find_data``."""
        return await data.find_data(tx, client_id=client_id, data_id=data_id)

    async def load_data(self, tx: Tx, data_id: DataId) -> bytes:
        """See ``Resources.load_data``."""
        return await storage.load(tx, data_id)

    async def load_intact(self, tx: Tx, data_ids: list[DataId]) -> dict[DataId, bytes]:
        """See ``Resources.load_intact``."""
        return await storage.load_intact(tx, data_ids)
