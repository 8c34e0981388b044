"""Commands about the account: usage, templates, keys."""

import sys
from decimal import Decimal
from typing import Annotated, Any

import cyclopts
from rich.markup import escape
from rich.table import Table

from aifactory.cli.arguments import read_moment
from aifactory.cli.remote import ask
from aifactory.cli.shell import OK, USAGE, Flag, Json, Url, err, out, tell_error, write_json
from aifactory.client import AIFactory, Budgets, Page, Template, Usage, UsageReport, UsageRow

keys = cyclopts.App(name="keys", help="List, make and revoke API keys.")


def usage_command(
    *,
    client: str | None = None,
    group_by: str | None = None,
    since: Annotated[str | None, cyclopts.Parameter(name="--from")] = None,
    until: Annotated[str | None, cyclopts.Parameter(name="--to")] = None,
    csv: Flag = False,
    budgets: Flag = False,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Show the budget and the work of this month; or, with any of the next four, what was used and when.

    Parameters
    ----------
    client
        A client's id; by default one's own; the operator's all is every client.
    group_by
        Some of day, model, template, provider, client, like day,model.
    since
        The first day, like 2026-12-01 (UTC); by default the first of the month.
    until
        The day after the last one.
    csv
        Print CSV.
    budgets
        Show every budget of the periods that run now: month, day, by key, by template.
    """
    if budgets and (csv or group_by or since or until):
        tell_error("--budgets shows what is left now; leave --csv, --group-by, --from and --to out.")
        return USAGE
    period: dict[str, Any] = {"group_by": (group_by or "day").split(","), "since": since, "until": until}

    def work(factory: AIFactory) -> int:
        if budgets:
            every = factory.budgets(client)
            write_json(every) if as_json else _show_budgets(every)
        elif csv:
            sys.stdout.write(factory.usage_csv(client, **period))
        elif group_by or since or until:
            report = factory.usage_report(client, **period)
            write_json(report) if as_json else _show_report(report)
        else:
            found = factory.usage(client)
            write_json(found) if as_json else _show_usage(found)
        return OK

    return ask(work, url=url, as_json=as_json)


def _show_usage(found: Usage) -> None:
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = {
        "budget": found.limit_usd,
        "spent": found.spent_usd,
        "held by unfinished work": found.held_usd,
        "left": found.left_usd,
    }
    for name, amount in rows.items():
        table.add_row(name, f"${amount:f}")
    table.add_row("unfinished executions", f"{found.unfinished_executions:,}")
    table.add_row("running jobs", f"{found.running_jobs:,}")
    out.print(table)
    out.print(f"until {found.period_end:%Y-%m-%d %H:%M} UTC (a month in {found.time_zone})", markup=False)


def _show_budgets(found: Budgets) -> None:
    table = Table(box=None)
    table.add_column("budget", overflow="fold")
    for name in ("limit", "spent", "held", "left", "until (UTC)"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.budgets:
        amounts = (one.limit_usd, one.spent_usd, one.held_usd, one.left_usd)
        until = f"{one.period_end:%Y-%m-%d %H:%M}"
        table.add_row(escape(one.scope_key or one.scope), *(f"${amount:f}" for amount in amounts), until)
    out.print(table)


def _show_report(found: UsageReport) -> None:
    table = Table(box=None)
    names = ["client_id" if name == "client" else name for name in found.group_by]
    for name in found.group_by:
        table.add_column(name, overflow="fold")
    for name in ("calls", "failed", "input", "cached", "output", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.data:
        table.add_row(*(escape(str(getattr(row, name, ""))) for name in names), *_sums(row))
    table.add_row("in all", *[""] * (len(names) - 1), *_sums(found.totals))
    out.print(table)
    out.print(f"{found.since:%Y-%m-%d} to {found.until:%Y-%m-%d} (not included), days in UTC", markup=False)


def _sums(row: UsageRow) -> list[str]:
    counts = (row.calls, row.failed_calls, row.input_units, row.cached_input_units, row.output_units)
    return [*(f"{count:,}" for count in counts), f"${row.cost_usd:f}"]


def templates_command(name: str | None = None, *, url: Url = None, as_json: Json = False) -> int:
    """List what can be asked for, with its price at one's tier, or show one of them.

    Parameters
    ----------
    name
        A template to show.
    """

    def work(factory: AIFactory) -> int:
        found = factory.templates() if name is None else factory.template(name)
        if as_json:
            write_json(found)
        elif isinstance(found, Page):
            _show_templates(found)
        else:
            _show_template(found)
        return OK

    return ask(work, url=url, as_json=as_json)


def _show_templates(found: Page[Template]) -> None:
    rows = [(one.name, one.required_tier or "?", _usd(one.estimated_cost_usd)) for one in found.data]
    names, tiers, prices = (max((len(row[place]) for row in rows), default=0) for place in range(3))
    for one, (name, tier, price) in zip(found.data, rows, strict=True):
        note = one.title if one.allowed else f"{one.title} (needs a higher tier)"
        line = f"{name:{names}}  {tier:{tiers}}  {price:>{prices}}  {note}"
        out.print(line, markup=False, soft_wrap=True)
    if found.has_more:
        err.print("There are more; name one to see it.")


def _usd(amount: Decimal | None) -> str:
    return "not now" if amount is None else f"${amount:f}"


def _show_template(found: Template) -> None:
    out.print(f"{found.name} v{found.version}: {found.title}", markup=False, soft_wrap=True)
    if found.description:
        out.print(found.description, markup=False, soft_wrap=True)
    for position, stage in enumerate(found.flow, 1):
        name = f"{stage.name}: " if stage.name else ""
        out.print(f"  {position}. {name}{stage.worker} {stage.template_ref}", markup=False, soft_wrap=True)
    tier = found.required_tier or "?"
    allowed = "" if found.allowed else " (higher than yours)"
    out.print(f"needs the tier {tier}{allowed} · estimated {_usd(found.estimated_cost_usd)}", markup=False)
    out.print(f"next: aifactory submit {found.name} your.md --watch", markup=False, soft_wrap=True)


@keys.command(name="list")
def list_command(*, client: str | None = None, url: Url = None, as_json: Json = False) -> int:
    """List API keys, newest first, without their secrets.

    Parameters
    ----------
    client
        A client's id; by default one's own.
    """

    def work(factory: AIFactory) -> int:
        found = factory.keys(client_id=client)
        if as_json:
            write_json(found)
            return OK
        table = Table(box=None)
        table.add_column("key", no_wrap=True)
        for column in ("name", "starts with", "scopes", "state"):
            table.add_column(column, overflow="fold")
        for one in found.data:
            state = (
                "revoked" if one.revoked_at else f"until {one.expires_at:%Y-%m-%d}" if one.expires_at else ""
            )
            table.add_row(one.id, one.name, one.prefix, " ".join(one.scopes), state)
        out.print(table)
        return OK

    return ask(work, url=url, as_json=as_json)


@keys.command(name="create")
def create_command(
    name: str,
    *,
    scope: list[str] | None = None,
    expires: str | None = None,
    client: str | None = None,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Make an API key, and print it this once. It takes a key with the scope keys.

    Parameters
    ----------
    name
        What it is for.
    scope
        read, write or keys; can be given several times; by default read and write.
    expires
        Until when it works.
    client
        A client's id; by default one's own.
    """

    def work(factory: AIFactory) -> int:
        made = factory.create_key(
            name, scopes=scope, expires_at=read_moment("--expires", expires), client_id=client
        )
        if as_json:
            write_json(made)
        elif made.key is None:
            err.print(f"{made.id} was made, but its secret was lost on the way: revoke it and make another.")
        else:
            out.print(made.key, markup=False, soft_wrap=True)
            err.print(f"{made.id}; it is shown this once.", markup=False)
        return OK

    return ask(work, url=url, as_json=as_json)


@keys.command(name="revoke")
def revoke_command(id: str, *, client: str | None = None, url: Url = None, as_json: Json = False) -> int:
    """End an API key now.

    Parameters
    ----------
    id
        A key, like key_….
    client
        A client's id; by default one's own.
    """

    def work(factory: AIFactory) -> int:
        factory.revoke_key(id, client_id=client)
        if as_json:
            write_json({"id": id, "revoked": True})
        else:
            out.print(f"{id} does not work any more.", markup=False, soft_wrap=True)
        return OK

    return ask(work, url=url, as_json=as_json)
