"""The Resource Manager's side of its door: ``Resources`` for the other domains."""

from collections.abc import Callable

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, JobId, RequestId
from aifactory.kernel.page import Page, PageRequest
from aifactory.resources import estimates, submission
from aifactory.resources.interface import (
    ClientLimits,
    ClientNotFound,
    Estimate,
    ExecutionNotFound,
    ExecutionState,
    ExecutionView,
    FlowStage,
    NewExecution,
    Quote,
    Reason,
    StoredData,
    Submitted,
    Tier,
    Worker,
)
from aifactory.resources.queries import control, views
from aifactory.resources.settlement import end_executions

CANCELLED = Reason(code="cancelled", message="Cancelled on request.")


class ResourceService:
    """Implements ``Resources``. ``wake`` and ``abort`` reach the scheduler of this process after commit."""

    def __init__(
        self,
        *,
        workers: dict[str, Worker],
        wake: Callable[[], None],
        abort: Callable[[list[JobId]], None],
    ) -> None:
        self.workers = workers
        self.wake = wake
        self.abort = abort

    async def submit(self, tx: Tx, new: NewExecution) -> Submitted:
        """See ``Resources.submit``."""
        submitted = await submission.submit(tx, new, self.workers)
        tx.after_commit(self.wake)
        return submitted

    async def quote(self, tx: Tx, new: NewExecution) -> Quote:
        """See ``Resources.quote``."""
        return (await submission.price_flow(tx, new, self.workers)).quote

    async def estimate(self, tx: Tx, new: NewExecution) -> Estimate:
        """See ``Resources.estimate``."""
        return await estimates.estimate(tx, new, self.workers)

    async def describe_flow(self, tx: Tx, flow: tuple[FlowStage, ...], tier: Tier) -> tuple[Tier, Quote]:
        """See ``Resources.describe_flow``."""
        return await submission.describe_flow(tx, flow, tier, self.workers)

    async def cancel(self, tx: Tx, execution_id: ExecutionId) -> ExecutionView:
        """See ``Resources.cancel``."""
        running = await end_executions(tx, [execution_id], ExecutionState.CANCELLED, CANCELLED)
        tx.after_commit(lambda: self.abort(running))
        found = await views.find_execution(tx, client_id=None, execution_id=execution_id)
        if found is None:
            raise ExecutionNotFound("There is no such execution.")
        return found

    async def find_execution(
        self, tx: Tx, *, client_id: ClientId | None, execution_id: ExecutionId
    ) -> ExecutionView | None:
        """See ``Resources.find_execution``."""
        return await views.find_execution(tx, client_id=client_id, execution_id=execution_id)

    async def latest_executions(self, tx: Tx, request_ids: list[RequestId]) -> dict[RequestId, ExecutionView]:
        """See ``Resources.latest_executions``."""
        return await views.latest_executions(tx, request_ids)

    async def list_executions(
        self, tx: Tx, *, client_id: ClientId | None, state: ExecutionState | None, page: PageRequest
    ) -> Page[ExecutionView]:
        """See ``Resources.list_executions``."""
        return await views.list_executions(tx, client_id=client_id, state=state, page=page)

    async def set_client(self, tx: Tx, limits: ClientLimits) -> None:
        """See ``Resources.set_client``."""
        await control.set_client(tx, limits)

    async def get_client(self, tx: Tx, client_id: ClientId) -> ClientLimits:
        """See ``Resources.get_client``."""
        found = await control.find_client(tx, client_id)
        if found is None:
            raise ClientNotFound("There is no client with this id.")
        return found

    async def store_data(
        self, tx: Tx, *, client_id: ClientId, name: str, media_type: str, content: bytes
    ) -> DataId:
        """See ``Resources.store_data``."""
        return await control.insert_data(
            tx,
            client_id=client_id,
            name=name,
            media_type=media_type,
            content=content,
            words=submission.count_words(content),
            expires_at=None,
        )

    async def find_data(self, tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> StoredData | None:
        """See ``Resources.find_data``."""
        return await control.find_data(tx, client_id=client_id, data_id=data_id)

    async def load_data(self, tx: Tx, data_id: DataId) -> bytes:
        """See ``Resources.load_data``."""
        found = await control.load_data(tx, [data_id])
        if data_id not in found:
            raise NotFound("This data is not stored any more.")
        return found[data_id]
