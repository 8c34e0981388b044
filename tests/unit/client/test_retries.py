from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.client.playing import CUT, REFUSED, Play, answer

from aifactory.client import (
    AIFactoryError,
    AuthError,
    BudgetError,
    Conflict,
    ConnectionFailed,
    Invalid,
    NotFound,
    RateLimited,
    Retries,
    ServerError,
)
from aifactory.client.calls import create, delete, get
from aifactory.client.exchange import Answer, Broken, exchange, retry_after
from aifactory.client.work import submit

BUSY = answer(503, {"code": "busy", "detail": "Busy."}, retry_after="2")
QUICK = Retries(total_seconds=10, unreachable_seconds=1)


@pytest.mark.parametrize("passing", [CUT, REFUSED, BUSY, answer(502, b"<html>"), answer(504, b"")])
def test_what_may_pass_is_sent_again_as_it_was(passing: Answer | Broken) -> None:
    play = Play(passing, passing, answer(200, {"id": "req_1", "state": "queued"}))
    made = play.run(submit(play.session, "t", {"topic": "x"}))
    assert made.id == "req_1"
    assert len(play.calls) == 3
    assert play.calls[0] == play.calls[1] == play.calls[2]
    assert len(play.calls[0].headers["Idempotency-Key"]) >= 20


def test_two_submissions_have_two_keys_and_a_given_key_is_kept() -> None:
    keys = []
    for given in (None, None, "mine"):
        play = Play(answer(202, {"id": "req_1"}))
        play.run(submit(play.session, "t", idempotency_key=given))
        keys.append(play.calls[0].headers["Idempotency-Key"])
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, AuthError),
        (402, BudgetError),
        (403, AuthError),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (413, Invalid),
        (422, Invalid),
        (429, RateLimited),
        (500, ServerError),
        (302, ServerError),
    ],
)
def test_every_other_refusal_is_raised_at_once_as_its_kind(status: int, kind: type[AIFactoryError]) -> None:
    problem = {"code": "some_code", "detail": "Do that.", "requestId": "r1", "retryable": True, "extra": 3}
    play = Play(answer(status, problem, content_type="application/problem+json"))
    with pytest.raises(kind) as caught:
        play.run(exchange(play.session, get("/x")))
    assert type(caught.value) is kind
    found = caught.value
    assert (found.code, found.detail, found.status, found.request_id) == (
        "some_code",
        "Do that.",
        status,
        "r1",
    )
    assert found.retryable
    assert found.members["extra"] == 3
    assert play.pauses == []


def test_429_is_repeated_only_when_it_says_when() -> None:
    limited = answer(429, {"code": "too_many"}, retry_after="3")
    play = Play(limited, answer(200, {}))
    play.run(exchange(play.session, get("/x")))
    assert 3 <= play.pauses[0] < 4


def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    play = Play(answer(429, {"code": "queue_full"}, retry_after="60"))
    with pytest.raises(RateLimited) as caught:
        play.run(exchange(play.session, get("/x")))
    assert caught.value.retry_after == 60
    assert play.pauses == []


def test_the_same_creation_that_still_runs_is_waited_for() -> None:
    running = answer(409, {"code": "idempotency_in_progress"}, retry_after="1")
    play = Play(CUT, running, answer(202, {"id": "req_1"}))
    assert play.run(submit(play.session, "t")).id == "req_1"


def test_the_whole_time_is_bounded_and_pauses_grow_with_jitter() -> None:
    play = Play(*[CUT] * 100, retries=QUICK, chance=0.0)
    with pytest.raises(ConnectionFailed) as caught:
        play.run(exchange(play.session, get("/x")))
    assert caught.value.code == "connection_broken"
    assert sum(play.pauses) <= 10
    assert play.pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(play.pauses) <= 5
    late = Play(*[CUT] * 100, retries=QUICK, chance=1.0)
    with pytest.raises(ConnectionFailed):
        late.run(exchange(late.session, get("/x")))
    assert late.pauses[0] == 0.2


def test_a_server_that_is_not_there_is_given_up_sooner() -> None:
    play = Play(*[REFUSED] * 100, retries=QUICK)
    with pytest.raises(ConnectionFailed, match="no server at http://factory") as caught:
        play.run(exchange(play.session, get("/x")))
    assert caught.value.code == "unreachable"
    assert sum(play.pauses) <= 1


def test_a_long_wait_that_breaks_is_still_repeated() -> None:
    play = Play(CUT, answer(200, {"id": "req_1"}), retries=QUICK)
    plan = submit(play.session, "t", wait=60)
    step = next(plan)
    play.now += 55  # the connection broke after 55 s of waiting
    assert step.call.headers["Prefer"] == "wait=60"
    assert step.call.read_seconds > 60
    pause = plan.send(CUT)
    assert pause.seconds < 1


def test_a_deletion_whose_answer_was_lost_is_done() -> None:
    gone = answer(404, {"code": "not_found"})
    play = Play(CUT, gone)
    assert play.run(exchange(play.session, delete("/x"))).status == 404
    first = Play(gone)
    with pytest.raises(NotFound):
        first.run(exchange(first.session, delete("/x")))


def test_retry_after_is_read_as_seconds_or_as_a_date_and_never_trusted() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    date = (now + timedelta(seconds=7)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    here = now.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after({"retry-after": "5"}) == 5
    assert retry_after({"retry-after": date, "date": here}) == 7
    assert retry_after({"retry-after": here, "date": date}) == 0
    for nonsense in ("", "-1", "soon", "1e9", "٣", "Fri, 99 Foo"):
        assert retry_after({"retry-after": nonsense}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'{"state": 3}', b"\xff\xfe", b"[" * 5000])
def test_a_senseless_answer_is_an_error_of_the_server(body: bytes) -> None:
    play = Play(answer(200, body))
    with pytest.raises(ServerError) as caught:
        play.run(submit(play.session, "t"))
    assert caught.value.code == "unexpected_answer"


@pytest.mark.parametrize("body", [b"<html>secret</html>", b"{", b'{"code": 5, "detail": [], "errors": 1}'])
def test_a_refusal_that_is_no_problem_document_is_still_an_error(body: bytes) -> None:
    play = Play(answer(403, body))
    with pytest.raises(AuthError) as caught:
        play.run(exchange(play.session, get("/x")))
    assert caught.value.code == "http_403"
    assert "secret" not in str(caught.value)


def test_a_creation_keeps_its_key_across_different_failures() -> None:
    play = Play(CUT, BUSY, REFUSED, answer(201, {}))
    play.run(exchange(play.session, create(play.session, "/x", {})))
    assert len({call.headers["Idempotency-Key"] for call in play.calls}) == 1
