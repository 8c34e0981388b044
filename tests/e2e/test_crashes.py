"""kill -9 in the middle of work, again and again: everything completes once, nothing settled is repeated."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.running import (
    COURSE,
    QUIZ,
    Server,
    database_of,
    finished,
    order,
    run,
    wait_until,
)

KILLS = 2
ORDERS = [
    (QUIZ, "tides.txt"),
    (COURSE, "balance-sheet.md"),
    (QUIZ, "sourdough.md"),
    (COURSE, "tides.txt"),
    (QUIZ, "drinking-water.md"),
]


def progress(fetch: Callable[..., list[Any]]) -> tuple[int, int]:
    """Return how many steps have settled, and how many run."""
    row = fetch(
        """
        SELECT count(*) FILTER (WHERE state = 'succeeded') AS settled,
               count(*) FILTER (WHERE state = 'running') AS running FROM jobs
        """
    )[0]
    return row["settled"], row["running"]


def test_two_kills_in_the_middle_of_work_repeat_nothing_that_was_settled(data_dir: Path) -> None:
    with Server(data_dir, local_workers=1) as server:
        key = server.secrets()["key"]
        with server.with_key(key) as client:
            answers = [client.post("/requests", json=order(*what)) for what in ORDERS]
        assert [answer.status_code for answer in answers] == [202] * len(ORDERS)
        settled_before = 0
        for _ in range(KILLS):
            with database_of(data_dir) as fetch:
                wait_until(
                    lambda fetch=fetch, before=settled_before: (
                        (now := progress(fetch))[0] > before and now[1] == 1
                    ),
                    "a step to have settled and another to run",
                    pause=0.01,
                )
            server.kill()
            server.start()
            with database_of(data_dir) as fetch:
                settled_before = progress(fetch)[0]

        with server.with_key(key) as client:
            ends = [finished(client, answer.json()["id"]) for answer in answers]
        assert [end["state"] for end in ends] == ["succeeded"] * len(ORDERS)
        with database_of(data_dir) as fetch:
            assert_each_ended_once(fetch)
            assert_no_settled_step_was_repeated(fetch)
        audited = run("audit", data_dir=data_dir)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert audited.stdout.endswith("\nno difference\n")


def assert_each_ended_once(fetch: Callable[..., list[Any]]) -> None:
    for table in ("client_requests", "executions", "granulation_trees"):
        assert fetch(f"SELECT count(*) FROM {table}")[0]["count"] == len(ORDERS), table
    ends = fetch("SELECT execution_id FROM execution_events WHERE type = 'execution.succeeded'")
    assert len(ends) == len({row["execution_id"] for row in ends}) == len(ORDERS)
    kinds = fetch("SELECT execution_id, kind, state FROM jobs")
    assert Counter((row["kind"], row["state"]) for row in kinds) == {
        (kind, "succeeded"): len(ORDERS) for kind in ("read", "write", "score")
    }


def assert_no_settled_step_was_repeated(fetch: Callable[..., list[Any]]) -> None:
    attempts: dict[Any, list[str]] = {}
    for row in fetch("SELECT job_id, outcome FROM job_attempts ORDER BY attempt, started_at"):
        attempts.setdefault(row["job_id"], []).append(row["outcome"])
    for outcomes in attempts.values():
        assert outcomes[-1] == "succeeded", outcomes
        assert set(outcomes[:-1]) <= {"lost"}, outcomes
    lost = sum(outcomes.count("lost") for outcomes in attempts.values())
    assert 1 <= lost <= KILLS
    spent = fetch("SELECT subject_id FROM cost_tracking WHERE kind = 'spend'")
    assert len(spent) == len({row["subject_id"] for row in spent}) == len(attempts)
