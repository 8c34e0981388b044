"""The measures work on a small scale: a queue of four clients' executions is drained and counted."""

import pytest
from bench import drain
from bench.drain import drain_ours

pytestmark = pytest.mark.anyio


async def test_a_drain_runs_every_job_once_and_leaves_nothing_held(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "CLIENTS", 2)
    done = await drain_ours(fresh_database_url, executions=8, jobs=2, slots=8)
    assert done["jobs_per_second"] > 0
