"""Percent, remaining time, and what is told of a streamed answer."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aifactory.granulation.llm_answers import Answer
from aifactory.granulation.llm_progress import TELL_SECONDS, Telling
from aifactory.granulation.progress import percent_done, remaining_seconds
from aifactory.resources.interface import Step


def step(kind: str, planned: int = 0, **changes: object) -> Step:
    """A kind of job of which nothing has been opened yet."""
    new = Step(
        stage=0,
        kind=kind,
        phase=kind,
        local=False,
        size=100,
        planned=planned,
        unopened=planned,
        places_open=0,
        open=0,
        running=0,
        running_seconds=0.0,
        succeeded=0,
        succeeded_size=0,
        succeeded_seconds=0.0,
    )
    return msgspec.structs.replace(new, **changes)


def ended(kind: str, seconds: float, **changes: object) -> Step:
    """A kind of which the only job has succeeded."""
    one = step(kind, 1, unopened=0, succeeded=1, succeeded_seconds=seconds, **changes)
    return msgspec.structs.replace(one, succeeded_size=one.size)


@settings(max_examples=200)
@given(st.data())
def test_percent_never_falls_whatever_is_opened_ended_released_or_added(data: st.DataObject) -> None:
    steps = [step(f"k{at}", data.draw(st.integers(0, 6))) for at in range(3)]
    seen = [percent_done(steps, is_final=False)]
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(0, 2))
        one = steps[at]
        action = data.draw(st.sampled_from(["open", "end", "release", "further", "end further"]))
        if action == "open" and one.unopened:
            one = msgspec.structs.replace(
                one, unopened=one.unopened - 1, places_open=one.places_open + 1, open=one.open + 1
            )
        elif action == "end" and one.places_open:
            one = msgspec.structs.replace(one, places_open=one.places_open - 1, open=one.open - 1)
        elif action == "release":
            one = msgspec.structs.replace(one, unopened=0)
        elif action == "further":
            one = msgspec.structs.replace(one, open=one.open + 1)
        elif action == "end further" and one.open > one.places_open:
            one = msgspec.structs.replace(one, open=one.open - 1)
        steps[at] = one
        seen.append(percent_done(steps, is_final=False))
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] <= 99


def test_all_that_was_foreseen_being_over_is_not_the_end_yet() -> None:
    assert percent_done([step("a", 2, unopened=0)], is_final=False) == 99
    assert percent_done([step("a", 2)], is_final=True) == 100
    assert percent_done([], is_final=False) == 0


def test_nothing_is_said_of_the_rest_before_a_speed_is_measured() -> None:
    assert remaining_seconds([step("outline", 1, unopened=0, open=1, running=1)]) is None
    read = ended("read", 2.0, local=True, size=1)
    assert remaining_seconds([read, step("outline", 1)]) is None, "a local step says nothing of models"
    assert remaining_seconds([]) == 0


def test_phases_take_their_turn_and_jobs_of_a_phase_run_side_by_side() -> None:
    outline = ended("outline", 10.0)
    assert remaining_seconds([outline, step("expand", 6)]) == 10
    halved = step("expand", 6, unopened=0, open=6, running=2, running_seconds=8.0)
    assert remaining_seconds([outline, halved]) == 3 * 10 - 4, "three rounds, four seconds into the first"
    assert remaining_seconds([outline, halved, step("judge", 1, size=50)]) == 26 + 5


def test_a_call_that_takes_longer_than_expected_takes_nothing_off_what_follows() -> None:
    late = step("expand", 1, unopened=0, open=1, running=1, running_seconds=500.0)
    assert remaining_seconds([ended("outline", 10.0), late]) == 0
    assert remaining_seconds([ended("outline", 10.0), late, step("judge", 1)]) == 10


def test_second_tries_count_as_what_is_left() -> None:
    further = step("expand", 2, unopened=0, open=2)
    assert remaining_seconds([ended("outline", 10.0), further]) == 10


def test_what_is_needed_only_when_models_fail_is_not_waited_for() -> None:
    outline = ended("outline", 10.0)
    spare = step("write", 1, local=True, size=1)
    assert remaining_seconds([outline, spare]) == 0
    begun = msgspec.structs.replace(spare, unopened=0, open=1)
    read = ended("read", 2.0, local=True, size=1)
    assert remaining_seconds([outline, read, begun]) == 2
    assert remaining_seconds([read, spare]) == 2, "without models"


def test_an_answer_is_told_of_at_once_and_then_twice_a_second_with_all_that_came() -> None:
    answer, told = Answer(text_bytes=10_000), list[tuple[float, int]]()
    now = 0.0
    telling = Telling(tell=lambda tokens: told.append((now, tokens)))
    telling.look(answer, now)
    assert told == []
    for at in range(100):
        now = at / 50
        answer.take(b'{"choices": [{"delta": {"content": "abcdef"}}]}')
        telling.look(answer, now)
    assert [moment for moment, _ in told] == [0, 0.5, 1.0, 1.5]
    assert [tokens for _, tokens in told] == [2, 2 * 26, 2 * 51, 2 * 76]


def test_an_answer_that_stands_still_is_not_told_of_again() -> None:
    answer, told = Answer(text_bytes=100), list[int]()
    answer.take(b'{"choices": [{"delta": {"content": "abc"}}]}')
    telling = Telling(tell=told.append)
    for at in range(5):
        telling.look(answer, at * TELL_SECONDS)
    assert told == [1]


def test_without_anybody_to_tell_no_text_is_looked_at() -> None:
    answer = Answer(text_bytes=100)
    answer.pieces = None  # type: ignore[assignment]
    Telling(tell=None).look(answer, 0)
