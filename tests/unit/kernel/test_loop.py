"""A loop goes on whatever its rounds do; whether it is alive does not depend on the wall clock."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import pytest
import structlog

from aifactory.kernel.db import DatabaseUnavailable
from aifactory.kernel.loop import LoopHealth, Wake, run_loop

pytestmark = pytest.mark.anyio


def health() -> LoopHealth:
    return LoopHealth(name="test", stale_after=timedelta(seconds=10))


def after(seconds: float, found: LoopHealth, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a loop is alive so many seconds from now."""
    now = time.monotonic() + seconds
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: now)
        return found.alive


async def run_rounds(*rounds: Callable[[], Awaitable[float]]) -> LoopHealth:
    """Run a loop through these rounds, each woken at once."""
    found, wake, stop, left = health(), Wake(), anyio.Event(), list(rounds)

    async def next_round() -> float:
        round_ = left.pop(0)
        wake.set()
        if not left:
            stop.set()
        return await round_()

    with anyio.fail_after(5):
        await run_loop(next_round, health=found, wake=wake, stop=stop)
    assert left == []
    return found


async def good() -> float:
    return 0.0


async def bad() -> float:
    raise ValueError("no")


async def cancelled_elsewhere() -> float:
    """Wait for a future that somebody cancels, as a driver does when its connection goes."""
    future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


def test_a_loop_that_has_done_no_round_yet_is_not_alive() -> None:
    assert not health().alive


async def test_a_round_that_raises_is_tried_again() -> None:
    assert (await run_rounds(good, bad, bad)).failures == 2
    found = await run_rounds(bad, good)
    assert (found.failures, found.alive) == (0, True)


async def test_a_database_that_is_away_is_told_without_a_traceback_and_other_faults_with_one() -> None:
    async def away() -> float:
        raise DatabaseUnavailable("gone")

    with structlog.testing.capture_logs() as lines:
        await run_rounds(away, bad, good)
    assert [(line["event"], line["log_level"], "exc_info" in line) for line in lines] == [
        ("loop.database_unavailable", "warning", False),
        ("loop.round_failed", "error", True),
    ]


async def test_a_future_that_somebody_else_cancelled_does_not_end_the_loop() -> None:
    found = await run_rounds(cancelled_elsewhere, good)
    assert (found.failures, found.alive) == (0, True)
    assert (await run_rounds(good, cancelled_elsewhere)).failures == 1


@pytest.mark.parametrize("how", ["scope", "task"])
async def test_a_loop_that_is_cancelled_itself_ends(how: str) -> None:
    found, started = health(), anyio.Event()

    async def hang() -> float:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def loop() -> None:
        await run_loop(hang, health=found, wake=Wake(), stop=anyio.Event())

    with anyio.fail_after(5):
        if how == "scope":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(loop)
                await started.wait()
                tasks.cancel_scope.cancel()
        else:
            task = asyncio.create_task(loop())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert found.failures == 0


async def test_a_loop_is_dead_when_its_last_good_round_is_too_old_or_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await run_rounds(good)
    assert after(9, found, monkeypatch)
    assert not after(11, found, monkeypatch)
    found.ended = True
    assert not found.alive


async def test_a_loop_that_fails_round_after_round_is_late_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await run_rounds(good, bad, bad)
    assert found.alive
    assert not after(11, found, monkeypatch)
