"""HTTP of granulating and checking: the short way to an execution, and a score for any tree."""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from aifactory.granulation import queries
from aifactory.granulation.checking import Examination, said_type
from aifactory.granulation.granulate_schemas import (
    PARAMETER_NAMES,
    Checked,
    GivenSource,
    GranulateInput,
    ValidateInput,
    checked_of,
)
from aifactory.granulation.routes import find_visible_tree
from aifactory.granulation.service import Granulation
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.templates import match_template
from aifactory.granulation.types import is_built_in, specs_named
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.errors import Invalid, NotFound, invalid
from aifactory.kernel.http import MAX_SOURCE_BODY
from aifactory.kernel.ids import DataId, parse_id
from aifactory.kernel.principal import READERS, WRITERS, Principal
from aifactory.resources.interface import DataNotFound, NewRequest, RequestBook, Resources, Submissions, Tier
from aifactory.resources.interface.http import client_of, execute_at_once
from aifactory.resources.schemas import Execution
from aifactory.resources.submitted_schemas import SubmittedExecution

AnyRequest = Request[Any, Any, Any]


class NoFlow(NotFound):
    """No master template is this worker template alone; the operator can make one."""

    code, title = "no_master_template", "No master template runs this worker template"


@post(
    "/api/granulate",
    roles=WRITERS,
    status_code=202,
    tags=["Granulation"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 404, 429],
    also={200: ("With Prefer: wait, the ended execution.", Execution)},
)
async def granulate(
    request: AnyRequest,
    data: JSONBody[GranulateInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    submissions: NamedDependency[Submissions],
    principal: NamedDependency[Principal],
) -> Response[SubmittedExecution]:
    """Execute ``content_granulation_{type}``, or the master template that is one worker template alone."""
    given = msgspec.json.decode(await request.body())

    async def read(tx: Tx) -> NewRequest:
        client_id = await client_of(tx, resources, data.client_id, principal)
        tier = (await resources.get_client(tx, client_id)).tier
        return NewRequest(
            client_id=client_id,
            key_id=principal.key_id,
            template=await _master_template(tx, book, data, tier),
            # As they were sent: what was left out is the template's to fill in.
            parameters={name: given[name] for name in PARAMETER_NAMES if name in given},
            urgency=data.urgency,
            accuracy=data.accuracy,
            run_after=data.run_after,
            deadline=data.deadline,
            metadata=data.metadata,
        )

    with _flat_pointers():
        return await execute_at_once(
            request,
            read,
            db=db,
            resources=resources,
            book=book,
            submissions=submissions,
            caller=principal,
        )


async def _master_template(tx: Tx, book: RequestBook, data: GranulateInput, tier: Tier) -> str:
    wanted = _wanted_type(data)
    if (wanted is None) == (data.template is None):
        raise invalid("/type", "one_of", "Give type or template, one of them.")
    if wanted is not None:
        return f"content_granulation_{wanted}"
    found = await match_template(tx, data.template or "", tier)
    name = await book.find_template_of(tx, worker=Granulation.name, template_ref=found.name)
    if name is None:
        raise NoFlow(
            f"No active master template runs {found.name} alone; ask the operator to make one with POST "
            "/api/master-templates.",
            template=found.name,
        )
    return name


def _wanted_type(data: GranulateInput) -> str | None:
    """The type asked for; beside a template, structureType is the parameter that says what it should make."""
    if data.type is not None and data.structure_type not in (None, data.type):
        message = f"type says {data.type}, structureType {data.structure_type}; leave one of them out."
        raise invalid("/structureType", "wrong_type", message)
    return data.type if data.type or data.template else data.structure_type


@contextlib.contextmanager
def _flat_pointers() -> Iterator[None]:
    """Point at parameters where they are in this body: beside everything else."""
    try:
        yield
    except Invalid as refusal:
        refusal.errors = tuple(
            msgspec.structs.replace(one, pointer=one.pointer.removeprefix("/parameters"))
            for one in refusal.errors
        )
        refusal.detail = refusal.detail.replace("/parameters/", "/")
        raise


@post(
    "/api/validate",
    roles=READERS,
    scope="read",
    status_code=200,
    tags=["Granulation"],
    request_max_body_size=MAX_SOURCE_BODY,
    refusals=[404],
)
async def validate_tree(
    data: JSONBody[ValidateInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    granulation: NamedDependency[Granulation],
    principal: NamedDependency[Principal],
) -> Checked:
    """Check and score a tree, brought along or stored, by rules; nothing is stored and nothing is charged."""
    if (data.tree is msgspec.UNSET) == (data.tree_id is None):
        raise invalid("/tree", "one_of", "Give tree or treeId, one of them.")
    async with db.begin() as tx:
        tree = await _tree(tx, data, principal)
        wanted = Examination(
            tree=tree,
            structure_type=data.structure_type,
            spec=await _own_type(tx, data.structure_type or said_type(tree)),
            source=await _source(tx, resources, data.source, principal),
            source_format=data.source.format.value if data.source else "markdown",
            source_name=data.source.name if data.source else "",
            parameters=data.parameters,
            objects=data.objects,
        )
    return checked_of(await granulation.assess_tree(wanted), data)


async def _tree(tx: Tx, data: ValidateInput, caller: Principal) -> bytes:
    if isinstance(data.tree, msgspec.Raw):
        return bytes(data.tree)
    stored = await find_visible_tree(tx, data.tree_id or "", caller)
    return msgspec.json.encode(await queries.load_tree(tx, stored))


async def _own_type(tx: Tx, name: str | None) -> StructureSpec | None:
    """Return the newest version of a type that an operator made, in use or not; the package's are known."""
    if name is None or is_built_in(name):
        return None
    return (await specs_named(tx, [name])).get(name)


async def _source(
    tx: Tx, resources: Resources, source: GivenSource | None, caller: Principal
) -> bytes | None:
    if source is None:
        return None
    if (source.text is None) == (source.data_ref is None):
        raise invalid("/source", "one_of", "Give text or dataRef, one of them.")
    if source.text is not None:
        return source.text.encode()
    data_id = parse_id("data", source.data_ref or "")
    visible = caller.visible_client()
    if data_id is None or await resources.find_data(tx, client_id=visible, data_id=DataId(data_id)) is None:
        raise DataNotFound("There is no data with this reference; POST /api/data makes one.")
    return await resources.load_data(tx, DataId(data_id))


ROUTES = [granulate, validate_tree]
