"""Every command of the README runs as printed, in a fresh copy of the repository, beside a running server.

A fence of ``bash``, ``console`` or ``python`` follows a line ``<!-- run -->``, or one like
``<!-- run: slow -->`` that says why it isn't run here. In a console fence the lines after ``$ `` are run, and
the others are what they print. The client's variables say where the server is and the demo client's key,
``$ADMIN_PASSWORD`` the admin's password; the default address stands for the test server's. The copy is what
``git clone`` would make, so a first line that clones is left out.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.running import REPOSITORY, Server, end_database_server, run

README = REPOSITORY / "README.md"
ADDRESS = "http://127.0.0.1:8400"
_FENCE = re.compile(
    r"(?:^(?P<mark>[^\n]*)\n)?^```(?P<kind>bash|console|python)\n(?P<body>.*?)^```$", re.M | re.S
)
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".aifactory", "__pycache__", ".*_cache", "*.egg-info", "*.pyc", "build", "dist"
)


class Block(NamedTuple):
    """A fence of commands: where it starts, what is to be run, and the line before it."""

    line: int
    script: str
    mark: str

    @property
    def is_run(self) -> bool:
        return self.mark == "<!-- run -->" or self.clones

    @property
    def clones(self) -> bool:
        return self.script.startswith("git clone ")

    @property
    def commands(self) -> str:
        """What is run in the copy."""
        return self.script.partition("\n")[2] if self.clones else self.script


def read_blocks(text: str) -> list[Block]:
    blocks = []
    for found in _FENCE.finditer(text):
        body = found["body"]
        if found["kind"] == "console":
            body = commands_of(body)
        elif found["kind"] == "python":
            body = f"python - <<'END'\n{body}END\n"
        line = text.count("\n", 0, found.start("body"))
        blocks.append(Block(line=line, script=body, mark=(found["mark"] or "").strip()))
    return blocks


def commands_of(session: str) -> str:
    """Return what was typed: the lines after ``$ ``, with those that a backslash continues."""
    typed, goes_on = [], False
    for line in session.splitlines():
        if goes_on or line.startswith("$ "):
            typed.append(line if goes_on else line[2:])
            goes_on = line.endswith("\\")
    return "\n".join(typed) + "\n"


BLOCKS = read_blocks(README.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh_copy() -> Iterator[Path]:
    """A copy of the repository without what was built in it, with an environment that is up to date."""
    with tempfile.TemporaryDirectory(prefix="aifactory-readme-", ignore_cleanup_errors=True) as parent:
        copy = Path(parent) / "aifactory"
        shutil.copytree(REPOSITORY, copy, ignore=_NOT_COPIED)
        environment = copy / ".venv"
        environment.mkdir()
        for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg"):
            if (Path(sys.prefix) / name).exists():
                (environment / name).symlink_to(Path(sys.prefix) / name)
        for stamp in (".runtime", ".dev"):  # or make would install this copy into our environment
            (environment / stamp).touch()
        try:
            yield copy
        finally:
            end_database_server(copy / ".aifactory")


def run_block(block: Block, folder: Path, server: Server, secrets: dict[str, str]) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIFACTORY_", "MAKE"))
    }
    environment |= {
        "AIFACTORY_URL": server.url,
        "AIFACTORY_API_KEY": secrets["key"],
        "ADMIN_PASSWORD": secrets["password"],
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{environment['PATH']}",
        "PYTHONPATH": str(folder / "src"),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.commands.replace(ADDRESS, server.url)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{block.commands}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "application/problem" not in done.stdout
    assert not re.search(r'"code":\s*"\w+",.*"retryable":', done.stdout), done.stdout
    return done.stdout


def test_the_commands_of_the_readme_run_as_printed_one_after_the_other(
    fresh_copy: Path, server: Server, secrets: dict[str, str]
) -> None:
    for block in BLOCKS:
        if block.is_run:
            run_block(block, fresh_copy, server, secrets)


def test_every_command_of_the_readme_is_run_or_says_why_not() -> None:
    unmarked = [
        block.line
        for block in BLOCKS
        if not block.is_run and not re.match(r"<!-- (not )?run: \S.* -->", block.mark)
    ]
    assert unmarked == [], "put <!-- run --> or <!-- run: why not --> on the line before these fences"


SAMPLE = """\
# Sample
<!-- run -->
```bash
test "$(curl -sS http://127.0.0.1:8400/health/ready -o /dev/null -w '%{http_code}')" = 200
curl -sS http://127.0.0.1:8400/auth/session -H "X-API-Key: $AIFACTORY_API_KEY"
```
<!-- run -->
```console
$ test -f README.md && \\
> echo "in a copy of $(git rev-parse --show-toplevel 2>/dev/null || echo nothing)"
in a copy of nothing
$ make --dry-run demo | grep -c pip || true
0
```
<!-- run: not here, it serves until Ctrl-C -->
```bash
make run
```

```bash
unmarked
```
<!-- run -->
```python
print("a program")
```
```json
"not a command"
```
```console
$ git clone <this repository> aifactory && cd aifactory
$ ls examples/tides.txt
```
"""


def test_blocks_are_read_and_run_as_the_readme_means_them(
    fresh_copy: Path, server: Server, secrets: dict[str, str]
) -> None:
    sample = SAMPLE.replace("\n> echo", "\n  echo")
    first, second, shown, unmarked, program, clone = read_blocks(sample)

    assert [block.is_run for block in (first, second, shown, unmarked)] == [True, True, False, False]
    assert (shown.mark, unmarked.mark) == ("<!-- run: not here, it serves until Ctrl-C -->", "")
    assert sample.splitlines()[first.line - 1] == "```bash"
    assert '"role":"client"' in run_block(first, fresh_copy, server, secrets)
    assert run_block(program, fresh_copy, server, secrets) == "a program\n"
    assert run_block(clone, fresh_copy, server, secrets) == "examples/tides.txt\n"
    assert run_block(second, fresh_copy, server, secrets) == "in a copy of nothing\n0\n"
    with pytest.raises(AssertionError, match="command not found"):
        run_block(unmarked, fresh_copy, server, secrets)


def test_the_printed_output_of_the_demo_is_the_real_one(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = README.read_text(encoding="utf-8")
    shown = [line.rstrip() for line in text.split("```text\n", 1)[1].split("```", 1)[0].splitlines()]
    real = [line.rstrip() for line in run("demo", data_dir=data_dir).stdout.splitlines()]
    timed = [line for line in shown if line.startswith("succeeded in ")]
    assert len(timed) == 1
    assert set(shown) - {" …"} - set(timed) <= set(real)
