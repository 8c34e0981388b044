"""The hot tables: lanes, ready and due jobs, running jobs, pools' levels, usage."""

from typing import Any
from uuid import UUID

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId, JobId
from aifactory.resources.books import Books
from aifactory.resources.records import JobBook, PoolChange

LaneKey = tuple[int, str, str, UUID, str]

INSERT_READY = """
    INSERT INTO resource_queue (job_id, lane_id, aged_from, seq, units, needs, attempt, timeout_seconds)
    SELECT job_id, lane_id, aged_from, nextval('queue_seq'), units, needs, attempt, timeout_seconds"""
READY = """
    job_id uuid, lane_id bigint, aged_from timestamptz, units bigint, needs jsonb, attempt smallint,
    timeout_seconds integer"""


async def change_pools(tx: Tx, changes: dict[str, PoolChange]) -> None:
    """Give pools back (or take) units and request slots, refilled first; what providers said only tightens.

    Pools are locked in the order of their names. No level falls further below zero than the pool is
    deep: an answer that claims to have used a billion tokens must not shut everybody out for hours. Counted
    in ``numeric``, since what a fast pool gains in a quiet night is more than a bigint holds.
    """
    await tx.execute_many(
        """
        UPDATE resource_pools SET
            level_micro = greatest(-capacity * 1000000, least(
                capacity * 1000000, level_micro + $2::numeric * 1000000 + refill_per_second
                * greatest(0, trunc(extract(epoch FROM $3::timestamptz - as_of) * 1000000)),
                $4::bigint * 1000000))::bigint,
            requests_micro = CASE WHEN requests_per_minute IS NULL THEN 0 ELSE least(
                requests_per_minute * 1000000::bigint, requests_micro + $7::bigint * 1000000
                + div(requests_per_minute * trunc(extract(epoch FROM greatest(as_of, $3)) * 1000000), 60)
                - div(requests_per_minute * trunc(extract(epoch FROM as_of) * 1000000), 60),
                $5::bigint * 1000000)::bigint END,
            blocked_until = greatest(blocked_until, $6),
            as_of = greatest(as_of, $3)
        WHERE pool = $1
        """,
        [
            (
                pool,
                one.units,
                tx.now,
                one.remaining_units,
                one.remaining_requests,
                one.blocked_until,
                one.requests,
            )
            for pool, one in sorted(changes.items())
        ],
    )


async def enqueue(tx: Tx, books: Books) -> None:
    """Queue the books' opened and retried jobs, ready ones in their lanes, later ones by due time."""
    await tx.execute_set(
        f"{INSERT_READY} FROM json_to_recordset($1) AS n ({READY})", await ready_rows(tx, books)
    )
    await enqueue_later(tx, books)


async def ready_rows(tx: Tx, books: Books) -> list[dict[str, Any]]:
    """Lock the lanes of the books' ready jobs, opened if need be, and return what is queued in them."""
    ready = [job for job in books.queued.values() if job.due_at is None]
    lanes = await lane_ids(tx, {_lane_key(books, job) for job in ready})
    rows = []
    for job in ready:
        lane_id = lanes[_lane_key(books, job)]
        books.lane_ids.setdefault(job.execution_id, set()).add(lane_id)
        rows.append(
            {
                "job_id": job.id,
                "lane_id": lane_id,
                "aged_from": books.executions[job.execution_id].aged_from,
                "units": job.units,
                "needs": job.needs or None,
                "attempt": job.attempt,
                "timeout_seconds": job.timeout_seconds,
            }
        )
    return rows


async def enqueue_later(tx: Tx, books: Books) -> None:
    """Queue the books' jobs that are due later."""
    await tx.execute_many(
        """
        INSERT INTO queue_due (job_id, due_at, route_id, worker, queue, client_id, urgency, aged_from, seq,
            units, needs, attempt, timeout_seconds)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, nextval('queue_seq'), $9, $10, $11, $12)
        """,
        [
            (
                job.id,
                job.due_at,
                *_lane_key(books, job),
                books.executions[job.execution_id].aged_from,
                job.units,
                encode_json(job.needs) if job.needs else None,
                job.attempt,
                job.timeout_seconds,
            )
            for job in books.queued.values()
            if job.due_at is not None
        ],
    )


def _lane_key(books: Books, job: JobBook) -> LaneKey:
    execution = books.executions[job.execution_id]
    return (job.route_id, job.worker, execution.queue, execution.client_id, execution.urgency)


async def lane_ids(tx: Tx, keys: set[LaneKey]) -> dict[LaneKey, int]:
    """Return lanes, opened if need be and locked against closing, in the order of their ids."""
    found: dict[LaneKey, int] = {}
    is_open = True  # as nearly always
    while missing := sorted(keys - found.keys()):
        columns = [list(column) for column in zip(*missing, strict=True)]
        if not is_open:
            await tx.raw.execute(
                """
                INSERT INTO lanes (route_id, worker, queue, client_id, urgency)
                SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::text[])
                ON CONFLICT DO NOTHING
                """,
                *columns,
            )
        rows = await tx.raw.fetch(
            """
            SELECT l.id, l.route_id, l.worker, l.queue, l.client_id, l.urgency
            FROM lanes l JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::text[])
                AS wanted (route_id, worker, queue, client_id, urgency)
                USING (route_id, worker, queue, client_id, urgency)
            ORDER BY l.id FOR KEY SHARE OF l
            """,
            *columns,
        )
        for row in rows:
            key = (row["route_id"], row["worker"], row["queue"], row["client_id"], row["urgency"])
            found[key] = row["id"]
        is_open = False
    return found


async def remove(tx: Tx, job_ids: list[JobId]) -> None:
    """Take jobs out of the queue, due ones first: that is the way in which a tick moves them."""
    if job_ids:
        await tx.raw.execute("DELETE FROM queue_due WHERE job_id = ANY($1)", job_ids)
        await tx.raw.execute("DELETE FROM resource_queue WHERE job_id = ANY($1)", job_ids)


async def take(tx: Tx, job_ids: list[JobId]) -> set[JobId]:
    """Take jobs out of the queue, due ones first, and return those; one that somebody else is at stays there.

    It waits for nobody, so it may come before the locks that the order puts first.
    """
    taken: set[JobId] = set()
    for table in ("queue_due", "resource_queue"):
        rows = await tx.raw.fetch(
            f"""
            DELETE FROM {table} WHERE job_id = ANY(ARRAY(
                SELECT job_id FROM {table} WHERE job_id = ANY($1) FOR UPDATE SKIP LOCKED))
            RETURNING job_id
            """,
            job_ids,
        )
        taken |= {row["job_id"] for row in rows}
    return taken


async def end_runs(tx: Tx, tokens: list[UUID]) -> None:
    """Remove running rows by their tokens."""
    if tokens:
        await tx.raw.execute("DELETE FROM running_jobs WHERE token = ANY($1)", tokens)


async def correct_usage(tx: Tx, units: dict[tuple[ClientId, str], int]) -> None:
    """Correct clients' usage of pools by the difference between estimate and truth."""
    await tx.execute_set(
        """
        UPDATE client_pool_usage u SET usage = greatest(0, u.usage + n.change)
        FROM json_to_recordset($1) AS n (client_id uuid, pool text, change bigint)
        WHERE u.client_id = ANY(ARRAY[n.client_id]) AND u.pool = n.pool
        """,
        [
            {"client_id": client, "pool": pool, "change": change}
            for (client, pool), change in units.items()
            if change
        ],
    )


async def close_empty_lanes(tx: Tx) -> int:
    """Delete lanes without jobs; a submission that fills one meanwhile keeps it. Returns how many.

    The order makes it one probe for each lane: NOT EXISTS becomes a join that may read the whole queue.
    """
    rows: list[Any] = await tx.raw.fetch(
        """
        SELECT id FROM lanes l
        WHERE (SELECT seq FROM resource_queue q WHERE q.lane_id = l.id
            ORDER BY aged_from, seq LIMIT 1) IS NULL
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
        """
    )
    # A second statement, so that it sees what was committed before the locks were granted.
    closed = await tx.raw.fetch(
        """
        DELETE FROM lanes l WHERE l.id = ANY($1)
            AND (SELECT seq FROM resource_queue q WHERE q.lane_id = l.id
                ORDER BY aged_from, seq LIMIT 1) IS NULL
        RETURNING l.id
        """,
        [row["id"] for row in rows],
    )
    return len(closed)
