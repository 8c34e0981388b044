"""The score notices what is made worse, and notices it where it is meant to (GRANULATION §7, first suite).

The whole suite, of more trees at three strengths, runs in ``make bench-granulation BENCH=mutations``.
"""

from functools import cache

import pytest
from bench.granulation.mutations import Base, Trial, bases, score_of, trials
from tests.unit.granulation.mutations import NAMED, OPERATORS

from aifactory.granulation.scoring import total
from aifactory.granulation.specs import builtin_specs


def sound() -> tuple[Base, ...]:
    return bases(quick=True)


@cache
def tried(name: str) -> tuple[Trial, ...]:
    return tuple(trial for base in sound() for trial in trials(base, name, (1, 3)))


def test_every_type_is_made_worse_in_every_way_that_is_meant_for_it():
    assert {base.tree.structure_type for base in sound()} == set(builtin_specs())
    types = {name: {trial.structure_type for trial in tried(name)} for name in OPERATORS}
    assert all(types.values())
    for name in ("duplicate_leaf", "paraphrase_leaf", "raise_reading_level", "skew_sizes"):
        assert types[name] == set(builtin_specs())


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_score_falls_and_does_not_rise_again_with_strength(name):
    assert [trial for trial in tried(name) if not trial.fell] == []
    assert [trial for trial in tried(name) if not trial.in_order] == []


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_sub_score_or_gate_that_is_meant_notices(name):
    # Another gate may fall too, and then there is no number to look at.
    assert [trial for trial in tried(name) if not trial.is_noticed and not trial.is_named] == []


@pytest.mark.parametrize(
    "part", sorted({part for parts in NAMED.values() for part in parts if "." not in part})
)
def test_each_sub_score_is_needed(part, monkeypatch):
    """Without it, something that is made worse is not noticed any more."""
    meant = [name for name in OPERATORS if part in NAMED[name]]
    if part == "grounding":
        monkeypatch.setattr(total, "grounding", lambda material: (1.0, "switched off"))
    else:
        monkeypatch.setitem(total._SUB_SCORES, part, lambda material: (1.0, "switched off"))
    sound()
    score_of.cache_clear()
    assert any(not trial.fell for name in meant for base in sound() for trial in trials(base, name, (1,)))
    score_of.cache_clear()
