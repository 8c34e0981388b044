"""The log: one line per change of state with its ids, and nothing of what a request says."""

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.fake_worker import ScriptedWorker
from tests.fleet import Fleet

from aifactory.kernel.ids import text_id
from aifactory.resources.interface import Job, Outcome

pytestmark = pytest.mark.anyio

SECRET = "nobody's business"


async def test_each_change_of_state_is_one_line_with_ids_and_without_content(fleet: Fleet) -> None:
    process, client = await fleet.process(), await fleet.client()
    with capture_logs() as lines:
        execution = await fleet.submit(client, parameters={"topic": SECRET})
        await process.work()
    told = [(line["event"], line["log_level"]) for line in lines if "execution_id" in line]
    assert told == [
        ("execution.queued", "info"),
        ("execution.started", "info"),
        ("stage.started", "info"),
        ("job.succeeded", "debug"),
        ("stage.succeeded", "info"),
        ("execution.succeeded", "info"),
    ]
    assert {line["execution_id"] for line in lines if "execution_id" in line} == {text_id("exec", execution)}
    assert next(line for line in lines if line["event"] == "job.succeeded")["job_id"].startswith("job_")
    assert SECRET not in str(lines)


async def test_what_is_logged_while_a_job_runs_names_the_job(fleet: Fleet) -> None:
    seen: dict[str, Any] = {}

    async def look(job: Job) -> Outcome:
        seen.update(structlog.contextvars.get_contextvars(), wanted=text_id("job", job.id))
        return await ScriptedWorker().run(job, lambda _: None)

    fleet.worker.on_run = look
    process, execution = await fleet.process(), await fleet.submit(await fleet.client())
    await process.work()
    assert (seen["job_id"], seen["execution_id"]) == (seen["wanted"], text_id("exec", execution))
    assert "job_id" not in structlog.contextvars.get_contextvars()
