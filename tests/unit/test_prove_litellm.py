"""What the run against the LiteLLM proxy takes for a broken promise."""

from prove.books import Comparison
from prove.litellm import Case, broken_calls, cases


def books(paid: int) -> Comparison:
    return Comparison(paid_calls=paid, paid_nano=0, unpaid_served_calls=0, refused_calls=0, differences=())


def test_calls_without_a_fault_have_to_succeed_and_to_be_paid() -> None:
    case = Case(name="plain")
    assert not broken_calls(case, {"succeeded": 3}, books(3), 3)
    assert broken_calls(case, {"succeeded": 3}, books(2), 3)
    assert broken_calls(case, {"succeeded": 2, "timeout": 1}, books(3), 3)


def test_a_fault_that_is_met_has_to_end_as_it_must_as_often_as_it_is_met() -> None:
    case = Case(name="faulty", script=("", "drop", "drop"), outcome="provider_error")
    assert not broken_calls(case, {"succeeded": 5, "provider_error": 2}, books(5), 7)
    assert broken_calls(case, {"succeeded": 6, "provider_error": 1}, books(6), 7)
    assert broken_calls(case, {"succeeded": 5, "timeout": 2}, books(5), 7)


def test_a_wrong_key_ends_every_call_in_one_way() -> None:
    case = Case(name="wrong key", refused=True, outcome="refused_key")
    assert not broken_calls(case, {"refused_key": 2}, books(0), 2)
    assert broken_calls(case, {"refused_key": 1, "succeeded": 1}, books(1), 2)


def test_each_case_with_a_fault_says_how_its_calls_end_and_names_differ() -> None:
    assert all(case.outcome for case in cases() if case.script or case.refused)
    assert len({case.name for case in cases()}) == len(cases())
