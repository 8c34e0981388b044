"""Clients' budgets and limits, read and edited. The caller's transaction, never a commit."""

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec
from msgspec import UNSET

from aifactory.kernel import audit
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound, invalid
from aifactory.kernel.etags import check_if_match, etag_of
from aifactory.kernel.ids import ClientId, KeyId, parse_id, text_id
from aifactory.kernel.money import MOST_BUDGET_USD, exact_nano, usd
from aifactory.kernel.time_zones import check_time_zone
from aifactory.resources.budget_schemas import (
    BudgetSettings,
    BudgetsInput,
    BudgetsView,
    ClientBudgets,
    ClientLimitsView,
    KeyBudget,
    LimitSettings,
    LimitsInput,
    QuotaInput,
    QuotaView,
    TemplateBudget,
    TierLimits,
    budget_view,
)
from aifactory.resources.budgets import BudgetLevel, BudgetScope, Scope, day_of, month_of
from aifactory.resources.interface import INLINE, ClientLimits, ClientNotFound, RequestBook
from aifactory.resources.queries import budgets as queries
from aifactory.resources.queries import control, quotas
from aifactory.resources.queries.budgets import Account, ScopeLimit

# Budgets.


async def read_budgets(tx: Tx, client_id: ClientId) -> tuple[BudgetsView, str]:
    """Return a client's limits of spending with how far each is used, and their ETag."""
    client = await _get_client(tx, client_id)
    rules = await queries.limits_of_clients(tx, [client_id])
    levels = await _levels(tx, [_account(client)], rules)
    settings = _budget_settings(client, rules)
    view = BudgetsView(
        **{name: getattr(settings, name) for name in settings.__struct_fields__},
        client_id=text_id("client", client_id),
        tier=client.tier,
        time_zone=client.time_zone,
        budgets=[budget_view(level) for level in levels[client_id]],
    )
    return view, etag_of(settings)


async def put_budgets(
    tx: Tx, client_id: ClientId, asked: BudgetsInput, *, book: RequestBook, if_match: str | None, actor: str
) -> None:
    """Replace a client's limits of spending; what was spent and held stays as it is.

    A limit below that refuses new holds and nothing else. Raises Invalid, VersionChanged.
    """
    await control.lock_client(tx, client_id)
    client = await _get_client(tx, client_id)
    before = _budget_settings(client, await queries.limits_of_clients(tx, [client_id]))
    check_if_match(if_match, etag_of(before))
    monthly = None if asked.monthly_usd is None else _nano("/monthlyUsd", asked.monthly_usd)
    if monthly is None and (await control.tier_budgets(tx))[client.tier] is None:
        message = f"A client of tier {client.tier} needs a monthly budget of its own."
        raise invalid("/monthlyUsd", "missing_field", message)
    limits = await _scope_limits(tx, client_id, asked, before, book)
    client = msgspec.structs.replace(client, monthly_budget_nano=monthly)
    await control.set_client(tx, client)
    await queries.set_limits(tx, client_id, limits)
    after = _budget_settings(client, await queries.limits_of_clients(tx, [client_id]))
    await _record(tx, actor, "client.budgets_set", client_id, before, after)


async def list_budgets(
    tx: Tx, accounts: list[Account], *, over_percent: int | None
) -> list[tuple[ClientId, ClientBudgets]]:
    """Return the budgets of clients as they stand, in their order; only of those used as far as asked."""
    rules = await queries.limits_of_clients(tx, [account.client_id for account in accounts])
    levels = await _levels(tx, accounts, rules)
    shown = []
    for account in accounts:
        own = levels.get(account.client_id, [])
        if over_percent is None or any(level.used_at_least(over_percent) for level in own):
            shown.append((account.client_id, _client_budgets(account, own)))
    return shown


def _client_budgets(account: Account, levels: list[BudgetLevel]) -> ClientBudgets:
    return ClientBudgets(
        client_id=text_id("client", account.client_id),
        name=account.name,
        time_zone=account.time_zone,
        budgets=[budget_view(level) for level in levels],
    )


async def _levels(
    tx: Tx, accounts: list[Account], rules: list[ScopeLimit]
) -> dict[ClientId, list[BudgetLevel]]:
    scopes: dict[ClientId, list[BudgetScope]] = {}
    zones = {account.client_id: account.time_zone for account in accounts}
    for client_id, zone in zones.items():
        scopes[client_id] = [BudgetScope(scope=Scope.CLIENT, period=month_of(tx.now, zone))]
    for rule in rules:
        period_of = day_of if rule.scope is Scope.DAY else month_of
        period = period_of(tx.now, zones[rule.client_id])
        scopes[rule.client_id].append(BudgetScope(scope=rule.scope, scope_key=rule.scope_key, period=period))
    return await queries.levels_of_clients(tx, scopes)


def _budget_settings(client: ClientLimits, rules: list[ScopeLimit]) -> BudgetSettings:
    daily = [rule for rule in rules if rule.scope is Scope.DAY]
    return BudgetSettings(
        monthly_usd=None if client.monthly_budget_nano is None else usd(client.monthly_budget_nano),
        daily_usd=usd(daily[0].limit_nano) if daily else None,
        keys=[
            KeyBudget(key_id=rule.scope_key, monthly_usd=usd(rule.limit_nano))
            for rule in rules
            if rule.scope is Scope.KEY
        ],
        templates=[
            TemplateBudget(template=rule.scope_key, monthly_usd=usd(rule.limit_nano))
            for rule in rules
            if rule.scope is Scope.TEMPLATE
        ],
    )


async def _scope_limits(
    tx: Tx, client_id: ClientId, asked: BudgetsInput, before: BudgetSettings, book: RequestBook
) -> dict[tuple[Scope, str], int]:
    """Return the limits that are asked for, each once, by scope. Raises Invalid."""
    limits: dict[tuple[Scope, str], int] = {}
    if asked.daily_usd is not None:
        limits[Scope.DAY, ""] = _nano("/dailyUsd", asked.daily_usd)
    first = await queries.first_keys(tx, [one.key_id for one in asked.keys])
    await _check_keys(tx, client_id, asked.keys, before, book)
    _check_once([first[one.key_id] for one in asked.keys], lambda n: f"/keys/{n}/keyId")
    for n, key in enumerate(asked.keys):
        limits[Scope.KEY, first[key.key_id]] = _nano(f"/keys/{n}/monthlyUsd", key.monthly_usd)
    await _check_templates(tx, asked.templates, before, book)
    _check_once([one.template for one in asked.templates], lambda n: f"/templates/{n}/template")
    for n, template in enumerate(asked.templates):
        amount = _nano(f"/templates/{n}/monthlyUsd", template.monthly_usd)
        limits[Scope.TEMPLATE, template.template] = amount
    return limits


async def _check_keys(
    tx: Tx, client_id: ClientId, keys: list[KeyBudget], before: BudgetSettings, book: RequestBook
) -> None:
    """Refuse a key that is not the client's; what has a limit already may keep it, whatever became of it."""
    kept = {one.key_id for one in before.keys}
    for n, key in enumerate(keys):
        key_id = parse_id("key", key.key_id)
        if key.key_id not in kept and (
            key_id is None or not await book.owns_key(tx, client_id=client_id, key_id=KeyId(key_id))
        ):
            raise invalid(f"/keys/{n}/keyId", "unknown_key", "The client has no API key with this id.")


async def _check_templates(
    tx: Tx, templates: list[TemplateBudget], before: BudgetSettings, book: RequestBook
) -> None:
    kept = {INLINE, *(one.template for one in before.templates)}
    for n, one in enumerate(templates):
        try:
            if one.template not in kept:
                await book.get_template(tx, one.template)
        except NotFound as refusal:
            raise invalid(f"/templates/{n}/template", "unknown_template", refusal.detail) from refusal


def _check_once(names: list[str], pointer: Callable[[int], str]) -> None:
    for n, name in enumerate(names):
        if name in names[:n]:
            raise invalid(pointer(n), "named_twice", "One limit each: an earlier entry has set this one.")


def _nano(pointer: str, amount: Decimal) -> int:
    return exact_nano(pointer, amount, most=MOST_BUDGET_USD)


# Limits.


async def read_limits(tx: Tx, client_id: ClientId) -> tuple[ClientLimitsView, str]:
    """Return a client's own limits beside its tier's, and their ETag."""
    client, found = await _get_client(tx, client_id), await quotas.quotas_of(tx, client_id)
    view = ClientLimitsView(
        client_id=text_id("client", client_id),
        tier=client.tier,
        max_running=client.max_running,
        requests_per_minute=client.requests_per_minute,
        time_zone=client.time_zone,
        quotas=[
            QuotaView(
                pool=quota.pool,
                period=quota.period.value,
                units=quota.units_limit,
                units_used=quota.units_used,
                period_start=quota.period_start,
                period_end=quota.period_end,
            )
            for quota in found
        ],
        tier_limits=await _tier_limits(tx, client),
    )
    return view, etag_of(_limit_settings(client, view.quotas))


async def put_limits(
    tx: Tx, client_id: ClientId, asked: LimitsInput, *, if_match: str | None, actor: str
) -> None:
    """Replace a client's own limits; what was used of a quota that stays is kept.

    Raises Invalid, VersionChanged.
    """
    await control.lock_client(tx, client_id)
    client = await _get_client(tx, client_id)
    before = _limit_settings(client, (await read_limits(tx, client_id))[0].quotas)
    check_if_match(if_match, etag_of(before))
    client = msgspec.structs.replace(
        client, max_running=asked.max_running, requests_per_minute=asked.requests_per_minute
    )
    if asked.time_zone is not UNSET:
        check_time_zone(asked.time_zone)
        client = msgspec.structs.replace(client, time_zone=asked.time_zone)
    await control.set_client(tx, client)
    if before.quotas or asked.quotas:  # it waits for whoever decides
        await _set_quotas(tx, client_id, asked.quotas)
    after = _limit_settings(client, (await read_limits(tx, client_id))[0].quotas)
    await _record(tx, actor, "client.limits_set", client_id, before, after)


async def _set_quotas(tx: Tx, client_id: ClientId, asked: list[QuotaInput]) -> None:
    _check_once([f"{one.pool} {one.period}" for one in asked], lambda n: f"/quotas/{n}")
    try:
        await quotas.set_quotas(tx, client_id, {(one.pool, one.period): one.units for one in asked})
    except NotFound as refusal:
        raise invalid("/quotas", "unknown_pool", refusal.detail) from refusal


async def _tier_limits(tx: Tx, client: ClientLimits) -> TierLimits:
    max_running, requests_per_minute, budget = await control.tier_limits(tx, client.tier)
    return TierLimits(
        max_running=max_running,
        requests_per_minute=requests_per_minute,
        monthly_usd=None if budget is None else usd(budget),
    )


def _limit_settings(client: ClientLimits, found: Iterable[QuotaView]) -> LimitSettings:
    return LimitSettings(
        max_running=client.max_running,
        requests_per_minute=client.requests_per_minute,
        time_zone=client.time_zone,
        quotas=[QuotaInput(pool=one.pool, period=one.period, units=one.units) for one in found],
    )


# Both.


async def _get_client(tx: Tx, client_id: ClientId) -> ClientLimits:
    found = await control.find_client(tx, client_id)
    if found is None:
        raise ClientNotFound("There is no client with this id.")
    return found


def _account(client: ClientLimits) -> Account:
    return Account(client_id=client.client_id, name=client.name, time_zone=client.time_zone)


async def _record(
    tx: Tx, actor: str, action: str, client_id: ClientId, before: msgspec.Struct, after: msgspec.Struct
) -> None:
    await audit.record_change(
        tx,
        actor=actor,
        action=action,
        object_kind="client",
        object_id=text_id("client", client_id),
        before=before,
        after=after,
    )
