"""Traps of money, and of what is answered. See ``tests.traps``."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import anyio
import httpx
from tests.factories import assert_problem, bare_app
from tests.fake_worker import COST_NANO, WORST_NANO
from tests.fleet import Fleet
from tests.locks import blocked
from tests.traps import Proof, edited, proof, replaced, twin

from aifactory.accounts.auth import AccountsAuthenticator
from aifactory.accounts.keys import make_key
from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.errors import AppError, NotAuthenticated
from aifactory.kernel.ids import ClientId
from aifactory.resources import holds, pricing
from aifactory.resources.books import Books
from aifactory.resources.budgets import BudgetLevel, Scope
from aifactory.resources.interface import BudgetExceeded, BudgetInUse, Outcome, Usage
from aifactory.resources.interface.refusals import MoneyRefused
from aifactory.resources.queries import budgets, control

PROOFS: list[Proof] = []


async def refusal_of(action: Awaitable[Any]) -> AppError:
    """Return what an action is refused with."""
    try:
        await action
    except AppError as refusal:
        return refusal
    raise AssertionError("it was not refused")


async def changing_a_tier_rewrites_nothing_that_is_queued(fleet: Fleet) -> None:
    client = await fleet.client()
    await fleet.submit(client)
    before = await fleet.fetch("SELECT xmin, ctid, * FROM resource_queue")
    await fleet.execute("UPDATE tiers SET points = 1, weight = 1")
    assert await fleet.fetch("SELECT xmin, ctid, * FROM resource_queue") == before, "the queue is rewritten"


async def changing_a_limit_does_not_reset_what_was_used(fleet: Fleet) -> None:
    client, process = await fleet.client(monthly_budget_nano=WORST_NANO), await fleet.process()
    await fleet.submit(client)
    await process.work()
    await fleet.set_client(client, monthly_budget_nano=0)
    refused = await refusal_of(fleet.submit(client))
    assert isinstance(refused, BudgetExceeded)
    await fleet.set_client(client, monthly_budget_nano=WORST_NANO + COST_NANO)
    await fleet.submit(client)
    assert await fleet.budget(client) == (WORST_NANO, COST_NANO, 1), "an edit has reset what was used"


def _on_update(table: str, action: str) -> str:
    return f"""
        CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NULL; END $$;
        CREATE TRIGGER follow AFTER UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION follow()
        """


PROOFS.append(
    proof(
        19,
        changing_a_tier_rewrites_nothing_that_is_queued,
        twin(
            "what is queued follows its tier",
            "the queue is rewritten",
            sql=_on_update("tiers", "UPDATE resource_queue SET units = units"),
        ),
    )
)
PROOFS.append(
    proof(
        19,
        changing_a_limit_does_not_reset_what_was_used,
        twin(
            "a new limit begins with nothing used",
            "an edit has reset what was used",
            sql=_on_update("client_resource_limits", "UPDATE budgets SET spent_nano = 0"),
        ),
    )
)


async def the_hold_is_what_the_dearest_course_of_the_work_would_cost(fleet: Fleet) -> None:
    worker = fleet.script({"write": 7})
    client, process = await fleet.client(), await fleet.process()
    quote = (await fleet.submitted(client)).quote
    assert quote.worst_nano == 7 * WORST_NANO, "the hold is flat"
    assert await fleet.value("SELECT sum(remaining) FROM execution_lines") == 0
    assert await fleet.value("SELECT sum(hold_nano) FROM jobs") == 7 * WORST_NANO
    poorer = await fleet.client(monthly_budget_nano=7 * WORST_NANO - 1)
    refused = await refusal_of(fleet.submit(poorer))
    assert isinstance(refused, BudgetExceeded), "the last hold is smaller"
    await process.work()
    fleet.script({"write": 1}).answers = [Outcome(usage=Usage(input_units=300, output_units=900))]
    dear = await fleet.client()
    await fleet.submit(dear)
    await process.work()
    assert worker.ran
    assert await fleet.budget(dear) == (0, WORST_NANO, 0)
    assert await fleet.ledger("overrun") == [700_000], "an overrun is silent"


_SHRUNKEN = """
    levels = await queries.levels(tx, client.client_id, scopes)
    amount_nano = min([amount_nano, *(level.left_nano for level in levels)])
    for _ in range(_MOST_TRIES):"""

PROOFS.append(
    proof(
        20,
        the_hold_is_what_the_dearest_course_of_the_work_would_cost,
        twin(
            "a hold is the same however many jobs a line has",
            "the hold is flat|violates check constraint",
            edited(pricing.quote_lines, "line.count * worst_of_route", "worst_of_route"),
        ),
        twin(
            "the last hold takes what is left",
            "it was not refused",
            edited(holds.take_hold, "\n    for _ in range(_MOST_TRIES):", _SHRUNKEN),
        ),
        twin(
            "what a call costs beyond its hold is dropped",
            "an overrun is silent",
            edited(Books.pay, "EntryKind.OVERRUN, cost - paid", "EntryKind.OVERRUN, 0"),
        ),
    )
)


async def a_hold_that_has_waited_takes_every_budget_or_none_whatever_the_plan(fleet: Fleet) -> None:
    """Rows that changed under a statement that waits for them are judged anew, each by itself."""
    for setting in ("", "enable_nestloop", "enable_hashjoin"):
        if setting:
            name = await fleet.value("SELECT current_database()")
            await fleet.execute(f"ALTER DATABASE {name} SET {setting} = off")
        for fitting in (1, 2):
            client, other = await fleet.client(), fleet.engine().database
            limits = {(Scope.DAY, ""): 5 * WORST_NANO, (Scope.TEMPLATE, "tests"): fitting * WORST_NANO}
            async with fleet.database.begin() as tx:
                await budgets.set_limits(tx, client, limits)
            await hold_behind_another(fleet, client, other)
            sql = "SELECT held_nano, unfinished FROM budgets WHERE client_id = $1"
            held = {tuple(row) for row in await fleet.fetch(sql, client)}
            assert held == {(fitting * WORST_NANO, fitting)}, "a hold is not on all of its budgets"


async def hold_behind_another(fleet: Fleet, client: ClientId, other: Database) -> None:
    """Submit while the budgets are locked by a submission that commits then."""
    await fleet.cancel(await fleet.submit(client))  # so that they are open

    async def submit() -> None:
        with contextlib.suppress(BudgetInUse):
            async with other.begin() as waiting:
                await fleet.service.submit(waiting, fleet.submission(client))

    async with anyio.create_task_group() as tasks, fleet.database.begin() as first:
        await fleet.service.submit(first, fleet.submission(client))
        tasks.start_soon(submit)
        await blocked(fleet, 1)


PROOFS.append(
    proof(
        7,
        a_hold_that_has_waited_takes_every_budget_or_none_whatever_the_plan,
        twin(
            "the statement that waits for the locks is the one that judges",
            "a hold is not on all of its budgets",
            edited(budgets.hold, "await tx.raw.execute(_LOCK, own, client_id)", "pass"),
        ),
    )
)


async def money_is_a_whole_number_in_every_table(fleet: Fleet) -> None:
    columns = await fleet.fetch(
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name LIKE '%nano%'
        """
    )
    assert len(columns) > 20
    assert {column["data_type"] for column in columns} == {"bigint"}, "money that is no whole number"


PROOFS.append(
    proof(
        21,
        money_is_a_whole_number_in_every_table,
        twin(
            "a column of money is a double",
            "money that is no whole number",
            sql="ALTER TABLE jobs ALTER COLUMN cost_nano TYPE double precision",
        ),
    )
)


async def what_never_fits_and_what_does_not_fit_now_are_two_different_402s(fleet: Fleet) -> None:
    client = await fleet.client(monthly_budget_nano=WORST_NANO)
    fleet.script({"write": 2})
    never = await refusal_of(fleet.submit(client))
    fleet.script({"write": 1})
    await fleet.submit(client)
    not_now = await refusal_of(fleet.submit(client))
    assert (never.status, not_now.status) == (402, 402), "an empty budget looks like a rate limit"
    assert isinstance(never, BudgetExceeded), "what never fits is to be tried again"
    assert isinstance(not_now, BudgetInUse)
    assert (never.retryable, not_now.retryable) == (False, True), "what never fits is to be tried again"
    assert await fleet.value("SELECT count(*) FROM executions") == 1
    assert await fleet.budget(client) == (WORST_NANO, 0, 1)


PROOFS.append(
    proof(
        22,
        what_never_fits_and_what_does_not_fit_now_are_two_different_402s,
        twin(
            "a budget is answered as a rate limit is",
            "an empty budget looks like a rate limit",
            replaced(MoneyRefused, "status", 429),
        ),
        twin(
            "every refusal of a budget is one of now",
            "what never fits is to be tried again",
            replaced(BudgetLevel, "exceeds", lambda *_: False),
        ),
    )
)


async def a_database_that_goes_away_is_no_refusal_of_the_client(fleet: Fleet) -> None:
    client = await fleet.client()

    async def submit_while_the_connection_breaks() -> None:
        async with fleet.database.begin() as tx:
            own = await tx.raw.fetchval("SELECT pg_backend_pid()")
            await fleet.value("SELECT pg_terminate_backend($1)", own)
            await fleet.service.submit(tx, fleet.submission(client))

    fault = await refusal_of(submit_while_the_connection_breaks())
    assert isinstance(fault, DatabaseUnavailable), "a fault of ours refuses the client"
    assert (fault.status, fault.retryable) == (503, True)
    assert await fleet.value("SELECT count(*) FROM executions") == 0


async def _found_or_unknown(*arguments: Any) -> Any:
    try:
        return await _read_grounds(*arguments)
    except Exception:
        return control.Grounds(clients={}, models=(), prices={}, pools={})


_read_grounds = control.read_grounds

PROOFS.append(
    proof(
        23,
        a_database_that_goes_away_is_no_refusal_of_the_client,
        twin(
            "a client that could not be read is unknown",
            "a fault of ours refuses the client",
            replaced(control, "read_grounds", _found_or_unknown),
        ),
    )
)


@contextlib.asynccontextmanager
async def client_without_database() -> AsyncIterator[httpx.AsyncClient]:
    database = Database(url="postgresql://nobody@127.0.0.1:1/nothing")
    app = bare_app(database)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http
    await database.close()


async def a_database_that_is_away_is_503_never_401(_: Fleet) -> None:
    key = "aif_" + "0" * 10 + "_" + "0" * 43
    async with client_without_database() as http:
        token = "aifs_" + "0" * 43
        for headers in (
            {"X-API-Key": make_key().text},
            {"x-bitware-session-token": token},
            {"Cookie": f"aifactory_session={token}"},
            {"Authorization": f"Bearer {make_key('aifw').text}", "X-Worker-ID": "outside"},
        ):
            answer = await http.get("/requests", headers=headers)
            assert answer.status_code == 503, "a fault of ours is a bad credential"
            assert_problem(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"]
        login = await http.post("/auth/login", json={"login": "a", "password": "b"})
        assert_problem(login, 503)
        await assert_parts_are_judged(http, key)


async def assert_parts_are_judged(http: httpx.AsyncClient, key: str) -> None:
    """Check what needs no database: a key that can't be one, and what is said of the server's health."""
    assert_problem(await http.get("/requests", headers={"X-API-Key": key + "000000"}), 401)
    assert (await http.get("/health")).json()["status"] == "degraded"
    assert_problem(await http.get("/health/ready"), 503, "not_ready")


async def _checked_or_unknown(self: AccountsAuthenticator, *arguments: Any) -> Any:
    try:
        return await _check_key(self, *arguments)
    except DatabaseUnavailable as fault:
        raise NotAuthenticated("This key is unknown.") from fault


_check_key = AccountsAuthenticator._check_key

PROOFS.append(
    proof(
        23,
        a_database_that_is_away_is_503_never_401,
        twin(
            "a key that could not be looked up is unknown",
            "a fault of ours is a bad credential",
            replaced(AccountsAuthenticator, "_check_key", _checked_or_unknown),
        ),
    )
)
