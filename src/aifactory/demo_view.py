"""What the command line shows of a demo, a first start and an audit. Pure but for printing."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree as Branches

from aifactory.accounts.seeds import FirstSecrets
from aifactory.demo import DemoResult
from aifactory.granulation.schemas import summary_of
from aifactory.granulation.steps import counts_by_kind
from aifactory.granulation.tree import Node, Tree, leaves
from aifactory.kernel.money import format_usd
from aifactory.resources.audit import Report
from aifactory.resources.schemas import execution_of

_PLURALS = {"activity": "activities"}


def show(out: Console, result: DemoResult) -> None:
    """Print the tree, its score, the time of each step, the money, and where to go next."""
    if result.tree is not None and result.stored is not None:
        out.print(_branches(result.tree))
        out.print(_counted(result.tree))
        out.print(_spans(result.tree))
        _show_score(out, result)
    _show_steps(out, result)
    _show_money(out, result)
    for reason in result.execution.reasons:
        out.print(f"[yellow]{reason.code}[/yellow]: {escape(reason.message)}")
    for path in result.exports:
        out.print(f"written: {path}", markup=False, soft_wrap=True)
    out.print(
        "next: make run (serve it) · make demo FILE=your.md TYPE=quiz · docs/architecture.md", soft_wrap=True
    )


def show_summary(out: Console, result: DemoResult) -> None:
    """Print what was made, how good it is, and what it cost."""
    if result.tree is not None and result.stored is not None:
        view = summary_of(result.stored)
        score = "no score" if view.score is None else f"score {view.score} of 100"
        out.print(
            f"{escape(result.tree.title)} ({result.tree.origin}): {_counted(result.tree)}", soft_wrap=True
        )
        out.print(f"{score} ({view.band})")
    _show_steps(out, result)
    _show_money(out, result)
    for reason in result.execution.reasons:
        out.print(f"[yellow]{reason.code}[/yellow]: {escape(reason.message)}")


def _branches(tree: Tree) -> Branches:
    root = Branches(f"[bold]{escape(tree.title)}[/bold] ({tree.structure_type}, {tree.origin})")
    for position, node in enumerate(tree.nodes, 1):
        _add(root, node, f"{position}")
    return root


def _add(parent: Branches, node: Node, path: str) -> None:
    span = f" [dim]⟨{node.sources[0].start}–{node.sources[0].end}⟩[/dim]" if node.sources else ""
    branch = parent.add(f"[dim]{path} {node.kind}[/dim] {escape(node.title)}{span}")
    for objective in node.objectives:
        branch.add(f"[green]◎ {escape(objective.text)}[/green] [dim]{objective.bloom}[/dim]")
    for item in node.items:
        if node.kind != "item":
            branch.add(f"[cyan]? {escape(item.stem)}[/cyan] [dim]{item.kind}[/dim]")
    for position, child in enumerate(node.children, 1):
        _add(branch, child, f"{path}.{position}")


def _counted(tree: Tree) -> str:
    counts = {kind: count for kind, count in counts_by_kind(tree).items() if count}
    return " · ".join(
        f"{count} {kind if count == 1 else _PLURALS.get(kind, kind + 's')}" for kind, count in counts.items()
    )


def _spans(tree: Tree) -> str:
    found = list(leaves(tree))
    sourced = sum(1 for _, node in found if node.sources)
    name = escape(tree.source.name) if tree.source else "no source"
    return f"{sourced} of {len(found)} leaves point at a passage of {name}"


def _show_score(out: Console, result: DemoResult) -> None:
    assert result.stored is not None
    view = summary_of(result.stored)
    title = f"score {view.score} of 100 ({view.band})"
    if view.score is None:
        title = f"no score: these checks failed: {', '.join(view.gates_failed)}"
    table = Table(title=title, title_justify="left", box=None)
    for column, justify in (("sub-score", "left"), ("value", "right"), ("weight", "right"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, part in view.sub_scores.items():
        table.add_row(name, f"{part.value:.2f}", f"{part.weight:.2f}", f"[dim]{escape(part.detail)}[/dim]")
    out.print(table)


def _show_steps(out: Console, result: DemoResult) -> None:
    execution = result.execution
    steps = " · ".join(f"{call.kind} {call.seconds:.2f} s" for call in result.calls)
    total = (execution.finished_at - execution.created_at).total_seconds() if execution.finished_at else 0.0
    out.print(f"{execution.state} in {total:.2f} s: {steps}")


def _show_money(out: Console, result: DemoResult) -> None:
    execution = result.execution
    out.print(
        f"cost: estimated {format_usd(execution.estimated_nano)} · held {format_usd(execution.held_nano)} · "
        f"real {format_usd(execution.spent_nano)}"
    )


def as_json(result: DemoResult) -> dict[str, Any]:
    """Return the same as values for JSON; money in dollars."""
    return {
        "execution": execution_of(result.execution),
        "steps": [{"kind": call.kind, "seconds": call.seconds} for call in result.calls],
        "tree": result.tree,
        "assessment": None if result.stored is None else summary_of(result.stored),
        "exports": [str(path) for path in result.exports],
    }


def first_start(address: str, secrets: FirstSecrets, *, command: str, examples: str) -> str:
    """Return the first start's secrets, with requests that are ready to be pasted."""
    return "\n".join(
        (
            "First start. These secrets are shown this once:",
            f"  admin log-in: {secrets.login} / {secrets.password}",
            f"  API key of client {secrets.client_name}: {secrets.api_key}",
            "Try it, in another terminal:",
            f"  export AIFACTORY_URL={address} AIFACTORY_API_KEY={secrets.api_key}",
            '  curl -sS $AIFACTORY_URL/requests -H "X-API-Key: $AIFACTORY_API_KEY" '
            f"-H 'Content-Type: application/json' -H 'Prefer: wait=30' -d @{examples}/course-request.json",
            f"  {command} submit content_granulation_course {examples}/drinking-water.md --watch",
        )
    )


def show_audit(out: Console, report: Report) -> None:
    """Print how much was rebuilt, and every difference."""
    out.print(f"{report.entries} ledger entries, {len(report.checks)} checks, {report.seconds:.1f} s")
    for found in report.differences:
        out.print(
            f"[red]{found.check}[/red] {found.object_id}: stored {found.stored}, rebuilt {found.rebuilt}"
        )
    out.print("no difference" if not report.differences else f"{len(report.differences)} differences")
