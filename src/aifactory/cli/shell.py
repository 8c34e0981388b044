"""What the commands share: consoles, exit codes, and how refusals are told."""

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console

OK, FAILED, USAGE, AUTH, LIMIT, SERVER = range(6)
INTERRUPTED = 130


class _Console(Console):
    """Leaves a reader that has seen enough to ``run_command``, where it is no failure."""

    def on_broken_pipe(self) -> None:
        """Go on as if print had met it."""
        raise BrokenPipeError


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")]
Url = Annotated[str | None, Parameter(name="--url", help="The server; by default AIFACTORY_URL.")]
Flag = Annotated[bool, Parameter(negative=())]


def write_json(value: Any) -> None:
    """Print a value as JSON, money as exact numbers."""
    sys.stdout.write(msgspec.json.Encoder(decimal_format="number").encode(value).decode() + "\n")
    sys.stdout.flush()


def tell_error(text: str) -> None:
    """Print what went wrong."""
    err.print(text, style="red", markup=False, soft_wrap=True)


def read_environment(*, quiet: bool = False) -> Any:
    """Return the settings, with logging set up. Ends the command for bad ones.

    ``quiet``: only warnings are logged, unless AIFACTORY_LOG_LEVEL says otherwise.
    """
    from aifactory.kernel.logs import configure_logs
    from aifactory.settings import LogLevel, SettingsError, read_settings

    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        tell_error(str(error))
        raise SystemExit(USAGE) from error
    configure_logs(
        level=LogLevel.WARNING if quiet and not os.environ.get("AIFACTORY_LOG_LEVEL") else settings.log_level
    )
    return settings


def call(main: Callable[..., Coroutine[Any, Any, Any]], settings: Any, **named: Any) -> tuple[int, Any]:
    """Run a coroutine; a refusal becomes its words and an exit code."""
    import anyio

    gc.enable()  # everything is loaded; see aifactory.__main__

    async def run() -> Any:
        return await main(settings, **named)

    try:
        return OK, anyio.run(run, backend_options={"use_uvloop": True})
    except BaseException as error:
        cause = _cause(error)
        if isinstance(cause, KeyboardInterrupt):
            return INTERRUPTED, None
        code, text = _refusal(cause)
        if text is None:
            raise
        tell_error(text)
        return code, None


def _cause(error: BaseException) -> BaseException:
    """Return what a group of one is about; an interrupt explains everything beside it."""
    if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
        return KeyboardInterrupt()
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


_EXIT_BY_STATUS = {401: AUTH, 402: LIMIT, 403: AUTH, 404: USAGE, 413: USAGE, 422: USAGE, 429: LIMIT}


def _refusal(error: BaseException) -> tuple[int, str | None]:
    from aifactory.demo import DemoRefused
    from aifactory.factory import CannotListen
    from aifactory.kernel.embedded_postgres import EmbeddedPostgresError
    from aifactory.kernel.errors import AppError
    from aifactory.kernel.migrations import MigrationRefused
    from aifactory.settings import SettingsError

    if isinstance(error, DemoRefused | SettingsError):
        return USAGE, str(error)
    if isinstance(error, AppError):
        return _EXIT_BY_STATUS.get(error.status, SERVER), error.detail
    if isinstance(error, EmbeddedPostgresError | MigrationRefused | CannotListen):
        return SERVER, str(error)
    return SERVER, None
