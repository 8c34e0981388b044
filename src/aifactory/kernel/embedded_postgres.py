"""One PostgreSQL server over the binaries of a wheel, for when no database URL is set.

Who started the server owns it: it stops when its owner stops it or dies, and whoever else uses the same
folder starts it again. The server holds a lock on the folder for as long as any of its processes lives, so a
free lock proves that none does, whatever an old `postmaster.pid` says.

    folder/data            the cluster; made beside its place and renamed, so it is whole or absent
    folder/postgres.lock   held by the server (and by initdb), not by the process that asked for it
    folder/postgres.log    what the server says, bounded
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Thread
from types import MappingProxyType
from typing import NamedTuple

from aifactory.kernel.postgres_binaries import choose_identity, choose_install
from aifactory.kernel.postgres_errors import ADVICE, EmbeddedPostgresError
from aifactory.kernel.postgres_files import (
    LOG_TAIL_BYTES,
    bound_log,
    give,
    kept_from_cleaners,
    log_tail,
    make_private,
    open_private,
    sync_folder,
    try_lock,
)
from aifactory.kernel.postgres_launcher import Identity, as_seen_by, launch_command, launch_environment
from aifactory.kernel.postgres_socket import (
    PORT,
    answers,
    choose_socket_folder,
    dsn_at,
    find_running,
    read_pid_file,
)

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.02

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
                    f"The embedded PostgreSQL server can't use {self._folder}: {error}. {ADVICE}"
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
        return await asyncio.to_thread(self._start_again_if_gone)

    def _start_again_if_gone(self) -> bool:
        with self._mutex:
            if self._dsn is None:
                return False
            if self.is_owner:
                bound_log(self._folder / "postgres.log")
            if self._is_running():
                return False
            self.start()
            return True

    def _is_running(self) -> bool:
        if self._dsn is None:
            return False
        return self.is_owner or find_running(self._folder.absolute() / "data") is not None

    def _start_or_adopt(self, folder: Path) -> None:
        make_private(folder)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            found = find_running(folder / "data")
            if found is not None:
                self._server, self._dsn = None, dsn_at(found)
                return
            with try_lock(folder / "postgres.lock") as lock:
                if lock is not None:
                    self._server = _start_server(folder, self._settings, lock, deadline)
                    self._dsn = dsn_at(self._server.socket_folder)
                    return
            time.sleep(POLL_SECONDS)
        raise EmbeddedPostgresError(
            f"Another process has held {folder / 'postgres.lock'} for {START_TIMEOUT_SECONDS:.0f} s, but no "
            f"server answers there. {log_tail(folder / 'postgres.log')}"
        )


# --- Start and stop -------------------------------------------------------------------------------


class _Server(NamedTuple):
    """A server that we started, the thread that waits for its end, and where it answers."""

    process: subprocess.Popen[bytes]
    keeper: Thread
    data: Path
    socket_folder: Path


def _start_server(folder: Path, settings: Mapping[str, str], lock: int, deadline: float) -> _Server:
    """Start a server while we hold the lock, and wait until it answers."""
    data, log = folder / "data", folder / "postgres.log"
    wheel = choose_install(data)
    identity, install = choose_identity(wheel, data)
    with contextlib.ExitStack() as open_files:
        inherited = [lock]
        if install != wheel:
            inherited.append(open_files.enter_context(kept_from_cleaners(install.parent.parent)))
        if not data.exists():
            _make_cluster(folder, install, identity, settings, inherited)
        give(data, identity.file_owner)
        where = choose_socket_folder(data, identity.file_owner)
        command = _server_command(install, identity, data, where, settings)
        bound_log(log)
        said = log.stat().st_size if log.exists() else 0
        server = _Server(*_spawn(command, data, log, inherited), data, where)
    try:
        _wait_until_ready(server, deadline)
    except EmbeddedPostgresError as error:
        _stop_server(server)
        raise EmbeddedPostgresError(f"{error} {log_tail(log, said)}") from None
    except BaseException:
        _stop_server(server)
        raise
    return server


def _make_cluster(
    folder: Path, install: Path, identity: Identity, settings: Mapping[str, str], inherited: Sequence[int]
) -> None:
    """Run initdb beside the cluster's place and rename the result, so that a kill leaves no half cluster."""
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    give(fresh, identity.file_owner)
    command = [str(install / "bin" / "initdb"), "-D", as_seen_by(identity, fresh), "-U", "postgres"]
    command += ["-E", "UTF8", "--locale=C.UTF-8", "--auth=trust"]
    if settings.get("fsync") == "off":
        command.append("--no-sync")
    made = subprocess.run(
        launch_command(identity, fresh, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=launch_environment(),
        start_new_session=True,
        pass_fds=inherited,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        said = made.stdout.decode(errors="replace")[-LOG_TAIL_BYTES:].strip()
        raise EmbeddedPostgresError(
            f"initdb could not make a cluster in {folder}. It said:\n{said}\n{ADVICE}"
        )
    fresh.rename(folder / "data")
    sync_folder(folder)


def _server_command(
    install: Path, identity: Identity, data: Path, where: Path, settings: Mapping[str, str]
) -> list[str]:
    options = {
        **_SERVER_SETTINGS,
        **settings,
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": "." if where == data else str(where),
        "unix_socket_permissions": "0700",
    }
    command = [str(install / "bin" / "postgres"), "-D", as_seen_by(identity, data)]
    command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return launch_command(identity, data, command)


def _spawn(
    command: Sequence[str], data: Path, log: Path, inherited: Sequence[int]
) -> tuple[subprocess.Popen[bytes], Thread]:
    """Start the server from a thread that then waits for its end (why: `EmbeddedPostgres`)."""
    born: SimpleQueue[subprocess.Popen[bytes] | Exception] = SimpleQueue()
    stale = read_pid_file(data)
    stale_pid = stale.pid if stale is not None else ""

    def keep() -> None:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=launch_environment(stale_pid),
                start_new_session=True,
                pass_fds=inherited,
            )
        except Exception as error:  # whatever it is, it is raised below, in the caller's thread
            born.put(error)
        else:
            born.put(process)
            process.wait()

    output = open_private(log, os.O_WRONLY | os.O_APPEND)
    try:
        keeper = Thread(target=keep, name="embedded-postgres", daemon=True)
        keeper.start()
        outcome = born.get()
    finally:
        os.close(output)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome, keeper


def _wait_until_ready(server: _Server, deadline: float) -> None:
    pid = str(server.process.pid)
    while time.monotonic() < deadline:
        noted = read_pid_file(server.data)
        if not server.keeper.is_alive():
            raise EmbeddedPostgresError(f"The server in {server.data} ended at its start. {ADVICE}")
        if noted and (noted.pid, noted.status) == (pid, "ready") and answers(server.socket_folder):
            return
        server.keeper.join(POLL_SECONDS)
    raise EmbeddedPostgresError(f"The server in {server.data} was not ready in time. {ADVICE}")


def _stop_server(server: _Server) -> None:
    """Fast shutdown; after half a minute an immediate one: no data is lost, the next start is slower."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.keeper.is_alive():  # it isn't in a fork of the owner, which must not stop the server
            server.process.send_signal(number)
            server.keeper.join(STOP_TIMEOUT_SECONDS)
    if server.socket_folder != server.data:
        with contextlib.suppress(OSError):
            server.socket_folder.rmdir()
