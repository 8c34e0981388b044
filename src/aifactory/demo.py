"""One real document, or a topic, through the whole factory in this process: ``aifactory demo`` and "
"``granulate``."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec

from aifactory.accounts import clients
from aifactory.accounts import queries as account_queries
from aifactory.client.sources import kind_of
from aifactory.factory import Factory, build_factory, open_database, register_providers
from aifactory.granulation import queries as tree_queries
from aifactory.granulation.exports import EXPORTS
from aifactory.granulation.offline.source import LEAST_WORDS, SourceError, decode_source
from aifactory.granulation.queries import StoredTree
from aifactory.granulation.tree import Tree
from aifactory.granulation.types import known_types
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, ExecutionId, TreeId, parse_id, text_id
from aifactory.resources.interface import ExecutionState, ExecutionView, NewRequest, Tier
from aifactory.resources.queries import views
from aifactory.settings import Settings

DEMO, GRANULATE = "make demo", "aifactory granulate"  # the clients that this is done for
# Its tier may use every template; it has to have a budget of its own, 1,000 USD.
MONTHLY_BUDGET_NANO = 1_000_000_000_000
LONGEST_WAIT_SECONDS = 120.0
LONGEST_WAIT_FOR_MODELS_SECONDS = 3600.0
LARGEST_SOURCE_BYTES = 5 * 1024 * 1024


class DemoRefused(Exception):
    """The file can't be used; the text says why and what to do."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One step as it ran."""

    kind: str
    seconds: float
    cost_nano: int


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo did."""

    execution: ExecutionView
    calls: list[Call]
    stored: StoredTree | None
    tree: Tree | None
    exports: list[Path]

    @property
    def good(self) -> bool:
        """Whether it ended with content."""
        return self.execution.state in (ExecutionState.SUCCEEDED, ExecutionState.PARTIAL)


def read_file(path: Path) -> str:
    """Return the text of a file that can be a source. Raises DemoRefused."""
    try:
        if path.is_dir():
            raise DemoRefused(f"{path} is a folder; name a text file in it.")
        if path.stat().st_size > LARGEST_SOURCE_BYTES:
            raise DemoRefused(f"{path} has more than 5 MiB; split it or shorten it.")
        text = decode_source(path.read_bytes())
    except FileNotFoundError as error:
        raise DemoRefused(f"There is no file {path}.") from error
    except OSError as error:
        raise DemoRefused(f"{path} can't be read: {error.strerror or error}.") from error
    except SourceError as error:
        raise DemoRefused(f"{path}: {error}") from error
    if (words := len(text.split())) < LEAST_WORDS:
        raise DemoRefused(f"{path} is too short: it has {words} of at least {LEAST_WORDS} words.")
    return text


async def run_demo(
    settings: Settings,
    *,
    path: Path | None,
    structure_type: str,
    topic: str | None = None,
    tell: Callable[[str], None],
) -> DemoResult:
    """Take a file or a topic through request, queue, scheduler, generator and ledger; export the tree.

    Raises DemoRefused for a file or type that can't be used, AppError when the request is refused.
    """
    parameters = _read_order(path) | ({"topic": topic} if topic else {})
    tell("opening the database")
    async with _running(settings, with_models=False) as factory:
        tell("submitting the request")
        execution_id = await _submit(factory, DEMO, structure_type, parameters)
        execution = await _wait(factory, execution_id, tell, seconds=LONGEST_WAIT_SECONDS)
        return await _collect(factory, execution, settings.data_dir / "demo")


async def granulate_file(
    settings: Settings,
    *,
    path: Path | None,
    structure_type: str,
    parameters: dict[str, Any],
    offline: bool,
    tell: Callable[[str], None],
) -> DemoResult:
    """Do the same with further parameters and with the configured models, unless ``offline``; no exports.

    Leaving early ends the work: nobody would come back for what it costs. Raises what ``run_demo`` raises,
    and SettingsError for providers that can't be used.
    """
    asked = _read_order(path) | parameters | ({"mode": "offline"} if offline else {})
    tell("opening the database")
    async with _running(settings, with_models=not offline) as factory:
        execution_id = await _submit(factory, GRANULATE, structure_type, asked)
        try:
            execution = await _wait(factory, execution_id, tell, seconds=LONGEST_WAIT_FOR_MODELS_SECONDS)
        except BaseException:
            with anyio.CancelScope(shield=True):
                async with factory.database.begin() as tx:
                    await factory.resources.cancel(tx, execution_id)
            raise
        return await _collect(factory, execution, None)


def _read_order(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    source_format, _ = kind_of(path)
    return {"source": {"text": read_file(path), "format": source_format, "name": path.name}}


async def _template_of(tx: Tx, structure_type: str) -> str:
    """Return the master template that makes a type, also one that was added to this database."""
    known = await known_types(tx)
    if structure_type not in known:
        raise DemoRefused(f"TYPE is one of {', '.join(known)}, not {structure_type!r}.")
    return f"content_granulation_{structure_type}"


@contextlib.asynccontextmanager
async def _running(settings: Settings, *, with_models: bool) -> AsyncIterator[Factory]:
    async with open_database(settings) as database:
        if with_models:
            await register_providers(settings, database, os.environ)
        factory = build_factory(settings, database)
        async with factory.run():
            yield factory


async def _submit(
    factory: Factory, client_name: str, structure_type: str, parameters: dict[str, Any]
) -> ExecutionId:
    async with factory.database.begin() as tx:
        template = await _template_of(tx, structure_type)
        client_id = await _client(tx, factory, client_name)
        new = await factory.book.open_request(
            tx, NewRequest(client_id=client_id, key_id=None, template=template, parameters=parameters)
        )
        return (await factory.resources.submit(tx, new)).execution_id


async def _client(tx: Tx, factory: Factory, name: str) -> ClientId:
    await account_queries.lock_first_start(tx)
    found = await account_queries.find_client_by_name(tx, name)
    if found is not None:
        return ClientId(found.id)
    new = clients.NewClient(
        name=name, contact="", tier=Tier.ENTERPRISE, monthly_budget_nano=MONTHLY_BUDGET_NANO
    )
    row, _ = await clients.create_client(tx, resources=factory.resources, new=new, actor="demo")
    return ClientId(row.id)


async def _wait(
    factory: Factory, execution_id: ExecutionId, tell: Callable[[str], None], *, seconds: float
) -> ExecutionView:
    with anyio.fail_after(seconds):
        while True:
            async with factory.database.begin() as tx:
                found = await factory.resources.find_execution(tx, client_id=None, execution_id=execution_id)
            assert found is not None
            if found.state.final:
                return found
            tell(f"{found.state}: {found.stages[0].phase}")
            await anyio.sleep(0.05)


async def _collect(factory: Factory, execution: ExecutionView, folder: Path | None) -> DemoResult:
    async with factory.database.begin() as tx:
        rows = await views.calls_of(tx, execution.id)
        tree_id = parse_id("tree", (execution.result or {}).get("treeId", ""))
        stored = tree_id and await tree_queries.find_tree(tx, client_id=None, tree_id=TreeId(tree_id))
        tree = await tree_queries.load_tree(tx, stored) if stored else None
    return DemoResult(
        execution=execution,
        calls=[
            Call(
                kind=row["kind"],
                seconds=(row["finished_at"] - row["started_at"]).total_seconds(),
                cost_nano=row["cost_nano"],
            )
            for row in rows
            if row["finished_at"] is not None
        ],
        stored=stored or None,
        tree=tree,
        exports=_export(tree, folder, text_id("exec", execution.id)) if tree and folder else [],
    )


def _export(tree: Tree, folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for export in EXPORTS.values():
        path = folder / f"{name}.{export.extension}"
        path.write_bytes(export.write(tree))
        written.append(path)
    return written
