"""The embedded PostgreSQL server's files: its user's own, locked while it lives, with a bounded log."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

LOG_LIMIT_BYTES = 8_000_000
LOG_TAIL_BYTES = 4_000


# --- Ownership ------------------------------------------------------------------------------------


def make_private(folder: Path) -> None:
    """Make the folder, closed to others; one that exists keeps its mode (only `data` needs to be closed)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, flags: int) -> int:
    """Open or make a file for the folder's owner alone, also when root does it for him."""
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def is_ours(folder: Path) -> bool:
    """Whether only we can have put files there: a real folder, our own, closed to others' writing."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def give(path: Path, owner: tuple[int, int]) -> None:
    """Make a tree the server's own, if it is not."""
    if path.stat().st_uid == owner[0]:
        return
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), *owner, follow_symlinks=False)
    os.chown(path, *owner)  # last: until then another attempt sees that there is work left


def sync_folder(folder: Path) -> None:
    """Put the names in the folder on the disk, so that a rename in it outlasts a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- Locks ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[int | None]:
    """The locked file, or None. Closing it here leaves it locked while a server that inherited it lives."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def kept_from_cleaners(folder: Path) -> Iterator[int]:
    """A shared lock for the server to inherit: systemd-tmpfiles leaves locked folders alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


# --- The log --------------------------------------------------------------------------------------


def bound_log(path: Path) -> None:
    """Keep the end of a log that has grown too long; the server appends, so it writes on behind it."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        tail = _read_end(path, LOG_LIMIT_BYTES // 8)
        os.truncate(path, 0)
        with path.open("ab") as log:
            log.write(tail)


def log_tail(path: Path, start: int = 0) -> str:
    """The last lines of the log for an error's text."""
    text = _read_end(path, LOG_TAIL_BYTES, start).decode(errors="replace").strip() if path.exists() else ""
    return f"The end of {path}:\n{text}" if text else f"Nothing was written to {path}."


def _read_end(path: Path, size: int, start: int = 0) -> bytes:
    with path.open("rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - size))
        return file.read(size)
