"""What is to be done, apart from doing it: plans are generators of steps that a transport carries out.

A plan yields a step and is sent its outcome: ``Send`` → Answer or Broken, ``Open`` → Answer (its body still
to be read, when it is 200) or Broken, ``Read`` → bytes (none: the end) or Broken, ``Pause`` → None,
``ReadFile`` → bytes. Retries, reconnects and waits are thus written once for both clients, and tested without
a network.
"""

import random
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from aifactory.client.errors import AIFactoryError, ConnectionFailed, ServerError, error_of

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. ``read_seconds``: how long silence is borne, where it is not the client's default."""

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes | None = None
    read_seconds: float | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The connection failed; ``unreached``: before anything was sent."""

    reason: str
    unreached: bool = False


class Send(msgspec.Struct, frozen=True):
    """Send a request and read the whole answer."""

    call: Call


class Open(msgspec.Struct, frozen=True):
    """Send a request whose answer is a stream; an earlier stream is closed."""

    call: Call


class Read(msgspec.Struct, frozen=True):
    """Read the next bytes of the stream."""


class Pause(msgspec.Struct, frozen=True):
    """Wait."""

    seconds: float


class ReadFile(msgspec.Struct, frozen=True):
    """Read a file."""

    path: Path


Step: TypeAlias = Send | Open | Read | Pause | ReadFile
Plan: TypeAlias = Generator[Step, Any, T]


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How long to go on: seconds from the first failure.

    ``total_seconds``: of a call; ``unreachable_seconds``: of a call to a server that takes no connection;
    ``outage_seconds``: of a stream that was cut and could not be resumed.
    """

    total_seconds: float = 30.0
    unreachable_seconds: float = 10.0
    outage_seconds: float = 120.0
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 5.0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What plans need to know of their client; clock, chance and keys are replaceable for tests."""

    url: str
    retries: Retries = Retries()
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    new_key: Callable[[], str] = lambda: uuid.uuid4().hex


def backoff(retries: Retries, failures: int, chance: float) -> float:
    """Return the pause after this many failures in a row: doubled each time, between half and all of it."""
    full = min(retries.longest_pause_seconds, retries.first_pause_seconds * 2.0 ** min(failures - 1, 16))
    return full * (0.5 + chance / 2)


def pause_before_retry(
    retries: Retries, outcome: Answer | Broken, *, failures: int, failing_for: float, chance: float
) -> float | None:
    """Return how long to wait before the same call is sent again; None: not again.

    Only what may pass is sent again: a broken connection, 502, 503, 504, 429 with Retry-After, and the 409
    that says that the same call still runs.
    """
    limit = retries.total_seconds
    pause = backoff(retries, failures, chance)
    if isinstance(outcome, Broken):
        if outcome.unreached:
            limit = min(limit, retries.unreachable_seconds)
    else:
        named = retry_after(outcome.headers)
        if not _may_pass(outcome, named):
            return None
        if named is not None:
            pause = max(pause, named + retries.first_pause_seconds * chance)
    return pause if failing_for + pause <= limit else None


def _may_pass(answer: Answer, named: float | None) -> bool:
    if answer.status == 409:
        return b'"idempotency_in_progress"' in answer.body
    return answer.status in (502, 503, 504) or (answer.status == 429 and named is not None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``, given as such or as a date; None without a sensible one."""
    text = headers.get("retry-after", "").strip()
    try:
        if text.isascii() and text.isdigit():
            return float(text[:9])
        moment = parsedate_to_datetime(text)
        now = headers.get("date")
        since = parsedate_to_datetime(now) if now else datetime.now(UTC)
        return max(0.0, (moment - since).total_seconds())
    except (TypeError, ValueError, IndexError):
        return None


def exchange(session: Session, call: Call) -> Plan[Answer]:
    """Send a call, again when that is safe and may help. Raises AIFactoryError for what is no success."""
    failures, failing_since = 0, 0.0
    while True:
        outcome: Answer | Broken = yield Send(call)
        if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
            return outcome
        if call.method == "DELETE" and failures and isinstance(outcome, Answer) and outcome.status == 404:
            return outcome  # the first one was done, and its answer lost
        now = session.clock()
        failing_since = failing_since if failures else now
        failures += 1
        pause = pause_before_retry(
            session.retries,
            outcome,
            failures=failures,
            failing_for=now - failing_since,
            chance=session.chance(),
        )
        if pause is None:
            raise failure_of(session, outcome)
        yield Pause(pause)


def failure_of(session: Session, outcome: Answer | Broken) -> AIFactoryError:
    """Return the error of an outcome that is no success."""
    if isinstance(outcome, Answer):
        return error_of(outcome.status, outcome.headers, outcome.body, retry_after(outcome.headers))
    if outcome.unreached:
        return ConnectionFailed(
            f"There is no server at {session.url} ({outcome.reason}). Start one (make run), or set "
            "AIFACTORY_URL to the address of yours.",
            code="unreachable",
            retryable=True,
        )
    return ConnectionFailed(
        f"The connection to {session.url} broke ({outcome.reason}).", code="connection_broken", retryable=True
    )


def read(answer: Answer, kind: type[T]) -> T:
    """Return an answer's JSON as a struct. Raises ServerError for anything else."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(
            f"The answer is not what an AI Factory gives ({str(error)[:200]}): check the address.",
            code="unexpected_answer",
            status=answer.status,
            request_id=answer.headers.get("x-request-id"),
        ) from error


def fetch(session: Session, call: Call, kind: type[T]) -> Plan[T]:
    """Send a call and read its answer."""
    return read((yield from exchange(session, call)), kind)
