"""How the proof of explain judges an answer by the real start."""

import argparse
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from aifactory.kernel.ids import new_id, text_id
from aifactory.resources.position_schemas import Position
from prove import explain, explain_gates
from prove.explain_load import Asked

pytestmark = pytest.mark.anyio

NOW = datetime.fromisoformat("2026-11-22T12:00:00+00:00")


def after(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOW + timedelta(seconds=seconds)


def asked(start: float | None, earliest: float | None = None, latest: float | None = None) -> Asked:
    """An answer of now."""
    blank: dict[str, Any] = dict.fromkeys(Position.__struct_fields__)
    fields = {
        "job_id": text_id("job", new_id()),
        "queue": "normal",
        "as_of": NOW,
        "estimated_start": after(start),
        "earliest_start": after(earliest),
        "latest_start": after(latest),
    }
    told = Position(**{**blank, **fields})
    return Asked(profile="one", told=told, took=0.01)


@pytest.mark.parametrize(
    ("told", "began", "right"),
    [
        (10.0, 7.7, True), (10.0, 7.6, False), (10.0, 14.2, True), (10.0, 14.3, False),
        (0.4, 0.0, True), (0.6, 0.0, False), (0.0, 0.5, True), (None, 0.1, False),
    ],
)  # fmt: skip
def test_a_start_is_right_within_a_share_of_the_real_wait_or_half_a_second(
    told: float | None, began: float, right: bool
) -> None:
    found = explain.judged(asked(told), after(began), NOW + timedelta(seconds=60))
    assert found is not None
    assert (found.wait, found.right) == (began, right)


def test_the_band_is_what_was_told_and_without_an_end_it_is_open() -> None:
    in_band = []
    for began, latest in ((5.0, 8.0), (8.1, 8.0), (3.9, 8.0), (99.0, None)):
        found = explain.judged(asked(6, 4, latest), after(began), NOW)
        assert found is not None
        in_band.append(found.in_band)
    assert in_band == [True, False, False, True]


def test_what_has_not_begun_is_wrong_once_it_should_have_and_no_case_before() -> None:
    ended = NOW + timedelta(seconds=40)
    late = explain.judged(asked(20), None, ended)
    assert late is not None
    assert (late.wait, late.right) == (40, False)
    never_told = explain.judged(asked(None), None, ended)
    assert never_told is not None
    assert not never_told.right
    assert explain.judged(asked(35), None, ended) is None, "it may still begin in time"
    assert explain.judged(asked(90), None, ended) is None


@pytest.mark.parametrize("form", ["still", "quick"])
async def test_what_asking_costs_is_told_only_where_it_was_measured_and_chance_begins_as_asked(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = []

    async def measured(*given: object) -> explain.Measured:
        seeds.append(given[-1])
        return explain.Measured(foretold=[], open=0)

    class Fresh:
        @contextlib.asynccontextmanager
        async def fresh(self) -> AsyncIterator[Any]:
            yield SimpleNamespace(url="")

    async def no_gates(_: object) -> list[Any]:
        return []

    monkeypatch.setattr(explain, "measure", measured)
    monkeypatch.setattr(explain, "foresee", measured)
    monkeypatch.setattr(explain_gates, "run", no_gates)
    asked = argparse.Namespace(explain_form=form, explain_seed=9)
    await explain._prove(Fresh(), asked)  # type: ignore[arg-type]
    assert set(seeds) == {9}
    assert ("What asking" in capsys.readouterr().out) is (form == "quick")
