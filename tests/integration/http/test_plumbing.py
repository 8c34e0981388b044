"""What every answer has: request ids, security headers, sane methods; and what happens when parts fail."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from litestar import get
from tests.factories import World, assert_problem, bare_app, open_world

from aifactory.kernel.db import Database
from aifactory.kernel.guard import UndeclaredRoles
from aifactory.kernel.health import PartHealth
from aifactory.kernel.money import is_money
from aifactory.kernel.principal import PUBLIC
from aifactory.kernel.problems import catalogue

pytestmark = pytest.mark.anyio

NO_MONEY = {"accept", "estimatedHours", "max", "meanScore", "min", "qualityScore", "review", "score"} | {
    "threshold",
    "value",
    "weight",
    *("tier", "urgency", "waiting", "fairness", "usagePerWeight"),  # of a priority
}


async def test_every_answer_has_a_request_id_and_security_headers(world: World) -> None:
    for method, path in (("GET", "/"), ("GET", "/nope"), ("PUT", "/"), ("GET", "/clients"), ("GET", "/docs")):
        answer = await world.ask(method, path)
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]


async def test_a_safe_request_id_is_kept_and_an_unsafe_one_replaced(world: World) -> None:
    kept = await world.ask("GET", "/nope", headers={"X-Request-Id": "trace-1.a:b_c"})
    assert assert_problem(kept)["requestId"] == "trace-1.a:b_c"
    for unsafe in ("x" * 65, "a b", "a\tb", '"><script>', ""):
        answer = await world.ask("GET", "/", headers={"X-Request-Id": unsafe})
        assert answer.headers["x-request-id"] != unsafe


async def test_head_answers_as_get_without_a_body(world: World) -> None:
    found = await world.ask("HEAD", "/health")
    assert (found.status_code, found.content) == (200, b"")
    assert (await world.ask("HEAD", "/clients")).status_code == 401


async def test_options_and_unknown_methods_name_the_methods(world: World) -> None:
    options = await world.ask("OPTIONS", "/requests")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    for method in ("FOO", "TRACE", "PUT", "PATCH"):
        answer = await world.ask(method, "/requests")
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_a_fault_of_ours_is_a_problem_without_a_traceback(database: Database) -> None:
    @get("/boom", roles=PUBLIC)
    async def boom() -> None:
        """Fail."""
        raise RuntimeError("a secret detail")

    async with open_world(database, routes=[boom]) as world:
        answer = await world.ask("GET", "/boom")
    assert_problem(answer, 500, "internal")
    assert "secret detail" not in answer.text


async def test_a_route_without_roles_stops_the_start(database: Database) -> None:
    @get("/open")
    async def forgotten() -> None:
        """Declare nothing."""

    with pytest.raises(UndeclaredRoles, match="/open"):
        bare_app(database, routes=[forgotten])


async def test_readiness_turns_red_when_a_loop_is_dead_or_hangs(database: Database) -> None:
    state = {"ok": True}

    async def scheduler() -> PartHealth:
        return PartHealth(ok=state["ok"], detail={"lastTick": None})

    async with open_world(database, health={"scheduler": scheduler}) as world:
        assert (await world.ask("GET", "/health/ready")).status_code == 200
        state["ok"] = False
        problem = assert_problem(await world.ask("GET", "/health/ready"), 503, "not_ready")
        assert problem["parts"]["scheduler"]["ok"] is False
        assert (await world.ask("GET", "/health")).status_code == 200

    async def hanging() -> PartHealth:
        await anyio.sleep_forever()
        raise AssertionError

    async with open_world_again(database, hanging) as http:
        assert_problem(await http.get("/health/ready"), 503)


@contextlib.asynccontextmanager
async def open_world_again(database: Database, check: object) -> AsyncIterator[httpx.AsyncClient]:
    app = bare_app(database, health={"slow": check})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http


async def test_the_document_describes_every_operation(world: World) -> None:
    document = (await world.ask("GET", "/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len(operations) > 20
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names))
    schemas = document["components"]["schemas"]
    for one in operations:
        assert one["description"]
        assert one["tags"]
        assert "security" in one
        assert "application/problem+json" in one["responses"]["default"]["content"]
    for reference in set(_references(document)):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind], reference
    assert schemas["NewRequestInput"]["additionalProperties"] is False
    numbers = {
        name for one in schemas.values() for name, kind in one.get("properties", {}).items() if _number(kind)
    }
    assert {
        name for name in numbers if not is_money(name)
    } == NO_MONEY  # who may see no money is told it by name
    assert "costUsd" not in schemas["Execution"]["required"]
    edited = document["paths"]["/admin/pools/{name}"]
    assert "If-Match" in {one["name"] for one in edited["put"]["parameters"]}
    assert "ETag" in edited["get"]["responses"]["200"]["headers"]


def _number(kind: dict[str, Any]) -> bool:
    return kind.get("type") == "number" or any(map(_number, kind.get("anyOf", ())))


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


async def test_the_reference_pages_load_nothing_from_elsewhere(world: World) -> None:
    page = (await world.ask("GET", "/docs")).text
    assert "http:" not in page
    assert "https:" not in page
    addresses = [part.split('"')[0] for part in page.split('src="')[1:]]
    addresses += [part.split('"')[0] for part in page.split('stylesheet" href="')[1:]]
    assert len(addresses) == 4
    for address in addresses:
        answer = await world.ask("GET", address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    errors = (await world.ask("GET", "/docs/errors")).text
    for entry in catalogue():
        assert f'id="{entry.code}"' in errors


async def test_no_static_file_outside_the_folder(world: World) -> None:
    for path in ("/static/x/../../app.py", "/static/x/%2e%2e/%2e%2e/app.py", "/static/0/docs.js"):
        assert_problem(await world.ask("GET", path), 404)


@contextlib.contextmanager
def served(app: object) -> Iterator[str]:
    """Serve on a free port by a real uvicorn in a thread."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


async def test_a_real_server_answers_the_same(fresh_database_url: str) -> None:
    database = Database(url=fresh_database_url)
    app = bare_app(database)
    json_type = {"Content-Type": "application/json"}

    async def large() -> AsyncIterator[bytes]:
        for _ in range(3000):
            yield b"x" * 1000

    with served(app) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            assert (await http.get("/")).json()["name"] == "AI Factory"
            assert (await http.get("/health/ready")).status_code == 200
            assert_problem(await http.get("/nope"), 404)
            assert_problem(await http.request("PURGE", "/"), 405)
            head = await http.head("/health")
            assert (head.status_code, head.content) == (200, b"")
            assert_problem(await http.post("/auth/login", content=large(), headers=json_type), 413)
            assert_problem(await http.get("/requests"), 401)
            body = json.dumps({"login": "a", "password": "\ud800"})
            refused = await http.post("/auth/login", content=body, headers=json_type)
            assert_problem(refused)
