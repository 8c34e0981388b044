"""``aifactory simulate``: a workload played through the scheduler's own policy, in virtual time."""

import gc
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from aifactory.cli.shell import (
    OK,
    USAGE,
    Flag,
    Json,
    call,
    err,
    out,
    read_environment,
    tell_error,
    write_json,
)
from aifactory.resources.simulation.words import became, figure, percent, span

if TYPE_CHECKING:
    from aifactory.resources.simulation.playing import Played
    from aifactory.resources.simulation.report import Comparison, Report, WaitFigures
    from aifactory.resources.simulation.running import Workload
    from aifactory.settings import Settings

_MOST_CLIENTS = 12
_NAMED = 5
_MEGABYTE = 2**20
_WIDEST_SECONDS = 3600.0
_LARGEST = 1024 * _MEGABYTE
Many = Annotated[list[str] | None, Parameter(negative=(), consume_multiple=False)]


def simulate_command(
    file: Path | None = None,
    *,
    recorded: Flag = False,
    since: Annotated[str, Parameter(name="--from")] = "2h",
    until: Annotated[str, Parameter(name="--to")] = "0s",
    record_to: Path | None = None,
    change: Many = None,
    set: Many = None,
    out_dir: Annotated[Path | None, Parameter(name="--out", alias="-o")] = None,
    seed: int | None = None,
    resolution: str = "auto",
    as_json: Json = False,
) -> int:
    """Play a workload through the scheduler's own policy, in virtual time; nothing runs and nothing is paid.

    With --change or --set it is played twice, as it is and changed, and both are told side by side.

    Parameters
    ----------
    file
        A described workload (.toml, like examples/busy-day.toml) or a recorded one (.jsonl).
    recorded
        Play what this installation's database says was submitted, instead of a file.
    since
        How long ago the recorded time begins, like 90m, 2h or 1d.
    until
        How long ago it ends.
    record_to
        Write the recorded workload to this file too; it has no names and no content.
    change
        A named change of the file to try; may be given more than once.
    set
        A value to try, like pools.gpt.refill_per_second=300; may be given more than once.
    out_dir
        A folder for report.json, report.html and the plots as SVG.
    seed
        Where the random numbers of a described workload begin; by default the file says.
    resolution
        How far apart ticks are at least, like 10ms or 1s; by default as far as hardly matters.
    as_json
        Print the figures as JSON.
    """
    from aifactory.resources.simulation.reading import BadWorkload, setting
    from aifactory.resources.simulation.running import told_changes, with_settings

    try:
        window = _window(resolution)
        before = _recorded(since, until, record_to) if recorded else _read(file)
        settings = dict(setting(text) for text in set or ())
        plays = [before]
        if change or settings:
            plays.append(with_settings(before, change or [], settings))
        changes = told_changes(before, change or [], settings)
        played = [_play(one, seed, window) for one in plays]
    except (BadWorkload, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        tell_error(f"{file}: {reason}" if file else str(reason))
        return USAGE
    name = file.stem if file else f"What was submitted from {since} to {until} ago"
    return _tell(name, changes, played, out_dir, as_json=as_json)


def _recorded(since: str, until: str, record_to: Path | None) -> "Workload":
    """Read what was submitted in a span of time out of the configured database."""
    from aifactory.factory import open_database
    from aifactory.kernel.clock import utc_now
    from aifactory.resources.recording import record
    from aifactory.resources.simulation.reading import BadWorkload
    from aifactory.resources.simulation.running import recorded

    async def read(settings: "Settings") -> list[bytes]:
        async with open_database(settings, existing=True) as database:
            return await record(database, begins, ends)

    now = utc_now()
    begins, ends = _moment("--from", since, now), _moment("--to", until, now)
    if begins >= ends:
        raise BadWorkload("--from must be before --to; a span like 2h is counted back from now.")
    code, lines = call(read, read_environment(quiet=True))
    if lines is None:
        raise SystemExit(code)
    text = b"\n".join(lines) + b"\n"
    if record_to is not None:
        record_to.write_bytes(text)
    return recorded(text)


def _moment(option: str, text: str, now: datetime) -> datetime:
    from aifactory.cli.arguments import read_moment
    from aifactory.client import Invalid
    from aifactory.resources.simulation.reading import BadWorkload

    try:
        moment = read_moment(option, text)
    except Invalid as error:
        raise BadWorkload(str(error)) from error
    return now - moment if isinstance(moment, timedelta) else moment or now


def _read(file: Path | None) -> "Workload":
    from aifactory.resources.simulation.reading import BadWorkload
    from aifactory.resources.simulation.running import described, recorded

    if file is None:
        raise BadWorkload("Name a workload file, or give --recorded.")
    if file.stat().st_size > _LARGEST:
        raise BadWorkload(f"This is larger than {_LARGEST // _MEGABYTE:,} MB.")
    try:
        if file.suffix == ".toml":
            return described(file.read_text())
        lines = file.read_bytes()
        if not lines.startswith(b"{"):
            raise BadWorkload("This is neither a workload (.toml) nor a record of --record-to.")
        return recorded(lines)
    except UnicodeDecodeError as error:
        raise BadWorkload("This is no text in UTF-8.") from error


def _window(text: str) -> timedelta | None:
    from aifactory.resources.simulation.reading import BadWorkload

    if text == "auto":
        return None
    for unit, seconds in (("ms", 0.001), ("s", 1.0)):
        number = text.removesuffix(unit)
        is_number = number != text and number.replace(".", "", 1).isdecimal()
        if is_number and (found := float(number) * seconds) <= _WIDEST_SECONDS:
            return timedelta(seconds=found)
    raise BadWorkload(f"--resolution {text!r} is neither auto nor a span up to an hour, like 10ms or 1s.")


def _play(workload: "Workload", seed: int | None, window: timedelta | None) -> "Played":
    """Play with the collector of garbage at rest: it would look at every waiting job again and again."""
    from aifactory.resources.simulation.running import play

    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with err.status("playing"):
            return play(workload, seed=seed, window=window)
    finally:
        gc.enable()
        gc.unfreeze()


def _tell(
    name: str, changes: list[str], played: list["Played"], out_dir: Path | None, *, as_json: bool
) -> int:
    from aifactory.resources.simulation.page import as_page
    from aifactory.resources.simulation.pictures import pictures
    from aifactory.resources.simulation.report import compare, report_of

    reports = [report_of(one) for one in played]
    comparison = compare(*reports) if len(reports) == 2 else None
    found = comparison or reports[0]
    if out_dir is not None:
        drawn = pictures(played)
        try:
            _write(out_dir, found, as_page(name, changes, found, list(drawn.values())), drawn)
        except OSError as error:
            tell_error(f"{out_dir} can't be written: {error.strerror or error}.")
            return USAGE
    if as_json:
        write_json(found)
        return OK
    _show(reports[-1])
    if comparison is not None:
        _show_comparison(comparison)
    if out_dir is not None:
        out.print(f"written: {out_dir / 'report.html'}", markup=False, soft_wrap=True)
    return OK


def _write(folder: Path, report: "Comparison | Report", page: str, drawn: dict[str, str]) -> None:
    import msgspec

    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.Encoder(decimal_format="number").encode(report)
    (folder / "report.json").write_bytes(msgspec.json.format(text, indent=1) + b"\n")
    for name, picture in drawn.items():
        (folder / name).write_text(picture)
    (folder / "report.html").write_text(page)


# In words.


def _show(report: "Report") -> None:
    hours = (report.ended_at - report.started_at).total_seconds() / 3600
    given_up = f"{report.given_up:,} given up, " if report.given_up else ""
    out.print(
        f"{report.executions:,} executions, {report.jobs:,} jobs in {hours:.2f} h; {report.refused:,} "
        f"refused for money, {given_up}{report.unfinished:,} unfinished; ${report.spent_usd:.2f} spent; "
        f"slots {percent(report.slot_utilisation)} busy.",
        soft_wrap=True,
    )
    _show_left(report)
    table = _table("waits", "starts", "mean", "p50", "p95", "p99", "longest")
    _row(table, "all", report.waits)
    for kind, group in (("queue", report.queues), ("tier", report.tiers)):
        table.add_section()
        for name, waits in group.items():
            _row(table, f"{kind} {name}", waits)
    out.print(table)
    _show_pools(report)
    _show_clients(report)
    gates = [(name, seconds) for name, seconds in report.gate_lane_seconds.items() if seconds >= 1]
    if gates:
        out.print("What kept lanes waiting: " + ", ".join(f"{n} {span(s)}" for n, s in gates), soft_wrap=True)
    out.print(
        "Starts by: " + ", ".join(f"{n} {count:,}" for n, count in report.starts_by.items()), soft_wrap=True
    )
    out.print(
        f"{report.ticks:,} ticks, {report.window_ms_median:.0f} ms apart (median), "
        f"{report.window_ms_widest:.0f} ms at most.",
        style="dim",
        soft_wrap=True,
    )


def _show_pools(report: "Report") -> None:
    table = _table("pool", "starts", "wait p95", "units", "used", "under load", "fairness", "spent")
    for name, pool in report.pools.items():
        fairness = "" if pool.fairness is None else f"{pool.fairness:.3f}"
        table.add_row(
            escape(name),
            f"{pool.waits.count:,}",
            span(pool.waits.p95),
            f"{pool.units:,}",
            percent(pool.utilisation),
            percent(pool.under_load),
            fairness,
            f"${pool.spent_usd:.2f}",
        )
    out.print(table)


def _show_clients(report: "Report") -> None:
    table = _table("client", "tier", "starts", "wait mean", "wait p95", "execution p95", "spent", "refused")
    order = sorted(report.clients.items(), key=lambda one: -one[1].waits.p95)
    for name, client in order[:_MOST_CLIENTS]:
        table.add_row(
            escape(name),
            escape(client.tier),
            f"{client.waits.count:,}",
            span(client.waits.mean),
            span(client.waits.p95),
            span(client.turnaround_p95),
            f"${client.spent_usd:.2f}",
            f"{client.refused:,}",
        )
    out.print(table)
    if len(order) > _MOST_CLIENTS:
        out.print(
            f"… and {len(order) - _MOST_CLIENTS:,} more that waited less (all with --json).", style="dim"
        )


def _show_left(report: "Report") -> None:
    """Tell that nothing came, or what still waits and why."""
    if not report.executions:
        out.print("Nothing was played: nothing was submitted in this time.", style="bold")
    for one in report.left:
        more = f" and {len(one.clients) - _NAMED:,} more" if len(one.clients) > _NAMED else ""
        out.print(
            f"Still waiting: {one.jobs:,} {'job' if one.jobs == 1 else 'jobs'} in {', '.join(one.queues)} of "
            f"{', '.join(one.clients[:_NAMED])}{more}. {one.why}",
            style="bold",
            markup=False,
            soft_wrap=True,
        )


def _show_comparison(comparison: "Comparison") -> None:
    table = _table("", "before", "after", "change")
    for name, row in comparison.rows.items():
        figures = (figure(row.before, row.unit), figure(row.after, row.unit))
        table.add_row(escape(name), *figures, became(row.before, row.after))
    out.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", overflow="fold")
    return table


def _row(table: Table, name: str, waits: "WaitFigures") -> None:
    spans = (waits.mean, waits.p50, waits.p95, waits.p99, waits.longest)
    table.add_row(escape(name), f"{waits.count:,}", *map(span, spans))
