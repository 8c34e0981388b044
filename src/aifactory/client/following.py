"""Following an execution: its events across lost connections, and waiting for its end."""

import logging
from collections.abc import Generator
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from aifactory.client.calls import checked_id, events_call, get
from aifactory.client.errors import (
    AIFactoryError,
    AuthError,
    NotFound,
    ServerError,
    WaitTimedOut,
)
from aifactory.client.exchange import (
    Answer,
    Broken,
    Open,
    Pause,
    Plan,
    Read,
    Session,
    Step,
    exchange,
    failure_of,
    pause_before_retry,
    read,
)
from aifactory.client.models import Event, EventData, Execution, View
from aifactory.client.sse import Frame, FrameReader, Garbage

Following: TypeAlias = Generator[Step | Event, Any, None]

_log = logging.getLogger("aifactory.client")

SILENCE_SECONDS = 45.0  # the server says something every 15
_WORTH_A_WORD = 3  # failures in a row: a stream that is cut and resumed is none
_POLL_FIRST_SECONDS, _POLL_LONGEST_SECONDS = 0.2, 2.0


def events(session: Session, wanted: str, *, after: int = 0) -> Following:
    """Yield what happens to an execution, or to a request's latest one, until it has ended.

    Each event comes once and in order, across lost connections and restarts of the server; ``after``: the
    ``id`` of the last event that was seen. The last one has the type ``end``. Raises ConnectionFailed when
    the stream could not be resumed for ``outage_seconds``.
    """
    return follow(session, wanted, after=after, outage_seconds=session.retries.outage_seconds)


class _Outage:
    """How long nothing was heard, and how often it was tried in vain."""

    def __init__(self, session: Session, limit_seconds: float) -> None:
        self.session, self.limit_seconds = session, limit_seconds
        self.retry_seconds = 0.0
        self.over()

    def over(self) -> None:
        self.failures, self.since = 0, 0.0

    def pause(self, failure: Answer | Broken) -> Pause:
        """Return the pause before the next try. Raises what happened when there is no use in another."""
        now, session = self.session.clock(), self.session
        self.since = self.since if self.failures else now
        self.failures += 1
        limits = msgspec.structs.replace(
            session.retries, total_seconds=self.limit_seconds, unreachable_seconds=self.limit_seconds
        )
        if self.failures == _WORTH_A_WORD:
            _log.info("No connection to %s; trying on for %.0f s.", session.url, self.limit_seconds)
        pause = pause_before_retry(
            limits,
            failure,
            failures=self.failures,
            failing_for=now - self.since,
            chance=session.chance(),
        )
        if pause is None:
            raise failure_of(session, failure)
        return Pause(max(pause, self.retry_seconds * (0.5 + session.chance() / 2)))


def follow(
    session: Session,
    wanted: str,
    *,
    after: int,
    outage_seconds: float,
    silence_seconds: float = SILENCE_SECONDS,
) -> Following:
    """Yield the events after one, reconnecting with Last-Event-ID; what comes twice is left out."""
    place = _Place(checked_id(wanted), after)
    outage = _Outage(session, outage_seconds)
    while True:
        failure: Answer | Broken
        opened: Answer | Broken = yield Open(events_call(place.id, place.seen, silence_seconds))
        if isinstance(opened, Answer) and opened.status == 200:
            _check_stream(opened)
            broken = yield from _read_stream(place, outage)
            if broken is None:
                return
            failure = broken
        else:
            failure = opened
        yield outage.pause(failure)


class _Place:
    """Where a follower is: the execution (known for sure after its first event) and the last event seen."""

    def __init__(self, wanted: str, after: int) -> None:
        self.id, self.seen = wanted, after

    def is_new(self, event: Event) -> bool:
        """Note an event; tell whether it was not seen before."""
        if event.id is not None and event.id <= self.seen:
            return False
        self.id = event.data.execution_id or self.id
        self.seen = event.id if event.id is not None else self.seen
        return True


def _read_stream(place: _Place, outage: _Outage) -> Generator[Step | Event, Any, Broken | None]:
    """Yield a connection's new events. Returns how it broke, or None after the last event."""
    reader = FrameReader()
    while True:
        chunk: bytes | Broken = yield Read()
        if isinstance(chunk, Broken):
            return chunk
        if not chunk:
            return Broken(reason="the stream ended early")
        pings = reader.comments
        try:
            for frame in reader.feed(chunk):
                event = _event_of(frame)
                if event.last or place.is_new(event):
                    outage.over()
                    yield event
                if event.last:
                    return None
        except Garbage as error:
            return Broken(reason=str(error))
        outage.retry_seconds = reader.retry_seconds or outage.retry_seconds
        if reader.comments > pings:
            outage.over()


def _event_of(frame: Frame) -> Event:
    """Read a frame. Raises Garbage."""
    try:
        event = _read_event(frame.data)
        number = None if frame.id is None else int(frame.id)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Garbage(f"An event can't be read: {str(error)[:200]}.") from error
    return msgspec.structs.replace(event, id=number)


class _BareData(View, frozen=True, kw_only=True):
    execution_id: str
    state: str = ""


class _BareEvent(View, frozen=True, kw_only=True):
    type: str
    timestamp: datetime
    data: _BareData


def _read_event(text: str) -> Event:
    """Read an event; one that says more than is known here, in another way, still has type, state and id."""
    try:
        return msgspec.json.decode(text, type=Event)
    except msgspec.ValidationError:
        bare = msgspec.json.decode(text, type=_BareEvent)
        known = EventData(execution_id=bare.data.execution_id, state=bare.data.state)
        return Event(type=bare.type, timestamp=bare.timestamp, data=known)


def _check_stream(opened: Answer) -> None:
    if not opened.headers.get("content-type", "").startswith("text/event-stream"):
        raise ServerError(
            "Events were asked for and something else came: check the address and any proxy.",
            code="unexpected_answer",
            status=opened.status,
        )


# Waiting.


def wait(session: Session, wanted: str, *, timeout: float | None = None) -> Plan[Execution]:
    """Return an execution, or a request's latest one, when it has ended; by events, else by asking.

    ``timeout`` in seconds; raises WaitTimedOut after it. The execution goes on then.
    """
    deadline = None if timeout is None else session.clock() + timeout
    try:
        yield from _until_end(session, wanted, deadline)
    except (AuthError, NotFound):
        raise
    except AIFactoryError:
        pass  # no stream gets through; asking may
    return (yield from _ask_until_ended(session, wanted, deadline))


def _until_end(session: Session, wanted: str, deadline: float | None) -> Plan[None]:
    """Follow until the end, or until so little time is left that a silent stream could outlast it."""
    silence = SILENCE_SECONDS
    if deadline is not None:
        silence = max(0.5, min(silence, (deadline - session.clock()) / 2))
    following = follow(session, wanted, after=0, outage_seconds=5.0, silence_seconds=silence)
    outcome: Any = None
    while True:
        try:
            step = following.send(outcome)
        except StopIteration:
            return
        if deadline is not None:
            pause = step.seconds if isinstance(step, Pause) else 0.0
            if deadline - session.clock() < max(silence, pause):
                return
        outcome = None if isinstance(step, Event) else (yield step)


def _ask_until_ended(session: Session, wanted: str, deadline: float | None) -> Plan[Execution]:
    call = get(f"/api/execution/{checked_id(wanted)}")
    pause = _POLL_FIRST_SECONDS
    while True:
        found = read((yield from exchange(session, call)), Execution)
        if found.ended:
            return found
        if deadline is not None and (left := deadline - session.clock()) <= 0:
            raise WaitTimedOut(
                f"{found.id} is {found.state}; it goes on.", code="wait_timed_out", retryable=True
            )
        yield Pause(pause if deadline is None else min(pause, max(left, 0.01)))
        pause = min(pause * 1.5, _POLL_LONGEST_SECONDS)
