"""The thirty traps of a scheduler: what proves that one is avoided, and how a guard is taken out.

A proof is a scenario that holds, and twins of the program in each of which one guard is missing, so that
the same scenario must fail. A twin says what is broken in it, and by which words its failure is known: it
must fail for its own reason. Most are edits of one function's source; the text to be replaced must be
there, so a twin can't outlive the guard that it takes out.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

TITLES = {
    1: "count-then-claim over-admits",
    2: "SKIP LOCKED spends a shared allowance twice",
    3: "a capped client blocks the head of the queue",
    4: "a slot held while rate-limited stalls for ever",
    5: "counters leak after a rescue",
    6: "a rescue is blocked by the cap that it would relieve",
    7: "the plan flips on stale statistics",
    8: "contention is treated as an error",
    9: "a hung job returns to the head for ever",
    10: "a reused identity orphans jobs",
    11: "usage sampled late lets bursts through",
    12: "process-local limits multiply by the number of processes",
    13: "ageing is configured but never effective",
    14: "NOTIFY in the write path",
    15: "a long reader pins dead rows and the claim slows",
    16: "a stale worker completes a job that was taken from it",
    17: "a denied call is charged, or the bucket zeroed",
    18: "fractions of a refill are lost",
    19: "editing a rule resets usage",
    20: "flat holds, a shrunken last hold, silent overrun",
    21: "floats near money",
    22: "an exhausted budget answers as 429",
    23: "an infrastructure fault is answered as 401 or 402",
    24: "the time-out of the queue cancels a running call",
    25: "prompts in hot tables",
    26: "two last siblings both see one open",
    27: "a lane is deleted while a submission fills it",
    28: "a stopped decider stops the fleet",
    29: "an event sequence is read before an earlier one commits",
    30: "a retry has lost its hold",
}

Break = Callable[[pytest.MonkeyPatch], None]


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """A guard taken out: ``what`` is broken, by which changes of the code or, as ``sql``, of the database.

    ``seen``: a regular expression for the failure of the scenario.
    """

    what: str
    seen: str
    breaks: tuple[Break, ...] = ()
    sql: str = ""

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Break the code."""
        for change in self.breaks:
            change(patch)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that shows a trap avoided, and what makes it fail."""

    trap: int
    scenario: Callable[..., Any]
    twins: tuple[Twin, ...] = ()


def proof(trap: int, scenario: Callable[..., Any], *broken: Twin) -> Proof:
    """Return the proof that a trap is avoided."""
    return Proof(trap=trap, scenario=scenario, twins=broken)


def twin(what: str, seen: str, *breaks: Break, sql: str = "") -> Twin:
    """Return a twin: what is broken, how that is seen, what breaks it."""
    return Twin(what=what, seen=seen, breaks=breaks, sql=sql)


def scenarios(proofs: Iterable[Proof]) -> list[Any]:
    """Return each scenario once, as parameters named after the traps that it shows avoided."""
    shown: dict[Callable[..., Any], list[int]] = {}
    for one in proofs:
        shown.setdefault(one.scenario, []).append(one.trap)
    return [
        pytest.param(scenario, id="_".join([*map(str, sorted(set(traps))), scenario.__name__]))
        for scenario, traps in shown.items()
    ]


def twins(proofs: Iterable[Proof]) -> list[Any]:
    """Return each scenario with each of its twins, as parameters named after the trap and what is broken."""
    return [
        pytest.param(one.scenario, broken, id=f"{one.trap}: {broken.what}")
        for one in proofs
        for broken in one.twins
    ]


def told(error: BaseException) -> str:
    """Return what an error says, a group's members included."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(map(told, error.exceptions))
    return f"{type(error).__name__}: {error}"


# Breaking.


def edited(function: Callable[..., Any], *texts: str) -> Break:
    """Return a break that replaces texts of a function's source: an old one, a new one, perhaps more.

    It changes the function itself, so that it holds wherever the function is known.
    """

    def change(patch: pytest.MonkeyPatch) -> None:
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in zip(texts[::2], texts[1::2], strict=True):
            assert old in source, f"{function.__qualname__} has no {old!r} any more: the twin breaks nothing"
            source = source.replace(old, new)
        made: dict[str, Any] = {}
        exec(compile(source, f"<a twin of {function.__qualname__}>", "exec"), function.__globals__, made)
        patch.setattr(function, "__code__", made[function.__name__].__code__)

    return change


def replaced(owner: object, name: str, value: object) -> Break:
    """Return a break that replaces an attribute of a module or a class."""
    return lambda patch: patch.setattr(owner, name, value)
