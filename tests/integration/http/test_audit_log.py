"""The audit log: every change of settings is in it with before and after; read, filtered, exported, kept."""

import csv
import io
import json
from typing import Any

import asyncpg
import msgspec
import pytest
from litestar.routes import HTTPRoute
from tests.factories import FLOW, World, assert_problem
from tests.integration.http.test_access import (
    CREDENTIAL,
    POOL,
    PROVIDER,
    QUEUE,
    STRUCTURE_TYPE,
    TIER,
    WEBHOOK,
    WORKER_TEMPLATE,
)

from aifactory.kernel import audit
from aifactory.kernel.guard import is_automatic_options
from aifactory.kernel.ids import new_id, text_id

pytestmark = pytest.mark.anyio

PASSWORD, NEW_PASSWORD = "correct horse battery", "staple of another kind"

SOMEONE = text_id("user", new_id())

# Routes that change something else than settings: work, its data, a session, or nothing at all.
WORK = {
    *(("POST", f"/auth/{what}") for what in ("login", "logout", "logout-all")),
    *(("POST", f"/requests{what}") for what in ("", "/{request_id}/execute", "/{request_id}/cancel")),
    *(("POST", f"/api/execution/{{execution_id}}/{what}") for what in ("cancel", "retry")),
    *(("POST", f"/api/{what}") for what in ("execute", "granulate", "pipelines/execute", "handshake")),
    *(("POST", f"/api/{what}") for what in ("process", "validate", "queue/enqueue", "cost/estimate")),
    *(("POST", f"/api/resources/{what}") for what in ("check", "estimate")),
    ("DELETE", "/api/queue/{execution_id}"),
    ("POST", "/api/data"),
    ("DELETE", "/api/data/{data_id}"),
    ("POST", "/api/webhooks/{webhook_id}/test"),
    ("POST", "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/resend"),
    ("POST", "/admin/scheduler/process"),
}


class Change(msgspec.Struct, frozen=True):
    """A call that changes a setting, and the kind of its line. ``keep``: the name for the id it answers with.

    ``about`` is the object of the line, made of the same names as the path; None: the one that was kept.
    """

    method: str
    path: str
    kind: str
    about: str | None
    body: Any = None
    keep: str = ""


KEYS, KEY = "/clients/{client_id}/api-keys", "/clients/{client_id}/api-keys/{key_id}"
NO_BUDGETS: dict[str, Any] = {"monthlyUsd": 5, "dailyUsd": 1, "keys": [], "templates": []}
LIMITS: dict[str, Any] = {"maxRunning": 3, "requestsPerMinute": 50, "quotas": []}
CHANGES = [
    Change("POST", "/clients", "client", None, {"name": "New"}, "new_id"),
    Change("PATCH", "/clients/{client_id}", "client", "{client_id}", {"contact": "someone"}),
    Change("PUT", "/clients/{client_id}/budgets", "client", "{client_id}", NO_BUDGETS),
    Change("PUT", "/clients/{client_id}/limits", "client", "{client_id}", LIMITS),
    Change("DELETE", "/clients/{client_id}/content", "client", "{client_id}"),
    Change("POST", KEYS, "api_key", None, {"name": "k"}, "key_id"),
    Change("POST", f"{KEY}/rotate", "api_key", "{key_id}", {"overlapMs": 1000}),
    Change("DELETE", KEY, "api_key", "{key_id}"),
    Change("POST", "/users", "user", None, {"login": "eve", "role": "support"}, "user_id"),
    Change("PATCH", "/users/{user_id}", "user", "{user_id}", {"role": "admin"}),
    Change("DELETE", "/users/{user_id}", "user", "{user_id}"),
    Change("POST", "/api/worker-credentials", "worker_credential", None, CREDENTIAL, "credential_id"),
    Change("DELETE", "/api/worker-credentials/{credential_id}", "worker_credential", "{credential_id}"),
    Change("POST", "/api/webhooks", "webhook", None, WEBHOOK, "webhook_id"),
    Change("PATCH", "/api/webhooks/{webhook_id}", "webhook", "{webhook_id}", {"url": "https://e.com/t0ps3c"}),
    Change("POST", "/api/webhooks/{webhook_id}/rotate-secret", "webhook", "{webhook_id}"),
    Change("DELETE", "/api/webhooks/{webhook_id}", "webhook", "{webhook_id}"),
    Change(
        "POST", "/api/master-templates", "master_template", "t1", {"name": "t1", "title": "T", "flow": FLOW}
    ),
    Change("PUT", "/api/master-templates/{t}", "master_template", "t1", {"title": "New", "flow": FLOW}),
    Change("POST", "/api/templates", "worker_template", "t1", {"name": "t1", **WORKER_TEMPLATE}),
    Change("PUT", "/api/templates/{t}", "worker_template", "t1", WORKER_TEMPLATE),
    Change("POST", "/api/structure-types", "structure_type", "checklist", STRUCTURE_TYPE),
    Change("PUT", "/api/structure-types/{type}", "structure_type", "checklist", STRUCTURE_TYPE),
    Change("PUT", "/admin/providers/{p}", "provider", "{p}", PROVIDER),
    Change("POST", "/admin/providers/{p}/reset", "provider", "{p}"),
    Change("PUT", "/admin/pools/{p}", "pool", "{p}", POOL),
    Change("POST", "/admin/pools/{p}/pause", "pool", "{p}"),
    Change("POST", "/admin/pools/{p}/resume", "pool", "{p}"),
    Change("DELETE", "/admin/pools/{p}", "pool", "{p}"),
    Change("PUT", "/admin/queues/{queue}", "queue", "{queue}", {**QUEUE, "fullAgeSeconds": 7100}),
    Change("POST", "/admin/queues/{queue}/pause", "queue", "{queue}"),
    Change("POST", "/admin/queues/{queue}/resume", "queue", "{queue}"),
    Change("PUT", "/admin/tiers/{tier}", "tier", "{tier}", {**TIER, "maxRunning": 21}),
    Change("POST", "/admin/scheduler/stop", "scheduler", "fleet"),
    Change("POST", "/admin/scheduler/start", "scheduler", "fleet"),
    Change("POST", "/auth/password", "user", "{me}", {"password": PASSWORD, "newPassword": NEW_PASSWORD}),
]


def shape(path: str) -> str:
    """Return a path without the names of its parameters."""
    return "/".join("{}" if "{" in part else part for part in path.split("/"))


async def lines_after(world: World, last: Any) -> list[Any]:
    async with world.database.begin() as tx:
        return list(
            await tx.raw.fetch("SELECT * FROM audit_log WHERE $1::uuid IS NULL OR id > $1 ORDER BY id", last)
        )


async def test_every_route_that_changes_a_setting_leaves_a_line_with_before_and_after(world: World) -> None:
    routes = {
        (method, shape(route.path_format))
        for route in world.app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if method != "GET" and not is_automatic_options(handler)
    }
    work = {(method, shape(path)) for method, path in WORK}
    assert routes == work | {(one.method, shape(one.path)) for one in CHANGES}

    made = await world.ask(
        "POST", "/users", world.admin, json={"login": "ada", "role": "admin", "password": PASSWORD}
    )
    log_in = {"login": "ada", "password": PASSWORD}
    session = (await world.ask("POST", "/auth/login", json=log_in)).json()["token"]
    ada, names = {"x-bitware-session-token": session}, {"me": made.json()["id"], "client_id": world.ours.id}
    names |= {"t": "t1", "type": "checklist", "p": "somewhere", "queue": "batch", "tier": "standard"}
    secrets = [PASSWORD, NEW_PASSWORD, session, "t0ps3c"]
    for change in CHANGES:
        if change.path.endswith("/reset"):
            async with world.database.begin() as tx:
                await tx.raw.execute("UPDATE providers SET circuit = 'open' WHERE provider = $1", names["p"])
        body = change.body
        if change.path == "/api/webhooks":
            body = {**body, "clientId": world.ours.id}
        last = (await lines_after(world, None))[-1]["id"]
        path = change.path.format(**names)
        answer = await world.ask(
            change.method, path, ada, json=body, headers={"X-Request-Id": f"r-{change.kind}"}
        )
        assert 200 <= answer.status_code < 300, (path, answer.text)
        if change.keep:
            names[change.keep] = answer.json()["id"]
        told = answer.json() if answer.content else {}
        secrets += [told[name] for name in ("key", "secret", "password") if told.get(name)]
        about = names[change.keep] if change.about is None else change.about.format(**names)
        lines = [
            line
            for line in await lines_after(world, last)
            if (line["object_kind"], line["object_id"]) == (change.kind, about)
        ]
        assert lines, f"{change.method} {path} left no line about {change.kind} {about}"
        for line in lines:
            assert line["before"] != line["after"], (path, line["action"])
            shown = (line["before"] or {}) | (line["after"] or {})
            assert not any("_" in name for name in shown), (path, shown)
            assert line["after"] is not None or change.method == "DELETE", path
            assert line["before"] is not None or answer.status_code == 201, path
            assert (line["actor"], line["request_id"]) == (names["me"], f"r-{change.kind}"), path
    everything = "".join(str(dict(line)) for line in await lines_after(world, None))
    assert len(secrets) > 8
    assert [secret for secret in secrets if secret in everything] == []


async def store(world: World, number: int, **changes: Any) -> None:
    line = {
        "actor": SOMEONE,
        "action": "api_key.created",
        "object_kind": "api_key",
        "object_id": f"key_{number}",
        "after": {"client": world.ours.id, "note": '=1+1, "quoted"\nand more'},
    }
    async with world.database.begin() as tx:
        await audit.record(tx, **line | changes)


async def found(world: World, **query: Any) -> list[str]:
    answer = await world.ask("GET", "/api/audit", world.admin, params=query)
    assert answer.status_code == 200, answer.text
    return [line["objectId"] for line in answer.json()["data"]]


async def test_the_log_is_read_in_pages_by_filters_and_as_a_file(world: World) -> None:
    for number in range(4):
        await store(world, number)
    await store(world, 4, actor="=user_y", action="api_key.revoked", before={"client": world.ours.id})
    await store(world, 5, action="api_keyring.made", object_kind="ring", after=None)

    first = (await world.ask("GET", "/api/audit?limit=2&action=api_key.", world.admin)).json()
    assert [line["objectId"] for line in first["data"]] == ["key_4", "key_3"]
    line = first["data"][1]
    assert line["id"].startswith("audit_")
    assert (line["actor"], line["action"], line["objectKind"]) == (SOMEONE, "api_key.created", "api_key")
    assert (line["before"], line["after"]["client"], line["clientId"]) == (None, world.ours.id, world.ours.id)
    rest = await found(world, action="api_key.", cursor=first["nextCursor"])
    assert rest[:3] == ["key_2", "key_1", "key_0"]

    assert await found(world, action="api_key.revoked") == ["key_4"]
    assert await found(world, action="api_key") == []
    assert set(await found(world, actor=SOMEONE)) == {*(f"key_{number}" for number in range(4)), "key_5"}
    assert await found(world, objectKind="ring") == ["key_5"]
    assert await found(world, objectId="key_1") == ["key_1"]
    assert "key_5" not in await found(world, clientId=world.ours.id)
    assert (await found(world, clientId=world.ours.id))[0] == "key_4"
    at = {one["objectId"]: one["at"] for one in first["data"]}
    assert await found(world, **{"from": at["key_3"], "to": at["key_4"], "actor": SOMEONE}) == ["key_3"]
    for query in (
        "from=yesterday",
        "from=2026-11-02&to=2026-11-01",
        "cursor=x",
        "limit=0",
        "format=xml",
        "actor=%00",
        "actor=admin",
        f"actor={SOMEONE}x",
        f"clientId={SOMEONE}",
        "format=csv&limit=5",
        f"format=json&cursor={first['nextCursor']}",
    ):
        assert_problem(await world.ask("GET", f"/api/audit?{query}", world.admin))

    for size in (2, 500):  # what is exported does not depend on how many are read at once
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("aifactory.accounts.audit_routes.LINES_AT_ONCE", size)
            asked = [
                await world.ask("GET", f"/api/audit?action=api_key.&format={kind}", world.admin)
                for kind in ("csv", "json")
            ]
        lines = list(csv.DictReader(io.StringIO(asked[0].text, newline="")))
        exported = json.loads(asked[1].text)
        assert [line["objectId"] for line in lines] == [line["objectId"] for line in exported]
        assert [line["objectId"] for line in exported] == ["key_4", "key_3", *rest]
        assert json.loads(lines[1]["after"]) == exported[1]["after"]
        assert (lines[0]["actor"], exported[0]["actor"]) == ("'=user_y", "=user_y")
        assert asked[0].headers["content-type"].startswith("text/csv")
        assert 'filename="audit.csv"' in asked[0].headers["content-disposition"]
    assert (await world.ask("GET", "/api/audit?actor=worker:nobody&format=json", world.admin)).json() == []
    wants_csv = {**world.admin, "Accept": "text/csv"}
    assert (await world.ask("GET", "/api/audit?actor=worker:nobody", wants_csv)).text.startswith(
        "id,at,actor,"
    )
    # A line bears the time at which its transaction began: an export leaves it to the next one.
    async with world.database.begin() as slow:
        answer = await world.ask("GET", "/api/audit?actor=worker:slow&format=json", world.admin)
        await audit.record(
            slow, actor="worker:slow", action="pool.stored", object_kind="pool", object_id="late"
        )
    assert answer.json() == []
    late = f"/api/audit?actor=worker:slow&format=json&from={answer.headers['x-complete-to']}"
    assert len((await world.ask("GET", late, world.admin)).json()) == 1


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET actor = ''", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
async def test_a_line_is_never_changed(world: World, statement: str) -> None:
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        async with world.database.begin() as tx:
            await tx.raw.execute(statement)
