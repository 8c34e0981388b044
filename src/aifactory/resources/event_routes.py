"""HTTP of live progress: the events of an execution as a stream."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.errors import AppError, invalid
from aifactory.kernel.guard import Authenticator
from aifactory.kernel.http import encode_for
from aifactory.kernel.ids import parse_id
from aifactory.kernel.principal import WORK_READERS, Principal
from aifactory.kernel.sse import PING, EventStream, event_frame, retry_frame
from aifactory.resources.event_feed import EventFeed
from aifactory.resources.events import StoredEvent, Subject, end_of, message_of
from aifactory.resources.execution_routes import EXECUTE
from aifactory.resources.interface import EventMessage, ExecutionNotFound
from aifactory.resources.queries import events as queries

AnyRequest = Request[Any, Any, Any]

RETRY_MS = 1000
LARGEST_SEQ = 2**63 - 1


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a quiet stream is pinged, its caller's right looked at again, a send given up."""

    ping_seconds: float = 15.0
    check_seconds: float = 60.0
    send_seconds: float = 60.0


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream begins; ``last``: the event that ended its execution, if that has been seen already."""

    caller: Principal
    subject: Subject
    after: int
    last: StoredEvent | None


@get(
    "/api/execution/{execution_id:str}/events",
    roles=WORK_READERS,
    worker_scope=EXECUTE,
    tags=["Execution"],
    streams=EventMessage,
)
async def stream_events(
    request: AnyRequest,
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    feed: NamedDependency[EventFeed],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    """Stream an execution's events (or those of a request's latest) until it ends: ``text/event-stream``.

    Each has its number as ``id``; ``Last-Event-ID`` goes on after that one, at any process. ``event: end``
    closes the stream; one that closes without it is to be opened again.
    """
    after = last_event_id(request.headers.get("last-event-id"))
    start = await _begin(db, execution_id, principal, after)

    async def may_go_on() -> bool:
        return await _still_allowed(request, start.subject)

    limits: StreamLimits = request.app.state.stream_limits
    return EventStream(_frames(feed, start, may_go_on, limits), send_seconds=limits.send_seconds)


def last_event_id(text: str | None) -> int:
    """Return the number of the last event that a client saw, 0 for none. Raises Invalid."""
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise invalid("/Last-Event-ID", "no_event_id", "Send the number of the last event that you saw.")
    return min(int(text), LARGEST_SEQ)


async def _begin(db: Database, execution_id: str, caller: Principal, after: int) -> Start:
    """Find what is to be streamed. A number from beyond the newest event counts as that one's.

    Raises ExecutionNotFound.
    """
    async with db.begin() as tx:
        found = await queries.find_subject(
            tx,
            client_id=caller.visible_work(),
            execution_id=parse_id("exec", execution_id),
            request_id=parse_id("req", execution_id),
        )
        if found is None:
            raise ExecutionNotFound("There is no execution with this id.")
        subject, after = found.subject, min(after, found.newest)
        last = await queries.find_last(tx, subject.execution_id) if found.ended else None
    if found.ended and last is None:  # its history was dropped long ago
        return Start(caller=caller, subject=subject, after=after, last=found.ended)
    seen = last is not None and last.seq <= after
    return Start(caller=caller, subject=subject, after=after, last=last if seen else None)


async def _frames(
    feed: EventFeed, start: Start, may_go_on: Callable[[], Awaitable[bool]], limits: StreamLimits
) -> AsyncGenerator[bytes, None]:
    yield retry_frame(RETRY_MS)
    if start.last is not None:
        yield _end_frame(start.last, start)
        return
    check_at = anyio.current_time() + limits.check_seconds * random.uniform(0.8, 1.2)
    with feed.follow(start.subject.execution_id, after=start.after) as following:
        while (events := await following.next(limits.ping_seconds)) is not None:
            yield b"".join(_frame(event, start) for event in events) or PING
            if events and events[-1].final:
                yield _end_frame(events[-1], start)
                return
            if anyio.current_time() >= check_at:
                if not await may_go_on():
                    return
                check_at = anyio.current_time() + limits.check_seconds


def _frame(event: StoredEvent, start: Start) -> bytes:
    return event_frame(event.type, encode_for(start.caller, message_of(event, start.subject)), event.seq)


def _end_frame(last: StoredEvent, start: Start) -> bytes:
    return event_frame("end", encode_for(start.caller, end_of(message_of(last, start.subject))))


async def _still_allowed(request: AnyRequest, subject: Subject) -> bool:
    """Tell whether the caller could open the stream now; as long as nobody can tell, it goes on."""
    authenticator: Authenticator = request.app.state.authenticator
    try:
        caller = await authenticator.authenticate(request)
    except DatabaseUnavailable:
        return True
    except AppError:
        return False
    if caller is None or caller.role not in WORK_READERS:
        return False
    return caller.visible_work() in (None, subject.client_id)


ROUTES: list[HTTPRouteHandler] = [stream_events]
