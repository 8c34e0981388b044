"""The pages on money name what there is: kinds of entry, scopes, checks, and the line that runs them."""

import re
from pathlib import Path

import pytest

from aifactory.cli import run_command
from aifactory.resources.budgets import Scope
from aifactory.resources.ledger import ACCOUNTS
from aifactory.resources.queries.invariants import INVARIANTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "money.md").read_text(encoding="utf-8")


def cells(heading: str, page: str = PAGE) -> list[list[str]]:
    """The rows of the first table below a heading."""
    table = page.partition(f"\n## {heading}\n")[2].partition("\n|---")[2].partition("\n\n")[0]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_every_kind_of_entry_is_shown_with_its_accounts() -> None:
    shown = {kind: (source, target) for kind, source, target, _ in cells("The ledger")}
    assert shown == {str(kind): tuple(map(str, accounts)) for kind, accounts in ACCOUNTS.items()}


def test_every_scope_of_budgets_is_shown() -> None:
    page = (DOCS / "budgets.md").read_text(encoding="utf-8")
    assert {scope for scope, *_ in cells("Scopes", page)} == set(Scope)


def test_every_check_of_the_audit_is_shown() -> None:
    shown = [check for row in cells("Checking the books") for check in re.findall(r"\w+\.\w+", row[0])]
    assert sorted(shown) == sorted(check for invariant in INVARIANTS for check in invariant.checks)


def test_the_command_prints_the_statements_and_what_they_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert "aifactory audit --invariants | psql" in PAGE
    assert run_command(["audit", "--invariants"]) == 0
    printed = capsys.readouterr().out
    for invariant in INVARIANTS:
        assert f"-- {', '.join(invariant.checks)}: {invariant.meaning}\n{invariant.sql.strip()};" in printed
    assert printed.count(";\n") == len(INVARIANTS) + printed.count("SET LOCAL") + 2
