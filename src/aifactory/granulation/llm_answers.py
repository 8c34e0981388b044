"""What a provider's answer says: its text, how it ended, what it used. Pure; believes no size and no type."""

from enum import StrEnum
from typing import Any

import msgspec

from aifactory.granulation.llm_refusals import code_of_late_error
from aifactory.resources.interface import JobFault, Signal, Usage

_MOST_TOKENS = 10_000_000
"""No call uses more of one kind; a provider that says so is not believed."""

_MODEL_CHARACTERS = 200


class Finish(StrEnum):
    """How an answer ended: by itself, at the limit, or refused by the model or its provider's filter."""

    STOP = "stop"
    LENGTH = "length"
    REFUSAL = "refusal"


_FINISHES = {
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "content_filter": Finish.REFUSAL,
    "refusal": Finish.REFUSAL,
    "safety": Finish.REFUSAL,
}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer. ``usage`` None: the provider did not say what it used, or lied.

    ``simulated``: no model wrote it. ``seconds_to_first_token`` only of a streamed answer.
    """

    text: str
    finish: Finish
    usage: Usage | None
    model: str
    simulated: bool
    signal: Signal
    seconds_to_first_token: float | None = None


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A call without an answer. ``usage`` of zero: nothing was served; None: nobody knows."""

    fault: JobFault
    usage: Usage | None
    signal: Signal


class AnswerFault(Exception):
    """Ends the reading of an answer; ``code`` is a fault's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Part(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None


class _Choice(msgspec.Struct):
    index: Any = 0
    delta: _Part | None = None
    message: _Part | None = None
    finish_reason: str | None = None


class _Document(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None
    system_fingerprint: Any = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Document)


class Answer:
    """An answer as it arrives, in one document or many.

    ``done``: the stream said that it is at its end. ``started``: something of the answer has come.
    ``pieces``: its text as it came.
    """

    def __init__(self, *, text_bytes: int) -> None:
        self._left = text_bytes
        self.pieces: list[str] = []
        self._refused = False
        self._usage: Any = None
        self._finish: Finish | None = None
        self.model = ""
        self.simulated = False
        self.started = False
        self.done = False

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self.pieces)

    @property
    def finish(self) -> Finish:
        """How it ended; by itself unless the provider said otherwise."""
        return Finish.REFUSAL if self._refused else self._finish or Finish.STOP

    @property
    def usage(self) -> Usage | None:
        """What the provider said last that it used."""
        return usage_of(self._usage)

    @property
    def is_whole(self) -> bool:
        """Whether it has ended, so that what happens to its connection no longer matters."""
        return self._finish is not None or (self.done and (bool(self.pieces) or self._refused))

    def take(self, document: bytes) -> None:
        """Add a document. Raises AnswerFault when it is no answer, an error, or more than was allowed."""
        try:
            said = _DECODER.decode(document)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise AnswerFault("bad_answer") from None
        if said.usage is not None:
            self._usage = said.usage
        if said.error:
            raise AnswerFault(code_of_late_error(said.error))
        if isinstance(said.model, str):
            self.model = said.model[:_MODEL_CHARACTERS]
        self.simulated = self.simulated or said.system_fingerprint == "simulated"
        for choice in said.choices or ():
            if choice.index in (0, None):
                self._add(choice)

    def _add(self, choice: _Choice) -> None:
        part = choice.message or choice.delta or _Part()
        if part.content:
            self._left -= len(part.content.encode())
            if self._left < 0:
                raise AnswerFault("too_long")
            self.pieces.append(part.content)
        self._refused = self._refused or bool(part.refusal)
        self.started = self.started or any(
            (part.content, part.refusal, part.reasoning, part.reasoning_content)
        )
        if choice.finish_reason == "error":
            raise AnswerFault("provider_error")
        if choice.finish_reason:
            self._finish = _FINISHES.get(choice.finish_reason.lower(), Finish.STOP)


class EventLines:
    """Cuts a stream of server-sent events into the payloads of its data lines.

    Each line is one payload, since every provider sends a document on one line and some forget the empty
    lines between them.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads that this chunk completes."""
        self._rest += chunk
        if b"\n" not in chunk and b"\r" not in chunk:
            return []
        *lines, last = bytes(self._rest).splitlines(keepends=True)
        if last.endswith(b"\n"):
            lines.append(last)
            last = b""
        self._rest = bytearray(last)
        return _payloads(lines)

    def end(self) -> list[bytes]:
        """Return the payload of a last line without an end."""
        return _payloads([bytes(self._rest)])


def _payloads(lines: list[bytes]) -> list[bytes]:
    data = (line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:"))
    return [payload for payload in data if payload]


def usage_of(reported: object) -> Usage | None:
    """Return what a provider says it used, or None if that can't be.

    Cached tokens that can't be are taken as none: the dearer reading.
    """
    if not isinstance(reported, dict):
        return None
    prompt, completion = _tokens(reported.get("prompt_tokens")), _tokens(reported.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    details = reported.get("prompt_tokens_details")
    cached = _tokens(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(
        input_units=prompt,
        cached_input_units=cached if cached is not None and cached <= prompt else 0,
        output_units=completion,
    )


def _tokens(count: object) -> int | None:
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else None
