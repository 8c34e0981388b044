"""``aifactory simulate``: files in, figures and plots out, with nothing running."""

import json
from pathlib import Path

import pytest

from aifactory.cli import run_command

WORKLOAD = """
[run]
hours = 0.1
slots = 2
[pools.gpt]
price = { input = "3.00", output = "15.00" }
[[clients]]
name = "[bold]one"
[[streams]]
arrivals = { backlog = 20 }
[[streams.phases]]
hops = ["gpt"]
[changes.wider]
run.slots = 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "day.toml").write_text(WORKLOAD)
    return tmp_path / "day.toml"


def test_figures_are_printed_for_people_and_for_programs(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["simulate", str(file)]) == 0
    told = capsys.readouterr().out
    assert "20 jobs" in told
    assert "[bold]one" in told
    assert run_command(["simulate", str(file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["jobs"] == 20
    assert report["clients"]["[bold]one"]["spentUsd"] == report["spentUsd"] > 0
    assert report["queues"]["normal"]["p95"] > report["queues"]["normal"]["p50"] > 0


def test_a_change_is_told_beside_what_is_and_drawn(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    arguments = ["--change", "wider", "--set", "pools.gpt.capacity=80000", "--out", str(folder)]
    assert run_command(["simulate", str(file), *arguments]) == 0
    told = capsys.readouterr().out
    assert "-5" in told, "twice the slots, about half the waits"
    (line,) = [line for line in told.splitlines() if line.startswith("wait, p95")]
    assert " s " in line, "spans have their unit"
    assert "queue normal: wait, p95" in told
    found = json.loads((folder / "report.json").read_text())
    row = found["rows"]["wait, p95"]
    assert row["after"] < 0.6 * row["before"]
    assert found["before"]["spentUsd"] == found["after"]["spentUsd"]
    page = (folder / "report.html").read_text()
    assert "<h1>day</h1>" in page
    assert "<li>wider: run.slots = 4</li><li>pools.gpt.capacity = 80000</li>" in page
    assert page.count("<svg") == len(list(folder.glob("*.svg"))) == 5
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_what_never_starts_is_told_with_its_reason_and_so_is_that_nothing_came(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["simulate", str(file), "--set", "run.slots=0"]) == 0
    told = capsys.readouterr().out
    assert "Still waiting: 20 jobs in normal of [bold]one. There are no slots." in told
    assert run_command(["simulate", str(file), "--set", "streams.0.arrivals.after_hours=1"]) == 0
    assert "Nothing was played" not in capsys.readouterr().out, "a backlog comes whenever it is said to"
    assert run_command(["simulate", str(file), "--set", "streams=[]"]) == 0
    assert "Nothing was played" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--change", "narrower"], "the file has wider"),
        (["--set", "pools.gtp.capacity=1"], "pools.gtp.capacity"),
        (["--set", "run.slots=-1"], "run.slots"),
        (["--set", "clients.0=5"], "clients.0: this is a table"),
        (["--set", "run.start=9999-12-31T23:00:00Z"], "run.start: The year"),
        (["--set", "run.hours=1e-12"], "run.hours"),
        (["--set", "streams.0.arrivals={every_seconds=1e-7}"], "every_seconds"),
        (["--set", "streams.0.arrivals={poisson_per_hour=1e-9}"], "poisson_per_hour"),
        (["--set", "streams.0.phases.0.further_pools={gpt=99_999}"], "phases.0.further_pools: A job takes"),
        (["--set", "pools.gpt.capacity=99999999999999999999999"], "pools.gpt.capacity: "),
        (["--set", "streams.0.phases.0.jobs=1e9"], "streams.0: It comes to about 20,000,000,000 starts"),
        (["--resolution", "soon"], "10ms"),
        (["--resolution", "99999999999999s"], "up to an hour"),
        (["--recorded", "--from", "1h", "--to", "2h"], "before --to"),
    ],
)
def test_what_cannot_be_played_is_refused_in_words(
    file: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["simulate", str(file), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there_or_no_workload_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("gone.toml", None), ("bad.jsonl", b"\xff\xfe"), ("bad.toml", b"\xff\xfe")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert run_command(["simulate", str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
    assert run_command(["simulate"]) == 2
    assert "--recorded" in capsys.readouterr().err
    blocked = file.parent / "file"
    blocked.write_text("")
    assert run_command(["simulate", str(file), "--out", str(blocked / "x")]) == 2
