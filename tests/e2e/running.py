"""Real processes of AI Factory: each has a data folder, a port and log files of its own."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import httpx
import psutil
from tests.places import fast_place

from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
from aifactory.resources.audit import Report, audit
from prove.nursery import NURSERY, Forked

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
COURSE = "content_granulation_course"
QUIZ = "content_granulation_quiz"
PATIENCE_SECONDS = 120.0  # for anything that a busy machine may delay; nothing waits that long on purpose
T = TypeVar("T")
FINAL = {"succeeded", "partial", "failed", "cancelled", "expired"}


def environment(data_dir: Path, **settings: object) -> dict[str, str]:
    """Return this process's environment without its own AIFACTORY_*, with ``settings`` as those."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AIFACTORY_")}
    given = {f"AIFACTORY_{name.upper()}": str(value) for name, value in settings.items()}
    return mine | {"AIFACTORY_DATA_DIR": str(data_dir)} | given


def run(
    *arguments: str | Path, data_dir: Path, fresh: bool = False, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; ``fresh``: in an interpreter of its own, else see ``prove.nursery``."""
    with tempfile.TemporaryDirectory(prefix="aifactory-run-") as folder:
        out, err = Path(folder) / "stdout", Path(folder) / "stderr"
        words = [str(argument) for argument in arguments]
        process = launch(words, environment(data_dir, **settings), out, err, fresh=fresh)
        try:
            code = process.wait(2 * PATIENCE_SECONDS)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, *(path.read_text("utf-8") for path in (out, err)))


def launch(
    arguments: list[str], given: dict[str, str], out: Path, err: Path, *, fresh: bool
) -> "subprocess.Popen[bytes] | Forked":
    """Start the command in a process group of its own, as a terminal does."""
    if not fresh:
        return NURSERY.start(arguments, environment=given, folder=REPOSITORY, stdout=out, stderr=err)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "aifactory", *arguments],
            env=given,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


def wait_until(look: Callable[[], T], what: str, *, pause: float = 0.05) -> T:
    """Look until there is something to see; return it."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < ends, f"waited in vain for: {what}"
        time.sleep(pause)
    return seen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# Data folders.


@contextlib.contextmanager
def data_folder(original: Path | None = None) -> Iterator[Path]:
    """Give a folder for data, new or a copy; remove it with its database server."""
    with tempfile.TemporaryDirectory(
        prefix="aifactory-e2e-", dir=fast_place(), ignore_cleanup_errors=True
    ) as parent:
        folder = Path(parent) / "data"
        if original is not None:
            shutil.copytree(original, folder)
        try:
            yield folder
        finally:
            end_database_server(folder)


def end_database_server(data_dir: Path) -> None:
    """Wait until the folder's embedded server, whose owner has gone, has ended; end it if it does not."""
    note = data_dir / "postgres" / "data" / "postmaster.pid"
    ends = time.monotonic() + 30
    while note.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    with contextlib.suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
        server = psutil.Process(int(note.read_text().splitlines()[0]))
        if server.name() == "postgres":
            server.send_signal(signal.SIGQUIT)


@contextlib.contextmanager
def database_server(data_dir: Path) -> Iterator[str]:
    """Give the address of the folder's embedded database; it is started if it does not run."""
    server = EmbeddedPostgres(folder=data_dir / "postgres")
    try:
        yield server.start()
    finally:
        server.stop()


@contextlib.contextmanager
def database_of(data_dir: Path) -> Iterator[Callable[..., list[Any]]]:
    """Give a function that runs SQL in the folder's embedded database, on one connection while it holds."""
    connection: asyncpg.Connection[Any] | None = None

    async def fetch(statement: str, *arguments: object) -> list[Any]:
        nonlocal connection
        if connection is None or connection.is_closed():
            connection = await asyncpg.connect(dsn)
        return list(await connection.fetch(statement, *arguments))

    with database_server(data_dir) as dsn, asyncio.Runner() as runner:
        yield lambda statement, *arguments: runner.run(fetch(statement, *arguments))
        if connection is not None:
            runner.run(connection.close())


# Servers.


class Server:
    """``aifactory serve`` in a process group of its own, as a terminal starts it.

    Entering starts it and waits until it is ready; leaving ends it and everything that it started. It can be
    killed and started again in between; each start has its own output. ``fresh``: see ``run``.
    """

    def __init__(self, data_dir: Path, *, fresh: bool = False, **settings: object) -> None:
        self._fresh = fresh
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = {"port": self.port, **settings}
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._starts = 0
        self._probe = httpx.Client(trust_env=False, verify=False)  # to read certificates takes long

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self._clean_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean_up()
        if error is not None:
            error.add_note(f"stdout of the server:\n{self.stdout}\nstderr of the server:\n{self.stderr}")

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        self._starts += 1
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._process = launch(
            ["serve"],
            environment(self.data_dir, **self._settings),
            self._log("stdout"),
            self._log("stderr"),
            fresh=self._fresh,
        )
        wait_until(self._is_ready, "the server to be ready")
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"the server ended with {code}:\n{self.stdout}\n{self.stderr}"
        with contextlib.suppress(httpx.TransportError):
            return self._probe.get(f"{self.url}/health/ready").status_code == 200
        return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stdout(self) -> str:
        """What this start has printed so far."""
        return self._log("stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """What this start has logged so far."""
        return self._log("stderr").read_text(encoding="utf-8")

    def _log(self, stream: str) -> Path:
        return self.data_dir.parent / f"server-{self._starts}.{stream}"

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        children = psutil.Process(self.pid).children()
        return [child for child in children if "anyio.to_process" in child.cmdline()]

    def press_ctrl_c(self) -> None:
        """Do what a terminal does: interrupt everything in the foreground."""
        os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        """Do what a service manager does."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process, and only it, as the kernel does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def others(self) -> list[int]:
        """Return who else is in its process group: its worker processes, after its end too."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    mine.append(process.pid)
        return [pid for pid in mine if pid != self.pid]

    def _clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.terminate()
            try:
                self._process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in self.others() if self._process is not None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        end_database_server(self.data_dir)

    # Talking to it.

    def secrets(self) -> dict[str, str]:
        """Read the first start's secrets from what it printed."""
        found = re.search(
            r"admin log-in: (?P<login>\S+) / (?P<password>\S+)\n.*: (?P<key>aif_\S+)\n", self.stdout
        )
        assert found is not None, self.stdout
        return found.groupdict()

    def caller(self, **headers: str) -> httpx.Client:
        """Return an HTTP client with these headers."""
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False, verify=False
        )

    def with_key(self, key: str) -> httpx.Client:
        return self.caller(**{"X-API-Key": key})

    def as_admin(self, secrets: dict[str, str]) -> httpx.Client:
        """Log the admin in."""
        log_in = {"login": secrets["login"], "password": secrets["password"]}
        started = self._probe.post(f"{self.url}/auth/login", json=log_in, timeout=60)
        assert started.status_code == 200, started.text
        return self.caller(**{"x-bitware-session-token": started.json()["token"]})


def document(name: str = "tides.txt") -> dict[str, str]:
    """Return an example document as a request's source."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    return {"text": text, "format": "text" if name.endswith(".txt") else "markdown", "name": name}


def order(template: str = QUIZ, name: str = "tides.txt", **rest: object) -> dict[str, Any]:
    """Return the body of a request for an example document."""
    return {"template": template, "parameters": {"source": document(name)}, **rest}


def finished(caller: httpx.Client, request_id: str) -> dict[str, Any]:
    """Wait until a request has ended; return its status."""

    def look() -> dict[str, Any] | None:
        status = caller.get(f"/requests/{request_id}/status")
        if status.status_code == 429:  # it asks more often than its tier allows
            return None
        assert status.status_code == 200, status.text
        found: dict[str, Any] = status.json()
        return found if found["state"] in FINAL else None

    return wait_until(look, f"{request_id} to end", pause=0.1)


def new_client(
    admin: httpx.Client, name: str, *, tier: str = "basic", monthly_budget_usd: float | None = None
) -> tuple[str, str]:
    """Make a client with a key; return its id and the key."""
    limits: dict[str, Any] = {"requestsPerMinute": 1_000_000}
    if monthly_budget_usd is not None:
        limits["monthlyBudgetUsd"] = monthly_budget_usd
    made = admin.post("/clients", json={"name": name, "tier": tier, "limits": limits})
    assert made.status_code == 201, made.text
    client_id: str = made.json()["id"]
    key = admin.post(f"/clients/{client_id}/api-keys", json={"name": "e2e", "scopes": ["read", "write"]})
    assert key.status_code == 201, key.text
    return client_id, key.json()["key"]


def assert_books_balance(data_dir: Path) -> None:
    """Do what ``aifactory audit`` does: every figure is what the ledger and the rows make it."""

    async def look(dsn: str) -> Report:
        database = Database(url=dsn)
        try:
            return await audit(database)
        finally:
            await database.close()

    with database_server(data_dir) as dsn:
        report = asyncio.run(look(dsn))
    assert report.differences == []
    assert report.entries > 0
