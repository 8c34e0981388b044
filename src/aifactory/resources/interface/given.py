"""What the Resource Manager is given by the domains above it: templates, requests, outlines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, KeyId, RequestId
from aifactory.resources.interface.door import NewExecution
from aifactory.resources.interface.states import Accuracy, Urgency
from aifactory.resources.interface.work import FlowStage


class NamedTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A master template's name, version and flow."""

    name: str
    version: int
    flow: tuple[FlowStage, ...]


INLINE = "inline"  #: the template that a request with a flow of its own names


class Optimization(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How work may be done cheaper; ``offPeak``: if its urgency is low, it waits for the off-peak window."""

    off_peak: bool = False


class NewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for; ``parameters`` as they came, a source's text included.

    With ``flow`` it brings its own stages: no template is looked up, and ``template`` is ``INLINE``.
    """

    client_id: ClientId
    key_id: KeyId | None
    template: str
    flow: tuple[FlowStage, ...] | None = None
    parameters: dict[str, Any]
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: datetime | None = None
    deadline: datetime | None = None
    off_peak: bool = False
    metadata: dict[str, str] = {}


class CheckedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be submitted for a request that was checked, and its row, which is the book's own affair.

    ``row`` None: there is nothing to store for it but the work itself.
    """

    new: NewExecution
    row: Any = None


@runtime_checkable
class TemplateSource(Protocol):
    """Given by accounts: master templates by name."""

    async def get_template(self, tx: Tx, name: str) -> NamedTemplate:
        """Return the newest active version. Raises NotFound."""
        ...


@runtime_checkable
class RequestBook(Protocol):
    """Given by accounts, so that work started elsewhere has a request too."""

    async def open_request(self, tx: Tx, new: NewRequest) -> NewExecution:
        """Store a request and return what is to be submitted for it, and with it its source."""
        ...

    async def check_request(self, tx: Tx, new: NewRequest) -> CheckedRequest:
        """Check a request like ``open_request``; stores nothing."""
        ...

    async def store_requests(self, tx: Tx, checked: Sequence[CheckedRequest]) -> None:
        """Store requests that were checked in this transaction, with what is submitted for them."""
        ...

    async def open_draft(
        self,
        tx: Tx,
        *,
        request_id: RequestId,
        client_id: ClientId | None,
        key_id: KeyId | None,
        parameters: dict[str, Any],
    ) -> NewExecution:
        """Return what is to be submitted for a stored request, ``parameters`` over its own.

        The request is locked. Raises RequestNotFound, or RequestRunning while an execution of it runs.
        """
        ...

    async def retry_request(
        self, tx: Tx, *, request_id: RequestId, client_id: ClientId | None, key_id: KeyId | None
    ) -> NewExecution:
        """Return what is to be submitted to do again, with the same parameters, what did not succeed.

        The request is locked. Raises RequestNotFound, or NothingToRetry unless its latest execution ended
        and did not succeed.
        """
        ...

    async def get_template(self, tx: Tx, name: str) -> NamedTemplate:
        """Return the newest active version of a master template. Raises NotFound."""
        ...

    async def owns_key(self, tx: Tx, *, client_id: ClientId, key_id: KeyId) -> bool:
        """Tell whether an API key is a client's, live or not."""
        ...

    async def find_template_of(self, tx: Tx, *, worker: str, template_ref: str) -> str | None:
        """Name an active master template that is this one stage and no other; None if there is none."""
        ...


@runtime_checkable
class OutlineSource(Protocol):
    """Given by granulation: outlines of the trees that executions made."""

    async def find_outline(self, tx: Tx, *, client_id: ClientId, tree_id: str) -> dict[str, Any] | None:
        """Return a tree as an outline; None if it is unknown, or another client's."""
        ...
