import pytest
from tests.unit.client.playing import CUT, REFUSED, STREAM, Play, answer, end, event

from aifactory.client import AuthError, ConnectionFailed, NotFound, Retries, ServerError, WaitTimedOut
from aifactory.client.following import events, wait

PING = b": ping\n\n"
EXECUTION = {"id": "exec_1", "requestId": "req_1", "template": "t", "state": "succeeded"}
RUNNING = EXECUTION | {"state": "running"}


def ids(play: Play, **rest: int) -> list[int | None]:
    return [event.id for event in play.events(events(play.session, "req_1", **rest))]


def test_events_come_in_order_and_stop_at_the_end() -> None:
    play = Play(STREAM, event(1) + event(2), event(3) + end("partial"))
    found = play.events(events(play.session, "req_1"))
    assert [one.id for one in found] == [1, 2, 3, None]
    assert found[-1].last
    assert found[-1].data.state == "partial"
    assert play.script == []


def test_a_cut_stream_goes_on_after_the_last_event_of_the_same_execution() -> None:
    play = Play(STREAM, event(1) + event(2)[:20], CUT, STREAM, event(2), b"", STREAM, event(3) + end())
    assert ids(play) == [1, 2, 3, None]
    assert [call.headers.get("Last-Event-ID") for call in play.calls] == [None, "1", "2"]
    assert play.calls[0].path == "/api/execution/req_1/events"
    assert play.calls[1].path == "/api/execution/exec_1/events"  # whatever runs for the request by then


def test_what_comes_twice_is_left_out() -> None:
    play = Play(STREAM, event(1) + event(2), CUT, STREAM, event(1) + event(2) + event(3) + end())
    assert ids(play) == [1, 2, 3, None]
    late = Play(STREAM, event(4) + event(5) + event(6) + end())
    assert ids(late, after=5) == [6, None]
    assert late.calls[0].headers["Last-Event-ID"] == "5"


@pytest.mark.parametrize("garbage", [b"data: <html>\n\n", b"data: \xff\n\n", b"id: x\ndata: {}\n\n"])
def test_garbage_in_the_stream_is_a_broken_connection(garbage: bytes) -> None:
    play = Play(STREAM, event(1), garbage, STREAM, event(2) + end())
    assert ids(play) == [1, 2, None]


def test_what_a_later_server_says_in_another_way_does_not_stop_the_stream() -> None:
    odd = event(1, reasons=["code"]) + event(2, "odd.type", reasons=3, progress="half", attempt="x", new={})
    play = Play(STREAM, odd + end("failed"))
    first, second, last = play.events(events(play.session, "req_1"))
    assert first.data.reasons == ("code",)
    assert (second.id, second.type, second.data.state, last.data.state) == (
        2,
        "odd.type",
        "running",
        "failed",
    )


def test_a_stream_that_never_gets_anywhere_is_given_up() -> None:
    play = Play(*[STREAM, b"retry: 10\n\n", b""] * 500, retries=Retries(outage_seconds=20))
    with pytest.raises(ConnectionFailed):
        ids(play)
    assert 10 < sum(play.pauses) <= 22


def test_a_stream_that_only_repeats_itself_is_given_up() -> None:
    play = Play(STREAM, event(1), CUT, *[STREAM, event(1), CUT] * 500, retries=Retries(outage_seconds=20))
    with pytest.raises(ConnectionFailed):
        ids(play)


def test_a_stream_that_brings_something_each_time_is_never_given_up() -> None:
    script: list[object] = []
    for seq in range(1, 200):
        script += [STREAM, event(seq), CUT]
    play = Play(*script, STREAM, end(), retries=Retries(outage_seconds=5))
    assert len(ids(play)) == 200
    assert sum(play.pauses) > 5
    quiet = Play(*[STREAM, PING, CUT] * 100, STREAM, end(), retries=Retries(outage_seconds=5))
    assert ids(quiet) == [None]


def test_the_server_says_how_long_to_wait_before_coming_back() -> None:
    play = Play(STREAM, b"retry: 4000\n\n", b"", STREAM, end(), chance=1.0)
    assert ids(play) == [None]
    assert play.pauses == [4.0]


@pytest.mark.parametrize(("status", "kind"), [(401, AuthError), (404, NotFound)])
def test_a_refused_stream_is_not_asked_for_again(status: int, kind: type[Exception]) -> None:
    play = Play(answer(status, {"code": "x", "detail": "No."}))
    with pytest.raises(kind):
        ids(play)


def test_a_restart_of_the_server_is_borne() -> None:
    down = answer(503, {"code": "unavailable"}, retry_after="1")
    play = Play(STREAM, event(1), b"", REFUSED, REFUSED, down, STREAM, event(2) + end())
    assert ids(play) == [1, 2, None]


def test_an_outage_is_noted_once_and_a_cut_stream_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="aifactory.client")
    assert ids(Play(STREAM, event(1), CUT, REFUSED, STREAM, event(2) + end())) == [1, 2, None]
    assert caplog.messages == []
    assert ids(Play(STREAM, event(1), CUT, *[REFUSED] * 4, STREAM, event(2) + end())) == [1, 2, None]
    assert [text.split(" to ")[0] for text in caplog.messages] == ["No connection"]


def test_a_page_instead_of_a_stream_is_told() -> None:
    play = Play(answer(200, b"", content_type="text/html"))
    with pytest.raises(ServerError):
        ids(play)


def test_waiting_reads_the_execution_at_the_end_of_its_events() -> None:
    play = Play(STREAM, event(1) + end(), answer(200, EXECUTION))
    assert play.run(wait(play.session, "req_1")).state == "succeeded"
    assert [call.path for call in play.calls] == ["/api/execution/req_1/events", "/api/execution/req_1"]


def test_waiting_asks_where_no_stream_gets_through() -> None:
    html = answer(200, b"", content_type="text/html")
    play = Play(html, answer(200, RUNNING), answer(200, RUNNING), answer(200, EXECUTION))
    assert play.run(wait(play.session, "exec_1")).state == "succeeded"
    assert len(play.pauses) == 2


def test_waiting_ends_in_time_though_the_stream_is_alive() -> None:
    play = Play(STREAM, *[PING] * 4, *[answer(200, RUNNING)] * 200)
    play.read_takes = 15.0
    with pytest.raises(WaitTimedOut) as caught:
        play.run(wait(play.session, "exec_1", timeout=100))
    assert isinstance(caught.value, TimeoutError)
    assert 200 <= play.now <= 202
    assert play.calls[0].read_seconds == 45


def test_waiting_no_time_asks_once() -> None:
    play = Play(answer(200, EXECUTION))
    assert play.run(wait(play.session, "exec_1", timeout=0)).ended


def test_waiting_does_not_hide_a_bad_key() -> None:
    play = Play(answer(401, {"code": "not_authenticated", "detail": "No."}))
    with pytest.raises(AuthError):
        play.run(wait(play.session, "exec_1"))
