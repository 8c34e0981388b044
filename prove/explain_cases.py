"""Situations of every gate, as changes to a database: see ``explain_gates``, which plays them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_TAKE = "DELETE FROM resource_queue WHERE job_id = '{asked}'"
_RUN = """
INSERT INTO running_jobs (job_id, token, process_id, client_id, worker, pool, provider, model, local, lane_id,
    units, attempt, started_at, deadline)
SELECT gen_random_uuid(), gen_random_uuid(), '{process}', '%s', 'granulation', 'spare', 'spare', 'a model',
    false, 1, 5, 1, clock_timestamp(), clock_timestamp() + interval '1 hour' FROM generate_series(1, %d)
"""
_STATE = "UPDATE jobs SET state = '%s' WHERE id = '{asked}'"
_PUT_OFF = f"""
INSERT INTO queue_due (job_id, due_at, route_id, worker, queue, client_id, urgency, aged_from, seq, units,
    attempt, timeout_seconds)
SELECT q.job_id, %s, l.route_id, l.worker, l.queue, l.client_id, l.urgency, q.aged_from, q.seq, q.units, %d,
    q.timeout_seconds
FROM resource_queue q JOIN lanes l ON l.id = q.lane_id WHERE q.job_id = '{{asked}}'; {_TAKE}
"""
_SOON = "clock_timestamp() + interval '1 hour'"
_HELD = f"{_SOON} + interval '900 days'"
_QUOTA = """
INSERT INTO quotas (client_id, pool, period, units_limit, units_used, period_start, period_end)
SELECT '{ours}', 'proof', '%s', 1500, 600, begins, begins + interval '1 %s'
FROM date_trunc('%s', clock_timestamp(), 'UTC') AS begins
"""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is so, by statements, and the gate that has to be told of the asked job.

    Its client has ``jobs`` of 1,000 units in one lane, the other client one of high urgency, of ``others``
    units; ``asked``: which of the lane; ``work``: further parameters of it; ``ahead``: the gate is that of a
    job before it.
    """

    name: str
    gate: str
    changes: tuple[str, ...] = ()
    jobs: int = 2
    asked: int = 0
    others: int = 1000
    work: Mapping[str, Any] = _NOTHING
    slots: int = 8
    processes: int = 1
    pool: str | None = None
    ahead: bool = False


def _pool(change: str, pool: str = "proof") -> str:
    return f"UPDATE resource_pools SET {change} WHERE pool = '{pool}'"


_TWO_MODELS = {"pools": ["proof", "spare"]}
_NEEDS = {"further": "further", "needs": 70}
_LEVEL = _pool("level_micro = 500000000")
_SUSPEND = "UPDATE client_resource_limits SET suspended = true WHERE client_id = '{ours}'"
_OFF = "UPDATE scheduler_control SET enabled = false"
_PAUSE = "UPDATE queues SET paused = true WHERE queue = 'normal'"
_CAP = "UPDATE client_resource_limits SET max_running = %d WHERE client_id = '{ours}'"
_BLOCK = _pool(f"blocked_until = {_SOON}")
_PROVIDER = "UPDATE providers SET %s WHERE provider = 'proof'"
_CIRCUIT = _PROVIDER % "circuit = 'open', circuit_until = clock_timestamp() + interval '%s'"
_PROBE = _RUN.replace("'spare'", "'proof'") % ("{theirs}", 1)
_BIG = _pool(
    "level_micro = 4000000000, big_job_id = '{other}', big_job_since = clock_timestamp() - interval '6 s'"
)


def _one(name: str, gate: str, *changes: str, **terms: Any) -> Situation:
    return Situation(name=name, gate=gate, changes=changes, **terms)


SITUATIONS = (
    _one("nothing is closed", "turn"),
    _one("100 deep in its lane, with 200 free slots", "turn", jobs=100, asked=99, slots=200),
    _one("its first model is blocked, the second is open", "turn", _BLOCK, work=_TWO_MODELS),
    _one("the scheduler is stopped", "scheduler_off", _OFF),
    _one("its pool is paused", "no_hop", _pool("paused = true")),
    _one("its pool is blocked by a 429", "no_hop", _BLOCK),
    _one("its pool is another client's", "no_hop", _pool("dedicated_client_id = '{theirs}'")),
    _one("its provider's circuit is open", "no_hop", _CIRCUIT % "1 hour"),
    _one("its provider is being tried by a call", "no_hop", _CIRCUIT % "-1 s", _PROBE),
    _one("its provider is switched off", "no_hop", _PROVIDER % "active = false"),
    _one("nobody has its provider's key", "no_hop",
         _PROVIDER % "api_key_variable = 'NO_SUCH_KEY', key_present = false"),
    _one("both its pools are closed", "no_hop", _BLOCK, _pool("paused = true", "spare"), work=_TWO_MODELS),
    _one("a further pool is paused", "no_hop", _pool("paused = true", "further"), work=_NEEDS),
    _one("its queue is paused", "queue_paused", _PAUSE),
    _one("its client is suspended", "client_suspended", _SUSPEND),
    _one("its client runs as much as it may", "client_cap", _CAP % 3, _RUN % ("{ours}", 3)),
    _one("its client may run nothing", "client_cap", _CAP % 0),
    _one("the job before it fills its client's cap", "client_cap", _CAP % 1, asked=1),
    _one("its worker is switched off", "worker_paused", "UPDATE worker_registry SET active = false"),
    _one("its worker runs as much as it can", "worker_cap", "UPDATE worker_registry SET max_running = 2",
         _RUN % ("{theirs}", 2)),
    _one("no process runs", "slots", processes=0),
    _one("all slots are busy", "slots", _RUN % ("{theirs}", 8)),
    _one("the jobs before it fill the slots", "slots", jobs=12, asked=11),
    _one("it runs alone, and another runs", "slots", _RUN % ("{theirs}", 1), work={"alone": True}),
    _one("its client's day is used up", "quota", _QUOTA % ("day", "day", "day"), pool="proof"),
    _one("its client's month is used up", "quota", _QUOTA % ("month", "month", "month"), pool="proof"),
    _one("its pool lacks units", "units", _LEVEL, pool="proof"),
    _one("the job before it lacks units", "units", _LEVEL, asked=1, pool="proof", ahead=True),
    _one("the job before it takes the last units", "units", _pool("level_micro = 1500000000"), asked=1,
         others=100, pool="proof"),
    _one("the rest is kept for urgent work", "units",
         _pool("level_micro = 1500000000, reserved_percent = 10, last_urgent_at = clock_timestamp()"),
         pool="proof"),
    _one("a further pool lacks units", "units", _pool("level_micro = 50000000", "further"), work=_NEEDS,
         pool="further"),
    _one("its pool's requests of the minute are used", "requests",
         _pool("requests_per_minute = 6, requests_micro = 0"), pool="proof"),
    _one("a larger job waits for its pool", "big_job", _BIG, others=9000, pool="proof"),
    _one("it is put off until a time", "not_due", _PUT_OFF % (_SOON, 1)),
    _one("its second attempt follows later", "not_due", _PUT_OFF % (_SOON, 2)),
    _one("a handshake holds it", "held", _PUT_OFF % (_HELD, 1)),
    _one("it shares the answer of another", "following", _STATE % "following", _TAKE),
    _one("it is in a batch at its provider", "at_provider", _STATE % "at_provider", _TAKE),
    _one("a process has just taken it", "starting", _RUN % ("{ours}", 1) + "; UPDATE running_jobs "
         "SET job_id = '{asked}'", _TAKE),
    _one("it runs", "running", _RUN % ("{ours}", 1) + "; UPDATE running_jobs SET job_id = '{asked}'",
         _STATE % "running", _TAKE),
    _one("scheduler, pool and queue are closed at once", "scheduler_off", _OFF, _BLOCK, _PAUSE),
    _one("pool, queue and client are closed at once", "no_hop", _BLOCK, _PAUSE, _SUSPEND),
    _one("queue, client and cap are closed at once", "queue_paused", _PAUSE, _SUSPEND, _CAP % 0),
    _one("client, slots and units are closed at once", "client_suspended", _SUSPEND, _LEVEL,
         _RUN % ("{theirs}", 8)),
    _one("cap, slots and units are closed at once", "client_cap", _CAP % 0, _LEVEL, _RUN % ("{theirs}", 8)),
    _one("slots, quota and units are closed at once", "slots", _QUOTA % ("day", "day", "day"), _LEVEL,
         _RUN % ("{theirs}", 8)),
    _one("quota, units and requests are closed at once", "quota", _QUOTA % ("day", "day", "day"), _LEVEL,
         _pool("requests_per_minute = 6, requests_micro = 0"), pool="proof"),
    _one("units and requests are closed at once", "units", _LEVEL,
         _pool("requests_per_minute = 6, requests_micro = 0"), pool="proof"),
)  # fmt: skip
