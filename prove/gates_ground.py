"""What the proof of the gates works within: pools; clients whose quotas and budgets grow by what was used."""

import contextlib
from typing import Any
from uuid import UUID

import asyncpg

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.ids import ClientId, KeyId, new_id, text_id
from aifactory.resources.budgets import Scope
from aifactory.resources.interface import ClientLimits, Tier
from aifactory.resources.queries import budgets, quotas
from aifactory.resources.service import ResourceService
from prove.plain_worker import INPUT_BOUND, OUTPUT_LIMIT
from prove.pools import add_pool

PRICE_NANO = 1000
FAN_OUT = 50
WORST_NANO = FAN_OUT * (INPUT_BOUND + OUTPUT_LIMIT) * PRICE_NANO
AFFORDED = {"client": 8, "day": 6, "key": 4}  #: executions beyond what was spent, by the budget's scope
QUOTA_UNITS = 3000  #: beyond what was used
SLOW = ("narrow", "counted", "narrow+wide", "wide&mail")  #: routes that get less than is asked of them
QUOTA = "of a client with quotas"  #: any route, and it gets less than is asked of it

# Levels are taken as the last tick or settle left them: what came in since, the next tick takes.
_FULL = """
    SELECT (SELECT count(*) FROM client_resource_limits c WHERE c.max_running <=
               (SELECT count(*) FROM running_jobs r WHERE r.client_id = c.client_id)) AS caps,
           count(*) FILTER (WHERE pool <> 'mail' AND level_micro < 500000000) AS units,
           count(*) FILTER (WHERE pool = 'mail' AND level_micro < 1000000) AS needs,
           count(*) FILTER (WHERE requests_per_minute > 0 AND requests_micro < 1000000) AS requests,
           (SELECT count(*) FROM quotas WHERE units_limit - units_used
               < CASE pool WHEN 'mail' THEN 1 ELSE 500 END) AS quotas
    FROM resource_pools WHERE pool IN ('wide', 'narrow', 'counted', 'mail')
    """


class Ground:
    """The clients of the proof, and the most that each of their caps and budgets has allowed of late."""

    def __init__(self, database: Database, service: ResourceService) -> None:
        self.database = database
        self.service = service
        self.caps: dict[UUID, int] = {}
        self._limits: dict[tuple[UUID, str], int] = {}
        self._budgets: dict[UUID, tuple[UUID, str]] = {}
        self.keys: dict[UUID, KeyId] = {}
        self.with_quota: set[UUID] = set()

    def limit_of(self, budget_id: UUID) -> int | None:
        """Return the most that was in force of a budget."""
        return self._limits.get(self._budgets.get(budget_id, (budget_id, "")))

    async def make(self, clients: int) -> None:
        """Make pools and clients; every third has a budget for its key, every third one a day."""
        async with self.database.begin() as tx:
            await add_pool(tx, "wide", capacity=400_000, refill=400_000, price_nano=PRICE_NANO)
            await add_pool(tx, "narrow", capacity=5_000, refill=4_000, price_nano=PRICE_NANO)
            await add_pool(
                tx, "counted", capacity=100_000, refill=100_000, price_nano=PRICE_NANO, per_minute=600
            )
            await add_pool(tx, "mail", capacity=20, refill=5, price_nano=PRICE_NANO)
            for number in range(clients):
                client = ClientLimits(
                    client_id=ClientId(new_id()),
                    name=f"client {number}",
                    tier=list(Tier)[number % 4],
                    max_running=4 + 7 * number % 60,
                    monthly_budget_nano=AFFORDED["client"] * WORST_NANO,
                )
                await self.service.set_client(tx, client)
                scope = (None, Scope.KEY, Scope.DAY)[number % 3]
                if scope is not None:
                    key = text_id("key", KeyId(client.client_id)) if scope is Scope.KEY else ""
                    limit = AFFORDED[scope] * WORST_NANO
                    await budgets.set_limits(tx, client.client_id, {(scope, key): limit})
                if number % 4 == 3:
                    limits = {("wide", "day"): QUOTA_UNITS, ("mail", "month"): QUOTA_UNITS // 500}
                    await quotas.set_quotas(tx, client.client_id, limits)

    async def take_up(self) -> None:
        """Read what is in force."""
        async with self.database.begin() as tx:
            for row in await tx.raw.fetch("SELECT * FROM client_resource_limits"):
                self.caps[row["client_id"]] = row["max_running"]
                self._note(row["client_id"], "client", row["monthly_budget_nano"])
            for row in await tx.raw.fetch("SELECT * FROM budget_limits"):
                self._note(row["client_id"], row["scope"], row["limit_nano"])
                if row["scope"] == Scope.KEY:
                    self.keys[row["client_id"]] = KeyId(row["client_id"])
            self.with_quota = {row["client_id"] for row in await tx.raw.fetch("SELECT client_id FROM quotas")}

    def _note(self, client_id: UUID, scope: str, limit: int) -> None:
        key = client_id, scope
        self._limits[key] = max(limit, self._limits.get(key, 0))

    async def know_budgets(self, connection: Any) -> None:
        """Learn whose the budgets are."""
        for row in await connection.fetch("SELECT id, client_id, scope FROM budgets"):
            self._budgets[row["id"]] = row["client_id"], row["scope"]

    async def full(self) -> dict[str, int]:
        """Count the gates that nothing passes at this moment, by their kind."""
        async with self.database.begin() as tx:
            row = await tx.raw.fetchrow(_FULL)
        return dict(row or {})

    async def raise_limits(self) -> None:
        """Let every client afford some executions more than it has paid, and some units more of a quota."""
        # Where all are busy they are raised next time; who holds the decider lock for too long is cut off.
        with contextlib.suppress(asyncpg.QueryCanceledError, DatabaseUnavailable):
            await self._raise_money()
            await self._raise_quotas()

    async def _raise_money(self) -> None:
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch(
                """
                UPDATE client_resource_limits c SET monthly_budget_nano = b.spent + $1
                FROM (SELECT client_id, sum(spent_nano)::bigint AS spent FROM budgets WHERE scope = 'client'
                      GROUP BY client_id) b
                WHERE b.client_id = c.client_id
                RETURNING c.client_id, 'client' AS scope, c.monthly_budget_nano AS limit_nano
                """,
                AFFORDED["client"] * WORST_NANO,
            )
            for scope in (Scope.DAY, Scope.KEY):
                rows += await tx.raw.fetch(
                    """
                    UPDATE budget_limits l SET limit_nano = b.spent + $2
                    FROM (SELECT client_id, scope_key, max(spent_nano) AS spent FROM budgets WHERE scope = $1
                          GROUP BY client_id, scope_key) b
                    WHERE b.client_id = l.client_id AND l.scope = $1 AND b.scope_key = l.scope_key
                    RETURNING l.client_id, l.scope, l.limit_nano
                    """,
                    scope.value,
                    AFFORDED[scope] * WORST_NANO,
                )
        for row in rows:
            self._note(row["client_id"], row["scope"], row["limit_nano"])

    async def _raise_quotas(self) -> None:
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch("SELECT client_id, pool, period, units_used FROM quotas")
        limits: dict[UUID, dict[tuple[str, str], int]] = {}
        for row in rows:
            more = QUOTA_UNITS // 500 if row["pool"] == "mail" else QUOTA_UNITS
            own = limits.setdefault(row["client_id"], {})
            own[row["pool"], row["period"]] = row["units_used"] + more
        for client_id, own in limits.items():
            async with self.database.begin() as tx:
                await quotas.set_quotas(tx, ClientId(client_id), own)
