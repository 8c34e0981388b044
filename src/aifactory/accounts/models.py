"""The tables of accounts, mapped."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, DateTime, Integer, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Row(DeclarativeBase):
    """The base of mapped rows."""

    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as a plain class attribute)
        UUID: Uuid(as_uuid=True),
        str: Text(),
        bool: Boolean(),
        int: Integer(),
        bytes: LargeBinary(),
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text()),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


class ClientRow(Row):
    """A client's identity; its tier and limits belong to the Resource Manager."""

    __tablename__ = "clients"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    contact: Mapped[str]
    created_at: Mapped[datetime]


class UserRow(Row):
    """Someone who logs in; ``password_version`` grows with each new password."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    login: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str]
    client_id: Mapped[UUID | None]
    active: Mapped[bool]
    password_version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]


class SessionRow(Row):
    """A log-in; ``ended_at`` is set by logging out."""

    __tablename__ = "user_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    token_sha256: Mapped[bytes]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ApiKeyRow(Row):
    """An API key; of the secret only its hash."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID]
    name: Mapped[str]
    public_id: Mapped[str]
    secret_sha256: Mapped[bytes]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class WorkerCredentialRow(Row):
    """An outside worker's secret, of which only the hash; ``replaced_at`` is set by a newer one."""

    __tablename__ = "worker_credentials"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker: Mapped[str]
    public_id: Mapped[str]
    secret_sha256: Mapped[bytes]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    replaced_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class MasterTemplateRow(Row):
    """One version of a master template."""

    __tablename__ = "master_templates"

    id: Mapped[UUID]
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    description: Mapped[str]
    flow: Mapped[list[Any]]
    active: Mapped[bool]
    created_at: Mapped[datetime]


class ClientRequestRow(Row):
    """What a client asked for; its source is stored as data. ``flow``: its own, in a template's stead."""

    __tablename__ = "client_requests"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID]
    key_id: Mapped[UUID | None]
    template: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    source_data_id: Mapped[UUID | None]
    urgency: Mapped[str]
    accuracy: Mapped[str]
    run_after: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    timeout_ms: Mapped[int | None]
    off_peak: Mapped[bool] = mapped_column(server_default="false")
    flow: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    # ``metadata`` is taken by SQLAlchemy.
    labels: Mapped[dict[str, Any]] = mapped_column("metadata")
    created_at: Mapped[datetime]
    executed: Mapped[bool] = mapped_column(server_default="true")
    erased_at: Mapped[datetime | None]
    erasure: Mapped[str | None]
