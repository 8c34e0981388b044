"""The proof of explain, bounded: every scripted gate, and jobs of a live load asked about and judged."""

from datetime import datetime, timedelta

import anyio
import msgspec
import pytest

from aifactory.kernel.db import Database
from aifactory.resources.policy import Plan
from prove import explain, explain_gates
from prove.explain_cases import SITUATIONS
from prove.explain_load import Asked, Profile, Size, open_load

pytestmark = pytest.mark.anyio


async def test_every_scripted_situation_is_told_by_its_gate_and_the_next_round_agrees(
    database: Database,
) -> None:
    one_of_each = {one.gate: one for one in SITUATIONS}.values()  # `make prove PROOFS=explain` plays all
    said = await explain_gates.run(database, list(one_of_each))
    assert [explain_gates.wrong(one) for one in said if not one.right] == []
    assert explain_gates.missing(said) == set()


async def test_an_explanation_that_forgets_what_the_next_round_takes_is_caught(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = [one for one in SITUATIONS if one.name.startswith("the job") and not one.ahead]
    monkeypatch.setattr("aifactory.resources.foresight.Plan", Undecided)
    said = await explain_gates.run(database, filled)
    assert {one.situation.gate for one in said if not one.right} == {"client_cap", "slots", "units"}


class Undecided(Plan):
    """A plan of which nothing is decided."""

    def decide(self):  # type: ignore[no-untyped-def]
        """Only see what there is."""
        self.set_up()


async def test_what_is_told_under_a_live_load_is_judged_by_the_real_start(database: Database) -> None:
    profile = Profile(
        name="small", jobs_per_second=20.0, window=1, slots=4, sizes=(Size(seconds=0.02, pool="narrow"),)
    )
    async with open_load(database, profile, backlog_seconds=0) as load:
        while len(load.asked) < 4:
            await load.ask()
        judged: list[explain.Foretold | None] = [None]
        while None in judged:
            await anyio.sleep(0.02)
            starts, now = await load.starts(load.asked)
            judged = [explain.judged(one, starts.get(one.job_id), now) for one in load.asked]
        assert load.rounds
    found = [one for one in judged if one is not None]
    assert any(one.right for one in found)
    foretold = [_foretelling(one.asked, starts[one.asked.job_id]) for one in found]
    told_later = [_foretelling(one.asked, starts[one.asked.job_id] + timedelta(minutes=1)) for one in found]
    for told, right in ((foretold, True), (told_later, False)):
        again = [explain.judged(one, starts[one.job_id], now) for one in told]
        assert [one.right for one in again if one is not None] == [right] * len(found)
    rows = explain.accuracy({"small": explain.Measured(foretold=found, open=0)})
    assert rows[1][:2] == ("small", len(found))
    assert rows[2][1] == len(found) >= 4


def _foretelling(asked: Asked, start: datetime) -> Asked:
    """The same answer, but with this start."""
    told = msgspec.structs.replace(asked.told, estimated_start=max(start, asked.told.as_of))
    return msgspec.structs.replace(asked, told=told)
