"""A bounded version of ``python -m prove budgets``, and broken twins that it must catch."""

from typing import Any

import pytest

from aifactory.kernel.db import Database, Tx
from aifactory.resources.budgets import BudgetLevel
from aifactory.resources.queries import budgets as queries
from prove import budgets

pytestmark = pytest.mark.anyio


async def test_no_limit_is_passed_and_nobody_is_denied_what_fitted(database: Database) -> None:
    report = await budgets.run(database, 4, at_once=40, seed=6)
    assert report.violations == ()
    assert report.differences == 0
    assert report.admitted + sum(report.refused.values()) + report.cut_off == 160
    assert min(report.admitted, report.cancelled, report.settled, len(report.refused) - 1) > 0


async def test_a_twin_that_counts_and_then_holds_is_caught(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = dict[Any, Any]()

    async def count_then_hold(tx: Tx, client_id: Any, scopes: Any, amount_nano: int) -> Any:
        """Decide on what was there before the latest other hold."""
        now = await queries.levels(tx, client_id, scopes)
        names = (client_id, *((one.scope, one.scope_key) for one in scopes))
        levels, counted[names] = counted.get(names, now), now
        if not levels or not all(one.budget_id and one.allows(amount_nano) for one in levels):
            return None
        held = [one.budget_id for one in levels]
        sql = "UPDATE budgets SET held_nano = held_nano + $2, unfinished = unfinished + 1 WHERE id = ANY($1)"
        await tx.raw.execute(sql, held, amount_nano)
        return await queries.lock_budgets(tx, held)

    monkeypatch.setattr(queries, "hold", count_then_hold)
    report = await budgets.run(database, 3, at_once=40, seed=6)
    assert any("over the limit" in one for one in report.violations)


async def test_a_twin_that_denies_what_fits_is_caught(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    allows = BudgetLevel.allows
    monkeypatch.setattr(BudgetLevel, "allows", lambda self, wanted: allows(self, wanted * 8))
    hold = queries.hold

    async def hold_an_eighth(tx: Tx, client_id: Any, scopes: Any, amount_nano: int) -> Any:
        levels = await queries.levels(tx, client_id, scopes)
        fits = all(one.allows(amount_nano) for one in levels)
        return await hold(tx, client_id, scopes, amount_nano) if fits else None

    monkeypatch.setattr(queries, "hold", hold_an_eighth)
    report = await budgets.run(database, 3, at_once=40, seed=6)
    assert any("denied and fitted" in one for one in report.violations)
