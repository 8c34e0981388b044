"""``aifactory serve``: what a newcomer and a program do with it over HTTP."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.e2e.running import (
    COURSE,
    EXAMPLES,
    PATIENCE_SECONDS,
    QUIZ,
    REPOSITORY,
    Server,
    assert_books_balance,
    database_of,
    finished,
    new_client,
    order,
    run,
    wait_until,
)

from aifactory.kernel.ids import parse_id


@pytest.fixture(scope="module")
def admin(server: Server, secrets: dict[str, str]) -> Iterator[httpx.Client]:
    with server.as_admin(secrets) as caller:
        yield caller


@pytest.fixture(scope="module")
def client(server: Server, secrets: dict[str, str]) -> Iterator[httpx.Client]:
    """The demo client with the key of the first start."""
    with server.with_key(secrets["key"]) as caller:
        yield caller


@pytest.fixture(scope="module")
def course(client: httpx.Client) -> dict[str, Any]:
    """A finished course: the answer to a request that waited for it."""
    answer = client.post("/requests", json=order(COURSE, "balance-sheet.md"), headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-cost-usd"] == str(exact(answer)["costUsd"])
    return exact(answer)


def exact(answer: httpx.Response) -> Any:
    """Decode an answer with its decimal numbers as they were written."""
    return json.loads(answer.text, parse_float=Decimal)


def get(caller: httpx.Client, path: str) -> Any:
    answer = caller.get(path)
    assert answer.status_code == 200, answer.text
    return exact(answer)


def test_the_first_start_tells_its_address_and_the_secrets(
    server: Server, secrets: dict[str, str], admin: httpx.Client
) -> None:
    assert server.stdout.splitlines()[0].endswith(
        f" on {server.url} · API reference: {server.url}/docs · Ctrl-C stops"
    )
    assert server.stdout.count(secrets["password"]) == 1
    assert get(admin, "/auth/session")["role"] == "admin"


def test_without_models_and_webhooks_their_clients_are_not_loaded(server: Server) -> None:
    loaded = {part for one in psutil.Process(server.pid).memory_maps() for part in Path(one.path).parts}
    assert "msgspec" in loaded
    assert not loaded & {"aiohttp", "pydantic_core"}


def test_the_printed_curl_line_gives_a_finished_course(server: Server, client: httpx.Client) -> None:
    printed = [line.strip() for line in server.stdout.splitlines()]
    line = "\n".join(line for line in printed if line.startswith(("export ", "curl ")))

    pasted = subprocess.run(
        ["bash", "-c", line], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True
    )

    result = json.loads(pasted.stdout)
    assert result["state"] == "succeeded", result
    assert result["result"]["structureType"] == "course"
    assert get(client, f"/requests/{result['id']}/result")["state"] == "succeeded"


def test_a_course_can_be_followed_by_every_door(client: httpx.Client, course: dict[str, Any]) -> None:
    status = get(client, f"/requests/{course['id']}/status")
    result = get(client, f"/requests/{course['id']}/result")
    by_execution = get(client, f"/api/execution/{course['executionId']}")
    by_request = get(client, f"/api/execution/{course['id']}")
    listed = get(client, "/requests?state=succeeded&limit=100")["data"]

    assert result == course
    assert by_execution == by_request
    assert status["executionId"] == by_execution["id"] == course["executionId"]
    assert status["progress"] == by_execution["progress"] == {"jobsDone": 3, "jobsTotal": 3}
    assert {status["state"], by_execution["state"]} == {"succeeded"}
    assert [one["id"] for one in listed].count(course["id"]) == 1


def test_the_calls_of_a_course_add_up_to_its_cost_exactly(
    client: httpx.Client, course: dict[str, Any]
) -> None:
    cost = get(client, f"/api/cost/{course['id']}")

    assert [call["kind"] for call in cost["calls"]] == ["read", "write", "score"]
    assert sum(call["costUsd"] for call in cost["calls"]) == cost["costUsd"] == course["costUsd"]
    assert [stage["costUsd"] for stage in cost["stages"]] == [cost["costUsd"]]
    for call in cost["calls"]:
        words = call["usage"]["inputUnits"] + call["usage"]["outputUnits"]
        assert 0 < call["costUsd"] <= words * Decimal("0.00000001")  # $0.00001 per 1,000 words
    assert 0 < cost["costUsd"] <= cost["heldCostUsd"]
    assert cost["heldNowUsd"] == 0


def test_the_tree_of_a_course_is_read_checked_and_exported(
    client: httpx.Client, course: dict[str, Any]
) -> None:
    tree_id = course["result"]["treeId"]
    tree = get(client, f"/api/jobs/{tree_id}")
    structure = get(client, f"/api/jobs/{tree_id}/structure")
    validations = get(client, f"/api/jobs/{tree_id}/validations")
    exported = get(client, f"/api/jobs/{tree_id}/export?format=json")
    markdown = client.get(f"/api/jobs/{tree_id}/export", params={"format": "markdown"})
    listed = get(client, f"/api/jobs?executionId={course['executionId']}")["data"]

    assert tree["score"] == course["result"]["score"]
    assert listed == [tree]
    assert all(0 <= part["value"] <= 1 for part in tree["subScores"].values())
    assert sum(part["weight"] for part in tree["subScores"].values()) == pytest.approx(1, abs=0.02)
    titles = [node["title"] for node in structure["nodes"]]
    assert titles == [node["title"] for node in exported["tree"]["nodes"]]
    assert structure["counts"]["module"] == len(titles)
    assert all(one["severity"] and one["rule"] and one["message"] for one in validations["data"])
    text = (EXAMPLES / "balance-sheet.md").read_text(encoding="utf-8")
    assert exported["tree"]["source"]["characters"] == len(text)
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert markdown.text.startswith(f"# {tree['title']}\n")
    assert all(title in markdown.text for title in titles)


def test_a_template_is_executed_directly(client: httpx.Client) -> None:
    execution = client.post("/api/execute", json=order(), headers={"Prefer": "wait=60"})

    assert execution.status_code == 200, execution.text
    assert execution.json()["state"] == "succeeded"
    assert execution.headers["preference-applied"] == "wait=60"
    request_id = execution.json()["requestId"]
    assert get(client, f"/requests/{request_id}/status")["executionId"] == execution.json()["id"]
    assert get(client, execution.headers["location"])["requestId"] == request_id


def test_a_dry_run_stores_nothing(server: Server, client: httpx.Client) -> None:
    tables = "client_requests", "executions", "jobs", "data_references", "cost_tracking", "idempotency_keys"
    count = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    with database_of(server.data_dir) as fetch:
        before = fetch(f"SELECT {count} AS rows")
        quote = client.post("/requests?dryRun=true", json=order(), headers={"Idempotency-Key": "dry"})
        assert fetch(f"SELECT {count} AS rows") == before

    assert quote.status_code == 200, quote.text
    assert quote.json()["dryRun"] is True
    assert 0 < exact(quote)["estimatedCostUsd"] <= exact(quote)["worstCostUsd"]


def test_a_stopped_scheduler_starts_nothing_until_it_is_started_again(
    server: Server, client: httpx.Client, admin: httpx.Client
) -> None:
    assert client.post("/admin/scheduler/stop").status_code == 403
    assert admin.post("/admin/scheduler/stop").json()["enabled"] is False
    try:
        waiting = [client.post("/requests", json=order()).json() for _ in range(3)]
        doomed = client.post("/requests", json=order()).json()
        assert admin.post("/admin/scheduler/process").json()["started"] == 0

        assert {get(client, f"/requests/{one['id']}/status")["state"] for one in waiting} == {"queued"}
        queues = get(client, "/api/queue/status")["queues"]
        assert {one["queue"]: (one["ready"], one["running"]) for one in queues}["normal"] == (4, 0)
        status = get(client, "/status")
        assert {one["pool"] for one in status["pools"]} >= {"compute", "default"}
        assert status["queues"][2]["ready"] == 4
        state = get(admin, "/admin/scheduler")
        assert (state["enabled"], len(state["processes"])) == (False, 1)
        assert state["processes"][0]["pid"] == server.pid

        cancelled = client.post(f"/requests/{doomed['id']}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert client.post(f"/requests/{doomed['id']}/cancel").json() == cancelled.json()
        held = get(client, f"/api/cost/{doomed['id']}")
        assert (held["heldNowUsd"], held["costUsd"], held["calls"]) == (0, 0, [])
    finally:
        started = admin.post("/admin/scheduler/start")
    assert started.json()["enabled"] is True
    assert {finished(client, one["id"])["state"] for one in waiting} == {"succeeded"}
    assert get(client, f"/requests/{doomed['id']}/status")["state"] == "cancelled"


def test_a_request_without_result_yet_says_its_state(client: httpx.Client) -> None:
    draft = client.post("/requests", json=order(execute=False))
    assert (draft.status_code, draft.json()["state"]) == (201, "draft")

    result = client.get(f"/requests/{draft.json()['id']}/result")
    assert result.status_code == 409
    assert result.json()["currentState"] == "draft"

    executed = client.post(f"/requests/{draft.json()['id']}/execute", json={}, headers={"Prefer": "wait=60"})
    assert (executed.status_code, executed.json()["state"]) == (200, "succeeded"), executed.text


def test_no_money_is_a_402_with_the_shortfall(server: Server, admin: httpx.Client) -> None:
    _, key = new_client(admin, "Penniless", monthly_budget_usd=0.00000001)
    with server.with_key(key) as poor:
        refused = poor.post("/requests", json=order())

        problem = exact(refused)
        assert refused.status_code == 402, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["retryable"]) == ("budget_exceeded", False)
        assert problem["requestId"] == refused.headers["x-request-id"]
        assert get(poor, "/requests")["data"] == []


def test_a_basic_client_is_told_which_tier_a_course_needs(server: Server, admin: httpx.Client) -> None:
    _, key = new_client(admin, "Basic")
    with server.with_key(key) as basic:
        refused = basic.post("/requests", json=order(COURSE))
        assert (refused.status_code, refused.json()["requiredTier"]) == (403, "standard"), refused.text
        templates = get(basic, "/api/master-templates")["data"]
        allowed = {one["name"]: one["allowed"] for one in templates}
        larger = {
            f"content_granulation_{one}" for one in ("learning_path", "knowledge_map", "workflow", "novel")
        }
        courses = {COURSE, "course_with_quiz", "complete_education_pipeline"}
        assert {name for name, may in allowed.items() if not may} == courses | larger
        assert allowed[QUIZ]
        assert get(basic, "/requests")["data"] == []


def test_nobody_sees_another_clients_work(
    server: Server, admin: httpx.Client, course: dict[str, Any]
) -> None:
    _, key = new_client(admin, "Curious", tier="enterprise", monthly_budget_usd=5)
    tree_id = course["result"]["treeId"]
    with server.with_key(key) as other:
        for path in (
            f"/requests/{course['id']}",
            f"/requests/{course['id']}/result",
            f"/api/execution/{course['executionId']}",
            f"/api/cost/{course['id']}",
            f"/api/jobs/{tree_id}",
            f"/api/jobs/{tree_id}/export",
        ):
            assert other.get(path).status_code == 404, path
        assert other.post(f"/requests/{course['id']}/cancel").status_code == 404
        assert get(other, "/api/jobs")["data"] == []


def test_a_killed_worker_process_costs_one_attempt(server: Server, client: httpx.Client) -> None:
    """A step whose process is killed in its middle is tried again in a new one, and completes."""
    with database_of(server.data_dir) as fetch:
        for _ in range(5):  # on a busy machine the kill may come before the step has reached the process
            submitted, job_id = kill_the_worker_of_a_step(server, client, fetch)
            outcomes = [
                row["outcome"]
                for row in fetch(
                    "SELECT outcome FROM job_attempts WHERE job_id = $1 ORDER BY attempt", job_id
                )
            ]
            if outcomes != ["succeeded"]:
                break
        assert outcomes == ["lost", "succeeded"]
        assert fetch("SELECT crashes FROM jobs WHERE id = $1", job_id)[0]["crashes"] == 1
    calls = get(client, f"/api/cost/{submitted}")["calls"]
    assert [(call["kind"], call["costUsd"] > 0) for call in calls][:2] == [("read", False), ("read", True)]


def kill_the_worker_of_a_step(
    server: Server, client: httpx.Client, fetch: Callable[..., list[Any]]
) -> tuple[str, Any]:
    """Return the request, which has ended, and the step whose process was killed."""
    workers = wait_until(server.workers, "a worker process")
    for worker in workers:
        worker.suspend()  # so that the step is surely in its middle
    try:
        submitted = client.post("/requests", json=order()).json()
        mine = "SELECT id FROM jobs WHERE state = 'running' AND execution_id = $1"
        running = wait_until(lambda: fetch(mine, parse_id("exec", submitted["executionId"])), "a step to run")
        time.sleep(0.3)
    finally:
        for worker in workers:
            worker.kill()
    assert finished(client, submitted["id"])["state"] == "succeeded"
    return submitted["id"], running[0]["id"]


def test_a_busy_address_is_one_clear_line(server: Server) -> None:
    second = run("serve", data_dir=server.data_dir, port=server.port)

    assert (second.returncode, second.stdout) == (5, ""), second.stderr
    assert len(second.stderr.splitlines()) == 1, second.stderr
    assert f"127.0.0.1:{server.port}" in second.stderr
    assert "AIFACTORY_PORT" in second.stderr


def test_afterwards_the_books_balance_and_nothing_was_logged_as_an_error(
    server: Server, client: httpx.Client
) -> None:
    assert_books_balance(server.data_dir)
    errors = [line for line in server.stderr.splitlines() if re.search(r'"level": "(error|critical)"', line)]
    assert errors == []
    assert "Traceback" not in server.stderr


@pytest.mark.parametrize(
    "sent",
    [b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\xff", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
def test_what_is_no_http_is_refused_by_a_problem_too(server: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["code"] == "unreadable"
