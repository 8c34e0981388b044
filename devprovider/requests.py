"""What a client may ask, read and checked as the original does. Pure."""

from typing import Any

import msgspec

from devprovider.errors import ApiError
from devprovider.schema_rules import strict_problem
from devprovider.settings import Model
from devprovider.tokens import count_tokens
from devprovider.writing.prompt import Message

_IGNORED = frozenset(
    [
        "temperature",
        "top_p",
        "seed",
        "stop",
        "user",
        "store",
        "metadata",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "reasoning_effort",
        "verbosity",
        "modalities",
        "logit_bias",
    ]
)
_READ = frozenset(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "response_format",
        "max_tokens",
        "max_completion_tokens",
        "n",
    ]
)
_ROLES = ("system", "developer", "user", "assistant")
TOKENS_PER_MESSAGE = 4


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    include_usage: bool
    schema: dict[str, Any] | None
    as_json: bool
    max_tokens: int | None

    @property
    def prompt_tokens(self) -> int:
        """What reading it is billed as."""
        return count_tokens(self.text()) + TOKENS_PER_MESSAGE * len(self.messages)

    def text(self, *, schema_first: bool = False) -> str:
        """Everything that is read, in the order in which it is cached."""
        messages = "\n".join(f"{message.role}\n{message.text}" for message in self.messages)
        schema = msgspec.json.encode(self.schema).decode() if self.schema else ""
        return f"{schema}\n{messages}" if schema_first else f"{messages}\n{schema}"


def read_request(body: bytes) -> ChatRequest:
    """The request of a body; raises ApiError 400."""
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(asked, dict):
        raise ApiError(400, "The body of your request must be a JSON object.")
    unknown = sorted(asked.keys() - _READ - _IGNORED)
    if unknown:
        raise ApiError(400, f"Unrecognized request argument supplied: {unknown[0]}", param=unknown[0])
    if not isinstance(asked.get("model"), str) or not asked["model"]:
        raise ApiError(400, "you must provide a model parameter")
    if asked.get("n") not in (None, 1):
        raise ApiError(400, "Invalid value for 'n': this provider gives one choice.", param="n")
    messages = _messages(asked.get("messages"))
    schema, as_json = _format(asked.get("response_format"), messages)
    options = asked.get("stream_options") or {}
    stream = asked.get("stream") is True
    if options and not stream:
        raise ApiError(400, "'stream_options' needs 'stream'.", param="stream_options")
    return ChatRequest(
        model=asked["model"],
        messages=messages,
        stream=stream,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        schema=schema,
        as_json=as_json,
        max_tokens=_max_tokens(asked),
    )


def _messages(given: Any) -> tuple[Message, ...]:
    if not isinstance(given, list) or not given:
        raise ApiError(
            400, "Invalid 'messages': a list with at least one message is needed.", param="messages"
        )
    return tuple(_message(one, f"messages[{position}]") for position, one in enumerate(given))


def _message(given: Any, where: str) -> Message:
    role = given.get("role") if isinstance(given, dict) else None
    if role not in _ROLES:
        raise ApiError(
            400, f"Invalid value: {role!r}. Supported values are: {_ROLES}.", param=f"{where}.role"
        )
    content = given.get("content")
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        is_text = all(isinstance(one, str) for one in texts)
        content = "\n".join(map(str, texts)) if is_text else None
    if not isinstance(content, str):
        raise ApiError(400, f"Invalid value for '{where}.content': expected text.", param=f"{where}.content")
    return Message(role=role, text=content)


def _format(given: Any, messages: tuple[Message, ...]) -> tuple[dict[str, Any] | None, bool]:
    """The schema, if one is given, and whether the answer has to be JSON."""
    kind = given.get("type") if isinstance(given, dict) else ("text" if given is None else None)
    if kind == "text":
        return None, False
    if kind == "json_object":
        if not any("json" in message.text.lower() for message in messages):
            said = "'messages' must contain the word 'json' to use 'response_format' of type 'json_object'."
            raise ApiError(400, said, param="messages")
        return None, True
    if kind != "json_schema":
        raise ApiError(
            400, f"Invalid value for 'response_format.type': {kind!r}.", param="response_format.type"
        )
    inner = given.get("json_schema")
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or "schema" not in inner:
        said = "Missing required parameter: 'response_format.json_schema' needs a name and a schema."
        raise ApiError(400, said, param="response_format.json_schema")
    problem = strict_problem(inner["schema"]) if inner.get("strict") is True else ""
    if problem or not isinstance(inner["schema"], dict):
        said = f"Invalid schema for response_format {inner['name']!r}: {problem or 'not an object.'}"
        raise ApiError(400, said, param="response_format")
    return inner["schema"], True


def _max_tokens(asked: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = asked.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ApiError(400, f"Invalid value for '{name}': expected an integer of at least 1.", param=name)
        return value
    return None


def check_size(request: ChatRequest, model: Model) -> None:
    """Prompt and answer fit into the model; raises ApiError 400."""
    wanted, most = request.max_tokens or 0, model.max_output_tokens
    if wanted > most:
        said = f"max_tokens is too large: {wanted}. This model supports at most {most} completion tokens."
        raise ApiError(400, said, param="max_tokens", code="invalid_value")
    total = request.prompt_tokens + wanted
    if total > model.context_tokens:
        said = (
            f"This model's maximum context length is {model.context_tokens} tokens. However, you requested "
            f"{total} tokens ({request.prompt_tokens} in the messages, {wanted} in the completion). "
            "Please reduce the length of the messages or completion."
        )
        raise ApiError(400, said, param="messages", code="context_length_exceeded")
