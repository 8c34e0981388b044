"""The proof of the ledger, bounded: a rebuild of 20,000 entries is identical, and finds what is planted."""

import pytest

from aifactory.kernel.db import Database
from aifactory.resources import audit
from prove import ledger

pytestmark = pytest.mark.anyio


async def test_a_rebuild_of_many_entries_is_identical_and_finds_exactly_what_is_planted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "SMALL", 0)  # two connections share one snapshot
    report = await ledger.run(database, 20_000)
    assert report.clean.differences == []
    assert report.entries > 19_900
    assert report.found == report.planted
    assert len(report.planted) == 3
