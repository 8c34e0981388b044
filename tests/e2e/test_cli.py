"""The command line against a server: what it prints, how it ends, what it survives."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.running import EXAMPLES, QUIZ, REPOSITORY, Server, environment, new_client, run, wait_until

from aifactory.cli import run_command

TIDES = EXAMPLES / "tides.txt"


@contextmanager
def started(*arguments: str, data_dir: Path, **settings: object) -> Iterator["Started"]:
    """Run the command while the test looks on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aifactory", *arguments],
        env=environment(data_dir, **settings),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    try:
        yield Started(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _hear_ctrl_c() -> None:
    """Take SIGINT as a terminal's child does; in a shell's background it would be ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Started:
    """A running command, with the lines that it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def end(self) -> tuple[int, str]:
        """Return its exit code and what it said on stderr."""
        code = self.process.wait(120)
        self._reader.join(10)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


class Scheduler:
    """The scheduler of a server, switched by its admin."""

    def __init__(self, server: Server, secrets: dict[str, str]) -> None:
        self.server, self.secrets = server, secrets

    def switch(self, what: str) -> None:
        with self.server.as_admin(self.secrets) as admin:
            assert admin.post(f"/admin/scheduler/{what}").status_code == 200


class Shell:
    """The command in this process: quick, for what needs no process of its own."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_dir: Path
    ) -> None:
        self._monkeypatch, self._capsys, self._data_dir = monkeypatch, capsys, data_dir

    def __call__(self, *arguments: str | Path, **settings: object) -> tuple[int, str, str]:
        """Return the exit code, stdout and stderr, the words of the latter in one line."""
        for name, value in environment(self._data_dir, **settings).items():
            if name.startswith("AIFACTORY_"):
                self._monkeypatch.setenv(name, value)
        code = run_command([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return code, said.out, " ".join(said.err.split())


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    return Shell(monkeypatch, capsys, tmp_path)


def test_a_document_goes_in_is_watched_and_comes_out(
    server: Server, secrets: dict[str, str], tmp_path: Path, shell: Shell
) -> None:
    with server.as_admin(secrets) as admin:  # whose usage is what this test does, whatever others do
        _, key = new_client(admin, "Watching", monthly_budget_usd=1000)

    def command(*arguments: str | Path) -> Any:
        code, told, complained = shell(*arguments, "--json", url=server.url, api_key=key)
        assert (code, complained) == (0, "")
        return [json.loads(line) for line in told.splitlines()]

    events = command("submit", QUIZ, TIDES, "--watch", "--param", "depth=2")
    assert [one["id"] for one in events] == [*range(1, len(events)), None]
    assert events[-1]["type"] == "end"
    request_id = events[-1]["data"]["requestId"]
    [result] = command("result", request_id)
    assert result["state"] == "succeeded"
    [exported] = command("export", request_id, "--output", tmp_path / "quiz.md")
    assert exported["bytes"] == len((tmp_path / "quiz.md").read_bytes()) > 1000
    [usage] = command("usage")
    assert usage["limitUsd"] == 1000
    [report] = command("usage", "--group-by", "template,provider")
    assert [(row["template"], row["provider"]) for row in report["data"]] == [(QUIZ, "local")]
    assert report["totals"]["calls"] >= 3
    [templates] = command("templates")
    assert QUIZ in {one["name"] for one in templates["data"]}


@pytest.mark.parametrize(
    ("code", "said", "arguments", "changes"),
    [
        (2, "", ("submit",), {}),
        (2, "Near ones", ("submit", "content_granulation_quix", TIDES), {}),
        (2, "No such file", ("submit", QUIZ, "nowhere.md"), {}),
        (2, "submit TEMPLATE FILE", ("submit", QUIZ), {}),
        (2, "is not like name=value", ("submit", QUIZ, TIDES, "--param", "x"), {}),
        (2, "--export is one of", ("granulate", TIDES, "--export", "pdf"), {}),
        (2, "There is no request", ("result", "req_01k7sc0k6se3tqhf4v8nbcaaaa"), {}),
        (3, "AIFACTORY_API_KEY", ("usage",), {"api_key": "aif_nonsense"}),
        (3, '"code":"scope_missing"', ("keys", "create", "x", "--json"), {}),
        (5, "make run", ("usage",), {"url": "http://127.0.0.1:9"}),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else None,
)
def test_the_exit_code_says_what_is_wrong_and_stderr_what_to_do(
    code: int,
    said: str,
    arguments: tuple[str | Path, ...],
    changes: dict[str, str],
    server: Server,
    secrets: dict[str, str],
    shell: Shell,
) -> None:
    ended, _, told = shell(*arguments, **({"url": server.url, "api_key": secrets["key"]} | changes))
    assert ended == code, told
    assert said in told


def test_the_standard_input_is_a_source_and_what_was_asked_for_is_listed(
    server: Server, secrets: dict[str, str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"url": server.url, "api_key": secrets["key"]}
    with TIDES.open(encoding="utf-8") as text:
        monkeypatch.setattr(sys, "stdin", text)
        code, made, told = shell("submit", QUIZ, "-", "--deadline", "6h", "--wait", **given)
    assert (code, told) == (0, "")
    request_id = made.split()[0]
    code, listed, _ = shell("list", "--state", "succeeded", **given)
    assert (code, request_id in listed) == (0, True)
    assert "ended before" in shell("cancel", request_id, **given)[2]
    assert shell("submit", QUIZ, "--bogus", **given)[0] == 2


def test_a_budget_that_does_not_allow_it_is_4(server: Server, secrets: dict[str, str], shell: Shell) -> None:
    with server.as_admin(secrets) as admin:
        _, poor = new_client(admin, "Poor", monthly_budget_usd=0)
    code, _, told = shell("submit", QUIZ, TIDES, url=server.url, api_key=poor)
    assert code == 4
    assert "aifactory usage" in told


def test_an_admins_key_makes_and_revokes_keys(server: Server, secrets: dict[str, str], shell: Shell) -> None:
    with server.as_admin(secrets) as admin:
        client_id, _ = new_client(admin, "Keys")
        scopes = {"name": "k", "scopes": ["read", "write", "keys"]}
        key = admin.post(f"/clients/{client_id}/api-keys", json=scopes).json()["key"]
    code, made, told = shell("keys", "create", "mine", url=server.url, api_key=key)
    assert (code, made[:4]) == (0, "aif_"), told
    code, listed, _ = shell("keys", "list", "--json", url=server.url, api_key=made.strip())
    mine = next(one for one in json.loads(listed)["data"] if one["name"] == "mine")
    assert made.strip() not in listed
    assert shell("keys", "revoke", mine["id"], url=server.url, api_key=key)[0] == 0
    assert shell("usage", url=server.url, api_key=made.strip())[0] == 3


def test_the_doctor_finds_a_bad_key(server: Server, shell: Shell) -> None:
    code, found, _ = shell("doctor", "--json", url=server.url, api_key="aif_nonsense")
    assert code == 3
    assert {one["check"]: one["mark"] for one in json.loads(found)} == {
        "python": "good",
        "database": "good",
        "providers": "note",
        "server": "good",
        "key": "bad",
    }


def test_ctrl_c_leaves_the_work_and_says_how_to_end_it(
    server: Server, secrets: dict[str, str], tmp_path: Path, shell: Shell
) -> None:
    given = {"url": server.url, "api_key": secrets["key"]}
    scheduler = Scheduler(server, secrets)
    scheduler.switch("stop")
    try:
        with started("submit", QUIZ, str(TIDES), "--watch", data_dir=tmp_path, **given) as watching:
            wait_until(lambda: any("execution queued" in line for line in watching.lines), "the first event")
            watching.process.send_signal(signal.SIGINT)
            code, told = watching.end()
        request_id = watching.lines[0].split()[0]
        assert (code, f"aifactory cancel {request_id}" in told) == (130, True), told
        assert shell("cancel", request_id, **given)[0] == 0
        code, shown, _ = shell("watch", request_id, **given)
        assert (code, "cancelled" in shown) == (1, True)
    finally:
        scheduler.switch("start")
    assert shell("retry", request_id, **given)[0] == 0
    assert shell("watch", request_id, **given)[0] == 0


def test_watching_survives_a_kill_of_the_server_without_a_gap(data_dir: Path, tmp_path: Path) -> None:
    with Server(data_dir) as own:
        secrets = own.secrets()
        scheduler = Scheduler(own, secrets)
        scheduler.switch("stop")
        settings = {"url": own.url, "api_key": secrets["key"]}
        with started(
            "submit", QUIZ, str(TIDES), "--watch", "--json", data_dir=tmp_path, **settings
        ) as watching:
            wait_until(lambda: watching.lines, "the first event")
            own.kill()
            own.start()
            Scheduler(own, secrets).switch("start")
            code, told = watching.end()
    events = [json.loads(line) for line in watching.lines]
    assert code == 0, told
    assert [one["id"] for one in events] == [*range(1, len(events)), None]


def test_granulate_works_with_nothing_running(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "quiz.json"
    made = run(
        "granulate", TIDES, "--type", "quiz", "--export", "json", "-o", output, "--json", data_dir=data_dir
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert json.loads(made.stdout)["exports"] == [str(output)]
    assert json.loads(output.read_text(encoding="utf-8"))["tree"]["structureType"] == "quiz"


def test_help_loads_neither_the_server_nor_the_database(tmp_path: Path) -> None:
    code = (
        "import sys; from aifactory.cli import run_command; run_command(['--help']);"
        "heavy = {'litestar', 'sqlalchemy', 'asyncpg', 'openai', 'httpx2', 'uvicorn'} & set(sys.modules);"
        "sys.exit(','.join(heavy) or 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "granulate" in ran.stdout


def test_a_reader_that_has_seen_enough_is_no_error(
    server: Server, secrets: dict[str, str], tmp_path: Path
) -> None:
    given = environment(tmp_path, url=server.url, api_key=secrets["key"])
    read_end, write_end = os.pipe()
    os.close(read_end)
    ran = subprocess.run(
        [sys.executable, "-m", "aifactory", "templates"],
        env=given,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert (ran.returncode, ran.stderr) == (0, "")
