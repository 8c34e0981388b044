"""Data references over HTTP: stored once, given back unchanged, nobody else's business, gone in time."""

import gzip
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from tests.factories import QUIZ, World, assert_problem
from tests.waiting import ended, until_blocked

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import DataId, parse_id
from aifactory.resources import storage
from aifactory.resources.audit import audit
from aifactory.resources.queries import data as queries

pytestmark = pytest.mark.anyio

TEXT = "# Tides\n\nThe sea rises and falls twice a day, drawn by the moon.\n"
LONG = (TEXT * 400).encode()
MARKDOWN = {"Content-Type": "text/markdown"}


async def upload(world: World, content: bytes | str = TEXT, who: Any = None, **rest: Any) -> httpx.Response:
    headers = {**MARKDOWN, **rest.pop("headers", {})}
    return await world.ask(
        "POST",
        "/api/data",
        world.ours.key if who is None else who,
        content=content,
        headers=headers,
        params=rest,
    )


async def uploaded(world: World, content: bytes | str = TEXT, **rest: Any) -> str:
    answer = await upload(world, content, **rest)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def submit(world: World, data_ref: str, who: Any = None, **rest: Any) -> httpx.Response:
    body = {"template": QUIZ, "parameters": {"topic": "x", "source": {"dataRef": data_ref}}, **rest}
    return await world.ask("POST", "/requests", world.ours.key if who is None else who, json=body)


def raw_id(text: str) -> DataId:
    found = parse_id("data", text)
    assert found is not None
    return DataId(found)


async def change(world: World, sql: str, *values: Any) -> None:
    async with world.database.begin() as tx:
        await tx.raw.execute(sql, *values)


async def purge(world: World) -> int:
    async with world.database.begin() as tx:
        return await queries.delete_expired(tx, 100)


async def test_an_upload_comes_back_byte_for_byte(world: World) -> None:
    made = await upload(world, LONG, name="tides of the sea.md")
    view = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/data/{view['id']}"
    assert (view["name"], view["mediaType"], view["sizeBytes"]) == (
        "tides of the sea.md",
        "text/markdown",
        len(LONG),
    )
    assert view["words"] == len(LONG.split())
    assert view["storedBytes"] < len(LONG) / 10
    assert view["expiresAt"] is not None
    got = await world.ask("GET", made.headers["location"], world.ours.key)
    assert got.content == LONG
    assert got.headers["content-type"] == "text/markdown; charset=utf-8"
    assert got.headers["etag"] == f'"{view["sha256"]}"'
    assert got.headers["content-disposition"].startswith('attachment; filename="tides of the sea.md"')
    assert got.headers["x-content-type-options"] == "nosniff"
    same = await world.ask(
        "GET", made.headers["location"], world.ours.key, headers={"If-None-Match": got.headers["etag"]}
    )
    assert (same.status_code, same.content) == (304, b"")


REFUSED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "nothing": (b"", {}, 422, "invalid"),
    "blank": (b" \n\t", {}, 422, "invalid"),
    "utf-16": (b"\xff\xfe#\x00", {}, 422, "invalid"),
    "null": (b"a\x00b", {}, 422, "invalid"),
    "terminal": (b"a\x1b[2Jb", {}, 422, "invalid"),
    "no json": (b"{no json", {"Content-Type": "application/json"}, 400, "unreadable"),
    "deep": (b"[" * 100_000, {"Content-Type": "application/json"}, 400, "unreadable"),
    "pdf": (b"text", {"Content-Type": "application/pdf"}, 415, "unsupported_data"),
    "no type": (b"text", {"Content-Type": ""}, 415, "unsupported_data"),
    "latin-1": (b"text", {"Content-Type": "text/markdown; charset=latin-1"}, 415, "unsupported_data"),
    "compressed": (gzip.compress(b"text"), {"Content-Encoding": "gzip"}, 415, "unsupported_data"),
    "too large": (b"a" * (5 * 1024 * 1024 + 1), {}, 413, "too_large"),
}


async def test_what_is_no_text_or_has_no_name_is_refused_and_nothing_is_stored(world: World) -> None:
    for content, headers, status, code in REFUSED.values():
        assert_problem(await upload(world, content, headers=headers), status, code)
    for name in ("", " ", "x" * 201):
        assert_problem(await upload(world, name=name), 422)
    assert (await world.count_rows())["data_references"] == 0


async def test_a_hostile_name_stays_a_name(world: World) -> None:
    name = '../etc/"x"; filename=evil.exe <b>é.md'
    made = await upload(world, name=name)
    got = await world.ask("GET", made.headers["location"], world.ours.key)
    assert got.headers["content-disposition"].count('"') == 2
    assert ".." in got.headers["content-disposition"]
    assert "/" not in got.headers["content-disposition"]
    assert made.json()["name"] == name


async def test_five_mebibytes_and_each_media_type_are_taken(world: World) -> None:
    assert (await upload(world, b"word " * (1024 * 1024))).status_code == 201
    for kind in ("text/plain", "text/html", "text/x-rst", "Text/Markdown; charset=UTF-8"):
        assert (await upload(world, headers={"Content-Type": kind})).status_code == 201
    answer = await upload(world, b'{"a": [1]}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


async def test_the_same_upload_with_its_key_is_stored_once(world: World) -> None:
    key = {"Idempotency-Key": "once"}
    first = await upload(world, name="a", headers=key)
    again = await upload(world, name="a", headers=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert_problem(await upload(world, name="b", headers=key), 422, "idempotency_mismatch")
    other = await upload(world, TEXT + "!", name="a", headers=key)
    assert_problem(other, 422, "idempotency_mismatch")
    assert (await world.count_rows())["data_references"] == 1


async def test_anothers_data_does_not_exist(world: World) -> None:
    mine = await uploaded(world)
    theirs = world.theirs.key
    assert_problem(await world.ask("GET", f"/api/data/{mine}", theirs), 404, "data_not_found")
    assert_problem(await world.ask("DELETE", f"/api/data/{mine}", theirs), 404, "data_not_found")
    assert (await world.ask("GET", "/api/data", theirs)).json()["data"] == []
    assert_problem(await submit(world, mine, theirs), 404, "data_not_found")
    for path in ("/api/cost/estimate", "/api/execute", "/api/execute?dryRun=true"):
        body = {"template": QUIZ, "parameters": {"source": {"dataRef": mine}}}
        assert_problem(await world.ask("POST", path, theirs, json=body), 404, "data_not_found")
    body = {"type": "quiz", "source": {"dataRef": mine}}
    assert_problem(await world.ask("POST", "/api/granulate", theirs, json=body), 404, "data_not_found")
    tied = {**body, "clientId": world.ours.id}
    assert_problem(await world.ask("POST", "/api/granulate", theirs, json=tied), 404, "client_not_found")
    as_admin = {**body, "clientId": world.theirs.id}
    assert_problem(await world.ask("POST", "/api/granulate", world.admin, json=as_admin), 404)


async def test_an_admin_uploads_for_a_client_by_name(world: World) -> None:
    assert_problem(await upload(world, who=world.admin), 422)
    answer = await upload(world, who=world.admin, clientId=world.ours.id)
    assert answer.json()["clientId"] == world.ours.id
    assert (await submit(world, answer.json()["id"])).status_code == 202
    key = {"Idempotency-Key": "once"}
    first = await upload(world, who=world.admin, clientId=world.ours.id, headers=key)
    assert first.status_code == 201
    other = await upload(world, who=world.admin, clientId=world.theirs.id, headers=key)
    assert_problem(other, 422, "idempotency_mismatch")


async def test_the_list_has_uploads_and_sources_but_no_results_of_steps(world: World) -> None:
    async with world.database.begin() as tx:
        step = await storage.store(
            tx,
            client_id=world.ours.client_id,
            kind=storage.STEP,
            name="answer",
            media_type="application/json",
            content=b"{}",
            expires_at=tx.now,
        )
    ids = [await uploaded(world, name=str(number)) for number in range(3)]
    body = {"template": QUIZ, "parameters": {"source": {"text": TEXT, "name": "inline"}}, "execute": False}
    await world.ask("POST", "/requests", world.ours.key, json=body)
    page = (await world.ask("GET", "/api/data?limit=2", world.ours.key)).json()
    rest = (await world.ask("GET", f"/api/data?cursor={page['nextCursor']}", world.ours.key)).json()
    listed = [one["name"] for one in page["data"] + rest["data"]]
    assert listed == ["inline", "2", "1", "0"]
    assert page["data"][0]["expiresAt"] is None
    assert [one["id"] for one in rest["data"]] == ids[1::-1]
    async with world.database.begin() as tx:
        found = await queries.find_data(tx, client_id=None, data_id=step)
    assert found is None


async def test_a_reference_brings_its_own_format(world: World) -> None:
    plain = await uploaded(world, headers={"Content-Type": "text/plain"})
    answer = await submit(world, plain, execute=False)
    detail = (await world.ask("GET", f"/requests/{answer.json()['id']}", world.ours.key)).json()
    assert detail["parameters"]["source"] == {"dataRef": plain, "format": "text", "name": "data"}
    page = await uploaded(world, "<p>Some words</p>", headers={"Content-Type": "text/html"})
    told = await submit(world, page, execute=False)
    kept = (await world.ask("GET", f"/requests/{told.json()['id']}", world.ours.key)).json()
    assert kept["parameters"]["source"]["format"] == "html"
    other = await uploaded(world, "{}", headers={"Content-Type": "application/json"})
    refused = assert_problem(await submit(world, other), 422)
    assert refused["errors"][0]["pointer"] == "/parameters/source/dataRef"
    parameters = {"source": {"dataRef": other, "format": "text"}}
    body = {"template": QUIZ, "parameters": parameters, "execute": False}
    assert (await world.ask("POST", "/requests", world.ours.key, json=body)).status_code == 201


# Damage.


async def damage(world: World, data_ref: str) -> None:
    await change(
        world,
        "UPDATE data_references SET content = set_byte(content, 40, get_byte(content, 40) # 255) "
        "WHERE id = $1",
        raw_id(data_ref),
    )


async def test_damaged_content_is_never_given_out(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (TEXT.encode(), LONG):
        mine = await uploaded(world, content)
        await damage(world, mine)
        answer = await world.ask("GET", f"/api/data/{mine}", world.ours.key)
        assert assert_problem(answer, 500, "data_damaged")["dataRef"] == mine
        assert mine in caplog.text + "".join(capsys.readouterr())


async def test_work_from_damaged_or_lost_data_fails_alone_and_costs_nothing(world: World) -> None:
    damaged, lost, well = [await uploaded(world, LONG, name=name) for name in ("d", "l", "w")]
    ids = [(await submit(world, one)).json()["executionId"] for one in (damaged, lost, well)]
    await damage(world, damaged)
    await change(world, "DELETE FROM data_references WHERE id = $1", raw_id(lost))
    async with world.engine.start():
        found = [await ended(world, one) for one in ids]
    assert [one["state"] for one in found] == ["failed", "failed", "succeeded"]
    assert [one["reasons"][0]["code"] for one in found[:2]] == ["data_missing"] * 2
    assert [one["costUsd"] for one in found[:2]] == [0, 0]
    assert found[2]["result"]["words"] == len(LONG.split())
    assert (await audit(world.database)).differences == []


# Keeping and deleting.


async def test_an_upload_expires_after_thirty_days_and_is_purged(world: World) -> None:
    mine, other = await uploaded(world), await uploaded(world, who=world.theirs.key)
    world.database.clock_offset = timedelta(days=29)
    assert await purge(world) == 0
    draft = await submit(world, mine, execute=False)
    assert draft.status_code == 201
    world.database.clock_offset = timedelta(days=31)
    assert await purge(world) == 1
    async with world.database.begin() as tx:
        kept = await queries.find_data(tx, client_id=None, data_id=raw_id(mine))
        gone = await queries.find_data(tx, client_id=None, data_id=raw_id(other))
    assert kept is not None
    assert gone is None


async def test_what_an_unfinished_execution_needs_is_not_deleted(world: World) -> None:
    mine = await uploaded(world)
    made = (await submit(world, mine)).json()
    await change(world, "UPDATE data_references SET expires_at = created_at")
    assert await purge(world) == 0
    refused = await world.ask("DELETE", f"/api/data/{mine}", world.ours.key)
    assert_problem(refused, 409, "data_in_use")
    assert (await world.ask("POST", f"/requests/{made['id']}/cancel", world.ours.key)).status_code == 200
    assert await purge(world) == 1


async def test_deleted_data_is_gone_for_drafts_too(world: World) -> None:
    mine = await uploaded(world)
    draft = (await submit(world, mine, execute=False)).json()
    assert (await world.ask("DELETE", f"/api/data/{mine}", world.ours.key)).status_code == 204
    assert_problem(await world.ask("DELETE", f"/api/data/{mine}", world.ours.key), 404, "data_not_found")
    answer = await world.ask("POST", f"/requests/{draft['id']}/execute", world.ours.key, json={})
    assert_problem(answer, 404, "data_not_found")


@pytest.mark.parametrize("way", ["delete", "purge"])
async def test_data_is_not_deleted_under_a_submission_that_takes_it_just_now(world: World, way: str) -> None:
    mine = raw_id(await uploaded(world))
    if way == "delete":  # so that its expiry is not put off either
        await change(world, "UPDATE data_references SET expires_at = NULL")
    new = {"template": QUIZ, "parameters": {"topic": "x"}}
    made = (await world.ask("POST", "/api/execute", world.ours.key, json=new)).json()
    taken, waiting = anyio.Event(), anyio.Event()
    refused: list[bool] = []

    async def submit_slowly() -> None:
        async with world.database.begin() as tx:
            await tx.raw.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await storage.keep(tx, client_id=world.ours.client_id, data_id=mine, deadline=tx.now)
            if way == "purge":
                await tx.raw.execute("UPDATE data_references SET expires_at = created_at")
            await _use(tx, made["id"], mine)
            taken.set()
            await waiting.wait()

    async def delete() -> None:
        await taken.wait()
        if way == "purge":
            refused.append(await purge(world) == 0)
            waiting.set()
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_when_blocked, world, waiting)
            try:
                async with world.database.begin() as tx:
                    await storage.delete(tx, client_id=None, data_id=mine)
            except storage.DataInUse:
                refused.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit_slowly)
        tasks.start_soon(delete)
    assert refused == [True]
    async with world.database.begin() as tx:
        assert await queries.find_data(tx, client_id=None, data_id=mine) is not None


async def _use(tx: Tx, execution: str, data_id: DataId) -> None:
    """Let an execution's unfinished stage work from data."""
    await tx.raw.execute(
        "UPDATE stage_executions SET inputs = jsonb_build_object('source', $1::text) WHERE execution_id = $2",
        str(data_id),
        parse_id("exec", execution),
    )


async def _when_blocked(world: World, event: anyio.Event) -> None:
    await until_blocked(world)
    event.set()


async def test_a_client_may_not_fill_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_UPLOADS", 2)
    for _ in range(2):
        await uploaded(world)
    assert_problem(await upload(world), 409, "storage_full")
    assert (await upload(world, who=world.theirs.key)).status_code == 201
    monkeypatch.setattr(storage, "MAX_UPLOADS", 100)
    monkeypatch.setattr(storage, "MAX_UPLOADED_BYTES", 3 * len(TEXT))
    await uploaded(world)
    assert_problem(await upload(world), 409, "storage_full")
