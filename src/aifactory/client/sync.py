"""``AIFactory``: the client for ordinary code."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx2

from aifactory.client import account, content, following, positions, sources, work
from aifactory.client.connection import FAULTS, answer_of, broken_by, connect, request_arguments
from aifactory.client.exchange import (
    Answer,
    Broken,
    Open,
    Pause,
    Plan,
    Read,
    ReadFile,
    Retries,
    Send,
    Session,
    Step,
)
from aifactory.client.following import Following
from aifactory.client.models import Event
from aifactory.client.signatures import like

PATIENT = Retries()

P = ParamSpec("P")
T = TypeVar("T")


def _doing(plan: Callable[Concatenate[Session, P], Plan[T]]) -> Callable[Concatenate["AIFactory", P], T]:
    def method(self: "AIFactory", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._carry_out(plan(self.session, *args, **kwargs))

    return like(plan, method)


def _following(
    plan: Callable[Concatenate[Session, P], Following],
) -> Callable[Concatenate["AIFactory", P], Generator[Event, None, None]]:
    def method(self: "AIFactory", /, *args: P.args, **kwargs: P.kwargs) -> Generator[Event, None, None]:
        return self._follow(plan(self.session, *args, **kwargs))

    return like(plan, method, returns=Iterator[Event])


class AIFactory:
    """Talks to an AI Factory. Safe to use from several threads; close it, or use it in a ``with``.

    Without arguments, AIFACTORY_URL and AIFACTORY_API_KEY say where and who. ``timeout``: seconds of silence
    that are borne. Calls are repeated where that is safe and may help, within ``retries``.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        session_token: str | None = None,
        timeout: float = 30.0,
        retries: Retries = PATIENT,
    ) -> None:
        self._connection = connect(url, api_key, session_token, timeout)
        self.session = Session(url=self._connection.url, retries=retries)
        self._http = httpx2.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    submit = _doing(work.submit)
    execute = _doing(work.execute)
    request = _doing(work.request)
    list = _doing(work.list_requests)
    status = _doing(work.status)
    execution = _doing(work.execution)
    progress = _doing(work.progress)
    position = _doing(positions.position)
    result = _doing(work.result)
    cancel = _doing(work.cancel)
    retry = _doing(work.retry)
    estimate = _doing(work.estimate)
    wait = _doing(following.wait)
    events = _following(following.events)
    upload = _doing(sources.upload)
    tree = _doing(content.tree)
    trees = _doing(content.list_trees)
    outline = _doing(content.outline)
    violations = _doing(content.violations)
    export = _doing(content.export)
    validate = _doing(content.validate)
    health = _doing(account.health)
    templates = _doing(account.templates)
    template = _doing(account.template)
    caller = _doing(account.caller)
    usage = _doing(account.usage)
    budgets = _doing(account.budgets)
    usage_report = _doing(account.usage_report)
    usage_csv = _doing(account.usage_csv)
    keys = _doing(account.keys)
    create_key = _doing(account.create_key)
    rotate_key = _doing(account.rotate_key)
    revoke_key = _doing(account.revoke_key)
    webhooks = _doing(account.webhooks)
    create_webhook = _doing(account.create_webhook)
    delete_webhook = _doing(account.delete_webhook)

    def _carry_out(self, plan: Plan[T]) -> T:
        outcome: Any = None
        with contextlib.closing(_Hands(self)) as hands:
            while True:
                try:
                    step = plan.send(outcome)
                except StopIteration as done:
                    found: T = done.value
                    return found
                outcome = hands.do(step)

    def _follow(self, plan: Following) -> Generator[Event, None, None]:
        outcome: Any = None
        with contextlib.closing(_Hands(self)) as hands:
            while True:
                try:
                    step = plan.send(outcome)
                except StopIteration:
                    return
                if isinstance(step, Event):
                    yield step
                    outcome = None
                else:
                    outcome = hands.do(step)


class _Hands:
    """Does the steps of one plan, with at most one open stream."""

    def __init__(self, client: AIFactory) -> None:
        self._client = client
        self._stream: httpx2.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def do(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, ReadFile):
            return step.path.read_bytes()
        try:
            return self._read() if isinstance(step, Read) else self._send(step)
        except FAULTS as error:
            return broken_by(error)

    def _send(self, step: Send | Open) -> Answer | Broken:
        self.close()
        client = self._client
        request = client._http.build_request(**request_arguments(client._connection, step.call))
        response = client._http.send(request, stream=True)
        if isinstance(step, Open) and response.status_code == 200:
            self._stream, self._chunks = response, response.iter_bytes()
            return answer_of(response, b"")
        with contextlib.closing(response):
            return answer_of(response, response.read())

    def _read(self) -> bytes:
        return next(self._chunks, b"")
