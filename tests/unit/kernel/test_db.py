"""Which faults mean that the database can't be reached."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from aifactory.kernel.db import _is_connection_fault


def wrapped(cause: BaseException) -> DBAPIError:
    """A fault as SQLAlchemy hands it on: translated, with the driver's own as its cause."""
    translated = Exception("translated")
    translated.__cause__ = cause
    return DBAPIError("SELECT 1", {}, translated)


@pytest.mark.parametrize(
    "fault",
    [
        ConnectionRefusedError(),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        wrapped(asyncpg.CannotConnectNowError("the database system is starting up")),
        wrapped(asyncpg.ConnectionDoesNotExistError("gone")),
    ],
)
def test_a_server_that_is_away_or_not_ready_is_a_connection_fault(fault: BaseException) -> None:
    assert _is_connection_fault(fault)


@pytest.mark.parametrize(
    "fault",
    [ValueError("x"), wrapped(asyncpg.UniqueViolationError("twice")), asyncpg.DeadlockDetectedError("x")],
)
def test_what_a_statement_did_wrong_is_none(fault: BaseException) -> None:
    assert not _is_connection_fault(fault)
