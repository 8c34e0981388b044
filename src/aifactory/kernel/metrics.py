"""What one process counts and times of itself, for Prometheus; no label has many values, whatever comes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

MANY = 200  #: values of one label that are told apart in a process's life; the others are ``other``
OTHER = "other"

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)

HTTP_REQUESTS = Counter(
    "aifactory_http_requests", "Answers by route, method and status.", ("route", "method", "status")
)
HTTP_SECONDS = Histogram(
    "aifactory_http_seconds", "Time to the head of an answer, by route.", ("route",), buckets=_SECONDS
)
LOOP_SECONDS = Histogram(
    "aifactory_loop_round_seconds", "Time of one round of a background loop.", ("loop",), buckets=_SECONDS
)
LOOP_FAILURES = Counter(
    "aifactory_loop_failures", "Rounds of background loops that raised an error.", ("loop",)
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_seen: dict[str, set[str]] = {}


def bounded(label: str, value: str) -> str:
    """Return a label's value, or ``other`` once there have been too many different ones."""
    seen = _seen.setdefault(label, set())
    if value in seen:
        return value
    if len(seen) >= MANY:
        return OTHER
    seen.add(value)
    return value


def count_answer(*, route: str | None, method: str, status: int, seconds: float) -> None:
    """Count an answer; ``route`` is the template of its path, None where nothing is."""
    told = route or OTHER
    HTTP_REQUESTS.labels(told, method if method in _METHODS else OTHER, str(status)).inc()
    HTTP_SECONDS.labels(told).observe(seconds)


@contextmanager
def timed_round(loop: str) -> Iterator[None]:
    """Time a round of a loop, and count it if it raises."""
    began, failures = time.perf_counter(), LOOP_FAILURES.labels(loop)  # there from the first round on, as 0
    try:
        yield
    except Exception:
        failures.inc()
        raise
    LOOP_SECONDS.labels(loop).observe(time.perf_counter() - began)
