"""Up to when a log is complete whose lines bear the time of their transaction."""

from datetime import UTC, datetime, timedelta

from aifactory.kernel.db import Tx


def complete_to(end: datetime) -> dict[str, str]:
    """Return the header of an export that ends there: to the microsecond, for the next one to begin with."""
    return {"X-Complete-To": end.astimezone(UTC).isoformat().replace("+00:00", "Z")}


async def complete_until(tx: Tx) -> datetime:
    """Return a time before which no line can be added any more.

    A line bears the time of its transaction, read after that began: what is older than the oldest
    transaction that may write is all there. The clock is read first, so one that begins now is younger.
    """
    age: timedelta = await tx.raw.fetchval(
        """
        WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
        SELECT clock_timestamp() - least(min(clock.now), min(a.xact_start))
        FROM clock LEFT JOIN pg_stat_activity a ON a.datname = current_database()
            AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
            AND (a.application_name = 'aifactory' OR a.backend_xid IS NOT NULL)
        """
    )
    return min(tx.now, tx.now - age)
