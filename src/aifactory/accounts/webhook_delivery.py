"""Webhooks on their way: loops that fan endings out, send what is due, and remove what is old."""

import contextlib
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import structlog

from aifactory.accounts import webhook_queries, webhook_rules, webhooks
from aifactory.accounts.webhook_rules import AT_ONCE, LEASE, Waiting
from aifactory.accounts.webhooks import Claimed
from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.ids import text_id
from aifactory.kernel.loop import LoopHealth, Wake, run_loop
from aifactory.kernel.notices import Notices
from aifactory.resources.interface import Resources

if TYPE_CHECKING:
    from aifactory.accounts.late_sender import LateSender
    from aifactory.accounts.webhook_sending import WebhookSender

log = structlog.get_logger()

ENDINGS_AT_ONCE = 200
TOGETHER_SECONDS = 0.2
LOOK_SECONDS = 10.0
PURGE_SECONDS = 3600.0
PURGE_AT_ONCE = 1000
LAST_WORDS_SECONDS = 1.0
RECORDING_AT_ONCE = 4  #: the pool of connections is for everyone


class Deliveries:
    """One process's share of the webhooks. ``start`` is a context: leaving it stops in order."""

    def __init__(
        self,
        *,
        database: Database,
        resources: Resources,
        notices: Notices,
        sender: "WebhookSender | LateSender",
    ) -> None:
        self.database = database
        self.resources = resources
        self.sender = sender
        self.wakes = {name: Wake() for name in ("webhook_fan_out", "webhook_sender", "webhook_purge")}
        self.healths = {
            name: LoopHealth(name=name, stale_after=timedelta(seconds=seconds))
            for name, seconds in zip(self.wakes, (30, 30, 2 * PURGE_SECONDS), strict=True)
        }
        self._busy: list[Waiting] = []
        self._tasks: anyio.abc.TaskGroup | None = None
        self._recording = anyio.Semaphore(RECORDING_AT_ONCE)
        notices.subscribe("events", lambda _: self.wakes["webhook_fan_out"].set())
        notices.subscribe(webhooks.TOPIC, lambda _: self.wakes["webhook_sender"].set())

    def alive(self) -> dict[str, bool]:
        """Tell per loop whether its last good round is recent."""
        return {name: health.alive for name, health in self.healths.items()}

    @property
    def idle(self) -> bool:
        """Whether nothing is being sent."""
        return not self._busy

    @contextlib.asynccontextmanager
    async def start(self) -> AsyncIterator[None]:
        """Run the loops; on leaving, what is being sent has a second to end: else it is sent again later."""
        stop = anyio.Event()
        rounds = zip(self.wakes, (self._fan_out_round, self.send_round, self.purge_round), strict=True)
        async with anyio.create_task_group() as sending, anyio.create_task_group() as loops:
            self._tasks = sending
            for name, round_ in rounds:
                loop = partial(run_loop, health=self.healths[name], wake=self.wakes[name], stop=stop)
                loops.start_soon(loop, round_)
            try:
                yield
            finally:
                stop.set()
                for wake in self.wakes.values():
                    wake.set()
                ends = anyio.current_time() + LAST_WORDS_SECONDS
                loops.cancel_scope.deadline = sending.cancel_scope.deadline = ends

    # Fan-out.

    async def _fan_out_round(self) -> float:
        await anyio.sleep(TOGETHER_SECONDS)  # many events come at once, few of which end anything
        return await self.fan_out_round()

    async def fan_out_round(self) -> float:
        """Turn endings into deliveries. Returns the seconds to rest."""
        async with self.database.begin() as tx:
            taken = await webhooks.fan_out(tx, self.resources, limit=ENDINGS_AT_ONCE)
        return 0.0 if taken == ENDINGS_AT_ONCE else LOOK_SECONDS

    # Sending.

    async def send_round(self) -> float:
        """Claim what is due and may start now, and start sending it. Returns the seconds to rest."""
        if len(self._busy) >= AT_ONCE:
            return LOOK_SECONDS
        async with self.database.begin() as tx:
            now, due, rows = tx.now, await webhook_queries.next_due(tx), []
            if due is not None and due <= now:
                waiting = await webhook_queries.list_waiting(tx)
                places = webhook_rules.share_places(waiting, self._busy)
                rows = await webhook_queries.claim(tx, places, until=now + LEASE) if places else []
                due = await webhook_queries.next_due(tx)
        assert self._tasks is not None, "nobody to send in"
        for row in rows:
            place = Waiting(webhook_id=row["webhook_id"], client_id=row["client_id"], failing=row["failing"])
            self._busy.append(place)
            self._tasks.start_soon(self._deliver, row, now, place)
        return _rest(due, now, made_progress=bool(rows))

    async def _deliver(self, row: Any, now: datetime, place: Waiting) -> None:
        try:
            await self._send_and_record(row, now)
        except DatabaseUnavailable:
            log.warning("webhook.not_recorded", delivery=text_id("dlv", row["id"]))
        except Exception:
            log.exception("webhook.not_recorded", delivery=text_id("dlv", row["id"]))
        finally:
            self._busy.remove(place)
            self.wakes["webhook_sender"].set()

    async def _send_and_record(self, row: Any, now: datetime) -> None:
        """Send a claimed delivery, then record it: a process that dies between the two sends it twice."""
        signing = [row["secret"]]
        if row["previous_secret"] is not None and row["previous_secret_until"] > now:
            signing.append(row["previous_secret"])
        headers = webhook_rules.signed_headers(row["id"], now, row["body"], signing)
        attempt = await self.sender.post(row["url"], headers=headers, body=row["body"])
        claimed = Claimed(
            id=row["id"],
            webhook_id=row["webhook_id"],
            number=row["attempts"],
            tries=row["tries"],
            event_type=row["event_type"],
            claimed_at=now,
        )
        async with self._recording, self.database.begin() as tx:
            await webhooks.record(tx, claimed, attempt, chance=random.random())
        log.info(
            "webhook.sent",
            delivery=text_id("dlv", row["id"]),
            number=row["attempts"],
            status=attempt.status,
            error=attempt.error,
            duration_ms=attempt.duration_ms,
        )

    # Removing what is old.

    async def purge_round(self) -> float:
        """Remove a batch of old deliveries and of deleted endpoints. Returns the seconds to rest."""
        async with self.database.begin() as tx:
            before = tx.now - webhook_rules.DELIVERIES_KEPT
            removed = await webhook_queries.purge_ended(tx, before=before, limit=PURGE_AT_ONCE)
            # A minute for what was being sent.
            removed += await webhook_queries.purge_deleted(tx, before=tx.now - LEASE, limit=PURGE_AT_ONCE)
        return 1.0 if removed >= PURGE_AT_ONCE else PURGE_SECONDS


def _rest(due: datetime | None, now: datetime, *, made_progress: bool) -> float:
    """Return the seconds until something is due; what is due and had no place waits for one that frees."""
    if due is None:
        return LOOK_SECONDS
    if due <= now:
        return 0.0 if made_progress else 1.0
    return min((due - now).total_seconds(), LOOK_SECONDS)
