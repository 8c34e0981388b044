"""What a proof stands on: a factory on a database, a simulated provider, a client with money."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import msgspec

from aifactory.factory import Factory, build_factory, register_providers
from aifactory.granulation import queries
from aifactory.granulation.tree import Tree
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, new_id
from aifactory.resources.interface import (
    ClientLimits,
    ExecutionState,
    ExecutionView,
    FlowStage,
    NewExecution,
    Tier,
    Urgency,
)
from aifactory.settings import Settings
from devprovider.running import Running

BUDGET_NANO = 10_000 * 10**9
EXAMPLES = Path(__file__).parents[1] / "examples"
_POOL = """\
unit = "tokens"
capacity = 50_000_000
refill_per_second = 5_000_000"""


# The small worker templates of types that have no basic one.
_TEMPLATES = {
    "course": "course_structure_v1",
    "learning_path": "learning_path_v1",
    "knowledge_map": "knowledge_map_v1",
    "workflow": "workflow_standard_v1",
    "novel": "novel_structure_v1",
}


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One execution that a proof submits: a type, its parameters, the name of an example as its source.

    ``template`` is a worker template, where it is not the type's small one.
    """

    structure_type: str
    parameters: dict[str, Any]
    source: str | None = None
    template: str | None = None


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a proof works with."""

    factory: Factory
    provider: Running
    client_id: ClientId

    @property
    def database(self) -> Database:
        """Return the factory's database."""
        return self.factory.database

    async def submit(self, work: Work) -> ExecutionId:
        """Admit one execution."""
        template = work.template or _TEMPLATES.get(work.structure_type, f"{work.structure_type}_basic_v1")
        async with self.database.begin() as tx:
            parameters, source = dict(work.parameters), None
            if work.source is not None:
                content = (EXAMPLES / work.source).read_bytes()
                source = await self.factory.resources.store_data(
                    tx,
                    client_id=self.client_id,
                    name=work.source,
                    media_type="text/markdown",
                    content=content,
                )
                style = "markdown" if work.source.endswith(".md") else "text"
                parameters["source"] = {"dataRef": "data_stored", "name": work.source, "format": style}
            new = NewExecution(
                request_id=RequestId(new_id()),
                client_id=self.client_id,
                key_id=None,
                template=f"content_granulation_{work.structure_type}",
                template_version=1,
                flow=(FlowStage(worker="granulation", template_ref=template),),
                parameters=parameters,
                source=source,
                urgency=Urgency.HIGH,
            )
            return (await self.factory.resources.submit(tx, new)).execution_id

    async def ended(
        self, execution_ids: Sequence[ExecutionId], within_seconds: float
    ) -> dict[ExecutionId, ExecutionView]:
        """Wait until executions have ended, at most so long; returns those that have."""
        ended: dict[ExecutionId, ExecutionView] = {}
        with anyio.move_on_after(within_seconds):
            while len(ended) < len(execution_ids):
                async with self.database.begin() as tx:
                    for execution_id in execution_ids:
                        if execution_id not in ended:
                            found = await self._find(tx, execution_id)
                            if found.state.final:
                                ended[execution_id] = found
                await anyio.sleep(0.2)
        return ended

    async def _find(self, tx: Tx, execution_id: ExecutionId) -> ExecutionView:
        found = await self.factory.resources.find_execution(tx, client_id=None, execution_id=execution_id)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def open_ground(
    database: Database,
    provider: Running,
    *,
    in_flight: int = 64,
    local_workers: int = 1,
    environ: Mapping[str, str] = MappingProxyType({}),
    **endpoint: Any,
) -> AsyncIterator[Ground]:
    """Run a factory whose only models are the simulated provider's.

    ``endpoint`` overrides fields of the provider (its timeouts, or ``base_url``: a gateway before it), and
    ``environ`` holds the key that one of them names.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = write_providers(Path(folder), provider.url, **endpoint)
        settings = Settings(
            providers_file=file, max_in_flight=in_flight, local_workers=local_workers, grace_seconds=1
        )
        await register_providers(settings, database, environ)
        factory = build_factory(settings, database, environ)
        client_id = ClientId(new_id())
        async with database.begin() as tx:
            limits = ClientLimits(
                client_id=client_id,
                name="proof",
                tier=Tier.ENTERPRISE,
                monthly_budget_nano=BUDGET_NANO,
                max_running=in_flight,
            )
            await factory.resources.set_client(tx, limits)
        async with factory.run():
            yield Ground(factory=factory, provider=provider, client_id=client_id)


def write_providers(folder: Path, url: str, **endpoint: Any) -> Path:
    """Write a providers file whose only models are those of a simulated provider; return where it is."""
    file = folder / "providers.toml"
    file.write_text(_providers_file(url, endpoint))
    return file


def _providers_file(url: str, endpoint: dict[str, Any]) -> str:
    fields = {
        "base_url": url,
        "simulated": True,
        "first_token_seconds": 4,
        "idle_seconds": 4,
        **endpoint,
    }
    lines = [
        "[providers.simulated]",
        *(
            f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {str(value).lower()}"
            for name, value in fields.items()
        ),
        '[providers.simulated.models."sim-small"]',
        'pool = "proof"',
        "max_output_tokens = 8192",
        "input_usd_per_million = 0.15",
        "cached_input_usd_per_million = 0.075",
        "output_usd_per_million = 0.60",
        "[pools.proof]",
        _POOL,
    ]
    return "\n".join(lines) + "\n"


async def tree_of(ground: Ground, execution: ExecutionView) -> tuple[Tree, str] | None:
    """Return the tree of an execution and its state, or None when it has none."""
    async with ground.database.begin() as tx:
        row = await tx.raw.fetchrow("SELECT id FROM granulation_trees WHERE execution_id = $1", execution.id)
        if row is None:
            return None
        stored = await queries.find_tree(tx, client_id=None, tree_id=row["id"])
        assert stored is not None
        return await queries.load_tree(tx, stored), stored.state


FINE = (ExecutionState.SUCCEEDED, ExecutionState.PARTIAL)
