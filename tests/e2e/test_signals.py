"""Ctrl-C and SIGTERM with work in flight: a clean end within seconds, and the next start goes on."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.running import (
    PATIENCE_SECONDS,
    Server,
    assert_books_balance,
    database_of,
    finished,
    order,
    wait_until,
)

SECONDS_TO_END = 30  # 4 s of grace, 3 s to hand back, the database's end; and a busy machine


def test_work_in_flight_is_handed_back_and_goes_on(data_dir: Path) -> None:
    with Server(data_dir, local_workers=1) as server:
        key = server.secrets()["key"]
        with server.with_key(key) as client:
            submitted = [client.post("/requests", json=order()).json() for _ in range(6)]
        stop_in_the_middle(server, Server.press_ctrl_c)
        for stop in (Server.terminate, None):
            server.start()
            assert "First start" not in server.stdout
            assert len(server.stdout.splitlines()) == 1
            if stop is not None:
                stop_in_the_middle(server, stop)
        with server.with_key(key) as client:
            assert {finished(client, one["id"])["state"] for one in submitted} == {"succeeded"}
        with database_of(data_dir) as fetch:
            assert fetch("SELECT id FROM jobs WHERE crashes > 0") == []
            assert fetch("SELECT count(*) FROM granulation_trees")[0]["count"] == len(submitted)
        assert_quiet(server)
        assert_books_balance(data_dir)


def stop_in_the_middle(server: Server, stop: Callable[[Server], None]) -> None:
    """Stop a server while a step runs, and check that it leaves at once and hands everything back."""
    with database_of(server.data_dir) as fetch:
        wait_until(lambda: fetch("SELECT FROM running_jobs"), "a step to run", pause=0.01)
    asked = time.monotonic()
    stop(server)
    code = server.wait()

    assert time.monotonic() - asked < SECONDS_TO_END
    assert code == 0, server.stderr
    assert "Stopping: running steps get a few seconds" in server.stderr
    assert_quiet(server)
    wait_until(lambda: not server.others(), "the worker processes to end")
    with database_of(server.data_dir) as fetch:
        states = "SELECT count(*) FILTER (WHERE finished_at IS NULL) AS unfinished FROM executions"
        assert fetch(states)[0]["unfinished"] > 0, "everything was done before the signal"
        assert fetch("SELECT FROM running_jobs") == []
        assert fetch("SELECT FROM processes") == []


def test_a_waiting_caller_is_told_where_to_look_when_the_server_stops(data_dir: Path) -> None:
    with Server(data_dir, grace_seconds=1) as server, server.with_key(server.secrets()["key"]) as client:
        with server.as_admin(server.secrets()) as admin:
            admin.post("/admin/scheduler/stop").raise_for_status()  # so that the work does not end before
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.post, "/requests", json=order(), headers={"Prefer": "wait=60"})
            with database_of(data_dir) as fetch:
                wait_until(lambda: fetch("SELECT FROM executions"), "the request to be stored")
            server.press_ctrl_c()
            answer = waiting.result(PATIENCE_SECONDS)

        assert server.wait() == 0
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/requests/{answer.json()['id']}"
        assert_quiet(server)


def assert_quiet(server: Server) -> None:
    """Check that nothing was logged as an error, and no traceback."""
    assert "Traceback" not in server.stderr
    assert not re.search(r'"(exception|exc_type)"|"level": "(error|critical)"', server.stderr), server.stderr
