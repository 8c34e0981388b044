"""The page about refusals has every code, each with its status, and none that does not exist."""

import re
from pathlib import Path

import aifactory.server  # noqa: F401  so that every error is known
from aifactory.kernel.problems import catalogue

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_every_code_of_a_refusal_is_explained_with_its_status() -> None:
    explained = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \| .+ \|$", PAGE, re.MULTILINE))
    assert explained == {line.code: str(line.status) for line in catalogue()}


def test_every_reason_on_the_page_is_one_that_the_code_gives() -> None:
    reasons = re.findall(r"^\| `(\w+)` \| [^\d|]", PAGE.partition("## Reasons")[2], re.MULTILINE)
    source = Path(__file__).parents[2] / "src" / "aifactory"
    folders = [source / "resources", source / "granulation"]
    code = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    assert len(reasons) > 10
    assert [reason for reason in reasons if f'"{reason}"' not in code] == []
