"""Which attempts count, how long the next one waits, and for how long a pool is closed."""

from datetime import UTC, datetime

import pytest
from tests.fake_worker import MODEL_ROUTE, TWO_HOPS

from aifactory.kernel.ids import ClientId, ExecutionId, JobId, StageId, new_id
from aifactory.resources import retries
from aifactory.resources.interface import JobFault, JobState, Route
from aifactory.resources.records import JobBook

ONE_POOL = Route(hops=MODEL_ROUTE.hops * 2)


def job(attempt: int, losses: int = 0, max_attempts: int = 2, crashes: int = 0) -> JobBook:
    return JobBook(
        id=JobId(new_id()),
        stage_id=StageId(new_id()),
        execution_id=ExecutionId(new_id()),
        client_id=ClientId(new_id()),
        worker="w",
        kind="k",
        line=None,
        state=JobState.RUNNING,
        attempt=attempt,
        max_attempts=max_attempts,
        losses=losses,
        crashes=crashes,
        timeout_seconds=1,
        route_id=1,
        input_bound=0,
        output_limit=0,
        hold_nano=0,
        payload={},
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
    )


def fault(code: str, after: float | None = None, *, retryable: bool = True) -> JobFault:
    return JobFault(code=code, message="", retryable=retryable, retry_after_seconds=after)


LIMITED = fault("rate_limited")


def test_lost_and_limited_attempts_leave_a_job_all_of_its_tries() -> None:
    assert retries.is_uncounted(fault("lost"))
    assert retries.is_uncounted(LIMITED)
    assert not retries.is_uncounted(fault("timeout"))
    assert not retries.is_uncounted(None)
    assert retries.may_retry(job(9, losses=8), fault("timeout"))
    assert not retries.may_retry(job(10, losses=8), fault("timeout"))


def test_what_is_not_retryable_is_not_tried_again() -> None:
    assert not retries.may_retry(job(1), fault("rate_limited", retryable=False))


def test_limited_attempts_have_an_end() -> None:
    assert retries.may_retry(job(29, losses=29), LIMITED)
    assert not retries.may_retry(job(30, losses=30), LIMITED)


def test_a_limited_job_goes_round_the_pools_of_its_route_and_then_rests() -> None:
    waits = [retries.wait_seconds(job(n, losses=n), LIMITED, TWO_HOPS, 5.0) for n in range(1, 5)]
    assert (waits[0], waits[2]) == (0, 0)
    assert min(waits[1], waits[3]) >= 5


def test_hops_of_the_same_pool_are_no_way_round_it() -> None:
    assert retries.wait_seconds(job(1, losses=1), LIMITED, ONE_POOL, 5.0) == 5


def test_a_limited_job_waits_as_long_as_told_and_longer_with_each_attempt() -> None:
    assert retries.wait_seconds(job(1, losses=1), LIMITED, MODEL_ROUTE, 7.0) == 7
    assert 30 <= retries.wait_seconds(job(9, losses=9), LIMITED, MODEL_ROUTE, 7.0) <= 60


def test_the_first_loss_is_tried_again_at_once_and_others_wait() -> None:
    assert retries.wait_seconds(job(1, losses=1), fault("lost"), MODEL_ROUTE, None) == 0
    assert retries.wait_seconds(job(2, losses=2), fault("lost"), MODEL_ROUTE, None) >= 1
    assert retries.wait_seconds(job(2), fault("timeout", after=3.0), MODEL_ROUTE, None) == 3


@pytest.mark.parametrize(
    ("wanted", "why", "least", "most"),
    [
        (None, None, None, None),
        (None, fault("timeout", after=9.0), None, None),
        (12.0, None, 12, 12),
        (12.0, fault("rate_limited", after=9.0), 12, 12),
        (1.0, fault("rate_limited", after=9.0), 9, 9),
        (None, fault("rate_limited", after=9.0), 9, 9),
        (None, LIMITED, 2, 4),
        (0.0, LIMITED, 0, 0),
        (1e9, LIMITED, 3600, 3600),
        (float("inf"), LIMITED, 3600, 3600),
        (float("nan"), LIMITED, 0, 0),
        (-1.0, LIMITED, 0, 0),
    ],
)
def test_a_pool_is_closed_as_long_as_told_or_by_the_attempt_after_a_429_within_bounds(
    wanted: float | None, why: JobFault | None, least: float | None, most: float | None
) -> None:
    seconds = retries.block_seconds(wanted, why, attempt=3)
    if least is None or most is None:
        assert seconds is None
    else:
        assert seconds is not None
        assert least <= seconds <= most
