"""What providers' rows say to the scheduler, and what answers do to them: endpoints, circuits, pools."""

from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import structlog

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId
from aifactory.resources import circuit
from aifactory.resources.circuit import Answer, Circuit
from aifactory.resources.interface import Endpoint

log = structlog.get_logger()


async def load_endpoints(tx: Tx, providers: set[str]) -> dict[str, Endpoint]:
    """Return where providers answer, as they are set up now."""
    if not providers:
        return {}
    rows = await tx.raw.fetch(
        """
        SELECT provider, base_url, api_key_variable, profile, structured, streaming, connect_seconds,
               first_token_seconds, idle_seconds, simulated
        FROM providers WHERE provider = ANY($1)
        """,
        list(providers),
    )
    return {row["provider"]: msgspec.convert(dict(row), Endpoint) for row in rows}


async def heed(tx: Tx, answers: list[Answer]) -> None:
    """Let answers act on their providers' circuits, in the order in which they came.

    Reads without a lock first: as long as all is well nothing is locked or written. Providers are locked in
    the order of their names.
    """
    telling = [answer for answer in answers if answer.tells]
    names = sorted({answer.provider for answer in telling})
    if not names:
        return
    found = await _load(tx, names, lock=False)
    moved = [name for name in found if _after(found[name], name, telling, tx.now)[0] != found[name]]
    if not moved:
        return
    for name, before in (await _load(tx, moved, lock=True)).items():
        after, error = _after(before, name, telling, tx.now)
        await _store(tx, name, after, error)
        if after.open is not before.open:
            told = {"provider": name, "open": after.open, "until": after.until, "error": error}
            tx.after_commit(partial(log.warning, "provider.circuit", **told))


def _after(before: Circuit, provider: str, answers: list[Answer], now: datetime) -> tuple[Circuit, str]:
    return circuit.after_all(before, (one for one in answers if one.provider == provider), now)


async def _load(tx: Tx, providers: list[str], *, lock: bool) -> dict[str, Circuit]:
    rows = await tx.raw.fetch(
        f"""
        SELECT provider, failures, openings, circuit = 'open' AS open, circuit_until AS until,
               circuit_changed_at AS changed_at
        FROM providers WHERE provider = ANY($1) ORDER BY provider {"FOR NO KEY UPDATE" if lock else ""}
        """,
        providers,
    )
    return {row["provider"]: _circuit(row) for row in rows}


def _circuit(row: Any) -> Circuit:
    values = dict(row)
    del values["provider"]
    return Circuit(**values)


async def _store(tx: Tx, provider: str, after: Circuit, error: str) -> None:
    await tx.raw.execute(
        """
        UPDATE providers SET failures = $2, openings = $3, circuit = $4, circuit_until = $5,
            circuit_changed_at = $6, last_error = CASE WHEN $7 = '' THEN last_error ELSE $7 END,
            last_error_at = CASE WHEN $7 = '' THEN last_error_at ELSE $8 END
        WHERE provider = $1
        """,
        provider,
        after.failures,
        after.openings,
        "open" if after.open else "closed",
        after.until,
        after.changed_at,
        error,
        tx.now,
    )


async def down_since(tx: Tx) -> dict[str, datetime | None]:
    """Return the providers that can't be called now: since when their circuit is open, None if switched off.

    One that is half-open is not down: its probe may bring it back.
    """
    rows = await tx.raw.fetch(
        """
        SELECT provider, CASE WHEN active AND key_present THEN circuit_changed_at END AS since FROM providers
        WHERE NOT active OR NOT key_present OR (circuit = 'open' AND circuit_until > $1)
        """,
        tx.now,
    )
    return {row["provider"]: row["since"] for row in rows}


async def stranded_jobs(tx: Tx, down: list[str], limit: int, *, but: list[JobId]) -> list[JobId]:
    """Return ready or due jobs whose hops' providers are all among those given, oldest of each lane."""
    rows = await tx.raw.fetch(
        """
        WITH dead AS (
            SELECT id FROM routes r WHERE NOT r.local AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(r.hops) h WHERE h->>'provider' <> ALL($1)))
        (SELECT q.job_id FROM lanes l CROSS JOIN LATERAL (
                SELECT job_id FROM resource_queue q WHERE q.lane_id = l.id AND job_id <> ALL($4)
                ORDER BY aged_from, seq LIMIT $2) q
            WHERE l.route_id IN (SELECT id FROM dead) LIMIT $2)
        UNION ALL
        (SELECT job_id FROM queue_due WHERE due_at <= $3 AND route_id IN (SELECT id FROM dead)
            AND job_id <> ALL($4) LIMIT $2)
        LIMIT $2
        """,
        down,
        limit,
        tx.now,
        but,
    )
    return [row["job_id"] for row in rows]
