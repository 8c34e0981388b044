"""Whether and when a job gets another attempt. Pure."""

import random

from aifactory.resources.interface import JobFault, Route
from aifactory.resources.records import JobBook

LOST = "lost"
RATE_LIMITED = "rate_limited"
MAX_CRASHES = 2
MAX_UNCOUNTED = 30
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_BLOCK_SECONDS = 3600.0


def is_uncounted(fault: JobFault | None) -> bool:
    """Whether an attempt leaves its job all of its tries: nothing was wrong with the job itself."""
    return fault is not None and fault.code in (LOST, RATE_LIMITED)


def may_retry(job: JobBook, fault: JobFault) -> bool:
    """Whether another attempt may follow; ``job.losses`` has been counted."""
    if not fault.retryable:
        return False
    if fault.code == LOST:
        return job.crashes <= MAX_CRASHES
    if fault.code == RATE_LIMITED:
        return job.losses < MAX_UNCOUNTED
    return job.attempt - job.losses < job.max_attempts


def without_text(fault: JobFault | None) -> JobFault | None:
    """Return what may be kept of a fault whose execution has ended: its code."""
    return None if fault is None else JobFault(code=fault.code, message="", retryable=fault.retryable)


def wait_seconds(job: JobBook, fault: JobFault, route: Route, blocked_seconds: float | None) -> float:
    """Return how long a job waits for its next attempt; ``blocked_seconds``: how long its pool does."""
    if fault.code == RATE_LIMITED:
        # The pool is blocked, so a job whose route has others goes there at once: once round, then it rests.
        pools = {hop.pool for hop in route.hops}
        if job.losses % len(pools):
            return 0.0
        return max(blocked_seconds or 0.0, backoff_seconds(job.attempt))
    if fault.retry_after_seconds is not None:
        return fault.retry_after_seconds
    # A first loss is no fault of the job; a job that is lost again and again must not spin.
    return 0.0 if fault.code == LOST and job.attempt == 1 else backoff_seconds(job.attempt)


def block_seconds(wanted: float | None, fault: JobFault | None, attempt: int) -> float | None:
    """Return how long a pool is closed after an answer, if at all: as told, or by the attempt after a 429."""
    if fault is not None and fault.code == RATE_LIMITED:
        told = [seconds for seconds in (wanted, fault.retry_after_seconds) if seconds is not None]
        wanted = max(told, default=backoff_seconds(attempt))
    return None if wanted is None else min(LONGEST_BLOCK_SECONDS, max(0.0, wanted))


def backoff_seconds(attempt: int) -> float:
    """Return a jittered exponential pause: 1, 2, 4 … 60 seconds, times 0.5 to 1."""
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)
