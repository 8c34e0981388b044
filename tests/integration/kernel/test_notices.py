"""Notices reach this process at once and the others soon; they may get lost, and never hold up a write."""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.fleet import until

from aifactory.kernel.db import Database
from aifactory.kernel.ids import new_id
from aifactory.kernel.notices import MAX_KEYS, Notices

pytestmark = pytest.mark.anyio


class Planted(Exception):
    """A fault that a test plants."""


Said = list[frozenset[UUID] | None]


def listen(notices: Notices, topic: str = "work") -> Said:
    """Keep what is heard."""
    heard: Said = []
    notices.subscribe(topic, heard.append)
    return heard


@pytest.fixture
async def others(database: Database) -> AsyncIterator[tuple[Notices, Notices]]:
    """Two processes that listen."""
    other = Database(url=database.url, pool_size=2)
    ours, theirs = Notices(database=database), Notices(database=other)
    async with ours.listen(), theirs.listen():
        await until(lambda: ours.is_listening and theirs.is_listening)
        yield ours, theirs
    await other.close()


async def test_a_notice_is_heard_here_at_once_and_elsewhere_soon(others: tuple[Notices, Notices]) -> None:
    ours, theirs = others
    here, there, elsewhere = listen(ours), listen(theirs), listen(theirs, "events")
    key = new_id()
    ours.tell("work", [key])
    assert here == [frozenset({key})]
    await until(lambda: bool(there))
    assert there == [frozenset({key})]
    assert here == [frozenset({key})]  # not a second time by way of the database
    assert elsewhere == []


async def test_what_is_told_together_is_sent_as_one(others: tuple[Notices, Notices]) -> None:
    ours, theirs = others
    there = listen(theirs)
    keys = [new_id() for _ in range(MAX_KEYS)]
    for key in keys:
        ours.tell("work", [key])
    await until(lambda: bool(there) and ours.sent > 0)
    assert there == [frozenset(keys)]
    assert ours.sent == 1


async def test_too_many_keys_mean_anything(others: tuple[Notices, Notices]) -> None:
    ours, theirs = others
    there = listen(theirs)
    ours.tell("work", [new_id() for _ in range(MAX_KEYS + 1)])
    ours.tell("work", [new_id()])
    await until(lambda: bool(there))
    assert there == [None]


async def test_a_subscriber_that_fails_or_leaves_disturbs_nobody(others: tuple[Notices, Notices]) -> None:
    ours, _ = others

    def fail(_: frozenset[UUID] | None) -> None:
        raise Planted

    ours.subscribe("work", fail)
    gone: Said = []
    undo = ours.subscribe("work", gone.append)
    here = listen(ours)
    undo()
    undo()
    ours.tell("work")
    assert (here, gone) == ([None], [])


async def test_after_a_lost_connection_everyone_is_to_look(
    others: tuple[Notices, Notices], database: Database
) -> None:
    ours, theirs = others
    there = listen(theirs)
    async with database.begin() as tx:
        await tx.raw.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """
        )
    await until(lambda: None in there)
    await until(lambda: ours.is_listening and theirs.is_listening)
    key = new_id()
    ours.tell("work", [key])
    await until(lambda: frozenset({key}) in there)


async def test_garbage_on_the_channel_is_ignored(others: tuple[Notices, Notices], database: Database) -> None:
    ours, _ = others
    here = listen(ours)
    async with database.begin() as tx:
        for text in ("", "x", "x work ???", "x work " + "a" * 22 + ",zz", "\N{SNOWMAN}"):
            await tx.raw.execute("SELECT pg_notify('aifactory', $1)", text)
        await tx.raw.execute("SELECT pg_notify('aifactory', 'someone work ')")
    await until(lambda: bool(here))
    assert here == [None]


async def test_a_transaction_tells_after_its_commit_and_only_then(database: Database) -> None:
    notices = Notices(database=database)
    database.on_tell = notices.tell
    here, key = listen(notices), new_id()
    async with database.begin() as tx:
        tx.tell("work", [key])
        tx.tell("work", [])
        with contextlib.suppress(Planted):
            async with tx.savepoint():
                tx.tell("work", [new_id()])
                raise Planted
        assert here == []
    assert here == [frozenset({key})]
    with contextlib.suppress(Planted):
        async with database.begin() as tx:
            tx.tell("work", [key])
            raise Planted
    assert len(here) == 1


async def test_a_full_process_of_notices_keeps_little(database: Database) -> None:
    notices = Notices(database=database)  # nobody sends: its loop does not run
    for _ in range(10 * MAX_KEYS):
        notices.tell("work", [new_id()])
    assert notices._waiting == {"work": None}
