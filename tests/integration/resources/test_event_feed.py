"""Followers of executions see each event once, in order, whoever writes, and wherever they follow."""

import random
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from tests.fleet import Fleet, until

from aifactory.factory import build_factory
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ExecutionId
from aifactory.kernel.notices import Notices
from aifactory.resources import event_feed
from aifactory.resources.event_feed import BUFFERED, EventFeed, Following
from aifactory.resources.events import next_event
from aifactory.resources.queries import events as queries
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def feeds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[EventFeed, EventFeed]]:
    """The feeds of two processes, which look only when they are told."""
    monkeypatch.setattr(event_feed, "SHORTEST_POLL_SECONDS", 3600.0)
    monkeypatch.setattr(event_feed, "LONGEST_POLL_SECONDS", 3600.0)
    other = Database(url=database.url, pool_size=4)
    ours, theirs = Notices(database=database), Notices(database=other)
    database.on_tell = ours.tell
    feeds = EventFeed(database=database, notices=ours), EventFeed(database=other, notices=theirs)
    async with ours.listen(), theirs.listen(), feeds[0].run(), feeds[1].run():
        await until(lambda: ours.is_listening and theirs.is_listening)
        yield feeds
    await other.close()


async def write(fleet: Fleet, execution_id: ExecutionId, count: int, *, final: bool = False) -> None:
    """Write events of a running execution in one transaction."""
    async with fleet.database.begin() as tx:
        (locked,) = await queries.lock_running(tx, [execution_id])
        told = [next_event(locked, "execution.progress", {}) for _ in range(count)]
        if final:
            told.append(next_event(locked, "execution.succeeded", {}))
        await queries.tell(tx, [locked], told)


async def running(fleet: Fleet) -> ExecutionId:
    """An execution that is marked as running; no job of it does."""
    execution = await fleet.submit(await fleet.client())
    await fleet.execute("UPDATE executions SET state = 'running' WHERE id = $1", execution)
    fleet.audited = False
    return execution


async def seqs(fleet: Fleet, execution_id: ExecutionId) -> list[int]:
    """Every number that was given."""
    sql = "SELECT seq FROM execution_events WHERE execution_id = $1 ORDER BY seq"
    return [row[0] for row in await fleet.fetch(sql, execution_id)]


async def read_to_end(following: Following) -> list[int]:
    seen: list[int] = []
    while events := await following.next(20):
        seen += [event.seq for event in events]
        if events[-1].final:
            return seen
    raise AssertionError(f"no end after {seen}")


@pytest.mark.parametrize("seed", range(4))
async def test_readers_that_come_back_at_random_see_each_event_once_in_order(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed], seed: int
) -> None:
    chance = random.Random(seed)
    executions = [await running(fleet) for _ in range(3)]
    seen: dict[int, tuple[ExecutionId, list[int]]] = {}

    async def write_all(execution_id: ExecutionId, choices: random.Random) -> None:
        for _ in range(12):
            await write(fleet, execution_id, choices.choice((1, 1, 2, BUFFERED + 5)))
            for _ in range(choices.randrange(4)):
                await anyio.lowlevel.checkpoint()
        await write(fleet, execution_id, 1, final=True)

    async def follow(name: int, execution_id: ExecutionId, choices: random.Random) -> None:
        own: list[int] = []
        seen[name] = (execution_id, own)
        while True:
            feed = choices.choice(feeds)  # each time another process may answer
            with feed.follow(execution_id, after=own[-1] if own else 0) as following:
                for _ in range(choices.randrange(1, 6)):
                    events = await following.next(20)
                    assert events
                    own += [event.seq for event in events]
                    if events[-1].final:
                        return

    async with anyio.create_task_group() as tasks:
        for execution_id in executions:
            tasks.start_soon(write_all, execution_id, random.Random(chance.random()))
        for name in range(9):
            tasks.start_soon(follow, name, executions[name % 3], random.Random(chance.random()))
    for execution_id, own in seen.values():
        assert own == await seqs(fleet, execution_id)
    assert [feed.followers for feed in feeds] == [0, 0]


async def test_real_work_of_two_processes_is_followed_from_both(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed]
) -> None:
    fleet.script({"write": 8, "assess": 3})
    engines = [fleet.engine(), fleet.engine()]
    for engine, feed in zip(engines, feeds, strict=True):
        engine.database.on_tell = feed.notices.tell
    client = await fleet.client()
    executions = [await fleet.submit(client) for _ in range(6)]
    seen: dict[tuple[int, ExecutionId], list[int]] = {}
    async with anyio.create_task_group() as tasks:

        async def follow(number: int, execution_id: ExecutionId) -> None:
            with feeds[number].follow(execution_id, after=0) as following:
                seen[number, execution_id] = await read_to_end(following)

        for execution_id in executions:
            tasks.start_soon(follow, 0, execution_id)
            tasks.start_soon(follow, 1, execution_id)
        async with engines[0].start(), engines[1].start():
            await until(lambda: len(seen) == 12)
    for (_, execution_id), own in seen.items():
        assert own == await seqs(fleet, execution_id)


async def test_a_follower_that_does_not_read_keeps_little_and_misses_nothing(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed]
) -> None:
    execution = await running(fleet)
    with feeds[0].follow(execution, after=0) as slow, feeds[0].follow(execution, after=0) as quick:
        await write(fleet, execution, 4 * BUFFERED)
        await write(fleet, execution, 1, final=True)
        assert await read_to_end(quick) == await seqs(fleet, execution)
        assert slow.room == 0
        assert await read_to_end(slow) == await seqs(fleet, execution)


async def test_a_lost_notice_costs_no_more_than_a_poll(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "SHORTEST_POLL_SECONDS", 0.05)
    monkeypatch.setattr(event_feed, "LONGEST_POLL_SECONDS", 0.1)
    execution = await running(fleet)
    fleet.database.on_tell = lambda _topic, _keys: None
    with feeds[0].follow(execution, after=0) as here, feeds[1].follow(execution, after=0) as there:
        await until(lambda: here.position == there.position == 1)
        await write(fleet, execution, 2, final=True)
        expected = await seqs(fleet, execution)
        assert await read_to_end(here) == expected
        assert await read_to_end(there) == expected


async def test_nobody_reads_while_nobody_follows(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read_after = queries.read_after

    async def counting(tx, places, *, limit):  # type: ignore[no-untyped-def]
        reads.append(len(places))
        return await read_after(tx, places, limit=limit)

    monkeypatch.setattr(queries, "read_after", counting)
    execution = await running(fleet)
    await write(fleet, execution, 1)
    assert await feeds[0].round() == event_feed.IDLE_SECONDS
    assert reads == []
    with feeds[0].follow(execution, after=0) as following:
        assert len(await following.next(20) or ()) == 2
    assert set(reads) == {1}


async def test_an_outage_delays_events_and_loses_none(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 3
    read_after = queries.read_after

    async def failing(tx, places, *, limit):  # type: ignore[no-untyped-def]
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionResetError
        return await read_after(tx, places, limit=limit)

    monkeypatch.setattr(queries, "read_after", failing)
    execution = await running(fleet)
    with feeds[0].follow(execution, after=0) as following:
        await write(fleet, execution, 3, final=True)
        assert await read_to_end(following) == await seqs(fleet, execution)
    assert failures < 0


async def test_a_process_that_ends_lets_its_followers_go(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed]
) -> None:
    execution = await running(fleet)
    with feeds[0].follow(execution, after=1) as following:
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                assert await following.next(3600) is None

            async def wait_for_end() -> None:
                await feeds[0].until_ended(execution, 0.3)

            tasks.start_soon(wait)
            tasks.start_soon(wait_for_end)
            await anyio.wait_all_tasks_blocked()
            feeds[0].close()
        assert await following.next(3600) is None


async def test_waiting_for_an_end_that_has_come_returns_at_once(
    fleet: Fleet, feeds: tuple[EventFeed, EventFeed]
) -> None:
    execution = await running(fleet)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feeds[1].until_ended, execution, 3600)
        await until(lambda: feeds[1].followers == 1)
        await write(fleet, execution, BUFFERED, final=True)
    with anyio.fail_after(20):
        await feeds[0].until_ended(execution, 3600)


async def test_readiness_sees_a_reader_that_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory = build_factory(Settings(scheduler=False), database, {})
    assert not any(factory.alive().values())  # nobody runs them
    async with factory.run():
        await until(lambda: all(factory.alive().values()))
        hangs = anyio.Event()

        async def hang(_due: object) -> None:
            hangs.set()
            await anyio.sleep_forever()

        monkeypatch.setattr(factory.feed, "_read", hang)
        factory.feed.wake.set()
        await hangs.wait()
        health = factory.feed.health
        assert health.last_round is not None
        health.last_round -= health.stale_after.total_seconds()
        assert factory.alive() == {"notices": True, "events": False}
