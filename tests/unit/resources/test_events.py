"""Events as they are stored and as they leave."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from aifactory.kernel.errors import Invalid
from aifactory.kernel.http import encode
from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, new_id, text_id
from aifactory.kernel.sse import event_frame, retry_frame
from aifactory.resources.event_routes import last_event_id
from aifactory.resources.events import (
    LockedExecution,
    StoredEvent,
    Subject,
    begin,
    end_of,
    message_of,
    next_event,
)
from aifactory.resources.interface import ExecutionState

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def locked(state: ExecutionState = ExecutionState.RUNNING) -> LockedExecution:
    return LockedExecution(
        id=ExecutionId(new_id()), state=state, event_seq=4, jobs_done=3, jobs_total=9, spent_nano=120_000
    )


def subject(execution_id: ExecutionId) -> Subject:
    return Subject(
        execution_id=execution_id,
        request_id=RequestId(new_id()),
        client_id=ClientId(new_id()),
        template="course",
    )


def stored(data: dict[str, Any], type_: str = "job.succeeded") -> StoredEvent:
    return StoredEvent(execution_id=ExecutionId(new_id()), seq=5, at=AT, type=type_, data=data)


def test_an_event_leaves_with_ids_state_progress_and_exact_cost() -> None:
    execution = locked()
    made = next_event(execution, "job.succeeded", {"kind": "write"})
    assert (made.seq, execution.event_seq, made.final) == (5, 5, False)
    event, about = stored(made.data), subject(execution.id)
    sent = msgspec.json.decode(encode(message_of(event, about)))
    assert sent == {
        "type": "job.succeeded",
        "timestamp": "2026-01-02T03:04:05Z",
        "data": {
            "executionId": text_id("exec", execution.id),
            "requestId": text_id("req", about.request_id),
            "clientId": text_id("client", about.client_id),
            "template": "course",
            "state": "running",
            "progress": {"jobsDone": 3, "jobsTotal": 9},
            "costUsd": 0.00012,
            "kind": "write",
        },
    }
    assert made.data["spentNano"] == 120_000  # what is stored is not changed by sending it


def test_an_event_from_before_events_told_progress_leaves_without() -> None:
    event = stored({"jobId": "job_1"})
    told = message_of(event, subject(event.execution_id)).data
    assert told["jobId"] == "job_1"
    assert not {"state", "progress", "costUsd"} & told.keys()


def test_the_last_event_of_a_stream_says_what_the_final_one_said() -> None:
    execution = locked(ExecutionState.FAILED)
    made = next_event(execution, "execution.failed", {"reasons": ["no"]})
    assert made.final
    final = message_of(stored(made.data, made.type), subject(execution.id))
    assert msgspec.structs.replace(final, type="end") == end_of(final)


def test_a_beginning_is_told_of_what_was_queued_only() -> None:
    queued, running = locked(ExecutionState.QUEUED), locked()
    told = begin(
        {queued.id: queued, running.id: running},
        {queued.id, running.id},
        [(queued.id, 0, "granulation", ""), (running.id, 2, "granulation", "quiz")],
    )
    assert [(event.execution_id, event.type, event.seq) for event in told] == [
        (queued.id, "execution.started", 5),
        (queued.id, "stage.started", 6),
        (running.id, "stage.started", 5),
    ]
    assert queued.state is ExecutionState.RUNNING
    assert told[0].data["state"] == "running"
    assert ["name" in event.data for event in told] == [False, False, True]


def test_frames_are_what_the_standard_says() -> None:
    assert event_frame("job.succeeded", b'{"a":1}', 7) == b'id: 7\nevent: job.succeeded\ndata: {"a":1}\n\n'
    assert event_frame("end", b"{}") == b"event: end\ndata: {}\n\n"
    assert retry_frame(1000) == b"retry: 1000\n\n"
    assert b"\n" not in encode({"text": "one\ntwo\r\n\u2028three"})  # so data stays on its one line


@pytest.mark.parametrize(("text", "number"), [(None, 0), ("0", 0), ("007", 7), ("9" * 19, 2**63 - 1)])
def test_a_last_event_id_is_a_number(text: str | None, number: int) -> None:
    assert last_event_id(text) == number


@pytest.mark.parametrize("text", ["", " 1", "+1", "1e3", "²", "x", "1" * 20])
def test_another_last_event_id_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        last_event_id(text)
