"""Money in the books: conserved in every history, and always what the entries say."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aifactory.kernel.ids import BudgetId, ClientId, ExecutionId, RequestId, StageId, new_id
from aifactory.resources.books import Books
from aifactory.resources.interface import (
    Accuracy,
    ExecutionState,
    FlowStage,
    Hop,
    JobState,
    Line,
    NewJob,
    ResolvedStage,
    Route,
    StageState,
    Tier,
    Urgency,
    Usage,
)
from aifactory.resources.ledger import ACCOUNTS, Account, EntryKind
from aifactory.resources.openings import admit, open_job
from aifactory.resources.pricing import PoolSize, Price, quote_lines
from aifactory.resources.records import BudgetBook, ExecutionBook, JobBook, Run, StageBook

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOP = Hop(provider="p", model="m", pool="a")
ROUTE = Route(hops=(HOP,), further_pools=("b",))
PRICE = Price(
    input_nano_per_million=3_333_333,
    cached_nano_per_million=1,
    output_nano_per_million=7_777_777,
    source="a test",
    at=NOW,
)
PRICES = {("p", "m"): PRICE}


def line(kind: str, count: int, bound: int) -> Line:
    return Line(
        kind=kind,
        phase=kind,
        count=count,
        route=ROUTE,
        input_bound=bound,
        output_limit=bound,
        expected_input=1,
        expected_output=1,
        needs={"b": 3},
    )


LINES = [line("read", 2, 50), line("write", 3, 130), line("assess", 1, 7)]


class History:
    """One execution on two budgets, whose books a random history changes as a settlement may."""

    def __init__(self, room: int, spare: int) -> None:
        worst = quote_lines(LINES, PRICES)[1]
        self.books = Books(now=NOW, prices=PRICES, routes={1: ROUTE})
        self.books.pools = {
            pool: PoolSize(pool=pool, capacity=1000, reserved_percent=10, unit="tokens")
            for pool in ("a", "b")
        }
        ids = (BudgetId(new_id()), BudgetId(new_id()))
        for budget_id, limit in zip(ids, (worst + room, worst + spare), strict=True):
            self.books.budgets[budget_id] = BudgetBook(
                id=budget_id, limit_nano=limit, held_nano=worst, spent_nano=0
            )
        self.execution = ExecutionBook(
            id=ExecutionId(new_id()),
            request_id=RequestId(new_id()),
            client_id=ClientId(new_id()),
            key_id=None,
            template="t",
            template_version=1,
            state=ExecutionState.RUNNING,
            urgency=Urgency.NORMAL,
            queue="normal",
            accuracy=Accuracy.NORMAL,
            input={},
            metadata={},
            budget_ids=ids,
            estimated_nano=0,
            held_nano=worst,
            free_hold_nano=worst,
            created_at=NOW,
            aged_from=NOW,
            deadline=NOW + timedelta(days=1),
        )
        self.stage = StageBook(
            id=StageId(new_id()),
            execution_id=self.execution.id,
            ordinal=0,
            worker="w",
            action="a",
            spec=FlowStage(worker="w", template_ref="t"),
            resolved=ResolvedStage(template="t", template_version=1, minimum_tier=Tier.BASIC, parameters={}),
            state=StageState.RUNNING,
            phase="read",
        )
        admit(self.books, self.execution, [self.stage], {0: LINES})

    @property
    def open_jobs(self) -> list[JobBook]:
        return [job for job in self.books.jobs.values() if job.finished_at is None]

    def step(self, rng: random.Random) -> None:
        chosen = rng.choice(["draw", "draw", "extra", "pay", "pay", "retry", "finish", "phase", "late"])
        jobs = self.open_jobs
        if chosen == "draw":
            kind = rng.choice(["read", "write", "assess", "unknown"])
            open_job(self.books, self.stage, NewJob(kind=kind, line=kind, payload={}))
        elif chosen == "extra":
            bounds = {"input_bound": rng.randint(0, 200), "output_limit": rng.randint(0, 200)}
            open_job(self.books, self.stage, NewJob(kind="x", line=None, payload={}, route=ROUTE, **bounds))
        elif chosen == "phase" and not jobs:
            self.books.enter_phase(self.stage, rng.choice(["read", "write", "assess"]))
        elif chosen in ("pay", "retry", "finish", "late") and jobs:
            self.end_attempt(rng.choice(jobs), chosen, rng)

    def end_attempt(self, job: JobBook, chosen: str, rng: random.Random) -> None:
        usage = rng.choice(
            [None, Usage(), Usage(input_units=rng.randint(0, 300), output_units=rng.randint(0, 300))]
        )
        run = Run(job_id=job.id, token=uuid4(), attempt=job.attempt, hop=HOP, units=job.units, started_at=NOW)
        before = [entry.amount_nano for entry in self.books.entries if entry.kind is EntryKind.UNRECONCILED]
        paid = self.books.pay(job, run, usage)
        self.books.end_run(job, run, "ended", usage, paid)
        booked = [entry.amount_nano for entry in self.books.entries if entry.kind is EntryKind.UNRECONCILED]
        if chosen == "late" and len(booked) > len(before):
            self.books.waste(job, run, Usage(input_units=3), booked[-1])
        if chosen == "finish" or not self.books.retry(job, NOW):
            self.books.finish_job(job, rng.choice([JobState.SUCCEEDED, JobState.FAILED]))

    def end(self) -> None:
        self.books.finish_execution(self.execution, ExecutionState.CANCELLED, ())
        for job in self.open_jobs:
            self.books.finish_job(job, JobState.CANCELLED)

    def balances(self) -> Counter[Account]:
        """Every account, rebuilt from entry one."""
        found: Counter[Account] = Counter()
        for entry in self.books.entries:
            source, target = ACCOUNTS[entry.kind]
            found[source] -= entry.amount_nano
            found[target] += entry.amount_nano
        return found

    def check(self) -> None:
        lines = sum(one.remaining * one.worst_nano for one in self.books.lines.values())
        held = lines + sum(job.hold_nano for job in self.books.jobs.values())
        spent = sum(job.cost_nano for job in self.books.jobs.values())
        rebuilt = self.balances()
        assert (rebuilt[Account.HELD], rebuilt[Account.SPENT]) == (held, spent)
        assert rebuilt[Account.AVAILABLE] == -held - spent
        assert (self.execution.free_hold_nano, self.execution.spent_nano) == (lines, spent)
        assert sum(rebuilt.values()) == 0
        assert min(rebuilt[Account.UNRECONCILED], rebuilt[Account.WASTE], rebuilt[Account.OVERRUN]) >= 0
        for budget in self.books.budgets.values():
            assert budget.held_nano + budget.held_change == held
            assert budget.spent_nano + budget.spent_change == spent
            assert held + spent <= budget.limit_nano
        assert all(job.hold_nano >= 0 for job in self.books.jobs.values())
        assert self.stage.open_jobs == len(self.open_jobs)
        keys = [(entry.subject_id, entry.attempt, entry.kind) for entry in self.books.entries]
        assert len(set(keys)) == len(keys)


@settings(max_examples=200)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 60), st.integers(0, 2**32))
def test_money_is_conserved_in_every_history_and_the_entries_rebuild_it(
    room: int, spare: int, steps: int, seed: int
) -> None:
    history, rng = History(room, spare), random.Random(seed)
    history.check()
    for _ in range(steps):
        history.step(rng)
        history.check()
    history.end()
    history.check()
    rebuilt = history.balances()
    assert rebuilt[Account.HELD] == 0
    assert history.execution.free_hold_nano == 0


def test_a_hold_is_extended_on_all_budgets_or_on_none() -> None:
    history = History(room=10_000, spare=0)
    extra = NewJob(kind="x", line=None, payload={}, route=ROUTE, input_bound=10, output_limit=10)
    job = open_job(history.books, history.stage, extra)
    assert (job.state, job.fault and job.fault.code) == (JobState.FAILED, "no_money")
    assert [budget.held_change for budget in history.books.budgets.values()] == [0, 0]
    history.check()


def drawn(history: History) -> tuple[JobBook, Run]:
    job = open_job(history.books, history.stage, NewJob(kind="read", line="read", payload={}))
    run = Run(
        job_id=job.id,
        token=uuid4(),
        attempt=1,
        hop=HOP,
        units=100,
        needs={"b": 7},
        has_quota=True,
        started_at=NOW,
    )
    return job, run


def test_a_settled_call_corrects_its_hops_pool_and_quota_and_no_further_pool() -> None:
    history = History(0, 0)
    job, run = drawn(history)
    history.books.pay(job, run, Usage(input_units=30))
    units = history.books.units
    assert {pool: (one.units, one.requests) for pool, one in units.pools.items()} == {"a": (70, 0)}
    assert units.usage == {(job.client_id, "a"): -70}
    assert units.quotas == {(job.client_id, "a", NOW): -70}


def test_a_pool_is_locked_for_its_clients_turns_though_its_units_even_out() -> None:
    history = History(0, 0)
    units, (job, run) = history.books.units, drawn(history)
    units.settle(job.client_id, run, 100)
    assert units.pools_to_write() == {}
    units.settle(ClientId(new_id()), run, 40)
    units.settle(ClientId(new_id()), run, 160)
    assert units.pools["a"].units == 0
    assert set(units.pools_to_write()) == {"a"}


def test_a_call_of_unknown_use_stays_taken_everywhere() -> None:
    history = History(0, 0)
    history.books.pay(*drawn(history), None)
    assert history.books.units.pools == history.books.units.usage == history.books.units.quotas == {}


def test_a_claim_whose_call_never_began_gives_everything_back_and_books_nothing() -> None:
    history = History(0, 0)
    job, run = drawn(history)
    entries = len(history.books.entries)
    history.books.drop_run(job, run)
    units = history.books.units
    given_back = {pool: (one.units, one.requests) for pool, one in units.pools.items()}
    assert given_back == {"a": (100, 1), "b": (7, 1)}
    assert units.usage == {(job.client_id, "a"): -100}
    assert units.quotas == {(job.client_id, "a", NOW): -100, (job.client_id, "b", NOW): -7}
    assert len(history.books.entries) == entries


def test_a_lines_job_may_need_less_of_a_further_pool_than_the_line_and_never_more() -> None:
    history = History(0, 0)
    for needs, fault in (
        ({"b": 2}, None),
        ({"b": 4}, "no_line"),
        ({"c": 1}, "no_line"),
        ({"b": -1}, "no_line"),
    ):
        new = NewJob(kind="write", line="write", payload={}, needs=needs)
        job = open_job(history.books, history.stage, new)
        assert (job.needs, job.fault and job.fault.code) == (needs, fault)
    history.check()


def test_a_job_outside_the_lines_that_could_never_start_is_refused_at_once() -> None:
    history = History(10**9, 10**9)
    extra = NewJob(kind="x", line=None, payload={}, route=ROUTE, input_bound=10, output_limit=10)
    history.books.pools["b"] = msgspec.structs.replace(
        history.books.pools["b"], quotas={history.execution.client_id: 50}
    )
    for needs, fault in (({"b": 50}, None), ({"b": 51}, "exceeds_pool"), ({"z": 1}, "exceeds_pool")):
        new = msgspec.structs.replace(extra, needs=needs)
        job = open_job(history.books, history.stage, new)
        assert (job.fault and job.fault.code) == fault


def test_ids_of_entries_are_those_of_jobs_or_of_the_execution() -> None:
    history = History(0, 0)
    job = open_job(history.books, history.stage, NewJob(kind="read", line="read", payload={}))
    history.books.finish_job(job, JobState.FAILED)
    subjects: set[Any] = {entry.subject_id for entry in history.books.entries}
    assert subjects == {UUID(int=history.execution.id.int), UUID(int=job.id.int)}
