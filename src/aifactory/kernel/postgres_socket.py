"""Where the embedded PostgreSQL server answers: the socket, its folder, and the server's own note of it."""

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from aifactory.kernel.postgres_errors import ADVICE, EmbeddedPostgresError
from aifactory.kernel.postgres_files import is_ours

PORT = 5432  # nothing listens on it: it only names the socket file
PROBE_TIMEOUT_SECONDS = 5.0

_SOCKET = f".s.PGSQL.{PORT}"
_SOCKET_PATH_LIMIT = 100  # the kernel's is 108 (104 on macOS), its last byte a zero


# --- Looking for a server that runs ---------------------------------------------------------------


class PidFile(NamedTuple):
    """The lines of `postmaster.pid` that matter here; empty where the server has not written them yet."""

    pid: str
    socket_folder: str
    status: str


def read_pid_file(data: Path) -> PidFile | None:
    """What the last server of this cluster noted of itself, unless it took the note away at its end."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    lines += [""] * (8 - len(lines))
    return PidFile(pid=lines[0].strip(), socket_folder=lines[4].strip(), status=lines[7].strip())


def find_running(data: Path) -> Path | None:
    """The socket folder of the server that answers for this cluster, if one does."""
    noted = read_pid_file(data)
    if noted is None or noted.status != "ready":
        return None
    where = _noted_socket_folder(data, noted)
    return where if answers(where) else None


def _noted_socket_folder(data: Path, noted: PidFile) -> Path:
    """Where the server put its socket; not where the note in a copied folder says the original's is."""
    elsewhere = Path(noted.socket_folder)
    return elsewhere if elsewhere.name == _socket_folder_name(data) else data


def answers(where: Path) -> bool:
    """Whether a server accepts `postgres` on the socket there, or refuses only because it is full."""
    user = b"user\0postgres\0database\0postgres\0\0"
    hello = (len(user) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + user
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PROBE_TIMEOUT_SECONDS)
            link.connect(str(where / _SOCKET))
            link.sendall(hello)
            reply = link.recv(1024)
            with contextlib.suppress(OSError):  # a goodbye, or the server logs a broken connection
                link.sendall(b"X\0\0\0\4")
                while link.recv(1024):
                    pass
    except OSError:
        return False
    return reply[:1] == b"R" or (reply[:1] == b"E" and b"C57P" not in reply)  # 57P: starting or stopping


def dsn_at(where: Path) -> str:
    """How asyncpg reaches the server whose socket is in this folder."""
    return f"postgresql://postgres@/postgres?host={quote(str(where))}&port={PORT}"


# --- A place for a new socket ---------------------------------------------------------------------


def choose_socket_folder(data: Path, owner: tuple[int, int]) -> Path:
    """The cluster's own, which postgres keeps closed to others; a temporary one where that can't be."""
    if _can_hold_socket(data):
        return data
    name = _socket_folder_name(data)
    noted = read_pid_file(data)
    known = [Path(noted.socket_folder).parent] if noted and Path(noted.socket_folder).name == name else []
    for place in (*known, Path(tempfile.gettempdir()), Path("/tmp")):
        if _make_socket_folder(place / name, owner) and _can_hold_socket(place / name):
            return place / name
    raise EmbeddedPostgresError(f"No place for the socket of {data}: its path is too long. {ADVICE}")


def _make_socket_folder(where: Path, owner: tuple[int, int]) -> bool:
    """Whether the folder is there, closed to all but the server's user, who owns it."""
    try:
        with contextlib.suppress(FileExistsError):
            where.mkdir(mode=0o700)
        if is_ours(where):
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
