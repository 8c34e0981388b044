"""What a run's figures depend on: the machine, its disk, the versions, who else is at work."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bench.running import Bench
from bench.servers import Server

SYNCS = 100
_SHOWN = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections", "wal_level")
_IN_MEMORY = {"tmpfs", "ramfs"}


def describe(bench: Bench, place: Path) -> dict[str, str]:
    """Return what there is to say, in the order to say it."""
    memory = psutil.virtual_memory().total / 2**30
    kind = filesystem_of(place)
    in_memory = " IN MEMORY: commits cost nothing here" if kind in _IN_MEMORY else ""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {kernel(platform.release())}, Python {platform.python_version()}",
        "disk": f"{kind}, a write and its fsync {fsync_ms(place):.2f} ms in the median{in_memory}",
        "load before": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "PostgreSQL": _postgres(bench.server),
        "source": _revision(place),
        "peers": ", ".join(_versions(bench)) or "none: they could not be installed, or were not wanted",
    }


def kernel(release: str) -> str:
    """Return major and minor of a kernel: what follows names the host's own build."""
    return ".".join(release.split("-")[0].split(".")[:2])


def filesystem_of(place: Path) -> str:
    """Return the kind of the filesystem that a folder is on."""
    mounted = [
        (len(part.mountpoint), part.fstype)
        for part in psutil.disk_partitions(all=True)
        if place.resolve().is_relative_to(part.mountpoint)
    ]
    return max(mounted, default=(0, "unknown"))[1]


def fsync_ms(place: Path) -> float:
    """Return how long it takes to write a page and to know that it is on the disk, in the median."""
    taken = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(8192))
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _postgres(server: Server) -> str:
    (row,) = server.fetch("SELECT current_setting('server_version') AS version")
    settings = [f"{name} {server.fetch(f'SHOW {name}')[0][0]}" for name in _SHOWN]
    return f"{row['version']}; {', '.join(settings)}"


def _revision(place: Path) -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, check=False)
    return done.stdout.strip() or "unknown"


def _versions(bench: Bench) -> list[str]:
    if bench.peers is None:
        return []
    wanted = ("pgqueuer", "asyncpg", "procrastinate", "psycopg-binary", "uvloop")
    code = (
        f"from importlib.metadata import version; print(*(n + ' ' + version(n) for n in {wanted}), sep='\\n')"
    )
    done = subprocess.run([bench.peers, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]
