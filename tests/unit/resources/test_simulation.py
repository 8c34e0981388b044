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
from aifactory.resources.simulation.observing import LAST_SLICE, Waits, jain, seconds_of, step_of
from aifactory.resources.simulation.page import as_page
from aifactory.resources.simulation.pictures import pictures
from aifactory.resources.simulation.playing import Played
from aifactory.resources.simulation.reading import BadWorkload, ground_of, read_toml, setting, workload_of
from aifactory.resources.simulation.recorded import (
    FORM,
    Header,
    RecordedAttempt,
    RecordedExecution,
    RecordedJob,
    RecordedRoute,
    spend_of,
    tasks_recorded,
    turnaround_of,
    waits_of,
)
from aifactory.resources.simulation.report import Compared, compare, report_of
from aifactory.resources.simulation.running import (
    Workload,
    described,
    play,
    recorded,
    told_changes,
    with_settings,
)
from aifactory.resources.simulation.words import became, figure, span

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


_TIER = {"points": 1, "weight": 1, "max_running": 5}


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
    assert sum(one.waits.count for one in report.clients.values()) == report.waits.count == seen.starts
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
    assert rows["wait, p95"] == Compared(before=before.waits.p95, after=after.waits.p95, unit="s")


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


def test_under_load_is_of_the_same_span_as_what_there_was_however_short_that_is(small: Workload) -> None:
    crowd = {"run.slots": 200, "run.drain": False, "run.hours": 0.004, "streams.1.arrivals.backlog": 150}
    for seconds in (0.2, 4, 30):
        report = report_of(play(with_settings(small, [], crowd | {"streams.1.phases.0.seconds": seconds})))
        assert report.pools["gpt"].under_load is not None
        assert 0 < report.pools["gpt"].under_load <= 1.0


def test_units_of_further_pools_are_used_under_load_too(small: Workload) -> None:
    tables = with_settings(small, [], {"run.slots": 200, "streams.1.arrivals.backlog": 100}).tables
    tables["pools"]["shared"] = {"capacity": 100, "refill_per_second": 10}
    tables["streams"][1]["phases"][0] |= {"further_pools": {"shared": 20}, "seconds": 1}
    report = report_of(play(Workload(tables=tables)))
    assert 0.8 < (report.pools["shared"].under_load or 0) <= 1.0


def test_jobs_that_outlast_the_run_by_far_fill_no_endless_row_of_slices(small: Workload) -> None:
    long = {"streams.1.phases.0.seconds": 1e8, "streams.1.arrivals.backlog": 8}
    found = play(with_settings(small, [], long))
    assert max(found.observer.slices) == LAST_SLICE
    assert sum(here.busy for here in found.observer.slices.values()) == pytest.approx(found.observer.busy)
    assert all("nan" not in picture for picture in pictures([found]).values())
    for_ever = {"streams.1.phases.0.seconds": 1e9, "streams.1.arrivals.backlog": 300, "run.slots": 1}
    with pytest.raises(BadWorkload, match="beyond the year 9999"):
        play(with_settings(small, [], for_ever))


@pytest.mark.parametrize(
    ("settings", "jobs", "why"),
    [
        ({"run.slots": 0}, 40, "There are no slots."),
        ({"clients.large.max_running": 0}, 40, "0 jobs of this client run, and no more may at once."),
        ({"clients.large.suspended": True}, 40, "The operator has suspended this client."),
        ({"pools.gpt.paused": True}, 40, "the pool gpt is paused"),
        ({"pools.gpt.refill_per_second": 0}, 1, "nothing refills it"),
    ],
)
def test_work_that_can_never_start_is_told_with_the_gate_that_keeps_it(
    small: Workload, settings: dict[str, Any], jobs: int, why: str
) -> None:
    report = report_of(play(with_settings(small, [], settings)))
    assert report.unfinished >= jobs
    told = [one for one in report.left if "large" in one.clients]
    assert sum(one.jobs for one in told) >= jobs
    assert any(why in one.why for one in told)


def test_nothing_is_left_where_all_has_ended(played: Played) -> None:
    assert report_of(played).left == []


def test_a_group_that_only_one_play_has_is_new_or_gone_and_no_zero(small: Workload, played: Played) -> None:
    tiered = Workload(tables=small.tables | {"tiers": {"gpt": _TIER}})
    after = play(with_settings(tiered, [], {"clients.small.tier": "gpt"}))
    rows = compare(report_of(played), report_of(after)).rows
    gone, new = rows["tier basic: wait, p95"], rows["tier gpt: wait, p95"]
    assert (gone.after, became(gone.before, gone.after)) == (None, "gone")
    assert (new.before, became(new.before, new.after)) == (None, "new")
    assert rows["pool gpt: wait, p95"] != new, "a tier and a pool of one name are two rows"
    assert new.after == report_of(after).tiers["gpt"].p95


def test_figures_are_told_in_their_units_and_by_how_much_they_changed() -> None:
    told = [span(0.34), span(12.54), span(204), span(8280), figure(None, "s"), figure(61.2, "%")]
    assert told == ["340 ms", "12.5 s", "3.4 min", "2.3 h", "–", "61 %"]
    assert [figure(1234.5, "$"), figure(1234, ""), figure(0.98765, "index")] == [
        "$1,234.50",
        "1,234",
        "0.988",
    ]
    changes = [became(100, 101.9), became(100, 103), became(100, 60), became(0, 0), became(0, 5)]
    assert changes == ["same", "+3 %", "-40 %", "same", "from 0"]


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
        ("capacity = 20_000", "capacity = 0", r"^pools\.gpt\.capacity: Expected"),
        ("capacity = 20_000", "capacity = 700", "streams.0.phases.0.output_limit"),
        ('hops = ["gpt"]\ninput = 200', 'hops = ["gtp"]\ninput = 200', "streams.1.phases.0.hops: 'gtp'"),
        ('clients = "large"', 'clients = "nobody"', "streams.1.clients"),
        ("{ backlog = 40 }", "{ backlog = 40, every_seconds = 1 }", "streams.1.arrivals"),
        ("{ backlog = 40 }", "{ backlog = 0 }", r"^streams\.1\.arrivals\.backlog: Expected"),
        (
            "{ backlog = 40 }",
            "{ backlog = 9_999_999_999 }",
            "streams.1: It comes to about 9,999,999,999 starts",
        ),
        ("{ min = 1, max = 4 }", "1e9", r"streams\.0: It comes to about 54,000,000,\d+ starts"),
        ("{ min = 1, max = 4 }", "{ median = 1, p95 = 1e9 }", "streams.0: It comes to about"),
        ("{ poisson_per_hour = 60 }", "{ every_seconds = 0.001 }", "streams.0: It comes to about"),
        ("{ median = 2, p95 = 6 }", "{ median = 2 }", "streams.0.phases.0.seconds"),
        ("{ min = 1, max = 4 }", "{ min = 4, max = 1 }", "streams.0.phases.1.jobs"),
        (
            'tier = "basic"',
            'tier = "bronze"',
            "clients.0.tier: 'bronze' is no tier: basic, standard, premium, enterprise",
        ),
        ("budget_usd = 2", "budget_usd = -2", "clients.0.budget_usd"),
        ("[pools.gpt]", "[pools.gpt]\ncolour = 1", "colour"),
        ("[run]", "[run", "TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_its_place(old: str, new: str, told: str) -> None:
    assert old in SMALL
    with pytest.raises(BadWorkload, match=told):
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


def test_the_page_says_which_workload_what_was_changed_and_what_came_of_it(
    small: Workload, played: Played
) -> None:
    changes = told_changes(small, ["more"], {"clients.small.tier": "<b>"})
    assert changes == [
        "more: run.slots = 8",
        "more: pools.gpt.refill_per_second = 4000",
        "clients.small.tier = <b>",
    ]
    before, after = report_of(played), report_of(play(with_settings(small, ["more"], {"run.slots": 0})))
    both, alone = compare(before, before), before
    page = as_page("a <i>day</i>", changes, both, list(pictures([played, played]).values()))
    assert page.count("<svg") == 5
    for told in ("a &lt;i&gt;day", "<li>more: run.slots = 8</li>", "tier = &lt;b&gt;", "before: "):
        assert told in page
    assert f"<td>wait, p95</td><td>{span(before.waits.p95)}</td>" in page
    assert 'name="viewport"' in page
    assert page.count("<td>same</td>") == len(both.rows)
    single = as_page("day", [], alone, [])
    assert "<th>before</th>" not in single
    assert "What was changed" not in single
    assert "There are no slots." in as_page("day", [], after, [])


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
        client=more.pop("client", "client-1"),
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
    assert (found.given_up, report_of(found).turnaround.count) == (1, 0), "nobody waited for its end"


def test_recorded_work_for_a_pool_that_is_no_more_is_told_as_such() -> None:
    lines = record(execution(0.0, job(0.0, attempt(0.0)))).replace(b'"pool":"gpt"', b'"pool":"old"')
    found = play(recorded(lines))
    assert found.unfinished == 1
    assert [(one.jobs, one.clients) for one in found.left] == [(1, ("client-1",))]
    assert "the pool old is gone" in found.left[0].why


def test_a_bad_line_is_told_before_anything_is_played() -> None:
    lines = record(execution(0.0, job(0.0)), execution(1.0, job(1.0), client="nobody"))
    tasks = tasks_recorded(ground_of(recorded(lines).tables), tuple(lines.splitlines()))
    with pytest.raises(BadWorkload, match=r"^line 3: 'nobody'"):
        next(tasks)


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
