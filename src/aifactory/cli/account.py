"""Commands about the account: usage, templates, keys."""

from decimal import Decimal

import cyclopts
from rich.table import Table

from aifactory.cli.arguments import read_moment
from aifactory.cli.remote import ask
from aifactory.cli.shell import OK, Json, Url, err, out, write_json
from aifactory.client import AIFactory, Page, Template, Usage

keys = cyclopts.App(name="keys", help="List, make and revoke API keys.")


def usage_command(*, client: str | None = None, url: Url = None, as_json: Json = False) -> int:
    """Show the budget and the work of this month.

    Parameters
    ----------
    client
        A client's id; by default one's own.
    url
        The server; by default AIFACTORY_URL.
    as_json
        Print JSON.
    """

    def work(factory: AIFactory) -> int:
        found = factory.usage(client)
        if as_json:
            write_json(found)
        else:
            _show_usage(found)
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


def templates_command(name: str | None = None, *, url: Url = None, as_json: Json = False) -> int:
    """List what can be asked for, with its price at one's tier, or show one of them.

    Parameters
    ----------
    name
        A template to show.
    url
        The server; by default AIFACTORY_URL.
    as_json
        Print JSON.
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
    url
        The server; by default AIFACTORY_URL.
    as_json
        Print JSON.
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
    url
        The server; by default AIFACTORY_URL.
    as_json
        Print JSON.
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
    url
        The server; by default AIFACTORY_URL.
    as_json
        Print JSON.
    """

    def work(factory: AIFactory) -> int:
        factory.revoke_key(id, client_id=client)
        if as_json:
            write_json({"id": id, "revoked": True})
        else:
            out.print(f"{id} does not work any more.", markup=False, soft_wrap=True)
        return OK

    return ask(work, url=url, as_json=as_json)
