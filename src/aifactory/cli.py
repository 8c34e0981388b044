"""The ``aifactory`` command."""

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import anyio
import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Console

import aifactory
from aifactory import demo_view
from aifactory.accounts.seeds import FirstSecrets, seed_first_start
from aifactory.demo import DemoRefused, run_demo
from aifactory.factory import CannotListen, build_factory, open_database
from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgresError
from aifactory.kernel.errors import AppError
from aifactory.kernel.logs import configure_logs
from aifactory.kernel.migrations import MigrationRefused, head_revision
from aifactory.resources.audit import Report, audit
from aifactory.resources.interface import ExecutionState
from aifactory.settings import Settings, SettingsError, read_settings

OK, FAILED, USAGE, AUTH, LIMIT, SERVER = range(6)
INTERRUPTED = 130
_EXIT_BY_STATUS = {401: AUTH, 402: LIMIT, 403: AUTH, 404: USAGE, 413: USAGE, 422: USAGE, 429: LIMIT}

app = cyclopts.App(name="aifactory", version=aifactory.__version__, help=aifactory.__doc__)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
Json = Annotated[bool, Parameter(name="--json", negative=())]


@app.command(name="serve")
def serve_command() -> int:
    """Serve the API and run the scheduler until Ctrl-C."""
    from aifactory.server import serve  # the web framework takes a while to load; only this needs it

    settings = _settings()
    return _run(serve, settings, announce=lambda secrets: _announce(settings, secrets))


def _announce(settings: Settings, secrets: FirstSecrets | None) -> None:
    address = f"http://{settings.host}:{settings.port}"
    name = f"AI Factory {aifactory.__version__}"
    out.print(f"{name} on {address} · API reference: {address}/docs · Ctrl-C stops", soft_wrap=True)
    if secrets is None:
        return
    out.print(demo_view.first_start(address, secrets, _request_file()), soft_wrap=True)


@app.command(name="demo")
def demo_command(file: Path | None = None, *, type: str = "course", as_json: Json = False) -> int:
    """Turn a document into a course, quiz, cards or outline, offline, and show everything that happened.

    Parameters
    ----------
    file
        A Markdown or plain text file; by default an example about drinking water.
    type
        course, quiz, flashcards or document.
    as_json
        Print the result as JSON.
    """
    path = file or example_folder() / "drinking-water.md"
    settings = _settings()
    with err.status("starting") as status:
        code, result = _call(
            run_demo,
            settings,
            path=path,
            structure_type=type,
            tell=lambda text: status.update(text),
        )
    if result is None:
        return code
    if as_json:
        _write_json(demo_view.as_json(result))
    else:
        demo_view.show(out, result)
    good = (ExecutionState.SUCCEEDED, ExecutionState.PARTIAL)
    return OK if result.execution.state in good else FAILED


@app.command(name="migrate")
def migrate_command() -> int:
    """Bring the database to this version's schema."""

    async def run(settings: Settings) -> None:
        async with open_database(settings):
            out.print(f"The database is at revision {head_revision()}.")

    return _run(run, _settings())


@app.command(name="seed")
def seed_command() -> int:
    """Make the admin and the demo client, and print their secrets; does nothing a second time."""
    settings = _settings()

    async def run(settings: Settings) -> None:
        async with open_database(settings) as database:
            factory = build_factory(settings, database)
            secrets = await seed_first_start(database, resources=factory.resources)
        if secrets is None:
            out.print("There are users already; nothing was changed.")
        else:
            address = f"http://{settings.host}:{settings.port}"
            out.print(demo_view.first_start(address, secrets, _request_file()), soft_wrap=True)

    return _run(run, settings)


@app.command(name="audit")
def audit_command(*, as_json: Json = False) -> int:
    """Rebuild every balance and counter from the ledger and the rows, and print the differences."""

    async def run(settings: Settings) -> Report:
        async with open_database(settings) as database:
            return await audit(database)

    code, report = _call(run, _settings())
    if report is None:
        return code
    if as_json:
        _write_json(report)
    else:
        demo_view.show_audit(out, report)
    return FAILED if report.differences else OK


@app.command(name="openapi")
def openapi_command() -> int:
    """Print the API's OpenAPI document."""
    from aifactory.kernel.openapi import openapi_document
    from aifactory.server import build_app

    settings = _settings()
    database = Database(url="postgresql://nowhere/none", pool_size=1)
    document = openapi_document(build_app(build_factory(settings, database)))
    text = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode(document)
    sys.stdout.write(msgspec.json.format(text, indent=1).decode() + "\n")
    return OK


def _write_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.Encoder(decimal_format="number").encode(value).decode() + "\n")


def example_folder() -> Path:
    """Return where the example documents are: in the wheel, or beside ``src``."""
    package = Path(aifactory.__file__).parent
    shipped = package / "_examples"
    return shipped if shipped.is_dir() else package.parent.parent / "examples"


def _request_file() -> str:
    """Return the example request, as short as it can be named from here."""
    path = example_folder() / "course-request.json"
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _settings() -> Settings:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        raise SystemExit(USAGE) from error
    configure_logs(level=settings.log_level)
    return settings


def _run(main: Callable[..., Coroutine[Any, Any, Any]], settings: Settings, **named: Any) -> int:
    return _call(main, settings, **named)[0]


def _call(main: Callable[..., Coroutine[Any, Any, Any]], settings: Settings, **named: Any) -> tuple[int, Any]:
    """Run a coroutine; a refusal becomes its words and an exit code."""

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
        err.print(text, style="red", markup=False, soft_wrap=True)
        return code, None


def _cause(error: BaseException) -> BaseException:
    """Return what a group of one is about; an interrupt explains everything beside it."""
    if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
        return KeyboardInterrupt()
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _refusal(error: BaseException) -> tuple[int, str | None]:
    if isinstance(error, DemoRefused | SettingsError):
        return USAGE, str(error)
    if isinstance(error, AppError):
        return _EXIT_BY_STATUS.get(error.status, SERVER), error.detail
    if isinstance(error, EmbeddedPostgresError | MigrationRefused | CannotListen):
        return SERVER, str(error)
    return SERVER, None
