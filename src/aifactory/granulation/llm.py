"""Calls to language models: the only place that speaks to a provider.

What a provider sends is not believed: sizes, types, times, usage and headers are checked, and whatever goes
wrong becomes a fault with a short fixed message. Nothing is retried here: each attempt is metered.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import httpx2
import msgspec
import openai

from aifactory.granulation.llm_answers import Answer, AnswerFault, EventLines, Failed, Finish, Reply
from aifactory.granulation.llm_progress import Tell, Telling
from aifactory.granulation.llm_refusals import (
    ERROR_BYTES,
    code_of_status,
    detail_of,
    error_in,
    failure_signal,
    fault_of,
    is_filtered,
    nothing_served,
    signal_of,
)
from aifactory.granulation.llm_requests import (
    NO_KEY_NEEDED,
    Call,
    first_wait_seconds,
    key_of,
    request_of,
    url_of,
)
from aifactory.kernel.clock import utc_now
from aifactory.resources.interface import Endpoint, Health, Usage

__all__ = ["Call", "Failed", "Finish", "ModelCalls", "Reply"]

_LOOPBACK = ("localhost", "127.", "::1")

_TEXT_BYTES_PER_TOKEN = 16
_WIRE_BYTES_PER_TOKEN = 1024
_WIRE_BYTES_AT_LEAST = 65_536
_LINGER_SECONDS = 0.2  # So long may a stream take to end after its last event, to use its connection again.

_LOST = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    OSError,
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)

# OPENAI_LOG sets this at import; what is logged is this program's own decision.
logging.getLogger("openai").setLevel(logging.WARNING)


class _Line:
    """An open client of one endpoint, and how many calls use it."""

    def __init__(self, *, endpoint: Endpoint, client: openai.AsyncOpenAI) -> None:
        self.endpoint = endpoint
        self.client = client
        self.calls = 0
        self.is_retired = False


class ModelCalls:
    """Calls models at any OpenAI-compatible endpoint.

    Keys are read from ``environ`` at each call. No OPENAI_* variable of the process has any effect, for any
    provider. Proxies and certificates that the process's environment names (HTTPS_PROXY, NO_PROXY,
    SSL_CERT_FILE) are used for every endpoint but those on this machine's loopback.
    """

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lines: dict[str, _Line] = {}

    async def complete(
        self, endpoint: Endpoint, model: str, call: Call, tell: Tell | None = None
    ) -> Reply | Failed:
        """Ask a model, and return its complete answer or why there is none.

        Waits ``first_token_seconds`` for the first content of a streamed answer (comments don't count), four
        times that for one that is not streamed, then ``idle_seconds`` between pieces; how long all of it may
        take is the caller's business. Cancelling closes the connection at once. ``tell`` hears of a stream.
        """
        key = key_of(endpoint, self._environ)
        if not key:
            return _failed("no_api_key", {}, usage=Usage())
        try:
            async with self._line(endpoint) as client:
                return await _attempt(client, endpoint, model, call, key, tell)
        except httpx2.InvalidURL:
            return _failed("unreachable", {}, usage=Usage())

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            await line.client.close()

    @asynccontextmanager
    async def _line(self, endpoint: Endpoint) -> AsyncIterator[openai.AsyncOpenAI]:
        """Give the endpoint's client; one whose endpoint has changed is closed after its last call."""
        line = self._lines.get(endpoint.provider)
        if line is None or line.endpoint != endpoint:
            former, line = line, _Line(endpoint=endpoint, client=_open_client(endpoint))
            self._lines[endpoint.provider] = line
            if former:
                former.is_retired = True
                await _close_unused(former)
        line.calls += 1
        try:
            yield line.client
        finally:
            line.calls -= 1
            await _close_unused(line)


async def _close_unused(line: _Line) -> None:
    if line.is_retired and not line.calls:
        with anyio.CancelScope(shield=True):
            await line.client.close()


def _open_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """Open a client that follows no redirect, retries nothing and takes nothing from OPENAI_* variables.

    Raises InvalidURL when the endpoint's address is none.
    """
    url = httpx2.URL(url_of(endpoint))
    if not url.host or (url.port or 0) > 65_535:
        raise httpx2.InvalidURL("no address")
    silence = max(first_wait_seconds(endpoint), endpoint.idle_seconds)
    client = openai.AsyncOpenAI(
        api_key=NO_KEY_NEEDED,
        base_url=url,
        max_retries=0,
        timeout=httpx2.Timeout(
            connect=endpoint.connect_seconds, read=silence, write=silence, pool=endpoint.connect_seconds
        ),
        http_client=openai.DefaultAsyncHttpxClient(
            follow_redirects=False,
            trust_env=not url.host.startswith(_LOOPBACK),
            # The scheduler bounds the calls.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            event_hooks={"response": [_cut_error]},
        ),
    )
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS, which no argument turns off
    return client


class _Head(httpx2.AsyncByteStream):
    """The first bytes of a body, whatever its length."""

    def __init__(self, *, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk[: self._left]
            self._left -= len(chunk)
            if self._left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _cut_error(response: httpx2.Response) -> None:
    """Bound an error's body, which the client reads whole."""
    if response.status_code >= 300 and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Head(stream=response.stream, limit=ERROR_BYTES)


async def _attempt(
    client: openai.AsyncOpenAI, endpoint: Endpoint, model: str, call: Call, key: str, tell: Tell | None
) -> Reply | Failed:
    reading = _Reading(endpoint=endpoint, call=call, tell=tell)
    code = ""
    with anyio.move_on_after(first_wait_seconds(endpoint)) as reading.scope:
        try:
            await _exchange(client, request_of(endpoint, model, call), call.call_id, key, reading)
        except openai.APIStatusError as error:
            return _refused(error, endpoint, model, call, key)
        except _LOST as error:
            code = _code_of_loss(error)
        except AnswerFault as fault:
            code = fault.code
        except RuntimeError:
            if not client.is_closed():
                raise
            code = "cut_off"
    if reading.scope.cancelled_caught:
        code = "timeout"
    answer = reading.answer
    if code and not (answer.is_whole and code in ("timeout", "cut_off")):
        usage = Usage() if code == "unreachable" else answer.usage
        return _failed(code, reading.headers, usage=usage)
    return Reply(
        text=answer.text,
        finish=answer.finish,
        usage=answer.usage,
        model=answer.model or model,
        simulated=endpoint.simulated or answer.simulated or _says_simulated(reading.headers),
        signal=signal_of(reading.headers, Health.GOOD),
        seconds_to_first_token=reading.first_seconds,
    )


class _Reading:
    """What has come of an answer, and until when the next piece must."""

    scope: anyio.CancelScope

    def __init__(self, *, endpoint: Endpoint, call: Call, tell: Tell | None) -> None:
        self.endpoint = endpoint
        self.answer = Answer(text_bytes=call.max_output_tokens * _TEXT_BYTES_PER_TOKEN)
        self.bytes_left = max(_WIRE_BYTES_AT_LEAST, call.max_output_tokens * _WIRE_BYTES_PER_TOKEN)
        self.headers: Mapping[str, str] = {}
        self.first_seconds: float | None = None
        self.began = anyio.current_time()
        self.telling = Telling(tell=tell)

    def count(self, chunk: bytes) -> None:
        """Bound the bytes of an answer, whatever is in them."""
        self.bytes_left -= len(chunk)
        if self.bytes_left < 0:
            raise AnswerFault("too_long")

    def allow(self, seconds: float) -> None:
        """Give the next piece so long."""
        self.scope.deadline = anyio.current_time() + seconds


async def _exchange(
    client: openai.AsyncOpenAI, body: dict[str, Any], call_id: str, key: str, reading: _Reading
) -> None:
    """Send a request and read its answer; the connection is closed or free at the end, however it comes."""
    sent = client.chat.completions.with_streaming_response.create(
        **body, extra_headers={"Authorization": f"Bearer {key}", "X-Client-Request-Id": call_id}
    )
    async with sent as response:
        reading.headers = response.headers
        kind = response.headers.get("content-type", "").lower()
        is_stream = "event-stream" in kind or ("json" not in kind and reading.endpoint.streaming)
        async with aclosing(cast(AsyncGenerator[bytes], response.iter_bytes())) as chunks:
            await (_read_events if is_stream else _read_document)(chunks, reading)


async def _read_events(chunks: AsyncIterator[bytes], reading: _Reading) -> None:
    lines, seen = EventLines(), False
    async for chunk in chunks:
        reading.count(chunk)
        seen = seen or bool(chunk.strip())
        for payload in lines.feed(chunk):
            _take_event(payload, reading)
    for payload in lines.end():
        _take_event(payload, reading)
    answer = reading.answer
    if not answer.is_whole:
        raise AnswerFault("cut_off" if answer.started or not seen else "bad_answer")


def _take_event(payload: bytes, reading: _Reading) -> None:
    answer = reading.answer
    if answer.done:
        return
    if payload.startswith(b"[DONE]"):
        answer.done = True
        reading.allow(_LINGER_SECONDS)
        return
    answer.take(payload)
    if answer.started:
        if reading.first_seconds is None:
            reading.first_seconds = anyio.current_time() - reading.began
        reading.allow(reading.endpoint.idle_seconds)
        reading.telling.look(answer, anyio.current_time())


async def _read_document(chunks: AsyncIterator[bytes], reading: _Reading) -> None:
    body = bytearray()
    async for chunk in chunks:
        reading.count(chunk)
        body += chunk
        reading.allow(reading.endpoint.idle_seconds)
    reading.answer.take(bytes(body))
    reading.answer.done = True
    if not reading.answer.is_whole:
        raise AnswerFault("bad_answer")


def _code_of_loss(error: Exception) -> str:
    """Return the fault of a connection that was not made, or not kept."""
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(cause, _NOT_SENT):
        return "unreachable"
    if isinstance(cause, httpx2.DecodingError):
        return "bad_answer"
    return "timeout" if isinstance(cause, httpx2.TimeoutException | TimeoutError) else "cut_off"


def _refused(
    error: openai.APIStatusError, endpoint: Endpoint, model: str, call: Call, key: str
) -> Reply | Failed:
    """Read an answer that is not a good one."""
    headers, status = error.response.headers, error.status_code
    told = error_in(error.response.content)
    if is_filtered(status, told or {}):
        return Reply(
            text="",
            finish=Finish.REFUSAL,
            usage=Usage(),
            model=model,
            simulated=endpoint.simulated or _says_simulated(headers),
            signal=signal_of(headers, Health.GOOD),
        )
    code = code_of_status(status, told or {})
    prompt = (call.system, call.user)
    detail = detail_of(told or {}, key=key, prompt=prompt) if code == "bad_request" else ""
    usage = Usage() if nothing_served(status, told) else None
    return _failed(code, headers, usage=usage, detail=detail)


def _failed(code: str, headers: Mapping[str, str], *, usage: Usage | None, detail: str = "") -> Failed:
    fault = fault_of(code, detail=detail)
    signal = failure_signal(headers, fault, utc_now())
    pause = signal.blocked_seconds
    return Failed(fault=msgspec.structs.replace(fault, retry_after_seconds=pause), usage=usage, signal=signal)


def _says_simulated(headers: Mapping[str, str]) -> bool:
    return headers.get("x-simulated", "").strip().lower() == "true"
