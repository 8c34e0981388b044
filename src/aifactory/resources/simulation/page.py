"""A play, or two, as a page for whoever decides: what was tried, the main figures, the plots. Pure.

It loads nothing, and can be read on a phone and in print.
"""

from collections.abc import Iterable, Sequence
from html import escape

from aifactory.resources.simulation.report import Compared, Comparison, Report, rows_of
from aifactory.resources.simulation.words import became, figure

_STYLE = """
:root{color-scheme:light dark;--ink:#1b2330;--muted:#566172;--grid:#d5dae1;--back:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--muted:#9aa7b5;--grid:#343c47;--back:#161b22}}
body{margin:0 auto;padding:24px 16px;max-width:900px;font:16px/1.5 system-ui,sans-serif}
body{color:var(--ink);background:var(--back)}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}
.muted{color:var(--muted)}p{margin:4px 0}ul{margin:4px 0;padding-left:20px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:20px 0}
.cards div{border:1px solid var(--grid);border-radius:8px;padding:10px 12px}
.cards b{display:block;font-size:24px;line-height:1.3}.cards span{display:block;font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:5px 0 5px 16px;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal}
th{font-weight:600;font-size:13px}td{font-variant-numeric:tabular-nums}
figure{margin:12px 0;overflow-x:auto}figure svg{display:block;width:100%;min-width:640px}
"""
_CARDS = (
    ("wait, p95", "is the longest wait of 95 % of all starts"),
    ("execution, p95", "from submission to end, for 95 % of the executions"),
    ("spent", "spent"),
    ("slots busy", "of the slots are busy"),
)
_EXPLAINED = (
    "p95: 95 % waited so long at most. A job that is tried again starts, and waits, again. Units used: of "
    "those that the pool was refilled with. Fairness: 1 where clients got units by their weights. Even: 1 "
    "where all clients waited equally long."
)


def as_page(name: str, changed: Sequence[str], found: Comparison | Report, drawn: Sequence[str]) -> str:
    """Return the page of a workload by its name; ``changed``: what was tried, a line each."""
    if isinstance(found, Comparison):
        both, report, rows = True, found.after, found.rows
    else:
        both, report, rows = False, found, _alone(found)
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="muted">{escape(_told(report))}</p>',
        *_changes(changed),
        _cards(rows, both=both),
        *_left(report),
        "<h2>Figures</h2>",
        _table(rows, both=both),
        f'<p class="muted">{escape(_EXPLAINED)}</p>',
        "<h2>Plots</h2>",
        *(f"<figure>{one}</figure>" for one in drawn),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(name)}: simulated</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


def _alone(report: Report) -> dict[str, Compared]:
    return {
        name: Compared(before=None, after=value, unit=unit) for name, (value, unit) in rows_of(report).items()
    }


def _told(report: Report) -> str:
    hours = (report.ended_at - report.started_at).total_seconds() / 3600
    return (
        f"Simulated by AI Factory: {report.executions:,} executions with {report.jobs:,} jobs of "
        f"{len(report.clients):,} clients, {hours:.1f} hours from {report.started_at:%Y-%m-%d %H:%M %Z}. "
        "The scheduler's own rules decided; nothing ran and nothing was paid."
    )


def _changes(changed: Sequence[str]) -> list[str]:
    if not changed:
        return []
    lines = "".join(f"<li>{escape(one)}</li>" for one in changed)
    return [f"<h2>What was changed</h2><ul>{lines}</ul>"]


def _cards(rows: dict[str, Compared], *, both: bool) -> str:
    cards = []
    for name, words in _CARDS:
        if name in rows:
            row = rows[name]
            was = f"before: {figure(row.before, row.unit)}" if both else ""
            cards.append(
                f"<div><b>{figure(row.after, row.unit)}</b><span>{words}</span>"
                f'<span class="muted">{was}</span></div>'
            )
    return f'<div class="cards">{"".join(cards)}</div>'


def _left(report: Report) -> list[str]:
    if not report.left:
        return []
    lines = "".join(f"<li>{one.jobs:,} jobs: {escape(one.why)}</li>" for one in report.left)
    return [f"<h2>What still waits at the end</h2><ul>{lines}</ul>"]


def _table(rows: dict[str, Compared], *, both: bool) -> str:
    head = ("", "before", "after", "change") if both else ("", "")
    lines = [_line("th", head)]
    for name, row in rows.items():
        was = (figure(row.before, row.unit),) if both else ()
        change = (became(row.before, row.after),) if both else ()
        lines.append(_line("td", (name, *was, figure(row.after, row.unit), *change)))
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _line(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
