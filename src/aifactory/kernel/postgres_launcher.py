"""The program that becomes the embedded PostgreSQL server, and the commands that run it.

It runs as `python -I -S` on this very file, where neither this package nor any other can be imported: so only
the standard library here, and little of it, since every start waits for these imports.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

_DATA_PATH_LIMIT = 900  # postgres has room for 1,024 bytes, with the names of its files


class Identity(NamedTuple):
    """As whom the server runs: as we are, as ourselves by another name (user namespace), or as an account."""

    mode: Literal["direct", "namespace", "account"]
    uid: int
    gid: int

    @property
    def file_owner(self) -> tuple[int, int]:
        """User and group of the server's files, seen from outside of a namespace."""
        return (self.uid, self.gid) if self.mode == "account" else (os.geteuid(), os.getegid())


# --- In the process that wants a server -----------------------------------------------------------


def launch_command(identity: Identity, folder: Path, command: Sequence[str]) -> list[str]:
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


def as_seen_by(identity: Identity, data: Path) -> str:
    """How the server names its folder, where the launcher puts it before the switch of user.

    Not by the full path if it is too long for postgres, or if another user may not be able to walk there.
    """
    plain = identity.mode == "direct" and len(os.fsencode(data)) < _DATA_PATH_LIMIT
    return str(data) if plain else "/proc/self/cwd"


def launch_environment(stale_pid: str = "") -> dict[str, str]:
    """Ours without libpq's variables, and with leave to ignore a stale pid, another program's by now."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    mine["LC_ALL"] = "C"
    if stale_pid:
        mine["PG_GRANDPARENT_PID"] = stale_pid
    return mine


# --- In the process that becomes the server -------------------------------------------------------


def _launch(arguments: Sequence[str]) -> NoReturn:
    owner, mode, uid, gid, folder, *command = arguments
    identity = Identity(mode, int(uid), int(gid))  # type: ignore[arg-type]  # written by launch_command
    try:
        _become(int(owner), identity, folder, command)
    except OSError as error:
        sys.exit(f"can't run {command[0]}: {error}")


def _become(owner: int, identity: Identity, folder: str, command: Sequence[str]) -> NoReturn:
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


def _enter_user_namespace(identity: Identity) -> None:
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


if __name__ == "__main__":
    _launch(sys.argv[1:])
