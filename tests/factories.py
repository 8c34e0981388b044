"""Whole apps and the people who use them, for integration tests."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
from litestar import Litestar
from tests.apps import lent_app
from tests.fakes import FakeWorker

from aifactory.accounts import clients, credentials, sessions
from aifactory.accounts.content import Requests
from aifactory.accounts.credentials import NewCredential
from aifactory.accounts.models import UserRow
from aifactory.accounts.service import AccountsBook
from aifactory.accounts.webhook_delivery import Deliveries
from aifactory.accounts.webhook_sending import WebhookSender
from aifactory.app import create_app
from aifactory.factory import Factory
from aifactory.granulation import queries as tree_queries
from aifactory.granulation import steps
from aifactory.granulation.content import Trees
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.scoring import Assessment
from aifactory.granulation.service import Granulation
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.guard import SESSION_HEADER
from aifactory.kernel.ids import ClientId, ExecutionId, StageId, TreeId, UserId, new_id, text_id
from aifactory.kernel.notices import Notices
from aifactory.kernel.principal import Principal, Role
from aifactory.resources import provider_routes
from aifactory.resources.batching import Batcher
from aifactory.resources.engine import Engine
from aifactory.resources.event_feed import EventFeed
from aifactory.resources.expected import Expectations
from aifactory.resources.interface import Tier
from aifactory.resources.outlook import Outlooks
from aifactory.resources.retention import Retention
from aifactory.resources.service import ResourceService
from aifactory.server import build_app
from aifactory.settings import Settings

QUIZ = "content_granulation_quiz"
TESTS_PER_MINUTE = 1_000_000  #: tests may ask as fast as they can
COUNTED_BY_DESIGN = {"login_attempts", "request_rates"}  #: tables that refused requests may write to
FLOW = [{"worker": "granulation", "templateRef": "basic_things"}]


class Tenant(msgspec.Struct, kw_only=True):
    """A client with a key and a user."""

    client_id: ClientId
    id: str
    key_id: str
    key: dict[str, str]
    session: dict[str, str]


class People(msgspec.Struct, kw_only=True):
    """Two clients, an admin and a support user, all with credentials as headers."""

    ours: Tenant
    theirs: Tenant
    admin: dict[str, str]
    support: dict[str, str]


class World:
    """An app on a database, and the people who use it."""

    def __init__(self, database: Database, app: Litestar, engine: Engine, http: httpx.AsyncClient) -> None:
        self.database = database
        self.app = app
        self.engine = engine
        self.http = http
        self.resources: ResourceService
        self.factory: Factory
        self.ours: Tenant
        self.theirs: Tenant
        self.admin: dict[str, str]
        self.support: dict[str, str]
        self._made: dict[str, Any] = {}

    async def once(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Make something when it is first asked for, and keep it as long as the world stands."""
        if name not in self._made:
            self._made[name] = await make()
        return self._made[name]

    async def count_rows(self) -> dict[str, int]:
        """Count the rows of every table that a request could write to; but those of COUNTED_BY_DESIGN."""
        async with self.database.begin() as tx:
            count_all = await self.once("count_all", lambda: _counting(tx))
            return dict(await tx.raw.fetch(count_all))

    async def ask(
        self, method: str, path: str, who: dict[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        """Send a request as someone."""
        headers = {**(who or {}), **rest.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **rest)

    async def ask_at_once(self, times: int, method: str, path: str, who: Any, **rest: Any) -> list[int]:
        """Send a request as someone, so many times at once; return the statuses in order."""
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await self.ask(method, path, who, **rest)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(times):
                tasks.start_soon(ask)
        return sorted(statuses)


async def _counting(tx: Tx) -> str:
    names = await tx.raw.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    tables = [row["tablename"] for row in names if row["tablename"] not in COUNTED_BY_DESIGN]
    return " UNION ALL ".join(f"SELECT '{table}', count(*) FROM \"{table}\"" for table in tables)


@contextlib.asynccontextmanager
async def open_world(
    database: Database,
    *,
    settings: Settings | None = None,
    people: People | None = None,
    **app_arguments: Any,
) -> AsyncIterator[World]:
    """Build a world; its loops are built but not started, and its health says nothing of them.

    ``people`` are those that the database has already; otherwise they are made.
    """
    workers = {"granulation": FakeWorker()}
    engine = Engine(database=database, workers=workers, slots=8, local_slots=2, grace_seconds=1)
    notices = Notices(database=database)
    database.on_tell = notices.tell
    feed = EventFeed(database=database, notices=notices)
    outlooks = Outlooks(database=database)
    resources = ResourceService(
        workers=workers,
        wake=engine.wake,
        abort=engine.abort,
        until_ended=feed.until_ended,
        expectations=Expectations(outlooks),
    )
    book = AccountsBook(resources=resources)
    factory = Factory(
        settings=settings or Settings(scheduler=False),
        database=database,
        resources=resources,
        book=book,
        engine=engine,
        granulation=Granulation(processes=1, calls=LateCalls(environ={})),
        retention=Retention(database=database, keepers=[Requests(resources=resources), Trees()]),
        notices=notices,
        feed=feed,
        outlooks=outlooks,
        submissions=Batcher(
            database=database, submit_many=resources.submit_many, store_requests=book.store_requests
        ),
        deliveries=Deliveries(
            database=database,
            resources=resources,
            notices=notices,
            sender=WebhookSender(private_allowed=False),
        ),
    )
    health = {"providers": provider_routes.providers_check(database)}
    with lent_app(lambda: build_app(factory, **{"health": health, **app_arguments})) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            world = World(database, app, engine, http)
            world.resources = resources
            world.factory = factory
            people = people or await make_people(database, resources)
            world.ours, world.theirs = people.ours, people.theirs
            world.admin, world.support = people.admin, people.support
            yield world


def bare_app(database: Database, resources: ResourceService | None = None, **rest: Any) -> Litestar:
    """Build an app with the routes of accounts and those that are given."""
    resources = resources or ResourceService(workers={}, wake=lambda: None, abort=lambda _: None)
    submissions = Batcher(
        database=database,
        submit_many=resources.submit_many,
        store_requests=AccountsBook(resources=resources).store_requests,
    )
    return create_app(
        settings=Settings(), database=database, resources=resources, submissions=submissions, **rest
    )


async def make_people(database: Database, resources: ResourceService) -> People:
    """Make who uses a world."""
    return People(
        ours=await make_client(database, resources, "Ours", Tier.STANDARD),
        theirs=await make_client(database, resources, "Theirs", Tier.BASIC),
        admin=await make_user(database, "root", Role.ADMIN),
        support=await make_user(database, "helper", Role.SUPPORT),
    )


async def make_tenant(world: World, name: str, tier: Tier) -> Tenant:
    """Make another client of a world, with a key and a user."""
    return await make_client(world.database, world.resources, name, tier)


async def make_client(database: Database, resources: ResourceService, name: str, tier: Tier) -> Tenant:
    """Make a client with a key and a user."""
    async with database.begin() as tx:
        new = clients.NewClient(name=name, contact="", tier=tier, requests_per_minute=TESTS_PER_MINUTE)
        row, _ = await clients.create_client(tx, resources=resources, new=new, actor="test")
        client_id = ClientId(row.id)
    key_id, key = await make_key(database, client_id, ["read", "write"])
    session = await make_user(database, name.lower(), Role.CLIENT, client_id)
    return Tenant(
        client_id=client_id, id=text_id("client", client_id), key_id=key_id, key=key, session=session
    )


async def make_key(
    database: Database, client_id: ClientId, scopes: list[str], lasts: timedelta | None = None
) -> tuple[str, dict[str, str]]:
    """Make a key; return its id and the headers of a call with it."""
    async with database.begin() as tx:
        actor = Principal(role=Role.ADMIN, user_id=UserId(new_id()))
        row, key = await clients.create_key(
            tx,
            client_id=client_id,
            name="a key",
            scopes=scopes,
            expires_at=None if lasts is None else tx.now + lasts,
            actor=actor,
        )
    return text_id("key", row.id), {"X-API-Key": key.text}


async def make_worker(database: Database, worker: str, scopes: list[str]) -> dict[str, str]:
    """Make an outside worker's credential; return the headers of a call with it."""
    new = NewCredential(worker=worker, scopes=scopes, expires_at=None, overlap=timedelta())
    async with database.begin() as tx:
        _, secret = await credentials.create_credential(tx, new, actor="test")
    return {"Authorization": f"Bearer {secret.text}", "X-Worker-ID": worker}


async def make_user(
    database: Database,
    login: str,
    role: Role,
    client_id: ClientId | None = None,
    password_hash: str = "none",
) -> dict[str, str]:
    """Make a user with a session; return the headers of a call with it."""
    async with database.begin() as tx:
        user = UserRow(
            id=new_id(),
            login=login,
            password_hash=password_hash,
            role=role.value,
            client_id=client_id,
            active=True,
            created_at=tx.now,
        )
        tx.session.add(user)
        await tx.flush()
        token, _ = await sessions.start_session(tx, user)
    return {SESSION_HEADER: token}


def assert_problem(response: httpx.Response, status: int | None = None, code: str | None = None) -> Any:
    """Check that an answer is a whole problem document, and return it."""
    assert status is None or response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    members = {"type", "title", "status", "detail", "instance", "code", "requestId", "retryable", "errors"}
    assert members <= set(problem), problem
    assert problem["status"] == response.status_code
    assert problem["requestId"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert "<html" not in response.text
    if code is not None:
        assert problem["code"] == code, problem
    return problem


@functools.cache
def made_tree() -> tuple[Tree, Assessment]:
    """Make a small quiz of an example document."""
    source = (Path(__file__).parents[1] / "examples" / "tides.txt").read_bytes()
    counts, spec = Counts(per_level=(2, 3)), builtin_specs()["quiz"]
    read = steps.read(source, "text", "tides.txt", None)
    assert isinstance(read, steps.Made)
    digest = read.artifacts["digest"]
    written = steps.write(source, digest, Brief(structure_type="quiz", topic="", counts=counts))
    assert isinstance(written, steps.Made)
    scored = steps.score(source, digest, written.artifacts["tree"], spec, counts, ())
    return (
        msgspec.json.decode(scored.artifacts["tree"], type=Tree),
        msgspec.json.decode(scored.artifacts["assessment"], type=Assessment),
    )


async def store_tree(database: Database, client_id: ClientId, execution_id: ExecutionId | None = None) -> str:
    """Store a tree of a client, made by an execution; return its id."""
    tree, assessment = made_tree()
    tree_id = TreeId(new_id())
    async with database.begin() as tx:
        await tree_queries.insert_tree(
            tx,
            tree_id=tree_id,
            execution_id=execution_id or ExecutionId(new_id()),
            stage_id=StageId(new_id()),
            client_id=client_id,
            template="quiz_basic_v1",
            template_version=1,
            state="valid",
            tree=tree,
            assessment=assessment,
        )
    return text_id("tree", tree_id)
