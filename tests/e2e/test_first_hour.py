"""Every command of docs/first-hour.md from step 3 on runs as printed, in order, and prints what is shown.

A fence of ``console`` or ``python`` follows a line like ``<!-- run: 4curl -->``, its step; what a program
prints is in the ``text`` fence after it. All are one shell session: what one finds out, the next can use.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.running import REPOSITORY, Server, data_folder, environment, free_port
from tests.e2e.test_readme import commands_of

PAGE = REPOSITORY / "docs" / "first-hour.md"
_STEP = re.compile(
    r"^<!-- run: (?P<name>\d+\w+) -->\n```(?P<kind>console|python)\n(?P<body>.*?)^```$"
    r"(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.M | re.S,
)
_VARYING = [(r"\d\d:\d\d:\d\d", r"\\d\\d:\\d\\d:\\d\\d"), (r"\d{4}\\-\d\d\\-\d\d", r"\\d{4}-\\d\\d-\\d\\d")]


class Step(NamedTuple):
    """A fence: its name, what is run, and the lines that it is said to print."""

    name: str
    script: str
    shown: list[str]


def steps() -> list[Step]:
    return [_read(found) for found in _STEP.finditer(PAGE.read_text(encoding="utf-8"))]


def _read(found: "re.Match[str]") -> Step:
    name, kind, body, printed = found.groups()
    if kind == "python":
        return Step(name, f"python - <<'END'\n{body}END\n", printed.splitlines())
    typed = commands_of(body)
    shown = [line for line in body.splitlines() if line.removeprefix("$ ") not in typed.splitlines() and line]
    return Step(name, typed, shown)


def session(steps: list[Step]) -> str:
    """Return all steps as one script; a line before each one says its name and the time."""
    parts = ["set -euo pipefail; exec 2>&1", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for step in steps:
        parts += [f'printf "\\n@@ {step.name} %s\\n" "$EPOCHREALTIME"', step.script]
    return "\n".join([*parts, 'printf "\\n@@ end %s\\n" "$EPOCHREALTIME"'])


def outputs(told: str) -> dict[str, list[str]]:
    """Return what each step printed; each JSON answer, which has no line end, as a line."""
    parts = re.split(r"^@@ (\w+) [\d.,]+\n", told.replace("}{", "}\n{"), flags=re.M)
    return {name: text.splitlines() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def shows(line: str) -> "re.Pattern[str]":
    """Return what a shown line means: … is anything, times are others."""
    pattern = ".*".join(re.escape(part) for part in line.strip().split("…"))
    for varying, meant in _VARYING:
        pattern = re.sub(varying, meant, pattern)
    return re.compile(pattern)


@pytest.fixture
def place(tmp_path: Path, migrated: Path) -> Iterator[tuple[Path, int]]:
    """A folder like the repository, and the port of the webhook's receiver."""
    port = free_port()
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    (tmp_path / "docs").mkdir()
    webhooks = (REPOSITORY / "docs" / "webhooks.md").read_text(encoding="utf-8")
    (tmp_path / "docs" / "webhooks.md").write_text(webhooks.replace("3000", str(port)), encoding="utf-8")
    with data_folder(migrated) as alone:
        (tmp_path / "alone").symlink_to(alone)
        yield tmp_path, port


def test_the_first_hour_goes_as_printed(place: tuple[Path, int], data_dir: Path) -> None:
    folder, port = place
    with Server(data_dir, webhooks_to_private=True) as server:
        secrets = server.secrets()
        given = environment(folder / "none", url=server.url, api_key=secrets["key"])
        given |= {"ADMIN_PASSWORD": secrets["password"], "COLUMNS": "120"}
        given["PATH"] = f"{Path(sys.executable).parent}:{given['PATH']}"
        ran = subprocess.run(
            ["bash", "-c", session(steps()).replace("127.0.0.1:3000", f"127.0.0.1:{port}")],
            cwd=folder,
            env=given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout
    told = outputs(ran.stdout)
    for step in steps():
        lines = iter(told[step.name])
        for line in step.shown:
            meant = shows(line)
            found = any(meant.fullmatch(real.strip()) for real in lines)
            assert found, f"{step.name} does not print {line!r}\n{ran.stdout}"


def test_the_page_has_each_thing_by_curl_python_and_the_command_line() -> None:
    names = {step.name for step in steps()}
    assert {f"{number}{way}" for number in (3, 4, 5, 7, 8) for way in ("curl", "python", "cli")} <= names
    unmarked = re.findall(r"(?<!-->)\n```(?:console|python)\n", PAGE.read_text(encoding="utf-8"))
    assert unmarked == []


def test_a_line_that_is_not_printed_is_noticed() -> None:
    assert shows("req_… queued · from 2026-11-22 08:13:49 · held $0.1").fullmatch(
        "req_01k queued · from 2027-01-01 00:00:00 · held $0.1"
    )
    assert not shows("succeeded 0.5").fullmatch("failed 0.5")
    assert [step.shown for step in steps() if step.name == "5python"] == [["0.00009039 0.00021519", "1000"]]
