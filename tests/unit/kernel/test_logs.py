"""A log that can't be written is lost, and nothing else is."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import uvicorn

from aifactory.kernel.http import Shutdown
from aifactory.kernel.logs import configure_logs
from aifactory.server import _Server


class FullDisk:
    """A stream whose disk is full, or whose reader has gone."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> int:
        raise self.fault

    def flush(self) -> None:
        raise self.fault


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


FAULTS = [
    OSError(28, "No space left on device"),
    BrokenPipeError(),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_line_that_can_not_be_written_stops_nobody(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", FullDisk(fault))
    configure_logs(level="info")
    log: Any = structlog.get_logger()
    log.info("told")
    try:
        raise RuntimeError("no")
    except RuntimeError:
        log.exception("failed")


def test_lines_are_json_and_each_ends_where_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level="info")
    log: Any = structlog.get_logger()
    log.info("first", number=1)
    log.debug("not told")
    log.warning("second")
    lines = capsys.readouterr().err.splitlines()
    assert [line[0] + line[-1] for line in lines] == ["{}", "{}"]


def test_a_process_is_told_to_stop_though_nobody_reads_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", FullDisk(BrokenPipeError()))
    shutdown = Shutdown()
    server = _Server(uvicorn.Config("none:app"), shutdown)
    server.handle_exit(15, None)
    assert (server.should_exit, server.force_exit, shutdown.requested) == (True, False, True)
