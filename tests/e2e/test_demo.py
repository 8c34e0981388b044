"""``aifactory demo``: a document becomes a priced tree whose every leaf points into the document."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.running import EXAMPLES, data_folder, database_of, database_server, run

from aifactory.cli import run_command

SUB_SCORES = (
    "form",
    "order",
    "balance",
    "coverage",
    "alignment",
    "grounding",
    "itemQuality",
    "nonRedundancy",
)


@pytest.fixture(scope="module")
def data_dir(migrated: Path) -> Iterator[Path]:
    """A folder whose database server runs for all tests: each demo joins it."""
    with data_folder(migrated) as folder, database_server(folder):
        yield folder


def written_tree(stdout: str) -> dict[str, Any]:
    """Read the JSON export that the demo says it wrote."""
    path = re.search(r"^written: (.*\.json)$", stdout, re.MULTILINE)
    assert path is not None, stdout
    exported: dict[str, Any] = json.loads(Path(path[1]).read_text(encoding="utf-8"))
    return exported["tree"]  # type: ignore[no-any-return]


def leaves(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        below = node.get("children", [])
        yield from leaves(below) if below else [node]


def spans(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every span anywhere in a tree."""
    if isinstance(part, dict):
        if {"start", "end", "quote"} <= part.keys():
            yield part
        for value in part.values():
            yield from spans(value)
    elif isinstance(part, list):
        for value in part:
            yield from spans(value)


def assert_grounded(tree: dict[str, Any], text: str) -> None:
    found = list(leaves(tree["nodes"]))
    assert len(found) >= 5
    for leaf in found:
        assert list(spans(leaf)), f"the leaf {leaf['title']!r} points at no passage"
    for span in spans(tree):
        assert text[span["start"] : span["end"]] == span["quote"]


def test_a_document_becomes_a_course_and_everything_is_shown(data_dir: Path) -> None:
    path = EXAMPLES / "drinking-water.md"

    demo = run("demo", path, data_dir=data_dir, fresh=True)

    assert (demo.returncode, demo.stderr) == (0, "")
    assert "── 1 module " in demo.stdout
    assert "1.1 lesson " in demo.stdout
    assert re.search(r"^score \d+\.\d of 100 \(", demo.stdout, re.MULTILINE), demo.stdout
    for name in SUB_SCORES:
        assert re.search(rf"^ *{name} +[01]\.\d\d +0\.\d\d ", demo.stdout, re.MULTILINE), name
    assert re.search(r"read [\d.]+ s · write [\d.]+ s · score [\d.]+ s", demo.stdout)
    money = re.search(r"^cost: estimated \$(\S+) · held \$(\S+) · real \$(\S+)$", demo.stdout, re.MULTILINE)
    assert money is not None, demo.stdout
    estimated, held, real = (Decimal(amount) for amount in money.groups())
    assert 0 < estimated <= held
    assert 0 < real <= held
    tree = written_tree(demo.stdout)
    assert tree["structureType"] == "course"
    assert_grounded(tree, path.read_text(encoding="utf-8"))


def test_a_document_becomes_a_quiz_as_json(data_dir: Path) -> None:
    path = EXAMPLES / "sourdough.md"

    demo = run("demo", path, "--type", "quiz", "--json", data_dir=data_dir)

    assert (demo.returncode, demo.stderr) == (0, "")
    result = json.loads(demo.stdout)
    assert result["execution"]["state"] == "succeeded"
    assert result["tree"]["structureType"] == "quiz"
    assert [step["kind"] for step in result["steps"]] == ["read", "write", "score"]
    assert result["assessment"]["subScores"]
    assert 0 < Decimal(result["execution"]["costUsd"]) <= Decimal(result["execution"]["heldCostUsd"])
    exported = json.loads(Path(result["exports"][0]).read_text(encoding="utf-8"))
    assert exported["tree"] == result["tree"]
    assert_grounded(result["tree"], path.read_text(encoding="utf-8"))


def test_a_document_in_utf_16_whose_name_looks_like_markup(data_dir: Path, tmp_path: Path) -> None:
    text = "# Die Gezeiten – tides 🌊\n\n" + (EXAMPLES / "tides.txt").read_text(encoding="utf-8")
    path = tmp_path / "[" / "red] Gezeiten 🌊.md"  # its path has "[/red]" in it
    path.parent.mkdir()
    path.write_text(text, encoding="utf-16")

    demo = run("demo", path, "--type", "quiz", data_dir=data_dir)

    assert (demo.returncode, demo.stderr) == (0, "")
    assert "red] Gezeiten 🌊.md" in demo.stdout
    assert_grounded(written_tree(demo.stdout), text)


# What can't be used is refused before a database is opened: the folder for data is not even made.

FILES = {
    "picture.md": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "latin-1.txt": "Le café est fermé. ".encode("latin-1") * 40,
    "empty.md": b"",
    "[/short].md": b"# Short\n\nFour words and more.\n",
}
REFUSED = {
    "picture.md": "isn't text",
    "latin-1.txt": "isn't valid UTF-8: byte 6",
    "empty.md": "it has 0 of at least 80 words",
    "[/short].md": "it has 6 of at least 80 words",
    "[/missing].md": "There is no file",
    "[": "is a folder",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_source_is_refused_in_one_clear_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "documents" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name in FILES:
        path.write_bytes(FILES[name])
    elif name == "[":
        path.mkdir()
    if name == "picture.md":  # a process of its own each time would tell no more
        demo = run("demo", path, data_dir=tmp_path / "data")
        code, told, complained = demo.returncode, demo.stdout, demo.stderr
    else:
        monkeypatch.setenv("AIFACTORY_DATA_DIR", str(tmp_path / "data"))
        code = run_command(["demo", str(path)])
        told, complained = capsys.readouterr()
    assert (code, told) == (2, ""), complained
    assert len(complained.splitlines()) == 1, complained
    assert REFUSED[name] in complained
    assert name in complained
    assert not (tmp_path / "data").exists()


def test_an_unknown_type_is_refused_with_those_that_there_are(data_dir: Path) -> None:
    demo = run("demo", EXAMPLES / "tides.txt", "--type", "sonnet", data_dir=data_dir)
    assert (demo.returncode, demo.stdout) == (2, ""), demo.stderr
    said = "TYPE is one of course, document, flashcards, knowledge_map, learning_path, novel, quiz, workflow"
    assert f"{said}, not 'sonnet'." in demo.stderr


def test_a_file_without_prose_fails_with_its_reason(data_dir: Path, tmp_path: Path) -> None:
    """Only reading finds that out; it is a failed result, not a wrong use."""
    path = tmp_path / "table.md"
    path.write_text("# Figures\n\n| a | b |\n|---|---|\n" + "| one | two |\n" * 60, encoding="utf-8")
    with database_of(data_dir) as fetch:
        before = fetch("SELECT count(*) FROM granulation_trees")

    demo = run("demo", path, data_dir=data_dir)

    assert demo.returncode == 1, demo.stdout
    assert "source_too_short" in demo.stdout
    assert "Traceback" not in demo.stdout + demo.stderr
    with database_of(data_dir) as fetch:
        assert fetch("SELECT count(*) FROM granulation_trees") == before
        assert fetch("SELECT id FROM budgets WHERE held_nano <> 0") == []


@pytest.mark.parametrize("url", ["garbage", "postgresql://u:secret@ho st:x/y"])
def test_a_database_url_that_is_none_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str
) -> None:
    monkeypatch.setenv("AIFACTORY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AIFACTORY_DATABASE_URL", url)
    assert run_command(["audit"]) == 2
    refused = capsys.readouterr()
    assert refused.err.count("\n") == 1
    assert "AIFACTORY_DATABASE_URL" in refused.err
    assert "secret" not in refused.out + refused.err


def test_an_audit_of_a_folder_without_a_database_makes_none(tmp_path: Path) -> None:
    refused = run("audit", data_dir=tmp_path / "mistyped")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "AIFACTORY_DATA_DIR" in refused.stderr
    assert not (tmp_path / "mistyped").exists()
