"""``AsyncAIFactory``: the client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
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


def _doing(
    plan: Callable[Concatenate[Session, P], Plan[T]],
) -> Callable[Concatenate["AsyncAIFactory", P], Coroutine[Any, Any, T]]:
    async def method(self: "AsyncAIFactory", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._carry_out(plan(self.session, *args, **kwargs))

    return like(plan, method)


def _following(
    plan: Callable[Concatenate[Session, P], Following],
) -> Callable[Concatenate["AsyncAIFactory", P], AsyncGenerator[Event, None]]:
    def method(self: "AsyncAIFactory", /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Event, None]:
        return self._follow(plan(self.session, *args, **kwargs))

    return like(plan, method, returns=AsyncGenerator[Event, None])


class AsyncAIFactory:
    """Talks to an AI Factory from asyncio: the same methods, awaited. Close it, or use ``async with``.

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
        self._http = httpx2.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

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

    async def _carry_out(self, plan: Plan[T]) -> T:
        outcome: Any = None
        hands = _Hands(self)
        try:
            while True:
                try:
                    step = plan.send(outcome)
                except StopIteration as done:
                    found: T = done.value
                    return found
                outcome = await hands.do(step)
        finally:
            await hands.close()

    async def _follow(self, plan: Following) -> AsyncGenerator[Event, None]:
        outcome: Any = None
        hands = _Hands(self)
        try:
            while True:
                try:
                    step = plan.send(outcome)
                except StopIteration:
                    return
                if isinstance(step, Event):
                    yield step
                    outcome = None
                else:
                    outcome = await hands.do(step)
        finally:
            await hands.close()


class _Hands:
    """Does the steps of one plan, with at most one open stream."""

    def __init__(self, client: AsyncAIFactory) -> None:
        self._client = client
        self._stream: httpx2.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.aclose()

    async def do(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, ReadFile):
            return await asyncio.to_thread(step.path.read_bytes)
        try:
            return await (self._read() if isinstance(step, Read) else self._send(step))
        except FAULTS as error:
            return broken_by(error)

    async def _send(self, step: Send | Open) -> Answer | Broken:
        await self.close()
        client = self._client
        request = client._http.build_request(**request_arguments(client._connection, step.call))
        response = await client._http.send(request, stream=True)
        if isinstance(step, Open) and response.status_code == 200:
            self._stream, self._chunks = response, response.aiter_bytes()
            return answer_of(response, b"")
        try:
            return answer_of(response, await response.aread())
        finally:
            await response.aclose()

    async def _read(self) -> bytes:
        assert self._chunks is not None
        return await anext(self._chunks, b"")
