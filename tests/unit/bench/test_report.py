"""A run's result: the table, the generated part of the document, the JSON."""

import json

import msgspec
import pytest
from bench.figures import OURS, Goal, Measured, Row, spread
from bench.report import (
    BEGIN,
    END,
    Result,
    as_first_table,
    as_markdown,
    as_text,
    first_table,
    generated_in,
    goals_of,
    joined,
    placed,
    read_result,
    table,
    write_result,
)
from bench.running import rotated

DRAIN = Row(
    what="drain",
    unit="jobs/s",
    systems={OURS: spread([90.0, 110.0, 100.0]), "PgQueuer": spread([80.0]), "Procrastinate": spread([20.0])},
    goals=(
        Goal(bound="at least", value=1, peer="PgQueuer"),
        Goal(bound="at least", value=10, peer="Procrastinate"),
    ),
    note="no gates there",
)
WAIT = Row(what="wait", unit="ms", systems={OURS: spread([4.0])})


def result(*rows: Row, quick: bool = False, failed: dict[str, str] | None = None) -> Result:
    return Result(
        at="2026-01-01 12:00 UTC",
        quick=quick,
        seconds=90,
        machine={"processor": "a fast one"},
        measured=(Measured(measure="drain", seconds=2, rows=rows),),
        best=("PgQueuer: batch 500",),
        failed=failed or {},
    )


def test_a_table_has_a_line_for_each_target_with_what_it_comes_to_in_this_run() -> None:
    head, first, second, third = table([DRAIN, WAIT], ["PgQueuer", "Procrastinate"])
    assert head == ["", "unit", "target", OURS, "PgQueuer", "Procrastinate", "reached"]
    ours = "100 (90.0–110)"
    assert first == ["drain", "jobs/s", "≥ 1 × PgQueuer = 80.0", ours, "80.0", "20.0", "reached"]
    assert second == ["", "", "≥ 10 × Procrastinate = 200", "", "", "", "not"]
    assert third == ["wait", "ms", "", "4.00", "", "", ""]


def test_without_peers_their_columns_are_left_out_and_their_targets_are_unknown() -> None:
    alone = msgspec.structs.replace(DRAIN, systems={OURS: spread([100.0])})
    text = as_text(Measured(measure="drain", seconds=1, rows=(alone,)))
    assert "unknown" in text
    assert "PgQueuer |" not in text.splitlines()[0]
    assert goals_of(result(alone)) == "0 of 2 targets reached, 0 not, 2 unknown."


def test_the_first_table_has_every_target_and_every_peer_once_with_how_many_times_it_ours_is() -> None:
    limit = msgspec.structs.replace(WAIT, goals=(Goal(bound="at most", value=5),))
    told = msgspec.structs.replace(WAIT, what="told", asked=True)
    beside = msgspec.structs.replace(DRAIN, what="beside", goals=(), asked=True)
    found = [
        (line.what, line.target, line.peer, line.ratio, line.verdict)
        for line in first_table(result(DRAIN, WAIT, limit, told, beside))
    ]
    assert found == [
        ("drain", "≥ 1 × PgQueuer = 80.0", "PgQueuer", 1.25, "reached"),
        ("drain", "≥ 10 × Procrastinate = 200", "Procrastinate", 5.0, "not"),
        ("wait", "≤ 5 ms", None, 0.8, "reached"),
        ("told", "", None, None, ""),
        ("beside", "", "PgQueuer", 1.25, ""),
        ("beside", "", "Procrastinate", 5.0, ""),
    ]
    text = as_first_table(result(DRAIN, WAIT))
    assert "100 (90.0–110)" in text
    assert "PgQueuer 80.0" in text
    assert "wait" not in text


def test_the_targets_reached_are_counted() -> None:
    assert goals_of(result(DRAIN, WAIT)) == "1 of 2 targets reached, 1 not."


def test_a_quick_run_and_what_failed_are_told_as_such() -> None:
    assert as_markdown(result(DRAIN)).startswith("A full run. 2026-01-01")
    part = msgspec.structs.replace(result(DRAIN), left_out=("hot",), to_come=("claim", "http"))
    assert as_markdown(part).startswith("A run of full size, but not of every measure. 2026-01-01")
    assert "Left out of this run: hot." in as_markdown(part)
    assert "the run ended before: claim, http." in as_markdown(part)
    told = as_markdown(result(DRAIN, quick=True, failed={"idle": "no luck"}))
    assert told.startswith("A quick run: its figures are rough.")
    assert "it failed: idle." in told
    assert "drain: no gates there" in told
    assert "- processor: a fast one" in told


def test_the_generated_part_replaces_the_last_one_and_nothing_else() -> None:
    document = f"# Title\n\n{BEGIN}\nold\n{END}\n\nMethod\n"
    once = placed(document, "new")
    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nMethod\n"
    assert placed(once, "new") == once
    assert generated_in(once) == "new"


@pytest.mark.parametrize("document", ["", f"{BEGIN} without an end", f"{END} before {BEGIN}"])
def test_a_document_without_a_place_for_results_is_left_alone(document: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        placed(document, "new")


def test_a_result_is_read_back_as_it_was_written_and_says_its_verdicts() -> None:
    whole = result(DRAIN, WAIT, failed={"idle": "no luck"})
    written = write_result(whole)
    assert read_result(written) == whole
    (first, second) = json.loads(written)["firstTable"]
    assert (first["target"], first["verdict"], first["theirs"]["median"]) == (
        "≥ 1 × PgQueuer = 80.0",
        "reached",
        80.0,
    )
    assert second["aim"] == 200.0
    rows = json.loads(written)["measured"][0]["rows"]
    assert [row["verdicts"] for row in rows] == [["reached", "not"], []]


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        read_result(b"{}")


def test_every_round_is_led_by_another_system() -> None:
    systems = ["a", "b", "c"]
    assert [rotated(systems, turn) for turn in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_a_figure_that_misses_its_limit_is_not_rounded_to_it() -> None:
    late = Row(what="p99", unit="ms", systems={OURS: spread([10.04]), "PgQueuer": spread([10.04])}, limit=10)
    assert table([late], ["PgQueuer"])[1] == ["p99", "ms", "", "10.04", "10.0", ""]
    missed = msgspec.structs.replace(late, goals=(Goal(bound="at most", value=10),), limit=None)
    assert "10.04" in as_first_table(result(missed))


def test_of_several_runs_each_measure_has_its_newest_figures_and_says_of_which_run_they_are() -> None:
    older = msgspec.structs.replace(
        result(DRAIN),
        machine={"processor": "a fast one", "source": "abc"},
        measured=(
            Measured(measure="drain", seconds=2, rows=(DRAIN,)),
            Measured(measure="idle", seconds=2, rows=(WAIT,)),
        ),
        to_come=("hot", "plan"),
    )
    faster = msgspec.structs.replace(WAIT, systems={OURS: spread([3.0])})
    newest = msgspec.structs.replace(
        result(),
        at="2026-02-02 12:00 UTC",
        measured=(Measured(measure="idle", seconds=1, rows=(faster,)),),
        best=(),
        left_out=("drain", "hot"),
    )
    both = joined([older, newest])
    assert [(one.measure, one.rows) for one in both.measured] == [("idle", (faster,)), ("drain", (DRAIN,))]
    assert [one.notes for one in both.measured] == [
        (),
        ("Taken in the run of 2026-01-01 12:00 UTC, source abc.",),
    ]
    assert (both.at, both.seconds, both.best, both.left_out) == (
        newest.at,
        180,
        ("PgQueuer: batch 500",),
        ("hot",),
    )
    assert joined([older]) == older
    for other in (
        {"quick": True},
        {"machine": {"processor": "a slow one", "source": "abc"}},
    ):
        with pytest.raises(ValueError, match="another size, machine"):
            joined([msgspec.structs.replace(older, **other), newest])
