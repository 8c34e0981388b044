"""What a model is asked, in an endpoint's ways. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aifactory.resources.interface import Endpoint, StructuredOutput

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY_NEEDED = "no-key-needed"

_NEW_LIMIT_HOSTS = (".openai.com", ".azure.com")
_WHOLE_ANSWER_FACTOR = 4
"""An answer that is not streamed begins when its last token is written: so many times longer is waited."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a model. ``schema`` is ready for the provider; None asks for free text.

    ``call_id`` goes along as X-Client-Request-Id: "<job id>.<attempt>".
    """

    system: str
    user: str
    schema_name: str
    schema: dict[str, Any] | None
    max_output_tokens: int
    call_id: str
    seed: int | None = None
    temperature: float | None = None


def url_of(endpoint: Endpoint) -> str:
    """Return where the endpoint answers."""
    return OPENAI_URL if endpoint.base_url is None else endpoint.base_url


def key_of(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return the key to send, "" if the endpoint's variable holds none that a header can carry."""
    if endpoint.api_key_variable is None:
        return NO_KEY_NEEDED
    key = environ.get(endpoint.api_key_variable, "").strip()
    return key if key.isascii() and key.isprintable() else ""


def first_wait_seconds(endpoint: Endpoint) -> float:
    """Return how long the first content of an answer may take."""
    return endpoint.first_token_seconds * (1 if endpoint.streaming else _WHOLE_ANSWER_FACTOR)


def request_of(endpoint: Endpoint, model: str, call: Call) -> dict[str, Any]:
    """Return the body of a request for a chat completion."""
    body: dict[str, Any] = {"model": model, _limit_name(endpoint): call.max_output_tokens}
    user = call.user
    if call.schema is not None and endpoint.structured is StructuredOutput.JSON_SCHEMA:
        named = {"name": call.schema_name, "schema": call.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif call.schema is not None:
        schema = msgspec.json.encode(call.schema).decode()
        user = f"{user.rstrip()}\n# Schema\n```json\n{schema}\n```\n"
        if endpoint.structured is StructuredOutput.JSON_OBJECT:
            body["response_format"] = {"type": "json_object"}
    messages = [{"role": "system", "content": call.system}, {"role": "user", "content": user}]
    body["messages"] = [message for message in messages if message["content"]]
    if endpoint.streaming:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    settings = {"seed": call.seed, "temperature": call.temperature}
    return body | {name: value for name, value in settings.items() if value is not None}


def _limit_name(endpoint: Endpoint) -> str:
    """Return what the output limit is called: OpenAI's newer models refuse the name that others know."""
    try:
        host = urlsplit(url_of(endpoint)).hostname or ""
    except ValueError:
        host = ""
    return "max_completion_tokens" if host.endswith(_NEW_LIMIT_HOSTS) else "max_tokens"
