"""The traps whose guards are pure are avoided; each guard is taken out once, and that is seen."""

import re
from typing import Any

import pytest
from tests.traps import Twin, scenarios, told, twins
from tests.unit.resources.traps import PROOFS


@pytest.mark.parametrize("scenario", scenarios(PROOFS))
def test_the_trap_is_avoided(scenario: Any) -> None:
    scenario()


@pytest.mark.parametrize(("scenario", "twin"), twins(PROOFS))
def test_without_its_guard_the_trap_is_caught(
    scenario: Any, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin.apply(monkeypatch)
    with pytest.raises(AssertionError) as failure:
        scenario()
    assert re.search(twin.seen, told(failure.value)), told(failure.value)
