"""The page of the benchmarks says what the kept run found, and names every measure."""

import re
from pathlib import Path

import httpx
import msgspec
import pytest
from bench import __main__ as command
from bench import machine
from bench.figures import OURS, Measured, Row, spread
from bench.report import BEGIN, END, Result, as_markdown, generated_in, read_result, write_result
from bench.running import Bench, Best, Measure


def test_the_generated_part_of_the_page_is_what_the_kept_run_comes_to() -> None:
    kept = read_result(command.KEPT.read_bytes())
    assert generated_in(command.DOCUMENT.read_text()) == as_markdown(kept)


def test_the_page_has_a_line_for_every_measure() -> None:
    method = command.DOCUMENT.read_text().split("## How")[0]
    assert re.findall(r"^\| `(\w+)` \|", method, re.MULTILINE) == list(command.MEASURES)


def test_a_report_writes_the_page_and_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(what="wait", unit="ms", systems={OURS: spread([4.0])}, asked=True)
    run = Result(
        at="2026-01-01 12:00 UTC",
        quick=False,
        seconds=60,
        machine={"processor": "a fast one"},
        measured=(Measured(measure="idle", seconds=2, rows=(row,)),),
    )
    source, page, kept = tmp_path / "latest.json", tmp_path / "page.md", tmp_path / "page.json"
    source.write_bytes(write_result(msgspec.structs.replace(run, at="2026-01-02 12:00 UTC")))
    page.write_text(f"# Title\n\n{BEGIN}\n\nnothing yet\n\n{END}\n")
    monkeypatch.setattr(command, "REPOSITORY", tmp_path)
    monkeypatch.setattr(command, "DOCUMENT", page)
    monkeypatch.setattr(command, "KEPT", kept)
    assert command._report([source]) == 0
    assert generated_in(page.read_text()) == as_markdown(read_result(kept.read_bytes()))
    assert "2026-01-02" in page.read_text()
    source.write_text("{}")
    assert command._report([source]) == 1
    assert "2026-01-02" in page.read_text()


def test_a_measure_that_fails_however_it_does_is_written_down_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: Bench) -> list[Row]:
        raise httpx.ConnectError("no server")

    def measured(_: Bench) -> list[Row]:
        return [Row(what="wait", unit="ms", systems={OURS: spread([4.0])}, asked=True)]

    monkeypatch.setattr(command, "PLACE", tmp_path)
    monkeypatch.setattr(machine, "describe", lambda *_: {"processor": "a fast one"})
    runs = {"http": refused, "idle": measured}
    measures = {name: Measure(name=name, shows="", run=run) for name, run in runs.items()}
    monkeypatch.setattr(command, "MEASURES", measures)
    bench = Bench(server=None, quick=True, peers=None, best=Best())  # type: ignore[arg-type]
    result = command._measure(bench, ["http", "idle"])
    assert result.failed == {"http": "ConnectError: no server"}
    assert [one.measure for one in result.measured] == ["idle"]
    assert read_result((tmp_path / "latest.json").read_bytes()) == result
    assert "NOT MEASURED: ConnectError" in capsys.readouterr().out


@pytest.mark.parametrize("release", ["6.18.44-fc-v595", "6.18-rc3+", "6.18"])
def test_of_a_kernel_major_and_minor_are_told_and_not_whose_build_it_is(release: str) -> None:
    assert machine.kernel(release) == "6.18"
