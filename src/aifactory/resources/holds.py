"""Holds of new work: on every budget that it counts on, or on none."""

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError, Unavailable
from aifactory.kernel.ids import BudgetId, KeyId
from aifactory.resources.budgets import BudgetLevel, refusal, scopes_of
from aifactory.resources.interface import ClientLimits
from aifactory.resources.queries import budgets as queries
from aifactory.resources.records import BudgetBook

_MOST_TRIES = 50  # each is lost to others that ended or began in the same moment


async def take_hold(
    tx: Tx, client: ClientLimits, *, key_id: KeyId | None, template: str, amount_nano: int
) -> dict[BudgetId, BudgetBook]:
    """Hold an amount in the periods around now and return the budgets, locked, by id.

    Raises BudgetExceeded, BudgetInUse or QueueFull with the figures.
    """
    scopes = scopes_of(tx.now, client.time_zone, key_id=key_id, template=template)
    for _ in range(_MOST_TRIES):
        held = await queries.hold(tx, client.client_id, scopes, amount_nano)
        if held is not None:
            return {book.id: book for book in await queries.lock_budgets(tx, held)}
        levels = await queries.levels(tx, client.client_id, scopes)
        if not all(level.allows(amount_nano) for level in levels):  # else money came free since
            raise await _refusal(tx, client, levels, amount_nano)
        if any(level.budget_id is None for level in levels):
            await queries.open_budgets(tx, client.client_id, scopes)
    raise Unavailable("Too much changed on this budget at once; try again.", headers={"Retry-After": "1"})


async def _refusal(tx: Tx, client: ClientLimits, levels: list[BudgetLevel], amount_nano: int) -> AppError:
    in_use = [
        level.budget_id
        for level in levels
        if level.budget_id is not None and not level.allows(amount_nano) and not level.exceeds(amount_nano)
    ]
    ends = await queries.find_deadlines(tx, client.client_id, in_use)
    return refusal(levels, amount_nano, ends)
