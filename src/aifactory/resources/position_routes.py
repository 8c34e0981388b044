"""HTTP of a position: where an execution stands in its queue, why it waits, and when it starts."""

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from aifactory.kernel.db import Database
from aifactory.kernel.principal import READERS, Principal
from aifactory.resources.explaining import explain
from aifactory.resources.interface import Resources
from aifactory.resources.outlook import Outlooks
from aifactory.resources.position_schemas import Position


@get("/api/queue/position/{execution_id:str}", roles=READERS, tags=["Queue"])
async def get_position(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    outlooks: NamedDependency[Outlooks],
    principal: NamedDependency[Principal],
) -> Position:
    """Tell why an execution (or a request's latest, or one job) waits: gate, place, priority, start.

    It is the scheduler's own decision on the fleet as it was at most a second ago. What others have waiting
    is counted, never named.
    """
    return await explain(db, resources, outlooks, execution_id, principal)


ROUTES: list[HTTPRouteHandler] = [get_position]
