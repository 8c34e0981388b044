"""Processes of ``aifactory``, forked off one which has read all the code: each starts at once.

Each is a process as any other (a session, an environment and output files of its own, the same ``main``),
only that its modules are there already: reading them takes most of what a start costs.
``python -m prove.nursery`` is that one; it starts another for each line, and ends with its standard input.
"""

import atexit
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any, NoReturn

POLL_SECONDS = 0.01


class Forked:
    """A process out of the nursery, with the methods of a ``Popen``."""

    def __init__(self, pid: int, note: Path) -> None:
        self.pid = pid
        self._note = note  #: its exit code, once it has ended

    def poll(self) -> int | None:
        """Return its exit code, or None while it lives."""
        return int(self._note.read_text()) if self._note.exists() else None

    def wait(self, timeout: float) -> int:
        """Wait until it has ended; returns its exit code. Raises subprocess.TimeoutExpired."""
        ends = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Starts processes of ``aifactory``; safe to call from any thread."""

    def __init__(self) -> None:
        self._notes = tempfile.TemporaryDirectory(prefix="aifactory-nursery-")
        self._lock = Lock()
        self._starts = 0
        self._process: subprocess.Popen[str] | None = None

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdout: Path,
        stderr: Path,
    ) -> Forked:
        """Start ``aifactory`` with these arguments in a folder; what it says is appended to the two files."""
        with self._lock:
            if self._process is None:
                self._process = _open()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._starts += 1
            note = Path(self._notes.name) / str(self._starts)
            wanted = {
                "arguments": list(arguments),
                "environment": dict(environment),
                "folder": str(folder),
                "stdout": str(stdout),
                "stderr": str(stderr),
                "note": str(note),
            }
            self._process.stdin.write(json.dumps(wanted) + "\n")
            self._process.stdin.flush()
            return Forked(int(self._process.stdout.readline()), note)

    def close(self) -> None:
        """Start no more. Whoever lives goes on."""
        if self._process is not None:
            self._process.communicate()
        self._notes.cleanup()


def _open() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "prove.nursery"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


NURSERY = Nursery()
atexit.register(NURSERY.close)


# The nursery's own process.


def rear() -> None:
    """Fork for each line, and say the process id, until no more can come."""
    living: dict[int, str] = {}

    def bury(_: int, __: FrameType | None) -> None:
        for pid, note in list(living.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del living[pid]
                Path(f"{note}.new").write_text(str(os.waitstatus_to_exitcode(status)))
                Path(f"{note}.new").rename(note)

    _read_the_code()
    signal.signal(signal.SIGCHLD, bury)
    for line in sys.stdin:
        wanted = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            _live(wanted)
        living[pid] = wanted["note"]
        print(pid, flush=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _read_the_code() -> None:
    """Load what ``serve`` and ``demo`` need, at once or later; the command line looks at the environment."""
    gc.disable()
    import aifactory.__main__
    import aifactory.accounts.webhook_sending
    import aifactory.client
    import aifactory.demo_view
    import aifactory.granulation.llm
    import aifactory.server  # noqa: F401

    gc.freeze()


def _live(wanted: dict[str, Any]) -> NoReturn:
    """Be ``python -m aifactory``."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    os.setsid()
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, wanted["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, wanted["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    random.seed()  # or all would draw the same numbers
    main = sys.modules["aifactory.__main__"]
    sys.modules["__main__"] = main  # which worker processes load
    sys.argv = [str(main.__file__), *wanted["arguments"]]
    main.main()
    raise AssertionError("main does not return")


if __name__ == "__main__":
    rear()
