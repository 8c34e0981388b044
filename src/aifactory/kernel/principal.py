"""Who is calling."""

from enum import StrEnum

import msgspec

from aifactory.kernel.allowance import Allowance
from aifactory.kernel.errors import NotAllowed
from aifactory.kernel.ids import ClientId, KeyId, SessionId, UserId, text_id


class Role(StrEnum):
    """What a route can ask of its caller. ``PUBLIC`` on a route means that no credential is needed."""

    PUBLIC = "public"
    CLIENT = "client"
    WORKER = "worker"
    SUPPORT = "support"
    ADMIN = "admin"
    MONITOR = "monitor"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller. A client's key and a client's user both have ``client_id``.

    ``csrf_token`` is there for a session by cookie only: pages send it back with every change.
    ``allowance``: what is left of its API requests, where this one was counted.
    """

    role: Role
    client_id: ClientId | None = None
    key_id: KeyId | None = None
    user_id: UserId | None = None
    session_id: SessionId | None = None
    worker: str | None = None
    scopes: frozenset[str] = frozenset()
    csrf_token: str | None = None
    allowance: Allowance | None = None

    @property
    def label(self) -> str:
        """Name the caller in the logs and the audit log: by public ids."""
        if self.user_id:
            return text_id("user", self.user_id)
        return self.stored_name if self.client_id is None else text_id("client", self.client_id)

    @property
    def stored_name(self) -> str:
        """Name the caller where idempotency keys and handshakes are stored.

        Never change this form: what was asked under the old one would be done a second time.
        """
        if self.worker:
            return f"worker:{self.worker}"
        if self.user_id:
            return f"user:{self.user_id}"
        if self.role is Role.MONITOR:
            return Role.MONITOR.value
        return f"client:{self.client_id}"

    @property
    def sees_money(self) -> bool:
        """Whether answers may tell this caller what anything costs; support sees work, and no money."""
        return self.role is not Role.SUPPORT

    def visible_client(self) -> ClientId | None:
        """Return the only client whose objects the caller may see; None means every client's.

        Raises NotAllowed for a caller that belongs to no client and is not the operator.
        """
        if self.role in (Role.ADMIN, Role.SUPPORT):
            return None
        if self.client_id is None:
            raise NotAllowed("This credential belongs to no client; use a client's API key.")
        return self.client_id

    def visible_work(self) -> ClientId | None:
        """Return the only client whose executions the caller may see; a worker starts work for any client."""
        return None if self.role is Role.WORKER else self.visible_client()


# Common sets for routes.
PUBLIC = frozenset({Role.PUBLIC})
READERS = frozenset({Role.CLIENT, Role.ADMIN, Role.SUPPORT})
WRITERS = frozenset({Role.CLIENT, Role.ADMIN})
MONEY_READERS = WRITERS  # support sees work, and no money
EXECUTORS = WRITERS | {Role.WORKER}
WORK_READERS = READERS | {Role.WORKER}
OPERATORS = frozenset({Role.ADMIN})
OPERATOR_READERS = frozenset({Role.ADMIN, Role.SUPPORT})
MONITORS = frozenset({Role.ADMIN, Role.MONITOR})
