"""What is found wrong with a map's edges, and what its score makes of it."""

import itertools

import msgspec
import pytest
from tests.unit.granulation.changes import Plain, findings, sub_score
from tests.unit.granulation.trees_map import map_tree

from aifactory.granulation.sizes import Counts
from aifactory.granulation.violations import Severity


def edges(plain: Plain) -> list[Plain]:
    return plain["fields"]["edges"]


def edge(start: str, end: str, kind: str = "related") -> Plain:
    return {"from": start, "to": end, "edgeKind": kind, "weight": 0.5}


def everything_joined(plain: Plain) -> None:
    names = ["c1", "c1l1", "c1l2", "c2", "c2l1", "c2l2", "c3", "c3l1", "c4", "c4l1", "c4l2", "c4l3"]
    edges(plain).extend(edge(one, other, "contrasts") for one, other in itertools.combinations(names, 2))


def cut_off(plain: Plain) -> None:
    """Take away every edge of the last concept's branch."""
    plain["fields"]["edges"] = [
        one for one in edges(plain) if not (one["from"].startswith("c4") or one["to"].startswith("c4"))
    ]


CASES = [
    ("edges.self", Severity.ERROR, lambda p: edges(p).append(edge("c1", "c1")), "/fields/edges/19"),
    ("edges.double", Severity.ERROR, lambda p: edges(p).append(edge("c2l1", "c1l1")), "/fields/edges/19"),
    ("edges.apart", Severity.ERROR, cut_off, "/nodes/3"),
    ("edges.few", Severity.WARNING, lambda p: edges(p).__delitem__(slice(3, 12)), "/fields/edges"),
    ("edges.many", Severity.WARNING, everything_joined, "/fields/edges"),
    (
        "graph.cycle",
        Severity.GATE,
        lambda p: edges(p).append(edge("c4", "c1", "prerequisite")),
        "/fields/edges/19",
    ),
    ("ids.closed", Severity.GATE, lambda p: edges(p)[0].update(to="ghost"), "/fields/edges/0/to"),
    (
        "schema.choice",
        Severity.GATE,
        lambda p: edges(p)[0].update(edgeKind="likes"),
        "/fields/edges/0/edgeKind",
    ),
]


@pytest.mark.parametrize(("rule", "severity", "change", "pointer"), CASES)
def test_a_broken_rule_is_found_in_a_map_at_its_place(rule, severity, change, pointer):
    assert findings(map_tree()) == []
    assert (rule, severity, pointer) in findings(map_tree(), change)


def test_edges_of_the_tree_itself_are_no_cross_edges_and_other_kinds_may_run_both_ways():
    def change(plain: Plain) -> None:
        plain["fields"]["edges"] = [*edges(plain)[:10], edge("c1l1", "c1", "part_of")]
        edges(plain)[0]["edgeKind"] = "contrasts"
        edges(plain).append(edge("c2", "c1", "applies_to"))

    assert {rule for rule, _, _ in findings(map_tree(), change)} == {"edges.few"}


def test_one_branch_apart_costs_closure_and_prerequisites_that_come_late_cost_order():
    def late(plain: Plain) -> None:
        for one in edges(plain):
            if one["edgeKind"] == "prerequisite" and one["from"] in ("c1", "c2", "c3"):
                one["from"], one["to"] = one["to"], one["from"]

    def none(plain: Plain) -> None:
        plain["fields"]["edges"] = [one for one in edges(plain) if one["edgeKind"] != "prerequisite"]

    whole, apart = sub_score(map_tree(), "alignment"), sub_score(map_tree(), "alignment", cut_off)
    assert whole == 1
    # A quarter of the inner nodes lead nowhere, and a quarter of all nodes hang loose.
    assert apart == pytest.approx(0.75, abs=0.03)
    assert sub_score(map_tree(), "order") == 1
    total = sum(one["edgeKind"] == "prerequisite" for one in map_tree().fields["edges"])
    assert sub_score(map_tree(), "order", late) == pytest.approx(1 - 3 / total)
    assert sub_score(map_tree(), "order", none) == 0
    assert sub_score(map_tree(), "form", lambda p: edges(p).append(edge("c1", "c1"))) < 1


def test_a_map_of_one_level_is_joined_by_its_edges_alone():
    tree = map_tree()
    flat = [msgspec.structs.replace(node, children=()) for node in tree.nodes]
    flat_tree = msgspec.structs.replace(
        tree, depth=1, nodes=tuple(flat), fields={"edges": [edge(f"c{n}", f"c{n + 1}") for n in (1, 2, 3)]}
    )
    assert findings(flat_tree, counts=Counts(per_level=(4,))) == []
    assert sub_score(flat_tree, "alignment", counts=Counts(per_level=(4,))) == 1


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [[]], [{"from": 1}], [{"from": [], "to": {}}]])
def test_edges_of_any_shape_are_refused_without_a_crash(value):
    assert "gate" in {
        severity for _, severity, _ in findings(map_tree(), lambda p: p["fields"].update(edges=value))
    } or (value == [])
