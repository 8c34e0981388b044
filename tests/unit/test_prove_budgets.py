"""The judge of ``python -m prove budgets``: which refusals it calls wrong, from a ledger and a clock."""

from aifactory.kernel.ids import ExecutionId, new_id
from prove.budgets import Attempt, Moment, Trials

NAME = ("client", "")
HELD = ExecutionId(new_id())

# A hold of 8 and its release, in the order of their commits.
MOMENTS = [Moment(committed={NAME: held}, spent={}) for held in (0, 8, 0)]
PLACES = {(HELD, ""): 1, (HELD, "end"): 2}


def judged(limit: int, *attempts: Attempt, entries: int = 2) -> list[str]:
    """What is said of the refusals when only so many of the entries were written."""
    trials = Trials(databases=[], seed=1, at_once=1)
    trials.limits, trials.attempts = {NAME: limit}, list(attempts)
    trials._judge_refusals(
        MOMENTS[: entries + 1], {done: place for done, place in PLACES.items() if place <= entries}
    )
    return trials.violations


def refusal(begun: int, ended: int) -> Attempt:
    return Attempt(begun=begun, ended=ended, kind="budget_in_use", amount_nano=5, scopes=frozenset({NAME}))


def change(kind: str, begun: int, ended: int) -> Attempt:
    return Attempt(begun=begun, ended=ended, kind=kind, execution_id=HELD)


def test_an_end_that_was_cut_off_and_left_no_entry_bounds_no_refusal() -> None:
    """Its place was taken for 0, the beginning: no moment was left at which the refusal could be right."""
    hold, refused, cut_off = change("", 1, 2), refusal(3, 4), change("end", 5, 6)
    assert judged(10, hold, refused, cut_off, entries=1) == []
    (wrong,) = judged(13, hold, refused, cut_off, entries=1)
    assert wrong == "budget_in_use: 5 nano were denied and fitted"


def test_a_refusal_is_right_only_for_what_can_have_been_there_while_it_was_decided() -> None:
    hold, end = change("", 3, 4), change("end", 7, 8)
    assert judged(10, hold, refusal(5, 6), end) == []
    assert judged(10, hold, refusal(1, 3), end) == []
    assert judged(10, hold, refusal(8, 9), end) == []
    assert len(judged(10, refusal(1, 2), hold, end)) == 1  # before the hold began
    assert len(judged(10, hold, end, refusal(9, 10))) == 1  # after the release ended
