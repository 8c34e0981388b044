"""The rules of webhooks: secrets, signatures, when to try again, whose turn it is. Pure but for secrets."""

import base64
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Literal, get_args
from uuid import UUID

import msgspec
from standardwebhooks import Webhook

from aifactory.kernel.ids import text_id

EventType = Literal[
    "execution.succeeded", "execution.partial", "execution.failed", "execution.cancelled", "execution.expired"
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
TEST_EVENT = "webhook.test"

MAX_WEBHOOKS = 10  #: of a client
OLD_SECRET_SIGNS = timedelta(hours=24)
DISABLED_AFTER = timedelta(days=5)
DELIVERIES_KEPT = timedelta(days=30)
ERASED_BODY = "{}"  #: the body of a delivery whose message was erased
LEASE = timedelta(seconds=60)  #: an attempt that was not recorded by then is made again

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400))
MAX_TRIES = len(PAUSES) + 1
LONGEST_PAUSE = PAUSES[-1]
_JITTER = 0.2

AT_ONCE = 16  #: attempts of a process
PER_WEBHOOK = 2
PER_CLIENT = 6
FAILING_AT_ONCE = 8  #: attempts at endpoints whose last one failed: the rest is for those that work

EXCERPT_LENGTH = 1000
_SECRET_BYTES = 32
_LONGEST_DATE = 64
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of sending once: a status, or an error in words; ``retry_after`` as the header said."""

    duration_ms: int
    status: int | None = None
    error: str | None = None
    excerpt: str = ""
    retry_after: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took it."""
        return self.error is None and self.status is not None and 200 <= self.status < 300


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that has something to be sent, or to which something is being sent."""

    webhook_id: UUID
    client_id: UUID
    failing: bool


def make_secret() -> str:
    """Return a fresh signing secret."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def signed_headers(delivery_id: UUID, at: datetime, body: str, signing: Iterable[str]) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with one signature for each secret."""
    message_id = text_id("dlv", delivery_id)
    signatures = (Webhook(secret).sign(message_id, at.astimezone(UTC), body) for secret in signing)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def next_try(*, tries: int, now: datetime, retry_after: str | None, chance: float) -> datetime | None:
    """Return when to try again after ``tries`` failures, None for never; ``chance`` is from 0 to 1.

    Retry-After makes a pause longer, up to the longest one of ours.
    """
    if tries >= MAX_TRIES:
        return None
    pause = PAUSES[max(tries, 1) - 1] * (1 + _JITTER * (2 * chance - 1))
    asked = read_retry_after(retry_after, now)
    return now + max(pause, min(asked, LONGEST_PAUSE))


def read_retry_after(text: str | None, now: datetime) -> timedelta:
    """Return the pause that a Retry-After asks for, in seconds or as a date; none for anything else."""
    text = (text or "")[:_LONGEST_DATE].strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return timedelta(seconds=int(text))
    try:
        moment = parsedate_to_datetime(text)
        return max(moment.replace(tzinfo=moment.tzinfo or UTC) - now, timedelta())
    except (ValueError, OverflowError, TypeError):
        return timedelta()


def share_places(waiting: Sequence[Waiting], busy: Sequence[Waiting]) -> dict[UUID, int]:
    """Return how many attempts each endpoint may start, those that wait longest first, one in turn.

    No endpoint, no client and not all failing endpoints together can take every place.
    """
    free = AT_ONCE - len(busy)
    at_webhook = Counter(one.webhook_id for one in busy)
    at_client = Counter(one.client_id for one in busy)
    failing = sum(one.failing for one in busy)
    given: Counter[UUID] = Counter()
    for _ in range(PER_WEBHOOK):
        for one in waiting:
            if (
                free > 0
                and at_webhook[one.webhook_id] < PER_WEBHOOK
                and at_client[one.client_id] < PER_CLIENT
                and not (one.failing and failing >= FAILING_AT_ONCE)
            ):
                free -= 1
                at_webhook[one.webhook_id] += 1
                at_client[one.client_id] += 1
                failing += one.failing
                given[one.webhook_id] += 1
    return dict(given)


def excerpt_of(body: bytes) -> str:
    """Return the beginning of an answer as text that can be stored and shown."""
    return printable(body[: 4 * EXCERPT_LENGTH].decode("utf-8", "replace"), EXCERPT_LENGTH)


def printable(text: str, length: int) -> str:
    """Return at most ``length`` characters, control characters replaced."""
    return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text[:length])
