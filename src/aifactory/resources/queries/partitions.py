"""The history's monthly parts: made ahead, dropped when nothing in them is wanted any more."""

from datetime import datetime

from aifactory.kernel.db import Tx
from aifactory.resources.history import PARTED, Part


async def lock_history(tx: Tx) -> None:
    """Let nobody else make or drop parts until this transaction ends, and don't make others wait for it."""
    await tx.raw.execute("SET LOCAL lock_timeout = '200ms'")
    await tx.raw.execute("SELECT FROM retention_rounds FOR NO KEY UPDATE")


async def list_parts(tx: Tx) -> list[Part]:
    """Return the monthly parts that there are; those for everything else are left out."""
    rows = await tx.raw.fetch(
        """
        SELECT parent.relname AS table, part.relname AS name
        FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent
        JOIN pg_class part ON part.oid = i.inhrelid
        WHERE parent.relname = ANY($1) AND parent.relnamespace = current_schema()::regnamespace
        """,
        list(PARTED),
    )
    return [part for row in rows if (part := Part.named(row["table"], row["name"])) is not None]


async def make_part(tx: Tx, part: Part) -> None:
    """Make a part. Rows of its months that came too early must not be in the part for everything else.

    It is made apart and then attached: that stops nobody who reads or writes other parts.
    """
    await tx.raw.execute(f'CREATE TABLE "{part.name}" (LIKE "{part.table}" INCLUDING ALL)')
    await tx.raw.execute(
        f"""
        ALTER TABLE "{part.table}" ATTACH PARTITION "{part.name}"
        FOR VALUES FROM ('{part.first.isoformat()}') TO ('{part.end.isoformat()}')
        """
    )


async def drop_part(tx: Tx, part: Part) -> None:
    """Drop a part with all its rows."""
    await tx.raw.execute(f'DROP TABLE "{part.name}"')


async def oldest_kept(tx: Tx) -> datetime | None:
    """Return when the oldest execution began that has its content; one index probe for each client."""
    found: datetime | None = await tx.raw.fetchval(
        """
        SELECT min(oldest.created_at) FROM client_resource_limits c CROSS JOIN LATERAL (
            SELECT e.created_at FROM executions e
            WHERE e.client_id = c.client_id AND e.erased_at IS NULL ORDER BY e.created_at LIMIT 1
        ) oldest
        """
    )
    return found
