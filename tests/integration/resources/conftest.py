"""A fleet on a database: clients, submissions, processes driven round by round; audited at the end."""

from collections.abc import AsyncIterator

import pytest
from tests.fleet import Fleet, open_fleet

from aifactory.kernel.db import Database
from aifactory.resources.audit import audit


@pytest.fixture
async def fleet(database: Database) -> AsyncIterator[Fleet]:
    """Audits when the test is over: every balance and counter must equal what it is made of."""
    async with open_fleet(database) as opened:
        yield opened
        if opened.audited:
            assert (await audit(database)).differences == []
