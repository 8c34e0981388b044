"""``aifactory demo``: one real document through the whole factory, with everything it did shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec

from aifactory.accounts import clients
from aifactory.accounts import queries as account_queries
from aifactory.factory import Factory, build_factory, open_database
from aifactory.granulation import queries as tree_queries
from aifactory.granulation.exports import EXPORTS
from aifactory.granulation.offline.source import LEAST_WORDS, SourceError, decode_source
from aifactory.granulation.queries import StoredTree
from aifactory.granulation.tree import Tree
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, ExecutionId, TreeId, parse_id, text_id
from aifactory.resources.interface import ExecutionView, NewRequest, Tier
from aifactory.resources.queries import views
from aifactory.settings import Settings

CLIENT_NAME = "make demo"
TEMPLATES = {
    "course": "content_granulation_course",
    "quiz": "content_granulation_quiz",
    "flashcards": "content_granulation_flashcards",
    "document": "content_granulation_document",
}
MARKDOWN_SUFFIXES = (".md", ".markdown", ".mdown")
LONGEST_WAIT_SECONDS = 120.0
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
        raise DemoRefused(f"{path} has {words} words; at least {LEAST_WORDS} are needed.")
    return text


async def run_demo(
    settings: Settings, *, path: Path, structure_type: str, tell: Callable[[str], None]
) -> DemoResult:
    """Take a file through request, queue, scheduler, generator and ledger; export the tree.

    Raises DemoRefused for a file or type that can't be used, AppError when the request is refused.
    """
    if structure_type not in TEMPLATES:
        raise DemoRefused(f"TYPE is one of {', '.join(sorted(TEMPLATES))}, not {structure_type!r}.")
    text = read_file(path)
    tell("opening the database")
    async with open_database(settings) as database:
        factory = build_factory(settings, database)
        async with factory.run():
            tell("submitting the request")
            execution_id = await _submit(factory, path, text, TEMPLATES[structure_type])
            execution = await _wait(factory, execution_id, tell)
            return await _collect(factory, execution, settings.data_dir / "demo")


async def _submit(factory: Factory, path: Path, text: str, template: str) -> ExecutionId:
    source_format = "markdown" if path.suffix.lower() in MARKDOWN_SUFFIXES else "text"
    parameters: dict[str, Any] = {"source": {"text": text, "format": source_format, "name": path.name}}
    async with factory.database.begin() as tx:
        client_id = await _demo_client(tx, factory)
        new = await factory.book.open_request(
            tx, NewRequest(client_id=client_id, key_id=None, template=template, parameters=parameters)
        )
        return (await factory.resources.submit(tx, new)).execution_id


async def _demo_client(tx: Tx, factory: Factory) -> ClientId:
    await account_queries.lock_first_start(tx)
    found = await account_queries.find_client_by_name(tx, CLIENT_NAME)
    if found is not None:
        return ClientId(found.id)
    new = clients.NewClient(name=CLIENT_NAME, contact="", tier=Tier.PREMIUM)
    row, _ = await clients.create_client(tx, resources=factory.resources, new=new, actor="demo")
    return ClientId(row.id)


async def _wait(factory: Factory, execution_id: ExecutionId, tell: Callable[[str], None]) -> ExecutionView:
    with anyio.fail_after(LONGEST_WAIT_SECONDS):
        while True:
            async with factory.database.begin() as tx:
                found = await factory.resources.find_execution(tx, client_id=None, execution_id=execution_id)
            assert found is not None
            if found.state.final:
                return found
            tell(f"{found.state}: {found.stages[0].phase}")
            await anyio.sleep(0.05)


async def _collect(factory: Factory, execution: ExecutionView, folder: Path) -> DemoResult:
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
        exports=_export(tree, folder, text_id("exec", execution.id)) if tree else [],
    )


def _export(tree: Tree, folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for export in EXPORTS.values():
        path = folder / f"{name}.{export.extension}"
        path.write_bytes(export.write(tree))
        written.append(path)
    return written
