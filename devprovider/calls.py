"""The provider's own book of calls: what each was billed and whether its usage reached the wire."""

from datetime import datetime
from pathlib import Path
from threading import Condition

import msgspec


class Call(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One call. ``served``: it is billed; ``fault``: what was simulated, or ``limit`` or ``client_left``."""

    id: str
    client_request_id: str
    at: datetime
    model: str
    status: int
    fault: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_nano: int
    served: bool
    usage_sent: bool
    prompt_hash: str
    seconds: float


class CallLog:
    """Calls in the order in which they ended, in memory and, when a path is given, as JSON lines."""

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path
        self._calls: list[Call] = []
        self._changed = Condition()

    def add(self, call: Call) -> None:
        """Write a call down."""
        with self._changed:
            self._calls.append(call)
            if self.path:
                with self.path.open("ab") as file:
                    file.write(msgspec.json.encode(call) + b"\n")
            self._changed.notify_all()

    def all(self) -> list[Call]:
        """A copy of the book."""
        with self._changed:
            return list(self._calls)

    def wait(self, count: int, seconds: float) -> bool:
        """Wait for so many calls: a client may know of an end before the server. False: too late."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._calls) >= count, seconds)

    def clear(self) -> None:
        """Empty the book; the file is kept."""
        with self._changed:
            self._calls.clear()
