"""Every example of docs/client.md runs as printed, against a server."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.running import REPOSITORY, Server, environment

PAGE = REPOSITORY / "docs" / "client.md"
_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S)


def blocks(kind: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return [found["body"] for found in _FENCE.finditer(text) if found["kind"] == kind]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the examples, for what the page reads and writes."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    return tmp_path


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_each_python_example_runs(
    number: int, place: Path, server: Server, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("AIFACTORY_URL", server.url)
    monkeypatch.setenv("AIFACTORY_API_KEY", secrets["key"])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[number], str(PAGE), "exec"), {"__name__": "__main__"})
    expected = (
        "succeeded 0.0",
        "end None",
        "content_granulation_quiz: at most $0.0",
        "template_not_found There",
    )
    assert expected[number].split(" None")[0] in printed.getvalue()


def test_every_console_example_runs(
    place: Path, data_dir: Path, server: Server, secrets: dict[str, str]
) -> None:
    given = environment(data_dir, url=server.url, api_key=secrets["key"])
    given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
    lines = [line for body in blocks("console") for line in body.splitlines()]
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert len(commands) == 5
    for command in commands:
        ran = subprocess.run(
            command,
            shell=True,
            cwd=place,
            env=given,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    assert (place / "tides-quiz.md").read_text(encoding="utf-8").startswith("# Tides")
