import inspect
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.client.playing import Play, answer

from aifactory.client import (
    AIFactory,
    ApiKey,
    AsyncAIFactory,
    AuthError,
    DataRef,
    Invalid,
    NotFound,
    Page,
    Request,
)
from aifactory.client.account import usage_csv, usage_report
from aifactory.client.calls import checked_id
from aifactory.client.connection import connect
from aifactory.client.content import export, tree
from aifactory.client.exchange import ReadFile
from aifactory.client.sources import LARGEST_INLINE_BYTES, upload
from aifactory.client.work import status, submit


def methods(kind: type) -> dict[str, str]:
    found = {
        name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)
    }
    return {
        name: f"{inspect.signature(value).replace(return_annotation=None)}: {value.__doc__}"
        for name, value in found.items()
    }


def test_both_clients_have_the_same_methods_with_the_same_arguments_and_words() -> None:
    assert methods(AIFactory) == methods(AsyncAIFactory)
    assert len(methods(AIFactory)) > 25
    assert inspect.signature(AIFactory.status).return_annotation.__name__ == "RequestStatus"


@pytest.mark.parametrize(
    "hostile", ["", ".", "..", "../admin", "a/b", "a?b", "a#b", "é", "a\r\nX: 1", "a" * 300]
)
def test_an_id_can_mean_no_other_path(hostile: str) -> None:
    with pytest.raises(Invalid):
        checked_id(hostile)
    play = Play()
    with pytest.raises(Invalid):
        play.run(status(play.session, hostile))


def test_a_report_of_usage_is_read_to_its_last_page() -> None:
    head = {"clientId": "client_1", "from": "2026-11-01T00:00:00Z", "to": "2026-11-03T00:00:00Z"}
    pages = [
        {
            **head,
            "data": [{"day": f"2026-11-0{day}", "calls": day}],
            "totals": {"calls": 3},
            "nextCursor": cursor,
        }
        for day, cursor in ((1, "more"), (2, None))
    ]
    play = Play(*(answer(200, page) for page in pages))
    since = datetime(2026, 11, 1, 12, tzinfo=UTC)
    found = play.run(usage_report(play.session, "client_1", group_by=("day", "model"), since=since))
    assert [(row.day, row.calls) for row in found.data] == [(date(2026, 11, 1), 1), (date(2026, 11, 2), 2)]
    assert found.totals.calls == 3
    first, second = play.calls
    assert first.path == "/api/usage/client_1"
    assert first.query == {"groupBy": "day,model", "from": "2026-11-01T12:00:00+00:00"}
    assert second.query == {**first.query, "cursor": "more"}
    play = Play(answer(200, b"day,calls\r\n"))
    assert play.run(usage_csv(play.session, "all", until=date(2026, 12, 1))) == "day,calls\r\n"
    assert play.calls[0].query == {"groupBy": "day", "to": "2026-12-01", "format": "csv"}


def test_the_environment_says_where_and_who_unless_the_caller_does() -> None:
    environ = {"AIFACTORY_URL": "https://factory.example/base/ ", "AIFACTORY_API_KEY": "aif_1\n"}
    found = connect(None, None, None, 5, environ)
    assert (found.url, found.headers["X-API-Key"]) == ("https://factory.example/base", "aif_1")
    given = connect("http://other:1", "aif_2", None, 5, environ)
    assert (given.url, given.headers["X-API-Key"]) == ("http://other:1", "aif_2")
    assert "X-API-Key" not in connect(None, None, "token", 5, environ).headers
    assert "aif_1" not in repr(found)


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://a:b@x", "http://x/?a=1", "http://x:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        AIFactory(url, "aif_1")


@pytest.mark.parametrize("key", ["aif_ü", "a b", "a\r\nX-Admin: 1"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(AuthError) as caught:
        AIFactory("http://x", key)
    assert key not in str(caught.value)


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "secret" not in repr(ApiKey(id="key_1", name="n", key="aif_secret"))


def body_of(play: Play) -> dict[str, object]:
    return msgspec.json.decode(play.calls[-1].body or b"", type=dict[str, object])


def test_a_submission_says_what_was_given_and_nothing_else() -> None:
    play = Play(answer(202, {"id": "req_1", "costUsd": 0.000000001, "newField": [1]}))
    made = play.run(
        submit(
            play.session,
            "t",
            {"depth": 2, "ratio": Decimal("0.10")},
            source=DataRef("data_1"),
            deadline=datetime(2026, 1, 2, 3, tzinfo=UTC),
            dry_run=True,
        )
    )
    assert made == Request(id="req_1", cost_usd=Decimal("1E-9"))
    assert play.calls[0].query == {"dryRun": "true"}
    assert body_of(play) == {
        "template": "t",
        "parameters": {"depth": 2, "ratio": 0.1, "source": {"dataRef": "data_1"}},
        "deadline": "2026-01-02T03:00:00Z",
    }


@pytest.mark.parametrize(
    ("name", "written"),
    [("t.html", "html"), ("t.HTM", "html"), ("t.rst", "rst"), ("t.md", "markdown"), ("t.log", "text")],
)
def test_a_file_is_sent_with_the_format_that_its_name_tells(name: str, written: str) -> None:
    play = Play(b"Tides", answer(202, {"id": "req_1"}))
    play.run(submit(play.session, "t", source=Path(name)))
    source = {"text": "Tides", "format": written, "name": name}
    assert body_of(play) == {"template": "t", "parameters": {"source": source}}


def test_a_span_of_time_counts_from_now() -> None:
    play = Play(answer(202, {"id": "req_1"}))
    before = datetime.now(UTC)
    play.run(submit(play.session, "t", deadline=timedelta(hours=6)))
    told = datetime.fromisoformat(body_of(play)["deadline"])
    assert before + timedelta(hours=6) <= told <= datetime.now(UTC) + timedelta(hours=6)


def test_a_page_is_walked_through_like_its_data() -> None:
    page = Page(data=["a", "b"], has_more=True)
    assert (list(page), len(page)) == (["a", "b"], 2)


def test_what_json_can_not_hold_is_refused_before_it_is_sent() -> None:
    play = Play()
    with pytest.raises(Invalid):
        play.run(submit(play.session, "t", {"x": object()}))


@pytest.mark.parametrize(
    ("name", "format_"),
    [("a.md", "markdown"), ("a.MarkDown", "markdown"), ("a.json", "text"), ("a.txt", "text"), ("a", "text")],
)
def test_a_files_name_tells_its_format(name: str, format_: str) -> None:
    play = Play(b"\xef\xbb\xbfWords", answer(202, {"id": "req_1"}))
    plan = submit(play.session, "t", source=Path("folder") / name)
    play.run(plan)
    assert body_of(play)["parameters"] == {"source": {"text": "Words", "format": format_, "name": name}}


def test_a_large_file_is_uploaded_once_and_named() -> None:
    play = Play(
        b"x" * (LARGEST_INLINE_BYTES + 1), answer(201, {"id": "data_1"}), answer(202, {"id": "req_1"})
    )
    play.run(submit(play.session, "t", source=Path("a b.md")))
    sent, then = play.calls
    assert (sent.path, sent.query, sent.headers["Content-Type"]) == (
        "/api/data",
        {"name": "a b.md"},
        "text/markdown",
    )
    assert "Idempotency-Key" in sent.headers
    assert b'"dataRef":"data_1"' in (then.body or b"")


def test_a_file_that_is_no_text_is_refused() -> None:
    play = Play(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="UTF-8"):
        play.run(submit(play.session, "t", source=Path("a.md")))


def test_an_upload_of_text_needs_no_file() -> None:
    play = Play(answer(201, {"id": "data_1", "sizeBytes": 3}))
    assert play.run(upload(play.session, "één", name="n.md")).size_bytes == 3
    assert play.calls[0].body == "één".encode()
    assert next(upload(play.session, Path("x.md"))) == ReadFile(Path("x.md"))


EXECUTION = {"id": "exec_1", "requestId": "req_1", "template": "t", "state": "succeeded"}


def test_content_is_found_by_the_request_that_brought_it() -> None:
    ended = answer(200, EXECUTION | {"result": {"treeId": "tree_1"}})
    play = Play(ended, answer(200, {"id": "tree_1", "structureType": "quiz", "score": 98.5}))
    assert play.run(tree(play.session, "req_1")).score == Decimal("98.5")
    assert [call.path for call in play.calls] == ["/api/execution/req_1", "/api/jobs/tree_1"]
    nothing = Play(answer(200, EXECUTION))
    with pytest.raises(NotFound, match="no tree"):
        nothing.run(tree(nothing.session, "req_1"))


def stage(ordinal: int, name: str | None, tree_id: str | None) -> dict[str, Any]:
    outputs = None if tree_id is None else {"treeId": tree_id}
    told = {"worker": "w", "action": "a", "template": "t", "state": "succeeded", "outputs": outputs}
    return {"id": f"stage_{ordinal}", "ordinal": ordinal, "name": name, **told}


def test_of_a_pipelines_trees_a_stage_says_which() -> None:
    stages = [stage(0, "course", "tree_1"), stage(1, None, "tree_2"), stage(2, "cards", None)]
    ended = answer(200, EXECUTION | {"stages": stages})
    found = answer(200, {"id": "tree_x", "structureType": "quiz"})
    for named, path in (("course", "tree_1"), (1, "tree_2"), ("1", "tree_2")):
        play = Play(ended, found)
        play.run(tree(play.session, "req_1", stage=named))
        assert play.calls[1].path == f"/api/jobs/{path}"
    for wanted, message in ((None, r"several trees.*\(course, 1\)"), ("cards", "no tree of stage cards")):
        play = Play(ended)
        with pytest.raises(NotFound, match=message):
            play.run(export(play.session, "req_1", stage=wanted))
    alone = Play(answer(200, EXECUTION | {"stages": [stages[2], stages[0]]}), found)
    alone.run(tree(alone.session, "req_1"))
    assert alone.calls[1].path == "/api/jobs/tree_1"


def test_content_can_not_be_named_into_another_path() -> None:
    play = Play(answer(200, EXECUTION | {"result": {"treeId": "../../admin"}}))
    with pytest.raises(Invalid):
        play.run(tree(play.session, "req_1"))


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('inline; filename="t.md"', "t.md"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ('inline; filename="C:\\x\\y.md"', "y.md"),
        ('inline; filename=".."', "tree_1.markdown"),
        ("", "tree_1.markdown"),
    ],
)
def test_an_exports_name_is_never_another_folders(disposition: str, name: str) -> None:
    play = Play(answer(200, b"# T", content_disposition=disposition, x_export_losses="2"))
    found = play.run(export(play.session, "tree_1"))
    assert (found.file_name, found.text, found.losses) == (name, "# T", 2)
