"""Holds of new work: on every budget that it counts on, or on none."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError, Unavailable
from aifactory.kernel.ids import BudgetId, ClientId, KeyId
from aifactory.resources.budgets import BudgetLevel, month_of, refusal, scopes_of
from aifactory.resources.interface import ClientLimits
from aifactory.resources.queries import budgets as queries
from aifactory.resources.queries.budgets import MonthHold
from aifactory.resources.records import BudgetBook

_MOST_TRIES = 50  # each is lost to others that ended or began in the same moment

Held = dict[BudgetId, BudgetBook]  #: the budgets, locked, that one piece of work counts on


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What one new execution may cost, nano-dollars, and whose budgets it counts on."""

    client: ClientLimits
    key_id: KeyId | None
    template: str
    amount_nano: int


async def take_holds(tx: Tx, wanted: Sequence[Wanted]) -> list[Held | AppError | None]:
    """Hold for several, each on all of its budgets or on none; give for each its budgets or why not.

    None: whoever counts on budgets that are not these needs a transaction of its own, since locks are taken
    in one order. That is nobody's lot where all have one client, key and template.
    """
    if len({(one.client.client_id, one.key_id, one.template) for one in wanted}) == 1:
        return await _take_together(tx, wanted)
    clients: defaultdict[ClientId, list[Wanted]] = defaultdict(list)
    for one in wanted:
        clients[one.client.client_id].append(one)
    months = [
        MonthHold(
            client_id=client_id,
            first_day=month_of(tx.now, own[0].client.time_zone).first_day,
            amount_nano=sum(one.amount_nano for one in own),
            count=len(own),
        )
        for client_id, own in clients.items()
    ]
    held = await queries.hold_alone(tx, months)
    books = [held.get(one.client.client_id) for one in wanted]
    return [None if book is None else {book.id: book} for book in books]


async def _take_together(tx: Tx, wanted: Sequence[Wanted]) -> list[Held | AppError | None]:
    """Hold the sum for work on the same budgets; if that does not fit, for one after the other."""
    if len(wanted) > 1:
        first, amount = wanted[0], sum(one.amount_nano for one in wanted)
        scopes = scopes_of(tx.now, first.client.time_zone, key_id=first.key_id, template=first.template)
        books = await queries.hold(tx, first.client.client_id, scopes, amount, len(wanted))
        if books is not None:
            return [{book.id: book for book in books}] * len(wanted)
    found: list[Held | AppError | None] = []
    for one in wanted:
        try:
            held = await take_hold(
                tx, one.client, key_id=one.key_id, template=one.template, amount_nano=one.amount_nano
            )
        except AppError as error:
            found.append(error)
        else:
            found.append(held)
    return found


async def take_hold(
    tx: Tx, client: ClientLimits, *, key_id: KeyId | None, template: str, amount_nano: int
) -> Held:
    """Hold an amount in the periods around now and return the budgets, locked, by id.

    Raises BudgetExceeded, BudgetInUse or QueueFull with the figures.
    """
    scopes = scopes_of(tx.now, client.time_zone, key_id=key_id, template=template)
    for _ in range(_MOST_TRIES):
        held = await queries.hold(tx, client.client_id, scopes, amount_nano)
        if held is not None:
            return {book.id: book for book in held}
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
