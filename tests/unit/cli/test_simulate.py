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
    assert "-5" in capsys.readouterr().out, "twice the slots, about half the waits"
    found = json.loads((folder / "report.json").read_text())
    before, after = found["rows"]["wait, p95"]
    assert after < 0.6 * before
    assert found["before"]["spentUsd"] == found["after"]["spentUsd"]
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == len(list(folder.glob("*.svg"))) == 5
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


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
        (["--set", "pools.gpt.capacity=99999999999999999999999"], "capacity"),
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
