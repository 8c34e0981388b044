"""The simulator: workloads are read, drawn, changed and played; what it reports adds up."""

from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from aifactory.resources.interface import Hop, Urgency
from aifactory.resources.simulation.described import tasks_of
from aifactory.resources.simulation.observing import Waits, jain, seconds_of, step_of
from aifactory.resources.simulation.pictures import pictures
from aifactory.resources.simulation.playing import Played
from aifactory.resources.simulation.plots import as_page
from aifactory.resources.simulation.reading import BadWorkload, read_toml, setting, workload_of
from aifactory.resources.simulation.recorded import (
    FORM,
    Header,
    RecordedAttempt,
    RecordedExecution,
    RecordedJob,
    RecordedRoute,
    spend_of,
    turnaround_of,
    waits_of,
)
from aifactory.resources.simulation.report import compare, is_same, report_of
from aifactory.resources.simulation.running import Workload, described, play, recorded, with_settings

EXAMPLE = Path(__file__).parents[3] / "examples" / "busy-day.toml"
SMALL = """
[run]
hours = 0.3
slots = 4
turnaround_ms = 0

[pools.gpt]
capacity = 20_000
refill_per_second = 400
price = { input = "3.00", output = "15.00" }

[[clients]]
name = "small"
count = 3
tier = "basic"
budget_usd = 2

[[clients]]
name = "large"
tier = "enterprise"

[[streams]]
clients = "small"
arrivals = { poisson_per_hour = 60 }

[[streams.phases]]
kind = "outline"
hops = ["gpt"]
input = 300
output_limit = 500
output = { mean = 200, cv = 0.5 }
seconds = { median = 2, p95 = 6 }
failure_percent = 20

[[streams.phases]]
kind = "parts"
hops = ["gpt"]
jobs = { min = 1, max = 4 }
input = 300
output_limit = 500
seconds = 1.5

[[streams]]
clients = "large"
arrivals = { backlog = 40 }

[[streams.phases]]
hops = ["gpt"]
input = 200
output_limit = 300

[changes.more]
run.slots = 8
pools.gpt.refill_per_second = 4_000
"""


@pytest.fixture(scope="module")
def small() -> Workload:
    return described(SMALL)


@pytest.fixture(scope="module")
def played(small: Workload) -> Played:
    return play(small)


def test_the_same_work_comes_from_the_same_seed_and_other_work_from_another(small: Workload) -> None:
    found = workload_of(small.tables)

    def drawn(seed: int) -> list[Any]:
        return [
            (task.arrives_at, task.hold_nano, [call.attempts for call in task.first])
            for task in tasks_of(found.ground, found.streams, seed)
        ]

    assert drawn(1) == drawn(1) != drawn(2)
    assert [task[0] for task in drawn(1)] == sorted(task[0] for task in drawn(1))


def test_every_job_runs_once_every_hold_is_given_back_and_every_attempt_is_paid(played: Played) -> None:
    seen = played.observer
    assert (played.unfinished, played.refused) == (0, 0)
    assert sum(waits.count for waits in seen.turnaround.values()) == played.executions
    assert seen.starts > played.jobs, "some were tried again"
    assert sum(seen.starts_by.values()) == seen.starts
    assert all(budget.held_nano == 0 for budget in played.budgets.values())
    assert sum(seen.spend.values()) == sum(budget.total_nano for budget in played.budgets.values()) > 0
    report = report_of(played)
    assert sum(one.waits.jobs for one in report.clients.values()) == report.waits.jobs == seen.starts
    assert sum(one.spent_usd for one in report.clients.values()) == report.spent_usd
    assert 0 < (report.slot_utilisation or 0) <= 1


def test_nothing_changes_without_a_change_and_more_of_everything_shortens_the_waits(
    small: Workload, played: Played
) -> None:
    before, same = report_of(played), report_of(play(with_settings(small, [], {})))
    assert before == same
    after = report_of(play(with_settings(small, ["more"], {})))
    assert after.jobs == before.jobs
    assert after.spent_usd == before.spent_usd
    assert after.waits.p95 < before.waits.p95 / 2
    rows = compare(before, after).rows
    assert rows["wait, p95"] == (before.waits.p95, after.waits.p95)
    assert is_same(100, 101.9)
    assert not is_same(100, 103)


def test_a_finer_pace_shows_the_same_waits(small: Workload, played: Played) -> None:
    fine = report_of(play(small, window=timedelta(milliseconds=10)))
    auto = report_of(played)
    assert auto.waits.mean == pytest.approx(fine.waits.mean, rel=0.03)
    assert auto.waits.p95 == pytest.approx(fine.waits.p95, rel=0.05)
    assert auto.spent_usd == fine.spent_usd


def test_what_a_full_pool_had_stored_makes_no_share_over_a_hundred_percent(small: Workload) -> None:
    crowd = {"run.slots": 500, "streams.1.arrivals.backlog": 150, "streams.1.phases.0.seconds": 1}
    found = play(with_settings(small, [], crowd))
    used, refilled = found.observer.pool_units["gpt"], 400 * 0.3 * 3600
    (pool,) = report_of(found).pools.values()
    loaded = [n for n, here in found.observer.slices.items() if here.asked["gpt"] > 0.95 * 4.5]
    assert sum(found.observer.slices[n].used["gpt"] for n in loaded) > 1.1 * 400 * 4.5 * len(loaded)
    assert 0.9 < (pool.under_load or 0) <= 1.0
    assert pool.utilisation == pytest.approx(used / refilled, rel=0.2)


def test_a_budget_refuses_what_it_cannot_hold_and_is_never_exceeded(small: Workload) -> None:
    found = play(with_settings(small, [], {"clients.small.budget_usd": Decimal("0.15")}))
    assert found.refused > 0
    limited = [budget for budget in found.budgets.values() if budget.limit_nano is not None]
    assert len(limited) == 3
    assert all(budget.spent_nano <= 150_000_000 for budget in limited)
    assert sum(one.refused for one in report_of(found).clients.values()) == found.refused


def test_nothing_starts_at_a_provider_that_is_down(small: Workload) -> None:
    outage = {"provider": "gpt", "from": "2026-01-05T08:05:00Z", "to": "2026-01-05T08:15:00Z"}
    found = play(Workload(tables=small.tables | {"outages": [outage]}))
    waits = [waits.longest for waits in found.observer.waits.values()]
    assert found.unfinished == 0
    assert max(waits) >= 400
    width = found.observer.width
    assert all(
        not here.units
        for number, here in found.observer.slices.items()
        if timedelta(minutes=5) < number * width and (number + 1) * width < timedelta(minutes=15)
    )


def test_slots_are_never_busy_beyond_the_end_of_a_run_that_stops(small: Workload) -> None:
    ends = {"run.drain": False, "run.hours": 0.01, "streams.1.phases.0.seconds": 3600}
    found = report_of(play(with_settings(small, [], ends)))
    assert found.slot_utilisation is not None
    assert 0.5 < found.slot_utilisation <= 1


def test_a_change_keeps_the_hours_of_the_day_of_the_zone_that_the_start_is_in(small: Workload) -> None:
    here = with_settings(
        small, [], {"run.start": datetime(2026, 1, 5, 8, tzinfo=timezone(timedelta(hours=5)))}
    )
    again = with_settings(here, [], {"run.slots": 5})
    assert again.tables["run"]["start"].hour == 8


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("slots = 4", 'slots = "many"', "run.slots"),
        ("capacity = 20_000", "capacity = 0", "pools"),
        ("capacity = 20_000", "capacity = 700", "streams.0.phases.0.output_limit"),
        ('hops = ["gpt"]\ninput = 200', 'hops = ["gtp"]\ninput = 200', "streams.1.phases.0.hops: 'gtp'"),
        ('clients = "large"', 'clients = "nobody"', "streams.1.clients"),
        ("{ backlog = 40 }", "{ backlog = 40, every_seconds = 1 }", "streams.1.arrivals"),
        ("{ median = 2, p95 = 6 }", "{ median = 2 }", "streams.0.phases.0.seconds"),
        ("{ min = 1, max = 4 }", "{ min = 4, max = 1 }", "streams.0.phases.1.jobs"),
        ('tier = "basic"', 'tier = "bronze"', "clients.0.tier"),
        ("budget_usd = 2", "budget_usd = -2", "clients.0.budget_usd"),
        ("[pools.gpt]", "[pools.gpt]\ncolour = 1", "colour"),
        ("[run]", "[run", "TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_its_place(old: str, new: str, told: str) -> None:
    assert old in SMALL
    with pytest.raises(BadWorkload, match=told.replace("[", "\\[")):
        described(SMALL.replace(old, new, 1))


def test_a_change_is_set_by_its_path_whatever_dots_a_name_has() -> None:
    text = SMALL.replace("pools.gpt]", 'pools."gpt-3.5"]').replace('["gpt"]', '["gpt-3.5"]')
    given = described(text.split("[changes.more]")[0])
    changed = with_settings(given, [], dict([setting("pools.gpt-3.5.refill_per_second=77")]))
    assert workload_of(changed.tables).ground.pools["gpt-3.5"].refill_per_second == 77
    tier = with_settings(given, [], dict([setting("clients.small.tier=premium")]))
    assert workload_of(tier.tables).ground.clients[0].tier == "premium"
    assert workload_of(given.tables).ground.clients[0].tier == "basic"
    for path in ("clients.nobody.tier", "streams.9.urgency"):
        with pytest.raises(BadWorkload, match="there is no"):
            with_settings(given, [], {path: 1})
    with pytest.raises(BadWorkload, match="no change"):
        with_settings(given, ["more"], {})
    with pytest.raises(BadWorkload, match="write it like"):
        setting("slots")


def test_the_example_can_be_played_with_each_of_its_changes() -> None:
    tables = read_toml(EXAMPLE.read_text())
    tables["run"]["hours"] = 0.01
    workload = Workload(tables=tables)
    changed = [with_settings(workload, [name], {}) for name in workload.changes]
    assert all(workload_of(one.tables) != workload_of(workload.tables) for one in changed)
    assert play(changed[0]).executions > 0


def test_plots_are_well_formed_and_say_what_they_show(played: Played) -> None:
    drawn = pictures([played, played])
    names = ("waits", "waits-over-time", "waiting", "utilisation", "shares-gpt")
    assert set(drawn) == {f"{name}.svg" for name in names}
    for picture in drawn.values():
        root = ElementTree.fromstring(picture)
        tags = Counter(one.tag.rpartition("}")[2] for one in root.iter())
        assert tags["title"] == tags["desc"] == 1
        assert tags["polyline"] + tags["polygon"] > 0
        assert "script" not in tags
        assert "nan" not in picture
    assert as_page("<b>", list(drawn.values())).count("<svg") == len(drawn)
    assert "<b>" not in as_page("<b>", [])


def test_quantiles_are_true_to_one_percent() -> None:
    waits = Waits()
    for n in range(1, 1001):
        waits.add(n / 10, step_of(n / 10))
    assert waits.quantile(0.5) == pytest.approx(50, rel=0.011)
    assert waits.quantile(0.95) == pytest.approx(95, rel=0.011)
    assert waits.quantile(1.0) == 100.0
    assert waits.mean == pytest.approx(50.05)
    assert seconds_of(step_of(0.0)) == Waits().quantile(0.5) == 0.0
    assert jain([1, 1, 1, 1]) == 1
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([0, 0]) is None


# Recorded work.


def attempt(began: float, seconds: float | None = 2.0, **more: Any) -> RecordedAttempt:
    given = {"usage": (100, 0, 50), "price": (3_000_000_000, 0, 15_000_000_000)} | more
    return RecordedAttempt(began=began, seconds=seconds, hop=0, **given)


def job(opened: float, *attempts: RecordedAttempt, parents: list[int] | None = None) -> RecordedJob:
    return RecordedJob(
        kind="write",
        worker="work",
        route=0,
        input_bound=200,
        output_limit=100,
        opened=opened,
        parents=parents or [],
        attempts=list(attempts),
    )


def record(*executions: RecordedExecution, slots: int = 1) -> bytes:
    ground = {
        "run": {"start": "2026-01-05T08:00:00Z", "hours": 1, "slots": slots, "turnaround_ms": 0},
        "pools": {"gpt": {"capacity": 10_000, "refill_per_second": 1_000}},
        "clients": [{"name": "client-1", "tier": "enterprise"}],
    }
    route = RecordedRoute(hops=(Hop(provider="p", model="m", pool="gpt"),))
    header = Header(form=FORM, ground=ground, routes=[route])
    return b"\n".join(msgspec.json.encode(line) for line in (header, *executions))


def execution(arrives: float, *jobs: RecordedJob, **more: Any) -> RecordedExecution:
    return RecordedExecution(
        client="client-1",
        urgency=Urgency.NORMAL,
        queue="normal",
        arrives=arrives,
        ages_from=arrives,
        hold_nano=10**9,
        jobs=list(jobs),
        **more,
    )


def test_a_record_without_a_change_costs_and_waits_as_it_did() -> None:
    one = execution(
        0.0,
        job(0.0, attempt(0.0)),
        job(2.0, attempt(2.0), parents=[0]),
        job(2.0, attempt(4.0, retry_seconds=1.0), attempt(8.0), parents=[0]),
        job(10.0, attempt(10.0), parents=[0, 1, 2]),
    )
    other = execution(1.0, job(1.0, attempt(6.0)))
    found = play(recorded(record(one, other)))
    assert waits_of([one, other]) == [0, 0, 2, 1, 0, 5]
    (seen,) = found.observer.waits.values()
    assert seen.count == 6
    assert seen.total == pytest.approx(8, abs=0.02)
    (budget,) = found.budgets.values()
    assert budget.total_nano == spend_of([one, other]) == 6 * 1_050_000
    assert found.unfinished == 0


def test_recorded_work_that_was_given_up_goes_at_its_time_and_what_runs_then_is_paid() -> None:
    one = execution(0.0, job(0.0, attempt(0.0, 10.0)), job(0.0), ended=4.0)
    found = play(recorded(record(one)))
    assert (found.jobs, found.observer.starts, found.unfinished) == (2, 1, 0)
    assert sum(budget.total_nano for budget in found.budgets.values()) == 1_050_000
    assert all(budget.held_nano == 0 for budget in found.budgets.values())
    assert (found.given_up, report_of(found).turnaround.jobs) == (1, 0), "nobody waited for its end"


def test_a_retry_is_not_made_once_its_execution_was_given_up() -> None:
    tried = job(0.0, attempt(0.0, retry_seconds=5.0), attempt(7.0))
    going_on = play(recorded(record(execution(0.0, tried))))
    assert (going_on.observer.starts, going_on.given_up, going_on.unfinished) == (2, 0, 0)
    cancelled = play(recorded(record(execution(0.0, tried, ended=4.0))))
    assert (cancelled.observer.starts, cancelled.given_up, cancelled.unfinished) == (1, 1, 0)
    assert sum(budget.total_nano for budget in cancelled.budgets.values()) == 1_050_000
    assert cancelled.ended_at < going_on.ended_at


def test_how_late_starts_are_is_told_from_jobs_and_slots_that_were_there() -> None:
    route = RecordedRoute(hops=(Hop(provider="p", model="m", pool="gpt"),))
    jobs = [job(0.0, attempt(0.5 + 2.5 * n)) for n in range(30)]  # one slot, free for half a second
    assert turnaround_of([execution(0.0, *jobs)], [route], 1) == pytest.approx(0.5)
    assert turnaround_of([execution(0.0, *jobs[:3])], [route], 1) == 0.0, "too few to tell"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"client": "nobody"}, "'nobody' is no client"),
        ({"queue": "slow"}, "'slow' is no queue"),
        ({"arrives": 1e15}, "arrives"),
        ({"jobs": [msgspec.structs.replace(job(0.0), route=1)]}, "jobs.0: There is no route 1"),
        ({"jobs": [job(0.0, parents=[0])]}, "jobs.0: Its parents"),
        ({"jobs": [job(0.0, attempt(0.0, -1.0))]}, "seconds"),
    ],
)
def test_a_line_of_a_record_that_cannot_be_played_is_told_by_its_number(
    more: dict[str, Any], told: str
) -> None:
    bad = msgspec.structs.replace(execution(0.0, job(0.0, attempt(0.0))), **more)
    with pytest.raises(BadWorkload, match=rf"^line 3: .*{told}"):
        play(recorded(record(execution(0.0, job(0.0, attempt(0.0))), bad)))
    with pytest.raises(BadWorkload, match=r"^line 2: "):
        play(recorded(record() + b"\n{"))


@pytest.mark.parametrize("text", [b"", b"{}", b'{"form": "x", "ground": {}, "routes": []}'])
def test_a_file_that_is_no_record_is_refused(text: bytes) -> None:
    with pytest.raises(BadWorkload, match="line 1"):
        recorded(text)
