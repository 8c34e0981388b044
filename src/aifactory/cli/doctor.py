"""``aifactory doctor``: what is needed, what is there, and what to do about the rest."""

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from aifactory.cli.remote import RETRIES
from aifactory.cli.shell import AUTH, OK, SERVER, USAGE, Json, Url, out, write_json
from aifactory.client import AIFactory, AIFactoryError, AuthError, ConnectionFailed, Invalid

if TYPE_CHECKING:
    from aifactory.settings import Settings

LEAST_PYTHON = (3, 11)
LEAST_POSTGRES = 15


class Mark(StrEnum):
    """How a check went; only ``bad`` fails the command."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a check found; ``exit_code`` is the command's, if this is the worst."""

    check: str
    mark: Mark
    found: str
    advice: str = ""
    exit_code: int = OK


def doctor_command(*, url: Url = None, as_json: Json = False) -> int:
    """Check Python, the database, the model providers, the server and the key, and say what to do.

    Nothing is started and nothing is changed. The exit code is 0 when nothing is wrong."""
    findings = []
    for finding in examine(os.environ, url):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        write_json(findings)
    return max((finding.exit_code for finding in findings if finding.mark is Mark.BAD), default=OK)


_SIGNS = {Mark.GOOD: "[green]✓[/green]", Mark.NOTE: "[yellow]○[/yellow]", Mark.BAD: "[red]✕[/red]"}


def _show(finding: Finding) -> None:
    from rich.markup import escape

    out.print(f"{_SIGNS[finding.mark]} {finding.check}: {escape(finding.found)}", soft_wrap=True)
    if finding.advice:
        out.print(f"    {finding.advice}", markup=False, soft_wrap=True)


def examine(environ: Mapping[str, str], url: str | None) -> Iterator[Finding]:
    """Yield what each check finds, in an order in which each one builds on those before."""
    yield check_python(sys.version_info[:2])
    settings = _read_settings(environ)
    if isinstance(settings, Finding):
        yield settings
    else:
        yield check_database(settings)
        yield check_providers(settings, environ)
    yield from check_server(environ, url)


def check_python(version: tuple[int, int]) -> Finding:
    """Check the version of Python."""
    if version >= LEAST_PYTHON:
        return Finding(check="python", mark=Mark.GOOD, found=platform.python_version())
    return Finding(
        check="python",
        mark=Mark.BAD,
        found=f"{version[0]}.{version[1]}",
        advice="Use Python 3.11 or newer.",
        exit_code=USAGE,
    )


def _read_settings(environ: Mapping[str, str]) -> "Settings | Finding":
    from aifactory.settings import SettingsError, read_settings

    try:
        return read_settings(environ)
    except SettingsError as error:
        return Finding(check="settings", mark=Mark.BAD, found=str(error), exit_code=USAGE)


def check_database(settings: "Settings") -> Finding:
    """Check that the configured database answers, or that the embedded one could be started."""
    if settings.database_url is None:
        return _check_embedded(settings)
    import asyncio

    try:
        version = asyncio.run(_ask_version(settings.database_url))
    except Exception as error:  # whatever a driver or a resolver raises, it is the finding
        return Finding(
            check="database",
            mark=Mark.BAD,
            found=f"AIFACTORY_DATABASE_URL does not answer ({type(error).__name__}: {str(error)[:200]})",
            advice="Start it, correct the address, or unset the variable to use the embedded one.",
            exit_code=SERVER,
        )
    if version < LEAST_POSTGRES:
        advice = f"Use PostgreSQL {LEAST_POSTGRES} or newer."
        found = f"PostgreSQL {version}"
        return Finding(check="database", mark=Mark.BAD, found=found, advice=advice, exit_code=SERVER)
    return Finding(check="database", mark=Mark.GOOD, found=f"PostgreSQL {version} answers")


async def _ask_version(url: str) -> int:
    import asyncpg
    from sqlalchemy import make_url

    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        return int(await connection.fetchval("SHOW server_version_num")) // 10_000
    finally:
        await connection.close(timeout=5)


def _check_embedded(settings: "Settings") -> Finding:
    from aifactory.kernel.embedded_postgres import EmbeddedPostgresError
    from aifactory.kernel.postgres_binaries import choose_install

    folder = settings.data_dir.absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        install = choose_install(folder / "postgres" / "data")
    except (EmbeddedPostgresError, OSError) as error:
        return Finding(check="database", mark=Mark.BAD, found=str(error), exit_code=SERVER)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            check="database",
            mark=Mark.BAD,
            found=f"{existing} can't be written",
            advice="Set AIFACTORY_DATA_DIR to a folder of yours, or AIFACTORY_DATABASE_URL.",
            exit_code=SERVER,
        )
    state = "is there" if (folder / "postgres" / "data" / "PG_VERSION").exists() else "will be made"
    found = f"embedded ({install.name}); its data {state} in {folder}"
    return Finding(check="database", mark=Mark.GOOD, found=found)


def check_providers(settings: "Settings", environ: Mapping[str, str]) -> Finding:
    """Check the providers file and the keys that it names."""
    from aifactory.resources.provider_store import read_start
    from aifactory.resources.providers import BadProviders

    try:
        start = read_start(settings.providers_file, environ)
    except BadProviders as error:
        found = f"AIFACTORY_PROVIDERS_FILE={settings.providers_file}: {error}"
        return Finding(check="providers", mark=Mark.BAD, found=found, exit_code=USAGE)
    named = {} if start.file is None else start.file.providers
    lacking = sorted(name for name, provider in named.items() if not provider.key_present(environ))
    ready = sorted({*named} - {*lacking}) + (["openai"] if start.openai and "openai" not in named else [])
    if lacking:
        found = f"no key for {', '.join(lacking)}"
        advice = "Set the variables that the file names as their keys (api_key_variable)."
        return Finding(check="providers", mark=Mark.BAD, found=found, advice=advice, exit_code=USAGE)
    if not ready:
        return Finding(
            check="providers",
            mark=Mark.NOTE,
            found="none here; without any, the offline generator works from source material",
            advice="For model calls set OPENAI_API_KEY, or AIFACTORY_PROVIDERS_FILE (docs/providers.md).",
        )
    return Finding(check="providers", mark=Mark.GOOD, found=", ".join(ready))


def check_server(environ: Mapping[str, str], url: str | None) -> Iterator[Finding]:
    """Check that a server answers, how its parts are, and that it takes the key."""
    try:
        with AIFactory(url, retries=RETRIES) as factory:
            yield _check_health(factory)
            yield _check_key(factory, environ)
    except ConnectionFailed as error:
        yield Finding(check="server", mark=Mark.NOTE, found=error.detail)
    except (AuthError, Invalid) as error:
        yield Finding(check="key", mark=Mark.BAD, found=error.detail, exit_code=AUTH)
    except AIFactoryError as error:
        yield Finding(check="server", mark=Mark.BAD, found=error.detail, exit_code=SERVER)


def _check_health(factory: AIFactory) -> Finding:
    health = factory.health()
    at = factory.session.url
    down = sorted(name for name, part in health.parts.items() if not part.ok)
    if down:
        return Finding(
            check="server",
            mark=Mark.BAD if any(health.parts[name].needed for name in down) else Mark.NOTE,
            found=f"{at} (version {health.version}): not working: {', '.join(down)}",
            advice=f"See {at}/health and the server's log.",
            exit_code=SERVER,
        )
    return Finding(check="server", mark=Mark.GOOD, found=f"{at} (version {health.version}) is well")


def _check_key(factory: AIFactory, environ: Mapping[str, str]) -> Finding:
    if not environ.get("AIFACTORY_API_KEY"):
        return Finding(
            check="key",
            mark=Mark.NOTE,
            found="AIFACTORY_API_KEY is not set",
            advice="The first `make run` prints a key; `aifactory keys create NAME` makes another.",
        )
    try:
        caller = factory.caller()
    except AuthError as error:
        advice = "Set AIFACTORY_API_KEY to a key of this server."
        return Finding(check="key", mark=Mark.BAD, found=error.detail, advice=advice, exit_code=AUTH)
    scopes = ", ".join(caller.scopes)
    return Finding(check="key", mark=Mark.GOOD, found=f"of {caller.client_id or caller.role} ({scopes})")
