"""Rules of a workflow: one start, every step reached, a way on from each, loops only as rework. Pure."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from aifactory.granulation.index import TreeIndex, texts_of
from aifactory.granulation.rules_learning import term_key
from aifactory.granulation.rules_shape import longest_chain
from aifactory.granulation.violations import Severity, Violation


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A way that a decision leads on, or back for rework; ``target`` is an index of an entry."""

    source: int
    target: int
    is_rework: bool
    pointer: str


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """The steps in tree order, what comes directly before each, and the branches of the decisions.

    A step that requires nothing and that no branch leads to follows the step before it, unless that one
    decides where to go on.
    """

    steps: tuple[int, ...]
    before: dict[int, tuple[int, ...]]
    branches: tuple[Branch, ...]

    def starts(self) -> list[int]:
        """The steps that nothing comes before."""
        return [step for step in self.steps if not self.before[step]]

    def after(self) -> dict[int, list[int]]:
        """What comes directly after each step, rework left out."""
        following: dict[int, list[int]] = {step: [] for step in self.steps}
        for step, earlier in self.before.items():
            for one in earlier:
                following[one].append(step)
        return following


def read_flow(index: TreeIndex) -> Flow:
    """The steps of the levels that the rule ``flow`` is on for; references to nothing are left out."""
    steps = [
        owner
        for owner, entry in enumerate(index.entries)
        if entry.level is not None and "flow" in entry.level.rules and entry.node.kind == entry.level.kind
    ]
    owners = {index.entries[owner].node.id: owner for owner in reversed(steps)}
    branches = [branch for owner in steps for branch in _branches(index, owner, owners)]
    before: dict[int, list[int]] = {
        owner: [owners[name] for name in texts_of(_fields(index, owner).get("requires")) if name in owners]
        for owner in steps
    }
    for branch in branches:
        if not branch.is_rework:
            before[branch.target].append(branch.source)
    deciding = {branch.source for branch in branches}
    for previous, owner in pairwise(steps):
        if not before[owner] and previous not in deciding:
            before[owner] = [previous]
    return Flow(
        steps=tuple(steps),
        before={owner: tuple(dict.fromkeys(earlier)) for owner, earlier in before.items()},
        branches=tuple(branches),
    )


def _fields(index: TreeIndex, owner: int) -> dict[str, Any]:
    return index.entries[owner].node.fields


def _branches(index: TreeIndex, owner: int, owners: dict[str, int]) -> Iterator[Branch]:
    entry = index.entries[owner]
    decision = entry.node.fields.get("decision")
    rows = decision.get("branches") if isinstance(decision, dict) else None
    for place, row in enumerate(rows if isinstance(rows, (list, tuple)) else ()):
        target = row.get("to") if isinstance(row, dict) else None
        if isinstance(target, str) and target in owners:
            yield Branch(
                source=owner,
                target=owners[target],
                is_rework=row.get("rework") is True,
                pointer=f"{entry.pointer}/fields/decision/branches/{place}",
            )


def reached(start: int, after: dict[int, list[int]]) -> set[int]:
    """All that can be come to from a start, itself too."""
    found, left = {start}, [start]
    while left:
        fresh = [step for step in after[left.pop()] if step not in found]
        found.update(fresh)
        left += fresh
    return found


def check_flow(index: TreeIndex) -> Iterator[Violation]:
    """One start, every step reachable from it, an end reachable from each, loops only over rework."""
    flow = read_flow(index)
    if not flow.steps:
        return
    yield from _check_start(index, flow)
    yield from _check_cycle(index, flow)
    yield from _check_ends(index, flow)
    yield from _check_inputs(index, flow)
    for branch in flow.branches:
        if branch.is_rework and branch.target > branch.source:
            message = "A branch for rework leads on instead of back"
            yield index.violation("flow.rework", Severity.WARNING, message, branch.source, branch.pointer)


def _check_start(index: TreeIndex, flow: Flow) -> Iterator[Violation]:
    starts = flow.starts()
    for step in starts[1:]:
        message = f"Nothing leads to this step, and the workflow starts at {index.entries[starts[0]].path}"
        yield index.violation("flow.start", Severity.ERROR, message, step, index.entries[step].pointer)
    known = reached(starts[0], flow.after()) if starts else set(flow.steps)
    for step in flow.steps:
        if step not in known and step not in starts:
            message = f"No way leads here from the start, {index.entries[starts[0]].path}"
            pointer = f"{index.entries[step].pointer}/fields/requires"
            yield index.violation("flow.unreachable", Severity.ERROR, message, step, pointer)


def _check_cycle(index: TreeIndex, flow: Flow) -> Iterator[Violation]:
    before = {step: list(earlier) for step, earlier in flow.before.items()}
    forward = {(one.target, one.source): one for one in flow.branches if not one.is_rework}
    lengths: dict[int, int] = {}
    for start in flow.steps:
        cycle = longest_chain(start, before, lengths)
        over = next((forward[pair] for pair in pairwise(cycle) if pair in forward), None)
        if over is not None:
            # What steps require of each other is checked with all other requirements.
            names = " → ".join(index.entries[step].path for step in reversed(cycle))
            message = f"A loop ({names}) that this branch does not call rework"
            yield index.violation("graph.cycle", Severity.GATE, message, over.source, over.pointer)
        if cycle:
            return


def _check_ends(index: TreeIndex, flow: Flow) -> Iterator[Violation]:
    """Walk back from the ends; a step that is not met can only go round."""
    after, back = flow.after(), {step: list(earlier) for step, earlier in flow.before.items()}
    for branch in flow.branches:
        if branch.is_rework:
            after[branch.source].append(branch.target)
            back[branch.target].append(branch.source)
    ending = {step for end in flow.steps if not after[end] for step in reached(end, back)}
    stuck = [step for step in flow.steps if step not in ending]
    if stuck:
        message = f"From here no end can be reached, only work again; this holds for {len(stuck)} steps"
        pointer = index.entries[stuck[-1]].pointer
        yield index.violation("flow.end", Severity.ERROR, message, stuck[-1], pointer)


class Handovers(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that take up what an earlier one puts out, and inputs that only a later one does."""

    linked: tuple[int, ...]
    late: tuple[tuple[int, str], ...]


def read_handovers(index: TreeIndex, flow: Flow) -> Handovers:
    """Which inputs are outputs of other steps, compared by their stems."""
    first: dict[str, int] = {}
    for step in flow.steps:
        for text in texts_of(_fields(index, step).get("outputs")):
            first.setdefault(term_key(text, index.language), step)
    linked, late = [], []
    reworked = {branch.target for branch in flow.branches if branch.is_rework}
    for step in flow.steps:
        entry = index.entries[step]
        for place, text in enumerate(texts_of(entry.node.fields.get("inputs"))):
            made = first.get(term_key(text, index.language))
            if made is not None and made < step:
                linked.append(step)
            # Where work comes back to, it brings along what a later step found.
            elif made is not None and made > step and step not in reworked:
                late.append((step, f"{entry.pointer}/fields/inputs/{place}"))
    return Handovers(linked=tuple(dict.fromkeys(linked)), late=tuple(late))


def _check_inputs(index: TreeIndex, flow: Flow) -> Iterator[Violation]:
    for step, pointer in read_handovers(index, flow).late:
        message = "Only a later step puts this out"
        yield index.violation("flow.input_late", Severity.ERROR, message, step, pointer)
