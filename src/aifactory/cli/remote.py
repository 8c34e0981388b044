"""Commands that talk to a server: one way to reach it, and one way to tell what it refuses."""

import gc
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from aifactory.cli.shell import AUTH, INTERRUPTED, LIMIT, SERVER, USAGE, err, tell_error
from aifactory.client import (
    AIFactory,
    AIFactoryError,
    AuthError,
    BudgetError,
    Conflict,
    Invalid,
    NotFound,
    RateLimited,
    Retries,
)

# Somebody is looking on: a server that is not there is told at once, a restart is waited for.
RETRIES = Retries(total_seconds=20, unreachable_seconds=1.5)

_EXITS: list[tuple[type[AIFactoryError], int]] = [
    (AuthError, AUTH),
    (BudgetError, LIMIT),
    (RateLimited, LIMIT),
    (NotFound, USAGE),
    (Invalid, USAGE),
    (Conflict, USAGE),
]


def ask(work: Callable[[AIFactory], int], *, url: str | None, as_json: bool) -> int:
    """Do something with a server; a refusal becomes its words, what to do, and an exit code."""
    gc.enable()  # everything is loaded; see aifactory.__main__
    try:
        with AIFactory(url, retries=RETRIES) as factory:
            return work(factory)
    except AIFactoryError as error:
        return refuse(error, as_json=as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        tell_error(f"{error.filename or 'A file'}: {error.strerror or error}.")
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED


def refuse(error: AIFactoryError, *, as_json: bool) -> int:
    """Tell an error on stderr, as JSON if asked for; return the exit code."""
    code = next((code for kind, code in _EXITS if isinstance(error, kind)), SERVER)
    if as_json:
        sys.stderr.write(msgspec.json.encode(_problem(error)).decode() + "\n")
        return code
    tell_error(error.detail)
    for fault in error.errors:
        if fault.message and fault.message not in error.detail:
            tell_error(f"  {fault.pointer}: {fault.message}")
    if advice := _advice(error):
        err.print(advice, markup=False, soft_wrap=True)
    if error.request_id and code == SERVER:
        err.print(f"requestId: {error.request_id}", markup=False, soft_wrap=True)
    return code


def _problem(error: AIFactoryError) -> dict[str, Any]:
    known = {
        "code": error.code,
        "detail": error.detail,
        "status": error.status,
        "requestId": error.request_id,
        "retryable": error.retryable,
        "errors": error.errors,
    }
    return error.members | known


def _advice(error: AIFactoryError) -> str:
    if error.status == 401 or error.code == "bad_key":
        return (
            "Set AIFACTORY_API_KEY to a key of this server: the first `make run` prints one, "
            "`aifactory keys create NAME` makes another."
        )
    if error.code == "scope_missing":
        return "Use a key with that scope; the operator makes one (POST /clients/{id}/api-keys)."
    if any(fault.code in ("source_required", "topic_required") for fault in error.errors):
        return "Name a file after the template: aifactory submit TEMPLATE FILE."
    if isinstance(error, BudgetError):
        return "`aifactory usage` shows the budget."
    return ""
