"""Bad input of every kind on every route that takes a body: a clear 4xx problem, and nothing stored."""

from datetime import timedelta
from operator import itemgetter
from typing import Any

import pytest
from litestar.routes import HTTPRoute
from tests.factories import FLOW, QUIZ, World, assert_problem, make_key
from tests.hostile import to_be_sent
from tests.integration.http.test_access import (
    SMALL_TREE,
    TABLE,
    WORKER_TEMPLATE,
    fill_path,
    name_of,
)

from aifactory.kernel.clock import utc_now

pytestmark = pytest.mark.anyio

TOLD = itemgetter("status", "code", "detail", "errors")
JSON = {"Content-Type": "application/json"}
DEEP = b"[" * 100_000 + b"]" * 100_000
UNREADABLE = {
    "empty": b"",
    "blank": b"  \n",
    "cut": b'{"name": "x"',
    "not utf-8": b'{"name": "\xff\xfe"}',
    "encoded surrogate": b'{"name": "\xed\xa0\x80"}',
    "trailing": b"{} {}",
    "not json": b"name=x",
    "byte order mark": b"\xef\xbb\xbf{}",
    "raw control character": b'{"name": "\x01"}',
    "nan": b'{"name": NaN}',
}
UNACCEPTABLE = {
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "number": b"1" * 5000,
    "unknown field": b'{"noSuchField": 1}',
    "deep": DEEP,
    "deep unknown field": b'{"noSuchField": ' + DEEP + b"}",
    "deep parameters": b'{"template": "x", "parameters": {"a": ' + DEEP + b"}}",
    "control character": b'{"name": "a\\u0000b"}',
    "lone surrogate": b'{"name": "\\ud800"}',
}


def _from_now(*, days: int) -> str:
    return (utc_now() + timedelta(days=days)).isoformat()


FULL_WORKER_TEMPLATE = {
    **WORKER_TEMPLATE,
    "description": "d",
    "maxInputTokens": 5,
    "defaultParameters": {"granularityLevel": 2, "size": {"perLevel": [2, 3]}},
    "parameterSchema": {"type": "object", "properties": {"topic": {"maxLength": 9}}},
    "validation": {"enabled": True, "level": 1, "threshold": 5},
    "models": ["a/b"],
    "offlineFallback": False,
}
FULL_STRUCTURE_TYPE = {
    "schemaVersion": 1,
    "type": "t_new",
    "title": "T",
    "description": "d",
    "levels": [
        {
            "kind": "part",
            "title": "P",
            "min": 1,
            "max": 2,
            "fields": {"why": {"type": "list", "min": 1, "of": {"type": "text"}}},
        }
    ],
    "rules": ["redundancy"],
    "presets": {"1": [2]},
    "weights": {"coverage": 0.5, "form": 0.5},
    "optionalSubScores": {"coverage": "form"},
    "readability": {"general": [7, 10]},
    "bands": {"accept": 75, "review": 60},
}
WITH_BODY = [row for row in TABLE if row.method in ("POST", "PUT", "PATCH") and row.body is not None]
FULL_BODIES: dict[str, Any] = {
    "POST /auth/login": {"login": "nobody", "password": "wrong", "cookie": False},
    "POST /auth/password": {"password": "wrong", "newPassword": "a new password"},
    "POST /users": {"login": "new", "role": "support", "clientId": None, "password": "some long words"},
    "PATCH /users/{user_id}": {
        "login": "other",
        "role": "support",
        "clientId": None,
        "active": True,
        "password": "some long words",
    },
    "POST /api/worker-credentials": {
        "worker": "outside",
        "scopes": ["execute", "result"],
        "expiresAt": _from_now(days=9),
        "overlapMs": 5,
    },
    "POST /clients": {
        "name": "N",
        "contact": "c",
        "tier": "basic",
        "timeZone": "UTC",
        "limits": {"maxRunning": 1, "monthlyBudgetUsd": 1.5, "requestsPerMinute": 5},
    },
    "PATCH /clients/{client_id}": {
        "name": "N",
        "contact": "c",
        "tier": "basic",
        "suspended": False,
        "timeZone": "UTC",
        "limits": {"maxRunning": 1, "monthlyBudgetUsd": 1.5, "requestsPerMinute": 5},
    },
    "POST /clients/{client_id}/api-keys": {
        "name": "k",
        "scopes": ["read"],
        "expiresAt": "2999-01-01T00:00:00Z",
    },
    "POST /clients/{client_id}/api-keys/{key_id}/rotate": {"overlapMs": 5},
    "POST /api/master-templates": {"name": "t_new", "title": "T", "description": "d", "flow": FLOW},
    "PUT /api/master-templates/{name}": {
        "title": "T",
        "description": "d",
        "active": True,
        "flow": [
            {
                "worker": "granulation",
                "templateRef": "basic_things",
                "action": "granulate",
                "paramsOverride": {"a": 1},
                "inputMapping": {"topic": "/request/parameters/topic"},
                "condition": {"path": "/request/x", "op": "eq", "value": 1},
                "required": True,
                "retries": 1,
                "onFailure": "fail",
            }
        ],
    },
    "POST /requests": {
        "template": QUIZ,
        "parameters": {"topic": "x", "source": {"text": "t", "format": "text", "name": "n"}, "depth": 2},
        "urgency": "low",
        "accuracy": "high",
        "runAfter": _from_now(days=1),
        "deadline": _from_now(days=30),
        "timeoutMs": 5000,
        "optimization": {"offPeak": False},
        "metadata": {"a": "b"},
        "execute": True,
        "clientId": None,
    },
    "POST /requests/{request_id}/execute": {"parameters": {"topic": "x", "source": {"text": "t"}}},
    **{
        f"POST /api/{kind}/estimate": {
            "template": QUIZ,
            "parameters": {"topic": "x", "source": {"text": "t", "format": "text", "name": "n"}},
            "urgency": "low",
            "accuracy": "high",
            "runAfter": _from_now(days=1),
            "deadline": _from_now(days=30),
            "metadata": {"a": "b"},
            "clientId": None,
        }
        for kind in ("cost", "resources")
    },
    "POST /api/resources/check": {
        "template": QUIZ,
        "parameters": {"topic": "x", "source": {"text": "t", "format": "text", "name": "n"}},
        "urgency": "low",
        "accuracy": "high",
        "runAfter": _from_now(days=1),
        "deadline": _from_now(days=30),
        "optimization": {"offPeak": True},
        "metadata": {"a": "b"},
        "clientId": None,
    },
    "PUT /admin/pools/{name}": {
        "unit": "tokens",
        "capacity": 5,
        "refillPerSecond": 5,
        "priceUsdPerThousand": 0.5,
        "requestsPerMinute": 5,
        "reservedPercent": 5,
        "dedicatedClientId": None,
        "paused": True,
    },
    "PUT /clients/{client_id}/budgets": {
        "monthlyUsd": 5.5,
        "dailyUsd": 5,
        "keys": [],
        "templates": [{"template": "inline", "monthlyUsd": 5}],
    },
    "PUT /clients/{client_id}/limits": {
        "maxRunning": 5,
        "requestsPerMinute": 5,
        "timeZone": "Europe/Berlin",
        "quotas": [{"pool": "default", "period": "day", "units": 5}],
    },
    "PUT /admin/queues/{name}": {"policy": "score", "sharePercent": 5, "fullAgeSeconds": 5},
    "PUT /admin/tiers/{tier}": {
        "points": 5,
        "weight": 5,
        "maxRunning": 5,
        "monthlyBudgetUsd": 5.5,
        "requestsPerMinute": 5,
        "retentionDays": 5,
    },
    "PUT /admin/providers/{name}": {
        "title": "T",
        "baseUrl": "http://localhost:9/v1",
        "apiKeyVariable": "SOME_API_KEY",
        "profile": "openai",
        "structured": "json_object",
        "streaming": True,
        "connectMs": 1,
        "firstTokenMs": 1,
        "idleMs": 1,
        "simulated": True,
        "active": True,
        "models": [
            {
                "model": "m",
                "pool": "default",
                "contextTokens": 10,
                "maxOutputTokens": 10,
                "inputUsdPerMillion": 0.5,
                "cachedInputUsdPerMillion": 0.25,
                "outputUsdPerMillion": 1,
                "active": True,
            }
        ],
    },
    "POST /api/webhooks": {
        "url": "https://hooks.example.com/x",
        "events": ["execution.failed"],
        "description": "d",
        "clientId": None,
    },
    "PATCH /api/webhooks/{webhook_id}": {
        "url": "https://hooks.example.com/x",
        "events": ["execution.failed"],
        "description": "d",
        "active": True,
    },
    "POST /api/execute": {
        "template": QUIZ,
        "parameters": {"topic": "x", "source": {"text": "t", "format": "text", "name": "n"}, "depth": 2},
        "urgency": "low",
        "accuracy": "high",
        "runAfter": _from_now(days=1),
        "deadline": _from_now(days=30),
        "optimization": {"offPeak": True},
        "metadata": {"a": "b"},
        "clientId": None,
    },
    "POST /api/queue/enqueue": {"requestId": "req_x", "parameters": {"topic": "x"}},
    "POST /api/pipelines/execute": {
        "inputData": {"template_name": QUIZ, "topic": "x", "granularity_level": 2},
        "urgency": "low",
        "accuracy": "high",
        "deadline": _from_now(days=30),
        "metadata": {"a": "b"},
        "clientId": None,
    },
    "POST /api/handshake": {
        "executionId": "e",
        "stageId": "s",
        "action": "granulate",
        "inputData": {"template_name": QUIZ, "topic": "x", "structure_type": "quiz", "source": {"text": "t"}},
        "resourceRequirements": {"estimatedTokens": 5, "timeoutMs": 5},
        "clientId": None,
    },
    "POST /api/process": {"executionId": "unknown"},
    "POST /api/templates": {"name": "t_new", **FULL_WORKER_TEMPLATE},
    "PUT /api/templates/{name}": {**FULL_WORKER_TEMPLATE, "active": True},
    "POST /api/structure-types": FULL_STRUCTURE_TYPE,
    "PUT /api/structure-types/{structure_type}": {**FULL_STRUCTURE_TYPE, "type": "kept"},
    "POST /api/granulate": {
        "type": "quiz",
        "template": None,
        "topic": "x",
        "structureType": "quiz",
        "source": {"text": "t", "format": "text", "name": "n"},
        "size": {"perLevel": [2, 3]},
        "constraints": {"maxModules": 3, "focusAreas": ["x"]},
        "objects": [{"name": "x", "kind": "concept", "where": ""}],
        "validation": {"level": 1, "threshold": 50},
        "urgency": "low",
        "accuracy": "high",
        "runAfter": _from_now(days=1),
        "deadline": _from_now(days=30),
        "metadata": {"a": "b"},
        "clientId": None,
    },
    "POST /api/validate": {
        "tree": SMALL_TREE,
        "treeId": None,
        "structureType": "quiz",
        "source": {"text": "t", "format": "text", "name": "n"},
        "parameters": {"size": {"perLevel": [2, 3]}},
        "objects": [{"name": "x", "kind": "concept", "where": ""}],
        "threshold": 50,
        "level": 2,
    },
}


async def all_powers(world: World, row: Any) -> dict[str, str]:
    """Credentials that get past the guard of a route."""
    if (
        row.path.startswith(("/api/queue", "/api/pipelines", "/api/handshake", "/api/process"))
        or row.path.startswith(("/requests", "/api/execute", "/api/cost", "/api/resources", "/api/granulate"))
        or row.path.startswith("/api/webhooks")
        or "api-keys" in row.path
    ):
        scopes = ["read", "write", "keys"]
        _, key = await world.once("keys", lambda: make_key(world.database, world.ours.client_id, scopes))
        return dict(key)
    return world.admin


async def test_every_route_with_a_body_is_tested(world: World) -> None:
    routes = {
        f"{method} {route.path_format}"
        for route in world.app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if "data" in handler.parsed_fn_signature.parameters
    }
    assert routes == {name_of(row) for row in WITH_BODY} == set(FULL_BODIES)


@pytest.mark.parametrize("row", WITH_BODY, ids=name_of)
async def test_an_unreadable_body_is_400_and_stores_nothing(standing_world: World, row: Any) -> None:
    world = standing_world
    who, path = await all_powers(world, row), await fill_path(world, row.path)
    before = await world.count_rows()
    for name, body in UNREADABLE.items():
        answer = await world.ask(row.method, path, who, content=body, headers=JSON)
        problem = assert_problem(answer)
        assert (name, problem["status"], problem["code"]) == (name, 400, "unreadable")
    assert await world.count_rows() == before


@pytest.mark.parametrize("row", WITH_BODY, ids=name_of)
async def test_an_unacceptable_body_is_refused_and_stores_nothing(standing_world: World, row: Any) -> None:
    world = standing_world
    who, path = await all_powers(world, row), await fill_path(world, row.path)
    before = await world.count_rows()
    for name, body in UNACCEPTABLE.items():
        answer = await world.ask(row.method, path, who, content=body, headers=JSON)
        assert answer.status_code in (400, 422), (name, answer.text)
        assert_problem(answer)
    assert await world.count_rows() == before


@pytest.mark.parametrize("row", WITH_BODY, ids=name_of)
async def test_a_body_that_is_not_json_is_415_and_a_large_one_413(standing_world: World, row: Any) -> None:
    world = standing_world
    who, path = await all_powers(world, row), await fill_path(world, row.path)
    before = await world.count_rows()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""):
        answer = await world.ask(row.method, path, who, content=b"{}", headers={"Content-Type": kind})
        assert_problem(answer, 415, "unsupported_media_type")
    answer = await world.ask(
        row.method, path, who, content=b"{}", headers={**JSON, "Content-Encoding": "gzip"}
    )
    assert_problem(answer, 415)
    large = b'{"name": "' + b"x" * 6 * 1024 * 1024 + b'"}'
    assert_problem(await world.ask(row.method, path, who, content=large, headers=JSON), 413, "too_large")
    assert await world.count_rows() == before


@pytest.mark.parametrize("row", WITH_BODY, ids=name_of)
async def test_no_hostile_value_anywhere_is_our_fault(world: World, row: Any) -> None:
    who, path = await all_powers(world, row), await fill_path(world, row.path)
    name, turn = name_of(row), WITH_BODY.index(row)
    refused, decoded = to_be_sent(world.app, name, FULL_BODIES[name], turn=turn)
    before = await world.count_rows()
    for one in refused:
        answer = await world.ask(row.method, path, who, content=one.content, headers=JSON)
        assert TOLD(assert_problem(answer)) == TOLD(one.problem), one
    assert await world.count_rows() == before
    for one in decoded:
        answer = await world.ask(row.method, path, who, content=one.content, headers=JSON)
        assert answer.status_code < 500, (one, answer.text)
        if answer.status_code >= 400:
            assert_problem(answer)
        else:
            before = await world.count_rows()
    assert await world.count_rows() == before


async def test_a_fault_names_its_place_as_a_json_pointer(world: World) -> None:
    async def pointer_of(body: Any, path: str = "/requests") -> tuple[str, str]:
        who = world.ours.key if path == "/requests" else world.admin
        problem = assert_problem(await world.ask("POST", path, who, json=body), 422)
        return problem["errors"][0]["pointer"], problem["errors"][0]["code"]

    good = {"template": QUIZ, "parameters": {}}
    assert await pointer_of({"template": QUIZ}) == ("/parameters", "missing_field")
    assert await pointer_of({**good, "urgent": True}) == ("/urgent", "unknown_field")
    assert await pointer_of({**good, "timeoutMs": 1}) == ("/timeoutMs", "out_of_range")
    assert await pointer_of({**good, "timeoutMs": "5000"}) == ("/timeoutMs", "wrong_type")
    assert await pointer_of({**good, "urgency": "very"}) == ("/urgency", "invalid_value")
    wrong = await world.ask("POST", "/requests", world.ours.key, json={**good, "urgency": "very"})
    assert wrong.json()["detail"].endswith("one of: low, normal, high, urgent.")
    assert await pointer_of({**good, "parameters": {"source": {"text": 1}}}) == (
        "/parameters/source/text",
        "wrong_type",
    )
    assert await pointer_of({**good, "parameters": {"source": {"url": "x"}}}) == (
        "/parameters/source/url",
        "unknown_field",
    )
    assert await pointer_of({**good, "parameters": {"a/b": ["\x00"]}}) == (
        "/parameters/a~1b/0",
        "control_character",
    )
    template = {"name": "t", "title": "t", "flow": [FLOW[0], {"worker": "granulation"}]}
    assert await pointer_of(template, "/api/master-templates") == ("/flow/1/templateRef", "missing_field")


async def test_query_parameters_are_checked(world: World) -> None:
    async def ask(query: str) -> Any:
        return assert_problem(await world.ask("GET", f"/requests?{query}", world.ours.key))

    assert (await ask("limit=0"))["status"] == 422
    assert (await ask("limit=101"))["status"] == 422
    assert (await ask("limit=x"))["status"] == 422
    assert (await ask("limit=" + "9" * 5000))["status"] == 422
    assert (await ask("state=nonsense"))["detail"].endswith("cancelled, expired")
    assert (await ask("state=failed&state=queued"))["code"] == "unreadable"
    assert (await ask("cursor=!!!"))["status"] == 422
    assert (await ask("cursor=%ff%fe"))["status"] == 422
    assert (await ask("stats=queued"))["errors"][0]["code"] == "unknown_parameter"
    assert (await ask("cursor=a%00b"))["status"] == 400


async def test_a_credential_in_the_url_is_refused(world: World) -> None:
    key = world.ours.key["X-API-Key"]
    for query in (f"apiKey={key}", f"api_key={key}", f"key={key}", f"cursor={key}", "access_token=x"):
        answer = await world.ask("GET", f"/requests?{query}", world.ours.key)
        assert_problem(answer, 400, "key_in_url")
        assert key not in answer.text


async def test_source_material_may_have_five_mebibytes_and_the_rest_one(world: World) -> None:
    async def post(size: int) -> int:
        parameters = {"source": {"text": "word " * (size // 5), "format": "text"}}
        answer = await world.ask(
            "POST", "/requests", world.ours.key, json={"template": QUIZ, "parameters": parameters}
        )
        return answer.status_code

    assert await post(5 * 1024 * 1024) == 202
    assert await post(5 * 1024 * 1024 + 10) == 413
    answer = await world.ask("POST", "/clients", world.admin, json={"name": "x" * 1024 * 1024})
    assert_problem(answer, 413)
