"""What is to be executed: a template that is named, a flow that is brought along, a single action."""

import contextlib
from collections.abc import Iterator

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Invalid, NotAllowed, NotFound, invalid
from aifactory.kernel.principal import Principal, Role
from aifactory.resources import schemas
from aifactory.resources.interface import INLINE, FlowStage, NewRequest, RequestBook, Resources
from aifactory.resources.interface.http import client_of


class NoSingleStage(NotFound):
    """No master template is this one action alone; the operator can make one."""

    code, title = "no_single_stage", "No master template is this action"


def check_choice(data: schemas.ExecuteInput, caller: Principal) -> None:
    """Refuse none or several things to do, and a flow of somebody who may not bring one."""
    given = [one for one in (data.template, data.worker_flow, data.action) if one is not None]
    if len(given) != 1:
        raise invalid("/template", "one_of", "Give template, workerFlow or action, one of them.")
    if data.worker_flow is not None and caller.role is Role.CLIENT:
        raise NotAllowed("A workerFlow is taken from an admin or a worker; name a template instead.")


async def new_request(
    tx: Tx, resources: Resources, book: RequestBook, data: schemas.ExecuteInput, caller: Principal
) -> NewRequest:
    """Return the request that a body asks for."""
    template, flow = await _what_to_do(tx, book, data, caller)
    return NewRequest(
        client_id=await client_of(tx, resources, data.client_id, caller),
        key_id=caller.key_id,
        template=template,
        flow=flow,
        parameters=data.parameters,
        urgency=data.urgency,
        accuracy=data.accuracy,
        run_after=data.run_after,
        deadline=data.deadline,
        off_peak=data.optimization.off_peak,
        metadata=data.metadata,
    )


async def _what_to_do(
    tx: Tx, book: RequestBook, data: schemas.ExecuteInput, caller: Principal
) -> tuple[str, tuple[FlowStage, ...] | None]:
    """Return a template's name, or the flow that was brought along.

    A client's single action runs as the master template that is this action alone: what the operator offers.
    """
    action = data.action
    if action is None:
        return data.template or INLINE, data.worker_flow
    if caller.role is not Role.CLIENT:
        stage = FlowStage(worker=action.worker, template_ref=action.template_ref, action=action.action)
        return INLINE, (stage,)
    name = None
    if action.action == "granulate":
        name = await book.find_template_of(tx, worker=action.worker, template_ref=action.template_ref)
    if name is None:
        raise NoSingleStage(
            f"No master template is the action {action.action} of {action.worker} with {action.template_ref} "
            "alone; GET /api/master-templates lists what there is."
        )
    return name, None


@contextlib.contextmanager
def pointers_of(data: schemas.ExecuteInput) -> Iterator[None]:
    """Point at a flow's faults where they are in this body."""
    try:
        yield
    except Invalid as refusal:
        here = "/workerFlow" if data.action is None else "/action"
        there = "/flow" if data.action is None else "/flow/0"
        refusal.errors = tuple(
            msgspec.structs.replace(one, pointer=one.pointer.replace(there, here, 1))
            if one.pointer.startswith(there)
            else one
            for one in refusal.errors
        )
        refusal.detail = refusal.detail.replace(f"{there}/", f"{here}/")
        raise
