"""Every trap of the list is avoided; each guard is taken out once, and that is seen.

Traps whose guards are pure are in ``tests/unit/resources/traps.py``; what a proof and a twin are, and the
list itself, in ``tests/traps.py``.
"""

import re
from typing import Any

import pytest
from tests.fleet import Fleet
from tests.integration.resources.traps import deciding, money, pools, running, stages, storing
from tests.traps import TITLES, Proof, Twin, scenarios, told, twins
from tests.unit.resources import traps as pure

pytestmark = pytest.mark.anyio

PARTS = (deciding, pools, running, stages, storing, money)
PROOFS: list[Proof] = [proof for part in PARTS for proof in part.PROOFS]


def test_the_list_has_thirty_traps_and_each_has_a_guard_that_is_taken_out() -> None:
    caught = {proof.trap for proof in (*PROOFS, *pure.PROOFS) if proof.twins}
    assert sorted(caught) == list(TITLES) == list(range(1, 31))


@pytest.mark.parametrize("scenario", scenarios(PROOFS))
async def test_the_trap_is_avoided(fleet: Fleet, scenario: Any) -> None:
    await scenario(fleet)


@pytest.mark.parametrize(("scenario", "twin"), twins(PROOFS))
async def test_without_its_guard_the_trap_is_caught(
    fleet: Fleet, scenario: Any, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.audited = False
    if twin.sql:
        await fleet.execute(twin.sql)
    twin.apply(monkeypatch)
    assert re.search(twin.seen, await failure_of(scenario, fleet))


async def failure_of(scenario: Any, fleet: Fleet) -> str:
    """Return what a scenario fails with; words that are no twin's if it does not."""
    try:
        await scenario(fleet)
    except Exception as failure:
        return told(failure)
    return "not caught"
