"""What stands for alignment and order in types without objectives: paths, maps, workflows, plots. Pure."""

import math
from collections.abc import Callable

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.rules_edges import (
    PREREQUISITE,
    components,
    isolated,
    read_edges,
)
from aifactory.granulation.rules_flow import reached, read_flow, read_handovers
from aifactory.granulation.rules_path import read_aims
from aifactory.granulation.rules_shape import unused_objects
from aifactory.granulation.rules_story import read_threads, scenes_of

# A value from 0 to 1, and what it was made of.
Closure = Callable[[TreeIndex], tuple[float, str]]
# What was met, of how many, and in words.
Met = Callable[[TreeIndex], tuple[int, int, str]]


def _path(index: TreeIndex) -> tuple[float, str]:
    """½ skills whose evidence shows them + ½ skills that an activity works on; where none are asked, all."""
    aims = read_aims(index)
    if not aims.skills:
        return 0.0, "no skills"
    shown, worked_on = len(aims.shown), len(aims.worked_on)
    if index.asked_depth < len(index.spec.levels):
        return shown / aims.skills, f"{shown} of {aims.skills} skills with evidence of their own"
    detail = f"{shown} of {aims.skills} skills with evidence of their own, {worked_on} worked on"
    return (shown + worked_on) / (2 * aims.skills), detail


def _map(index: TreeIndex) -> tuple[float, str]:
    """½ inner nodes with an edge out of their branch + ½ nodes that hang together."""
    edges = read_edges(index)
    inner = sum(entry.depth < max(1, index.asked_depth - 1) for entry in index.entries)
    if not edges or not inner:
        return 0.0, "no edges"
    joined = inner - len(isolated(index, edges))
    whole = max(map(len, components(index, edges)))
    detail = f"{joined} of {inner} inner nodes joined to another branch, {whole} nodes in one whole"
    return (joined / inner + whole / len(index.entries)) / 2, detail


def _workflow(index: TreeIndex) -> tuple[float, str]:
    """½ roles with something to do + ½ steps after the first that take up what an earlier one puts out."""
    flow = read_flow(index)
    handovers = read_handovers(index, flow)
    used, roles = _used(index)
    if not flow.steps:
        return 0.0, "no steps"
    following = max(1, len(flow.steps) - 1)
    linked = len(handovers.linked) if len(flow.steps) > 1 else 1
    detail = f"{linked} of {following} steps take up an earlier one's output"
    if not roles:  # a required role that is missing is a gate; a type may also have none
        return linked / following, detail
    detail = f"{used} of {roles} roles used, {detail}"
    return (used / roles + linked / following) / 2, detail


def _plot(index: TreeIndex) -> tuple[float, str]:
    """½ threads opened and later closed + ½ cast, places and threads that the story uses."""
    threads, (used, declared) = read_threads(index), _used(index)
    if not threads or not scenes_of(index):
        return 0.0, "no threads" if not threads else "no scenes"
    told = sum(thread.is_told for thread in threads)
    detail = f"{told} of {len(threads)} threads told to their end, {used} of {declared} declared used"
    return (told / len(threads) + used / declared) / 2, detail


def _used(index: TreeIndex) -> tuple[int, int]:
    return len(index.objects) - len(unused_objects(index)), len(index.objects)


def _edges_in_order(index: TreeIndex) -> tuple[int, int, str]:
    """Prerequisites that stand before what they are needed for."""
    before = [edge for edge in read_edges(index) if edge.kind == PREREQUISITE]
    met = sum(edge.source < edge.target for edge in before)
    return met, len(before), f"{met} of {len(before)} prerequisites stand earlier"


def _steps_in_order(index: TreeIndex) -> tuple[int, int, str]:
    """Steps that the start leads to, by what stands before them, with inputs that are there by then."""
    flow = read_flow(index)
    starts = flow.starts()
    known = reached(starts[0], flow.after()) if starts else set()
    wrong = {step for step, _ in read_handovers(index, flow).late}
    wrong |= {step for step, earlier in flow.before.items() if any(one > step for one in earlier)}
    met = len(known - wrong)
    return met, len(flow.steps), f"{met} of {len(flow.steps)} steps follow from the start"


def _threads_in_order(index: TreeIndex) -> tuple[int, int, str]:
    """Threads that are closed after they were opened."""
    threads = read_threads(index)
    told = sum(thread.is_told for thread in threads)
    return told, len(threads), f"{told} of {len(threads)} threads closed after their opening"


_CLOSURES: dict[str, Closure] = {"skillRise": _path, "edges": _map, "flow": _workflow, "story": _plot}
_ORDERS: dict[str, Met] = {
    "edges": _edges_in_order,
    "flow": _steps_in_order,
    "story": _threads_in_order,
}


def own_closure(index: TreeIndex) -> tuple[float, str] | None:
    """How closed a tree is in itself, the mean over the rules of its type; None where it has none of them."""
    found = [measure(index) for rule, measure in _CLOSURES.items() if index.spec.has_rule(rule)]
    if not found:
        return None
    return math.fsum(value for value, _ in found) / len(found), ", ".join(detail for _, detail in found)


def orders(index: TreeIndex) -> list[tuple[int, int, str]]:
    """What is met of the order that the rules of a type ask for, leaving out what a tree has nothing of."""
    found = [measure(index) for rule, measure in _ORDERS.items() if index.spec.has_rule(rule)]
    return [one for one in found if one[1]]
