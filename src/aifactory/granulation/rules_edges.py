"""Rules of a map's edges: what they join, one whole, nothing before itself, after Novak and Cañas. Pure."""

from collections.abc import Iterator

import msgspec

from aifactory.granulation.index import ROOT, TreeIndex
from aifactory.granulation.rules_shape import longest_chain
from aifactory.granulation.violations import Severity, Violation

EDGES = "/fields/edges"
PREREQUISITE = "prerequisite"
# How many edges beyond those of the tree touch a node, on average.
CROSS_EDGES = (1.0, 3.0)


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """An edge between two nodes that exist; ``source`` and ``target`` are indices of entries."""

    source: int
    target: int
    kind: str
    pointer: str


def read_edges(index: TreeIndex) -> list[Edge]:
    """The edges whose ends exist, in their order; ends that don't are reported where ids are checked."""
    owners = {entry.node.id: owner for owner, entry in reversed(list(enumerate(index.entries)))}
    rows = index.tree.fields.get("edges")
    found = []
    for place, row in enumerate(rows if isinstance(rows, (list, tuple)) else ()):
        if not isinstance(row, dict):
            continue
        ends = (row.get("from"), row.get("to"))
        source, target = (owners.get(end) if isinstance(end, str) else None for end in ends)
        if source is not None and target is not None:
            kind, pointer = str(row.get("edgeKind")), f"{EDGES}/{place}"
            found.append(Edge(source=source, target=target, kind=kind, pointer=pointer))
    return found


def cross_edges(index: TreeIndex, edges: list[Edge]) -> list[Edge]:
    """The edges that say more than the tree: between two nodes of which neither is the other's parent."""
    parent = [entry.parent for entry in index.entries]
    return [
        edge
        for edge in edges
        if edge.source not in (edge.target, parent[edge.target]) and edge.target != parent[edge.source]
    ]


def components(index: TreeIndex, edges: list[Edge]) -> list[list[int]]:
    """The nodes that hang together by edges and by the tree below the root, each group and all in order."""
    roots = list(range(len(index.entries)))

    def root_of(owner: int) -> int:
        while roots[owner] != owner:
            roots[owner] = roots[roots[owner]]
            owner = roots[owner]
        return owner

    links = [(owner, entry.parent) for owner, entry in enumerate(index.entries) if entry.parent != ROOT]
    for one, other in [*links, *((edge.source, edge.target) for edge in edges)]:
        low, high = sorted((root_of(one), root_of(other)))
        roots[high] = low
    groups: dict[int, list[int]] = {}
    for owner in range(len(roots)):
        groups.setdefault(root_of(owner), []).append(owner)
    return list(groups.values())


def isolated(index: TreeIndex, edges: list[Edge]) -> list[int]:
    """The inner nodes (all, where there is one level) that no edge of theirs or below leads out of."""
    inner = max(1, index.asked_depth - 1)
    leaving: set[int] = set()
    for edge in edges:
        one, other = (_line(index, end) for end in (edge.source, edge.target))
        leaving |= one ^ other
    return [
        owner for owner, entry in enumerate(index.entries) if entry.depth < inner and owner not in leaving
    ]


def _line(index: TreeIndex, owner: int) -> set[int]:
    """A node and all above it."""
    line = set()
    while owner != ROOT:
        line.add(owner)
        owner = index.entries[owner].parent
    return line


def check_edges(index: TreeIndex) -> Iterator[Violation]:
    """Edges join two different nodes, once, into one whole; what comes before has no cycle."""
    edges = read_edges(index)
    seen: dict[tuple[int, int, str], str] = {}
    for edge in edges:
        if edge.source == edge.target:
            message = "The edge leads from a node to itself"
            yield index.violation("edges.self", Severity.ERROR, message, ROOT, edge.pointer)
            continue
        low, high = sorted((edge.source, edge.target))
        earlier = seen.setdefault((low, high, edge.kind), edge.pointer)
        if earlier != edge.pointer:
            message = f"These two are already joined as {edge.kind} at {earlier}"
            yield index.violation("edges.double", Severity.ERROR, message, ROOT, edge.pointer)
    yield from _check_cycle(index, edges)
    yield from _check_whole(index, edges)


def _check_cycle(index: TreeIndex, edges: list[Edge]) -> Iterator[Violation]:
    before: dict[int, list[int]] = {}
    for edge in edges:
        # An edge to itself has been told already, and is easier to find as that.
        if edge.kind == PREREQUISITE and edge.source != edge.target:
            before.setdefault(edge.target, []).append(edge.source)
    lengths: dict[int, int] = {}
    for start in sorted(before):
        cycle = longest_chain(start, before, lengths)
        if cycle:
            names = " → ".join(index.entries[owner].path for owner in reversed(cycle))
            message = f"Each of these comes before the next: {names}"
            pointer = next(
                edge.pointer
                for edge in edges
                if edge.kind == PREREQUISITE and (edge.target, edge.source) == (cycle[0], cycle[1])
            )
            yield index.violation("graph.cycle", Severity.GATE, message, ROOT, pointer)
            return


def _check_whole(index: TreeIndex, edges: list[Edge]) -> Iterator[Violation]:
    first, *others = sorted(components(index, edges), key=len, reverse=True) or [[]]
    for group in others:
        entry = index.entries[group[0]]
        message = f"No edge joins this to the {len(first)} nodes of the rest of the map"
        yield index.violation("edges.apart", Severity.ERROR, message, group[0], entry.pointer)
    low, high = CROSS_EDGES
    mean = 2 * len(cross_edges(index, edges)) / len(index.entries) if index.entries else low
    if not low <= mean <= high:
        rule = "edges.few" if mean < low else "edges.many"
        message = (
            f"{mean:.1f} edges touch a node on average, beside the tree's own; {low:g} to {high:g} are usual"
        )
        yield index.violation(rule, Severity.WARNING, message, ROOT, EDGES)
