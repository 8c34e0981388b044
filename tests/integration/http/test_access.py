"""Who may call what: every route, with every credential, on an own and on a foreign object."""

import re
from typing import Any

import httpx
import msgspec
import pytest
from litestar.routes import HTTPRoute
from tests.factories import FLOW, QUIZ, World, assert_problem, make_key, make_worker, store_tree

from aifactory.kernel.guard import is_automatic_options
from aifactory.kernel.money import without_money

pytestmark = pytest.mark.anyio

REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}
HANDSHAKE = {"inputData": {"template_name": QUIZ, "topic": "x"}}
TEMPLATE = {"title": "T", "flow": FLOW}
WORKER_TEMPLATE = {
    "title": "T",
    "structureType": "quiz",
    "minimumTier": "basic",
    "tierReason": "small",
    "tokensMin": 1,
    "tokensAvg": 2,
    "tokensMax": 3,
    "expectedSeconds": 1,
    "memoryMb": 1,
}
STRUCTURE_TYPE: dict[str, Any] = {
    "type": "checklist",
    "title": "Checklist",
    "description": "Areas, and what is checked in each.",
    "levels": [
        {
            "kind": "area",
            "title": "Area",
            "min": 1,
            "max": 6,
            "summary": "required",
            "fields": {"purpose": {"type": "text", "min": 10, "max": 400}},
        },
        {
            "kind": "check",
            "title": "Check",
            "min": 1,
            "max": 8,
            "fields": {
                "question": {"type": "text", "required": True, "min": 3, "max": 400},
                "frequency": {"type": "choice", "required": True, "choices": ["daily", "weekly"]},
                "after": {
                    "type": "list",
                    "of": {"type": "reference", "refersTo": "check", "use": "order"},
                },
            },
        },
    ],
    "rules": ["redundancy"],
    "presets": {"1": [2, 2], "3": [3, 4]},
    "weights": {"coverage": 0.5, "nonRedundancy": 0.25, "balance": 0.15, "form": 0.1},
}
SMALL_TREE = {
    "structureType": "quiz",
    "title": "T",
    "summary": "S.",
    "language": "en",
    "origin": "human",
    "depth": 2,
    "nodes": [{"id": "n1", "kind": "section", "level": 1, "ordinal": 1, "title": "A section"}],
}
PROVIDER = {
    "baseUrl": "http://localhost:9/v1",
    "models": [{"model": "m", "inputUsdPerMillion": 0, "outputUsdPerMillion": 0}],
}
POOL = {"unit": "tokens", "capacity": 90000, "refillPerSecond": 1500, "priceUsdPerThousand": 0}
QUEUE = {"policy": "fair", "sharePercent": 8, "fullAgeSeconds": 7200}
TIER = {
    "points": 20,
    "weight": 20,
    "maxRunning": 20,
    "monthlyBudgetUsd": 500,
    "requestsPerMinute": 120,
    "retentionDays": 90,
}
PASSWORDS = {"password": "wrong", "newPassword": "a new password"}
CREDENTIAL = {"worker": "outside", "scopes": ["execute"]}
WEBHOOK = {"url": "https://hooks.example.com/x"}
BUDGETS = {"monthlyUsd": None, "dailyUsd": 5, "keys": [], "templates": []}
LIMITS = {"maxRunning": None, "requestsPerMinute": None, "quotas": []}
OPEN = dict.fromkeys(("nobody", "worker", "theirs", "reader", "user", "support", "ours", "admin"), 200)


class Case(msgspec.Struct, kw_only=True):
    """A route, a body, and the status that each caller gets, asked in the order of CALLERS."""

    method: str
    path: str
    body: Any = None
    nobody: int = 401
    worker: int = 403
    theirs: int
    reader: int
    support: int
    user: int
    ours: int
    admin: int


CALLERS = ("nobody", "worker", "theirs", "reader", "support", "user", "ours", "admin")


def name_of(row: Case) -> str:
    return f"{row.method} {row.path}"


def case(method: str, path: str, statuses: str, body: Any = None, *, worker: int = 403) -> Case:
    """Statuses in the order theirs, reader, support, user, ours, admin."""
    theirs, reader, support, user, ours, admin = map(int, statuses.split())
    return Case(
        method=method,
        path=path,
        body=body,
        worker=worker,
        theirs=theirs,
        reader=reader,
        support=support,
        user=user,
        ours=ours,
        admin=admin,
    )


PUBLIC = [
    Case(method="GET", path=path, **OPEN)
    for path in ("/", "/health", "/health/ready", "/openapi.json", "/docs", "/docs/errors")
]
TABLE = [
    *PUBLIC,
    Case(method="GET", path="/static/{digest}/{name}", **dict.fromkeys(OPEN, 404)),
    Case(
        method="POST",
        path="/auth/login",
        body={"login": "nobody", "password": "wrong"},
        **dict.fromkeys(OPEN, 401),
    ),
    case("POST", "/auth/logout", "403 403 204 204 403 204"),
    case("POST", "/auth/logout-all", "403 403 204 204 403 204"),
    case("GET", "/auth/session", "200 200 200 200 200 200", worker=200),
    case("POST", "/auth/password", "403 403 403 403 403 403", PASSWORDS),
    case("GET", "/users", "403 403 403 403 403 200"),
    case("POST", "/users", "403 403 403 403 403 201", {"login": "new", "role": "support"}),
    case("GET", "/users/{user_id}", "403 403 403 403 403 200"),
    case("PATCH", "/users/{user_id}", "403 403 403 403 403 200", {"login": "other"}),
    case("DELETE", "/users/{user_id}", "403 403 403 403 403 204"),
    case("GET", "/api/worker-credentials", "403 403 403 403 403 200"),
    case("POST", "/api/worker-credentials", "403 403 403 403 403 201", CREDENTIAL),
    case("DELETE", "/api/worker-credentials/{credential_id}", "403 403 403 403 403 204"),
    case("GET", "/clients", "403 403 200 403 403 200"),
    case("POST", "/clients", "403 403 403 403 403 201", {"name": "New"}),
    case("GET", "/clients/{client_id}", "404 200 200 200 200 200"),
    case("PATCH", "/clients/{client_id}", "403 403 403 403 403 200", {"name": "Other"}),
    case("DELETE", "/clients/{client_id}/content", "403 403 403 403 403 200"),
    case("GET", "/clients/{client_id}/api-keys", "404 200 403 200 200 200"),
    case("POST", "/clients/{client_id}/api-keys", "403 403 403 201 403 201", {"name": "k"}),
    case("POST", "/clients/{client_id}/api-keys/{key_id}/rotate", "403 403 403 201 403 201", {}),
    case("DELETE", "/clients/{client_id}/api-keys/{key_id}", "403 403 403 204 401 204"),
    case("GET", "/api/master-templates", "200 200 200 200 200 200"),
    case("POST", "/api/master-templates", "403 403 403 403 403 201", {"name": "t_new", **TEMPLATE}),
    case("GET", "/api/master-templates/{name}", "200 200 200 200 200 200"),
    case("PUT", "/api/master-templates/{name}", "403 403 403 403 403 200", TEMPLATE),
    case("GET", "/api/master-templates/{name}/versions", "200 200 200 200 200 200"),
    case("GET", "/requests", "200 200 200 200 200 200"),
    case("POST", "/requests", "202 403 403 202 202 422", REQUEST),
    case("GET", "/requests/{request_id}", "404 200 200 200 200 200"),
    case("POST", "/requests/{request_id}/execute", "404 403 403 409 409 409", {}),
    case("POST", "/requests/{request_id}/cancel", "404 403 403 200 200 200"),
    case("GET", "/requests/{request_id}/status", "404 200 200 200 200 200"),
    case("GET", "/requests/{request_id}/result", "404 409 409 409 409 409"),
    case("GET", "/api/webhooks", "200 200 200 200 200 200"),
    case("POST", "/api/webhooks", "201 403 403 201 201 422", WEBHOOK),
    case("GET", "/api/webhooks/{webhook_id}", "404 200 200 200 200 200"),
    case("PATCH", "/api/webhooks/{webhook_id}", "404 403 403 200 200 200", {"description": "d"}),
    case("DELETE", "/api/webhooks/{webhook_id}", "404 403 403 204 404 404"),
    case("POST", "/api/webhooks/{webhook_id}/rotate-secret", "404 403 403 201 201 201"),
    case("POST", "/api/webhooks/{webhook_id}/test", "404 403 403 202 409 409"),
    case("GET", "/api/webhooks/{webhook_id}/deliveries", "404 200 200 200 200 200"),
    case("GET", "/api/webhooks/{webhook_id}/deliveries/{delivery_id}", "404 200 200 200 200 200"),
    case("POST", "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/resend", "404 403 403 202 202 202"),
    case("POST", "/api/execute", "202 403 403 202 202 422", REQUEST, worker=422),
    case("GET", "/api/execution/{execution_id}", "404 200 200 200 200 200", worker=200),
    case("GET", "/api/execution/{execution_id}/events", "404 200 200 200 200 200", worker=200),
    case("POST", "/api/execution/{execution_id}/cancel", "404 403 403 200 200 200", worker=200),
    case("GET", "/api/cost/{execution_id}", "404 200 403 200 200 200"),
    case("POST", "/api/execution/{execution_id}/retry", "404 403 403 409 409 409"),
    case("POST", "/api/queue/enqueue", "404 403 403 404 404 404", {"requestId": "req_x"}),
    case("DELETE", "/api/queue/{execution_id}", "404 403 403 200 200 200"),
    case("GET", "/api/queue", "200 200 200 200 200 200"),
    case("POST", "/api/pipelines/execute", "202 403 403 202 202 422", REQUEST, worker=422),
    case("GET", "/api/executions/{execution_id}", "404 200 200 200 200 200", worker=200),
    case("POST", "/api/handshake", "200 403 403 200 200 422", HANDSHAKE, worker=422),
    case("POST", "/api/process", "404 403 403 404 404 404", {"executionId": "unknown"}, worker=404),
    case("POST", "/api/data", "415 403 403 415 415 415"),
    case("GET", "/api/data", "200 200 200 200 200 200"),
    case("GET", "/api/data/{data_id}", "404 200 200 200 200 200"),
    case("DELETE", "/api/data/{data_id}", "404 403 403 204 404 404"),
    case("GET", "/api/queue/status", "200 200 200 200 200 200"),
    case("GET", "/api/queue/position/{execution_id}", "404 200 200 200 200 200"),
    case("GET", "/status", "200 200 200 200 200 200"),
    case("GET", "/api/budgets", "200 200 403 200 200 200"),
    case("GET", "/clients/{client_id}/budgets", "404 200 403 200 200 200"),
    case("PUT", "/clients/{client_id}/budgets", "403 403 403 403 403 200", BUDGETS),
    case("GET", "/clients/{client_id}/limits", "404 200 403 200 200 200"),
    case("PUT", "/clients/{client_id}/limits", "403 403 403 403 403 200", LIMITS),
    case("GET", "/api/usage/{client_id}/current", "404 200 403 200 200 200"),
    case("GET", "/api/usage/{client_id}", "404 200 403 200 200 200"),
    case("GET", "/api/cost/ledger", "403 403 403 403 403 200"),
    case("POST", "/api/cost/estimate", "200 200 403 200 200 422", REQUEST),
    case("POST", "/api/resources/estimate", "200 200 403 200 200 422", REQUEST),
    case("GET", "/api/resources/availability", "200 200 200 200 200 200"),
    case("POST", "/api/resources/check", "200 200 403 200 200 422", REQUEST),
    case("GET", "/metrics", "403 403 403 403 403 200"),
    case("GET", "/api/audit", "403 403 403 403 403 200"),
    case("GET", "/admin/pools", "403 403 200 403 403 200"),
    case("GET", "/admin/pools/{name}", "403 403 200 403 403 200"),
    case("PUT", "/admin/pools/{name}", "403 403 403 403 403 200", POOL),
    case("DELETE", "/admin/pools/{name}", "403 403 403 403 403 204"),
    case("POST", "/admin/pools/{name}/pause", "403 403 403 403 403 200"),
    case("POST", "/admin/pools/{name}/resume", "403 403 403 403 403 200"),
    case("GET", "/admin/queues", "403 403 200 403 403 200"),
    case("GET", "/admin/queues/{name}", "403 403 200 403 403 200"),
    case("PUT", "/admin/queues/{name}", "403 403 403 403 403 200", QUEUE),
    case("POST", "/admin/queues/{name}/pause", "403 403 403 403 403 200"),
    case("POST", "/admin/queues/{name}/resume", "403 403 403 403 403 200"),
    case("GET", "/admin/tiers", "403 403 403 403 403 200"),
    case("GET", "/admin/tiers/{tier}", "403 403 403 403 403 200"),
    case("PUT", "/admin/tiers/{tier}", "403 403 403 403 403 200", TIER),
    case("GET", "/admin/providers", "403 403 200 403 403 200"),
    case("GET", "/admin/providers/{name}", "403 403 200 403 403 200"),
    case("PUT", "/admin/providers/{name}", "403 403 403 403 403 200", PROVIDER),
    case("POST", "/admin/providers/{name}/reset", "403 403 403 403 403 200"),
    case("GET", "/admin/scheduler", "403 403 200 403 403 200"),
    case("POST", "/admin/scheduler/start", "403 403 403 403 403 200"),
    case("POST", "/admin/scheduler/stop", "403 403 403 403 403 200"),
    case("POST", "/admin/scheduler/process", "403 403 403 403 403 409"),
    case("GET", "/api/progress/{execution_id}", "404 200 200 200 200 200"),
    case("GET", "/api/jobs", "200 200 200 200 200 200"),
    case("GET", "/api/stats", "200 200 200 200 200 200"),
    case("GET", "/api/templates", "200 200 200 200 200 200"),
    case("POST", "/api/templates", "403 403 403 403 403 201", {"name": "t_new", **WORKER_TEMPLATE}),
    case("GET", "/api/templates/{name}", "200 200 200 200 200 200"),
    case("PUT", "/api/templates/{name}", "403 403 403 403 403 200", WORKER_TEMPLATE),
    case("GET", "/api/templates/{name}/versions", "200 200 200 200 200 200"),
    case("GET", "/api/structure-types", "200 200 200 200 200 200"),
    case("POST", "/api/structure-types", "403 403 403 403 403 201", STRUCTURE_TYPE),
    case("GET", "/api/structure-types/{structure_type}", "200 200 200 200 200 200"),
    case(
        "PUT",
        "/api/structure-types/{structure_type}",
        "403 403 403 403 403 200",
        {**STRUCTURE_TYPE, "type": "kept"},
    ),
    case("GET", "/api/structure-types/{structure_type}/versions", "200 200 200 200 200 200"),
    case("POST", "/api/granulate", "202 403 403 202 202 422", {"type": "quiz", "topic": "x"}),
    case("POST", "/api/validate", "200 200 200 200 200 200", {"tree": SMALL_TREE}),
    case("GET", "/api/jobs/{tree_id}", "404 200 200 200 200 200"),
    case("GET", "/api/jobs/{tree_id}/structure", "404 200 200 200 200 200"),
    case("GET", "/api/jobs/{tree_id}/validations", "404 200 200 200 200 200"),
    case("GET", "/api/jobs/{tree_id}/repairs", "404 200 200 200 200 200"),
    case("GET", "/api/jobs/{tree_id}/export", "404 200 200 200 200 200"),
]


async def credentials(world: World) -> dict[str, dict[str, str]]:
    _, reader = await make_key(world.database, world.ours.client_id, ["read"])
    return {
        "nobody": {},
        "worker": await make_worker(world.database, "a_worker", ["execute", "result", "reserve"]),
        "theirs": world.theirs.key,
        "reader": reader,
        "support": world.support,
        "user": world.ours.session,
        "ours": world.ours.key,
        "admin": world.admin,
    }


async def make_object(world: World, path: str, who: dict[str, str], **body: Any) -> str:
    """Make an object, once in a world; return its id."""

    async def make() -> Any:
        answer = await world.ask("POST", path, who, **body)
        return answer.json()["id"]

    made: str = await world.once(path, make)
    return made


async def fill_path(world: World, path: str) -> str:
    """Put objects of ours into a path."""
    values = {
        "client_id": world.ours.id,
        "key_id": world.ours.key_id,
        "name": "quiz_basic_v1" if path.startswith("/api/templates") else QUIZ,
        "digest": "0",
        "tier": "standard",
    }
    if "{structure_type}" in path:
        kept = {**STRUCTURE_TYPE, "type": "kept"}
        await make_object(world, "/api/structure-types", world.admin, json=kept)
        values["structure_type"] = "kept"
    if path.startswith("/admin/pools"):
        values["name"] = "default"
    if path.startswith("/admin/queues"):
        values["name"] = "batch"
    if path.startswith("/admin/providers/{name}"):
        values["name"] = "somewhere"
        await world.ask("PUT", "/admin/providers/somewhere", world.admin, json=PROVIDER)
    key = world.ours.key
    if "{webhook_id}" in path:
        values["webhook_id"] = await make_object(world, "/api/webhooks", key, json=WEBHOOK)
    if "{delivery_id}" in path:
        test = f"/api/webhooks/{values['webhook_id']}/test"
        values["delivery_id"] = await make_object(world, test, key)
    if "{request_id}" in path:
        values["request_id"] = await make_object(world, "/requests", key, json=REQUEST)
    if "{execution_id}" in path:
        values["execution_id"] = await make_object(world, "/api/execute", key, json=REQUEST)
    if "{data_id}" in path:
        text = {"Content-Type": "text/plain"}
        values["data_id"] = await make_object(world, "/api/data", key, content=b"Some words.", headers=text)
    if "{user_id}" in path:
        me = await world.ask("GET", "/auth/session", world.support)
        values["user_id"] = me.json()["user"]["id"]
    if "{credential_id}" in path:
        made = await make_object(world, "/api/worker-credentials", world.admin, json=CREDENTIAL)
        values["credential_id"] = made
    if "{tree_id}" in path:
        values["tree_id"] = await world.once("tree", lambda: store_tree(world.database, world.ours.client_id))
    return path.format(**values)


def money_in(answer: httpx.Response) -> list[str]:
    """The members and headers of an answer that say what something costs, in JSON and in events."""
    members = re.findall(r'"([A-Za-z]*Usd[A-Za-z]*)":', answer.text)
    return [*members, *(name for name in answer.headers if "usd" in name)]


async def check_callers(world: World, row: Case) -> None:
    path = await fill_path(world, row.path)
    callers = await world.once("callers", lambda: credentials(world))
    found = {}
    for who in CALLERS:
        answer = await world.ask(row.method, path, callers[who], json=row.body)
        found[who] = answer.status_code
        if who == "support" and row not in PUBLIC:
            assert money_in(answer) == []
        if answer.status_code >= 400:
            assert_problem(answer)
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert found == {who: getattr(row, who) for who in CALLERS}


@pytest.mark.parametrize("row", [row for row in TABLE if row.method != "GET"], ids=name_of)
async def test_each_caller_gets_what_the_table_says(world: World, row: Case) -> None:
    await check_callers(world, row)


@pytest.mark.parametrize("row", [row for row in TABLE if row.method == "GET"], ids=name_of)
async def test_each_caller_reads_what_the_table_says(standing_world: World, row: Case) -> None:
    await check_callers(standing_world, row)


async def test_support_sees_work_that_has_ended_and_no_money(standing_world: World) -> None:
    world = standing_world
    ended = (await world.ask("POST", "/api/execute", world.ours.key, json=REQUEST)).json()["id"]
    await world.ask("POST", f"/api/execution/{ended}/cancel", world.ours.key)
    told = {}
    for path in (
        f"/api/execution/{ended}",
        f"/api/progress/{ended}",
        "/requests?state=cancelled",
        "/clients",
        "/admin/pools/compute",
    ):
        answers = [await world.ask("GET", path, who) for who in (world.admin, world.support)]
        told[path] = [money_in(answer) for answer in answers]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert without_money(answers[0].json()).keys() == answers[1].json().keys()
    assert all(seen and not hidden for seen, hidden in told.values()), told
    assert {"costUsd", "x-cost-usd"} <= set(told[f"/api/execution/{ended}"][0])


async def test_every_route_is_in_the_table(world: World) -> None:
    routes = {
        (method, route.path_format)
        for route in world.app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if not is_automatic_options(handler)
    }
    assert routes == {(row.method, row.path) for row in TABLE}


@pytest.mark.parametrize("row", [row for row in TABLE if "_id}" in row.path], ids=name_of)
async def test_a_foreign_object_looks_exactly_like_an_unknown_one(standing_world: World, row: Case) -> None:
    world, scopes = standing_world, ["read", "write", "keys"]
    _, key = await world.once("keys", lambda: make_key(world.database, world.theirs.client_id, scopes))
    foreign = await fill_path(world, row.path)
    before = await world.count_rows()
    unknown = row.path.format(
        client_id="client_01k7sc0k6se3tqhf4v8nbcaaaa",
        key_id="key_01k7sc0k6se3tqhf4v8nbcaaaa",
        request_id="req_01k7sc0k6se3tqhf4v8nbcaaaa",
        execution_id="exec_01k7sc0k6se3tqhf4v8nbcaaaa",
        tree_id="tree_01k7sc0k6se3tqhf4v8nbcaaaa",
        webhook_id="whk_01k7sc0k6se3tqhf4v8nbcaaaa",
        delivery_id="dlv_01k7sc0k6se3tqhf4v8nbcaaaa",
        user_id="user_01k7sc0k6se3tqhf4v8nbcaaaa",
        credential_id="wcred_01k7sc0k6se3tqhf4v8nbcaaaa",
        data_id="data_01k7sc0k6se3tqhf4v8nbcaaaa",
    )
    answers: list[httpx.Response] = [
        await world.ask(row.method, path, key, json=row.body) for path in (foreign, unknown)
    ]
    problems = [assert_problem(answer) for answer in answers]
    for problem in problems:
        del problem["instance"], problem["requestId"]
    assert problems[0] == problems[1]
    assert await world.count_rows() == before


@pytest.mark.parametrize("text", ["x", "req_", "client_" + "z" * 26, "..%2f..", "%00", "req_'--", "9" * 5000])
async def test_a_hostile_id_is_an_unknown_one(standing_world: World, text: str) -> None:
    for path in (f"/requests/{text}", f"/clients/{text}", f"/api/master-templates/{text}"):
        assert_problem(await standing_world.ask("GET", path, standing_world.admin), 404)
