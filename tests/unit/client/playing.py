"""Carries plans out against a script instead of a server."""

from collections.abc import Generator, Iterable
from typing import Any

import msgspec

from aifactory.client.exchange import Answer, Broken, Call, Open, Pause, Read, Retries, Send, Session
from aifactory.client.models import Event

REFUSED = Broken(reason="refused", unreached=True)
CUT = Broken(reason="reset by peer")


def answer(status: int = 200, body: object = None, **headers: str) -> Answer:
    """Return an answer; names of headers with ``_`` for ``-``."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body if body is not None else {})
    kind = {"content-type": "application/json" if status < 400 else "application/problem+json"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=kind | given, body=content)


STREAM = answer(200, b"", content_type="text/event-stream")


def event(seq: int, type_: str = "job.succeeded", **data: Any) -> bytes:
    """Return an event as it is streamed."""
    body = {
        "type": type_,
        "timestamp": "2026-11-22T06:00:00.000Z",
        "data": {"executionId": "exec_1", "state": "running", **data},
    }
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, type_.encode(), msgspec.json.encode(body))


def end(state: str = "succeeded") -> bytes:
    """Return the last event."""
    return event(0, "end", state=state).partition(b"\n")[2]


class Play:
    """A script of outcomes for Send, Open and Read, a clock that only pauses move, and what was done."""

    def __init__(self, *outcomes: Any, retries: Retries | None = None, chance: float = 0.5) -> None:
        self.script = list(outcomes)
        self.now = 100.0
        self.read_takes = 0.0
        self.pauses: list[float] = []
        self.calls: list[Call] = []
        self.session = Session(
            url="http://factory",
            retries=retries or Retries(),
            clock=lambda: self.now,
            chance=lambda: chance,
        )

    def run(self, plan: Generator[Any, Any, Any]) -> Any:
        """Return what the plan returns."""
        found: list[Any] = []
        for event in self._steps(plan, found):
            raise AssertionError(event)
        return found[0]

    def events(self, plan: Generator[Any, Any, Any]) -> list[Event]:
        """Return the events that the plan yields."""
        return list(self._steps(plan, []))

    def _steps(self, plan: Generator[Any, Any, Any], found: list[Any]) -> Iterable[Event]:
        outcome: Any = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as done:
                found.append(done.value)
                return
            outcome = None
            if isinstance(step, Event):
                yield step
            elif isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.now += step.seconds
            else:
                outcome = self._next(step)

    def _next(self, step: Any) -> Any:
        if isinstance(step, Send | Open):
            self.calls.append(step.call)
        if isinstance(step, Read):
            self.now += self.read_takes
        assert self.script, f"nothing is scripted for {step}"
        return self.script.pop(0)
