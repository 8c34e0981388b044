"""What became of attempts and executions, counted in this process; the fleet's gauges, when asked."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from aifactory.kernel.metrics import bounded
from aifactory.resources.books import Books
from aifactory.resources.gates import PoolGate

NANO = 10**9

ATTEMPTS = Counter(
    "aifactory_attempts", "Ended attempts by provider, model and outcome.", ("provider", "model", "outcome")
)
# A float is good enough for a graph; the ledger is exact.
COST = Counter(
    "aifactory_cost_usd", "What clients paid, by model and template.", ("provider", "model", "template")
)
SETTLE_SECONDS = Histogram("aifactory_settle_seconds", "Time of settling one group of ended attempts.")
EXECUTIONS = Counter("aifactory_executions", "Ended executions by template and state.", ("template", "state"))


def count_books(books: Books) -> None:
    """Count what a transaction that has been committed did."""
    hops = {run.token: run.hop for run in books.ended_runs}
    for attempt in books.attempts:
        hop = hops[attempt.token]
        provider, model = bounded("provider", hop.provider), bounded("model", hop.model)
        ATTEMPTS.labels(provider, model, bounded("outcome", attempt.outcome)).inc()
        if attempt.cost_nano:
            template = books.executions[books.jobs[attempt.job_id].execution_id].template
            COST.labels(provider, model, bounded("template", template)).inc(attempt.cost_nano / NANO)
    for execution in books.executions.values():
        if execution.finished_at == books.now:
            EXECUTIONS.labels(bounded("template", execution.template), execution.state.value).inc()


class FleetNow(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment, as the database has it."""

    now: datetime
    queues: list[Any]
    pools: list[tuple[PoolGate, str]]
    circuits: dict[str, str]
    processes: list[Any]
    enabled: bool
    last_tick_at: datetime | None


class FleetCollector:
    """Gives a fleet's gauges to a registry."""

    def __init__(self, fleet: FleetNow) -> None:
        self.fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        fleet = self.fleet
        for state in ("ready", "scheduled", "running"):
            queues = {row["queue"]: row[state] for row in fleet.queues}
            yield _gauge(f"aifactory_queue_{state}_jobs", f"Jobs: {state}.", "queue", queues)
        waits = {row["queue"]: _seconds(row["oldest"], fleet.now) for row in fleet.queues}
        words = "Since when the job waits that is first of its lane and oldest, by queue."
        yield _gauge("aifactory_queue_oldest_seconds", words, "queue", waits)
        levels = {gate.pool: gate.level_micro / 1_000_000 for gate, _ in fleet.pools}
        yield _gauge("aifactory_pool_level_units", "Units that are left now, by pool.", "pool", levels)
        capacities = {gate.pool: gate.capacity for gate, _ in fleet.pools}
        yield _gauge("aifactory_pool_capacity_units", "Units when full, by pool.", "pool", capacities)
        closed = {name: state == "closed" for name, state in fleet.circuits.items()}
        yield _gauge("aifactory_provider_up", "1 while a provider's circuit is closed.", "provider", closed)
        alive = sum(1 for row in fleet.processes if row["alive"])
        yield GaugeMetricFamily("aifactory_processes_alive", "Processes with a lease.", value=alive)
        yield _switch("aifactory_scheduler_enabled", "1 while work may start.", fleet.enabled)
        age = _seconds(fleet.last_tick_at, fleet.now)
        yield GaugeMetricFamily("aifactory_scheduler_last_tick_seconds", "Since the last tick.", value=age)


def _switch(name: str, words: str, on: bool) -> Metric:
    return GaugeMetricFamily(name, words, value=float(on))


def _gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), float(number))
    return family


def _seconds(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def samples_of(families: Iterator[Metric]) -> dict[str, list[dict[str, Any]]]:
    """Return families as JSON: per sample's name its labels and values; histograms by sum and count only."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                found.setdefault(sample.name, []).append({"labels": sample.labels, "value": sample.value})
    return found
