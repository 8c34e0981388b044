"""Settle: what ended becomes money, state and follow-up jobs, in one transaction."""

from collections import Counter
from uuid import UUID

import msgspec
import structlog

from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.ids import ExecutionId, JobId, text_id
from aifactory.resources import retries
from aifactory.resources.books import Books
from aifactory.resources.fan_in import FanIn
from aifactory.resources.interface import (
    ExecutionState,
    JobFault,
    JobState,
    Outcome,
    Reason,
    Worker,
)
from aifactory.resources.job_ends import Ended, JobEnds, WorkerRaised, is_transient
from aifactory.resources.metrics import SETTLE_SECONDS
from aifactory.resources.queries import attempts, queue, turns
from aifactory.resources.queries import books as book_queries

log = structlog.get_logger()

MAX_TRIES = 10
SETTLE_TOGETHER = 250
LOST = Outcome(
    fault=JobFault(code=retries.LOST, message="The process that ran this step died.", retryable=True)
)
SETTLE_ERROR = JobFault(code="settle_error", message="The result of this step could not be stored.")


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What one settle did."""

    settled: int
    late: int
    opened: int
    finished: tuple[ExecutionId, ...]


async def settle_group(
    database: Database, group: list[Ended], workers: dict[str, Worker]
) -> tuple[list[Settled], list[Ended]]:
    """Settle a group to its end, part by part, those first whose executions nobody else is at.

    Returns what was done, and what is to be given again because the database was away or busy.
    """
    done: list[Settled] = []
    again: list[Ended] = []
    passed: list[Ended] = []
    while group:
        part, rest = group[:SETTLE_TOGETHER], group[SETTLE_TOGETHER:]
        settled, later, passed = await settle_free(database, part, workers, patient=bool(passed))
        done += settled
        again += later
        group = passed + rest
    return done, again


async def settle_free(
    database: Database, group: list[Ended], workers: dict[str, Worker], *, patient: bool
) -> tuple[list[Settled], list[Ended], list[Ended]]:
    """Settle those of a group whose executions are free in one transaction; if that fails, each alone.

    None stands in another's way. Returns what was done, what is to be given again because the database was
    away or busy, and what was passed over. Savepoints are only made once a worker has raised.
    ``patient``: wait for the first one's execution, so that nothing is passed over for ever.
    """
    taken = group
    for apart in (False, True):
        try:
            with SETTLE_SECONDS.time():
                async with database.begin() as tx:
                    taken = await _take(tx, group, patient=patient)
                    done = [await settle(tx, taken, workers, apart=apart)]
            return done, [], _others(group, taken)
        except WorkerRaised:
            log.info("settle.worker_raised", jobs=len(taken))
        except DatabaseUnavailable:
            return [], group, []
        except Exception:
            log.warning("settle.group_failed", jobs=len(taken), exc_info=True)
            break
    done, again = await _settle_each(database, taken, workers)
    return done, again, _others(group, taken)


async def _take(tx: Tx, group: list[Ended], *, patient: bool) -> list[Ended]:
    """Lock what is free of a group's executions, at least one."""
    free = await turns.take_free(tx, [one.job_id for one in group], patient=patient)
    return [one for one in group if one.job_id in free]


def _others(group: list[Ended], taken: list[Ended]) -> list[Ended]:
    tokens = {one.token for one in taken}
    return [one for one in group if one.token not in tokens]


async def _settle_each(
    database: Database, group: list[Ended], workers: dict[str, Worker]
) -> tuple[list[Settled], list[Ended]]:
    """Settle one after the other.

    Where the database lets one wait in vain, its client's others are not tried: they would wait for the same
    budgets, and everybody behind them for each in turn.
    """
    done: list[Settled] = []
    again: list[Ended] = []
    busy: set[UUID] = set()
    for one in group:
        if one.client_id in busy:
            again.append(one)
            continue
        settled = await _settle_alone(database, one, workers)
        if isinstance(settled, Settled):
            done.append(settled)
        elif settled is not None:
            again.append(settled)
            busy |= {settled.client_id} if settled.client_id else set()
    return done, again


async def _settle_alone(database: Database, one: Ended, workers: dict[str, Worker]) -> Settled | Ended | None:
    """Settle one, or return it to be tried again.

    What can't be stored is settled as failed; if that can't be stored either, its whole execution fails, and
    at last its use counts as unknown: it must not run, and cost, again and again.
    """
    failed = Outcome(usage=one.outcome.usage, fault=SETTLE_ERROR, signal=one.outcome.signal)
    unknown = Outcome(fault=SETTLE_ERROR)
    for outcome, give_up in ((one.outcome, False), (failed, False), (failed, True), (unknown, True)):
        try:
            async with database.begin() as tx:
                if give_up:
                    execution_ids = await book_queries.executions_of_jobs(tx, [one.job_id])
                    reason = Reason(code=SETTLE_ERROR.code, message=SETTLE_ERROR.message)
                    await end_executions(tx, execution_ids, ExecutionState.FAILED, reason)
                return await settle(tx, [msgspec.structs.replace(one, outcome=outcome)], workers)
        except DatabaseUnavailable:
            return one
        except Exception as error:
            if is_transient(error) and one.tries < MAX_TRIES:
                return msgspec.structs.replace(one, tries=one.tries + 1)
            log.exception("settle.failed", job_id=text_id("job", one.job_id))
    return None


async def settle(tx: Tx, ended: list[Ended], workers: dict[str, Worker], *, apart: bool = True) -> Settled:
    """Settle a group of attempts. Locks their executions, then budgets; nothing else begins or commits.

    ``apart``: a worker that raises fails for itself alone, or else raises WorkerRaised.
    """
    execution_ids = await book_queries.executions_of_jobs(tx, [one.job_id for one in ended])
    books = await book_queries.load_books(tx, execution_ids, [one.job_id for one in ended])
    runs = await attempts.load_runs(tx, [one.job_id for one in ended])
    jobs = JobEnds(tx, books, workers, apart=apart)
    late = 0
    for one in ended:
        run = runs.get(one.job_id)
        if run is None or run.token != one.token:
            late += 1
            await jobs.late(one)
        else:
            del runs[one.job_id]
            await jobs.end(one, run)
    await FanIn(jobs).advance_stages()
    await book_queries.write_books(tx, books)
    if _is_for_others_too(books, ended):
        tx.tell("work", books.executions)
    return Settled(
        settled=len(ended) - late,
        late=late,
        opened=len(books.new_jobs),
        finished=tuple(e.id for e in books.executions.values() if e.finished_at == tx.now),
    )


def _is_for_others_too(books: Books, ended: list[Ended]) -> bool:
    """Whether more was queued than this process has just got slots for, local ones or others."""
    if any(retries.is_uncounted(one.outcome.fault) for one in ended):
        return True
    jobs = [books.jobs[one.job_id] for one in ended if one.job_id in books.jobs]
    freed = Counter(books.routes[job.route_id].local for job in jobs)
    queued = Counter(books.routes[job.route_id].local for job in books.queued.values())
    return any(queued[local] > freed[local] for local in queued)


async def strand(tx: Tx, job_ids: list[JobId], workers: dict[str, Worker]) -> int:
    """End queued jobs whose providers are all down; returns how many. What was claimed since is let be."""
    execution_ids = await book_queries.executions_of_jobs(tx, job_ids)
    books = await book_queries.load_books(tx, execution_ids, [])
    taken = await queue.take(tx, job_ids)
    await book_queries.load_jobs(tx, books, sorted(taken))
    jobs = JobEnds(tx, books, workers)
    for job_id in sorted(taken):
        if books.jobs[job_id].finished_at is None:
            await jobs.strand(books.jobs[job_id])
    await FanIn(jobs).advance_stages()
    await book_queries.write_books(tx, books)
    return len(taken)


async def end_executions(
    tx: Tx, execution_ids: list[ExecutionId], state: ExecutionState, reason: Reason
) -> list[JobId]:
    """Put open executions in a final state that is no success, at once; return the jobs that still run.

    Queued jobs are deleted from the queue and their holds given back. A running call keeps its hold until
    its runner reports, or rescue does.
    """
    books = await book_queries.load_books(tx, execution_ids, [])
    await book_queries.load_open_jobs(tx, books)
    running: list[JobId] = []
    causes: dict[ExecutionId, Reason] = {}
    for job in list(books.jobs.values()):
        if books.executions[job.execution_id].finished_at is not None:
            continue
        if job.fault is not None and state is ExecutionState.EXPIRED:
            message = f"The last try of the step {job.kind}: {job.fault.message}"
            causes[job.execution_id] = Reason(code=job.fault.code, message=message)
        if job.state in (JobState.RUNNING, JobState.AT_PROVIDER):
            running.append(job.id)
        else:
            books.finish_job(job, JobState(state))
            books.tell_job(job)
            books.unqueued.append(job.id)
    for execution in books.executions.values():
        if execution.finished_at is None:
            why = (reason, causes[execution.id]) if execution.id in causes else (reason,)
            books.finish_execution(execution, state, why)
    await book_queries.write_books(tx, books)
    return running
