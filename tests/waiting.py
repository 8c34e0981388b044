"""What tests wait for: the end of an execution, somebody who waits for a lock."""

from typing import Any

from tests.factories import World
from tests.fleet import until


async def ended(world: World, text: str) -> dict[str, Any]:
    """Wait until an execution of ours has ended; return it as its client sees it."""
    found: dict[str, Any] = {}

    async def is_final() -> bool:
        found.update((await world.ask("GET", f"/api/execution/{text}", world.ours.key)).json())
        return found["finishedAt"] is not None

    await until(is_final)
    return found


async def until_blocked(world: World, count: int = 1) -> None:
    """Wait until so many transactions wait for the locks of others."""

    async def is_blocked() -> bool:
        async with world.database.begin() as tx:
            waiting: int = await tx.raw.fetchval(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND datname = current_database()
                """
            )
        return waiting >= count

    await until(is_blocked)
