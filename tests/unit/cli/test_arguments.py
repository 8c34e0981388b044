from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from aifactory.cli import run_command
from aifactory.cli.arguments import read_labels, read_moment, read_parameters
from aifactory.cli.remote import refuse
from aifactory.cli.watching import line_of
from aifactory.client import (
    AuthError,
    BudgetError,
    Conflict,
    ConnectionFailed,
    Event,
    EventData,
    Invalid,
    Progress,
    RateLimited,
)
from aifactory.client.errors import AIFactoryError


def test_parameters_are_json_where_they_can_be_and_nested_by_dots() -> None:
    given = ["depth=2", "topic=Tides = moon", "constraints.maxModules=3", "constraints.focusAreas=[1]", "x="]
    assert read_parameters(given) == {
        "depth": 2,
        "topic": "Tides = moon",
        "constraints": {"maxModules": 3, "focusAreas": [1]},
        "x": "",
    }


@pytest.mark.parametrize("pairs", [["x"], ["=1"], ["a..b=1"], ["a=1", "a.b=2"]])
def test_a_parameter_that_means_nothing_is_refused(pairs: list[str]) -> None:
    with pytest.raises(Invalid):
        read_parameters(pairs)


def test_labels_are_texts() -> None:
    assert read_labels(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    assert read_labels([]) is None
    with pytest.raises(Invalid):
        read_labels(["a"])


def test_a_span_counts_from_now() -> None:
    assert read_moment("--deadline", "90m") == timedelta(minutes=90)
    assert read_moment("--deadline", "2 D") == timedelta(days=2)
    for text in ("10x", "m", "-5m", "1.5h", "999999d"):
        with pytest.raises(Invalid, match="no span"):
            read_moment("--deadline", text)


def test_a_time_without_a_zone_is_this_machines() -> None:
    assert read_moment("--deadline", "2026-12-01T18:00Z") == datetime(2026, 12, 1, 18, tzinfo=UTC)
    naive = read_moment("--deadline", "2026-12-01")
    assert naive is not None
    assert naive == datetime(2026, 12, 1).astimezone()
    with pytest.raises(Invalid, match="--deadline 'soon'"):
        read_moment("--deadline", "soon")


@pytest.mark.parametrize(
    ("kind", "code"),
    [(AuthError, 3), (BudgetError, 4), (RateLimited, 4), (Invalid, 2), (Conflict, 2), (ConnectionFailed, 5)],
)
def test_each_refusal_has_its_exit_code(
    kind: type[AIFactoryError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("Do [that].", code="c", members={"shortfallUsd": 1})
    assert refuse(error, as_json=True) == code
    assert '"shortfallUsd":1' in capsys.readouterr().err
    assert refuse(error, as_json=False) == code


def test_an_event_is_one_line() -> None:
    data = EventData(
        execution_id="exec_1", stage=0, worker="granulation", progress=Progress(jobs_done=1, jobs_total=3)
    )
    event = Event(type="stage.started", timestamp=datetime(2026, 1, 1, tzinfo=UTC), data=data)
    assert line_of(event) == "stage started · stage 1 (granulation) · 1/3 jobs"
    named = msgspec.structs.replace(event, data=msgspec.structs.replace(data, stage=1, name="quiz"))
    assert line_of(named) == "stage started · stage 2 (quiz) · 1/3 jobs"


def test_options_that_mean_nothing_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["usage", "--budgets", "--csv"]) == 2
    assert "--budgets" in capsys.readouterr().err
