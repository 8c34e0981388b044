"""Commands of who runs a server: serve, migrate, seed, audit, openapi."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import aifactory
from aifactory.cli.examples import as_typed, example_folder
from aifactory.cli.shell import FAILED, OK, Flag, Json, call, out, read_environment, write_json

if TYPE_CHECKING:
    from aifactory.accounts.seeds import FirstSecrets
    from aifactory.resources.audit import Report
    from aifactory.settings import Settings


def serve_command() -> int:
    """Serve the API and run the scheduler until Ctrl-C."""
    from aifactory.server import serve

    settings = read_environment()
    return call(serve, settings, announce=lambda secrets: _announce(settings, secrets))[0]


def _announce(settings: "Settings", secrets: "FirstSecrets | None") -> None:
    address = f"http://{settings.host}:{settings.port}"
    name = f"AI Factory {aifactory.__version__}"
    out.print(f"{name} on {address} · API reference: {address}/docs · Ctrl-C stops", soft_wrap=True)
    if secrets is None:
        return
    out.print(_first_start(address, secrets), soft_wrap=True)


def _first_start(address: str, secrets: "FirstSecrets") -> str:
    from aifactory import demo_view

    command = "aifactory" if shutil.which("aifactory") else as_typed(Path(sys.argv[0]).absolute())
    return demo_view.first_start(address, secrets, command=command, examples=as_typed(example_folder()))


def migrate_command() -> int:
    """Bring the database to this version's schema."""
    from aifactory.factory import open_database
    from aifactory.kernel.migrations import head_revision

    async def run(settings: "Settings") -> None:
        async with open_database(settings):
            out.print(f"The database is at revision {head_revision()}.")

    return call(run, read_environment())[0]


def seed_command() -> int:
    """Make the admin and the demo client, and print their secrets; does nothing a second time."""
    from aifactory.accounts.seeds import seed_first_start
    from aifactory.factory import build_factory, open_database

    async def run(settings: "Settings") -> None:
        async with open_database(settings) as database:
            factory = build_factory(settings, database)
            secrets = await seed_first_start(database, resources=factory.resources)
        if secrets is None:
            out.print("There are users already; nothing was changed.")
        else:
            address = f"http://{settings.host}:{settings.port}"
            out.print(_first_start(address, secrets), soft_wrap=True)

    return call(run, read_environment())[0]


def audit_command(*, invariants: Flag = False, as_json: Json = False) -> int:
    """Rebuild every balance and counter from the ledger and the rows, and print the differences.

    Parameters
    ----------
    invariants
        Print what is checked, as SQL for psql, and check nothing.
    as_json
        Print the result as JSON.
    """
    from aifactory import demo_view
    from aifactory.factory import open_database
    from aifactory.resources.audit import audit, invariants_script

    if invariants:
        sys.stdout.write(invariants_script() + "\n")
        return OK

    async def run(settings: "Settings") -> "Report":
        async with open_database(settings, existing=True) as database:
            return await audit(database)

    code, report = call(run, read_environment())
    if report is None:
        return code
    if as_json:
        write_json(report)
    else:
        demo_view.show_audit(out, report)
    return FAILED if report.differences else OK


def openapi_command() -> int:
    """Print the API's OpenAPI document."""
    from aifactory.factory import build_factory
    from aifactory.kernel.db import Database
    from aifactory.kernel.openapi import openapi_document
    from aifactory.server import build_app

    settings = read_environment()
    database = Database(url="postgresql://nowhere/none", pool_size=1)
    document = openapi_document(build_app(build_factory(settings, database)))
    text = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode(document)
    sys.stdout.write(msgspec.json.format(text, indent=1).decode() + "\n")
    return OK
