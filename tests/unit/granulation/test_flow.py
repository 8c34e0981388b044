"""What is found wrong with a workflow, and what its score makes of it."""

import pytest
from tests.unit.granulation.changes import Plain, at, findings, sub_score
from tests.unit.granulation.trees_workflow import workflow_tree

from aifactory.granulation.violations import Severity


def branches(plain: Plain, name: str) -> list[Plain]:
    return at(plain, name)["fields"]["decision"]["branches"]


def strand(plain: Plain) -> None:
    """A second way into the workflow, and a step that only this one leads to."""
    branches(plain, "check")[0]["to"] = "send"
    at(plain, "edit")["fields"].pop("requires", None)
    at(plain, "set")["fields"]["requires"] = ["edit"]


CASES = [
    ("flow.start", Severity.ERROR, strand, "/nodes/1/children/2"),
    ("flow.unreachable", Severity.ERROR, strand, "/nodes/2/children/0/fields/requires"),
    (
        "flow.end",
        Severity.ERROR,
        lambda p: branches(p, "sign")[0].update(to="draft", rework=True),
        "/nodes/2/children/1",
    ),
    (
        "flow.rework",
        Severity.WARNING,
        lambda p: branches(p, "check")[1].update(to="set"),
        "/nodes/1/children/1/fields/decision/branches/1",
    ),
    (
        "flow.input_late",
        Severity.ERROR,
        lambda p: at(p, "agree")["fields"]["inputs"].append("The proof"),
        "/nodes/0/children/1/fields/inputs/1",
    ),
    (
        "graph.cycle",
        Severity.GATE,
        lambda p: branches(p, "check")[1].pop("rework"),
        "/nodes/1/children/1/fields/decision/branches/1",
    ),
    (
        "graph.cycle",
        Severity.GATE,
        lambda p: (
            at(p, "draft")["fields"].update(requires=["send", "set"])
            or at(p, "send")["fields"].update(requires=["draft"])
        ),
        "/nodes/1/children/0/fields/requires",
    ),
    (
        "ids.unused",
        Severity.WARNING,
        lambda p: p["fields"]["roles"].append({"id": "poet", "name": "Poet"}),
        "/fields/roles/4",
    ),
    (
        "ids.closed",
        Severity.GATE,
        lambda p: at(p, "p1")["fields"]["gate"].update(approver="ghost"),
        "/nodes/0/fields/gate/approver",
    ),
    ("load.minutes", Severity.WARNING, lambda p: at(p, "set").pop("minutes"), "/nodes/2/children/0/minutes"),
]


@pytest.mark.parametrize(("rule", "severity", "change", "pointer"), CASES)
def test_a_broken_rule_is_found_in_a_workflow_at_its_place(rule, severity, change, pointer):
    assert findings(workflow_tree()) == []
    assert (rule, severity, pointer) in findings(workflow_tree(), change)


def test_a_step_that_requires_nothing_follows_the_one_before_it():
    def change(plain: Plain) -> None:
        for name in ("agree", "draft", "check", "set", "sign"):
            at(plain, name)["fields"].pop("requires")

    assert findings(workflow_tree(), change) == []
    assert sub_score(workflow_tree(), "order", change) == 1


def test_steps_that_go_round_without_a_way_out_are_told_once():
    def change(plain: Plain) -> None:
        for branch in branches(plain, "sign"):
            branch.update(to="draft", rework=True)
        plain["nodes"][2]["children"].pop()

    found = [one for one in findings(workflow_tree(), change) if one[0].startswith("flow.")]
    assert found == [("flow.end", Severity.ERROR, "/nodes/2/children/1")]


def test_roles_without_work_and_outputs_that_nobody_takes_cost_closure():
    def idle(plain: Plain) -> None:
        plain["fields"]["roles"] += [{"id": f"r{n}", "name": f"Idle {n}"} for n in range(4)]

    def unlinked(plain: Plain) -> None:
        for name in ("agree", "draft", "check", "edit", "set", "sign", "send"):
            at(plain, name)["fields"]["inputs"] = ["something else"]

    assert sub_score(workflow_tree(), "alignment") == 1
    assert sub_score(workflow_tree(), "alignment", idle) == 0.75
    assert sub_score(workflow_tree(), "alignment", unlinked) == 0.5
    assert sub_score(workflow_tree(), "order", strand) < sub_score(workflow_tree(), "order") == 1
    assert sub_score(workflow_tree(), "form", strand) < sub_score(workflow_tree(), "form")


@pytest.mark.parametrize(
    "value", [None, 5, "x", [], {}, [[]], [{"to": 1}], {"branches": [[], {"to": []}, 3]}]
)
@pytest.mark.parametrize("name", ["decision", "requires", "inputs", "outputs"])
def test_fields_of_any_shape_are_checked_without_a_crash(name, value):
    findings(workflow_tree(), lambda plain: at(plain, "check")["fields"].update({name: value}))


def test_a_step_that_stands_before_what_it_requires_costs_order():
    def early(plain: Plain) -> None:
        at(plain, "sign")["fields"]["inputs"] = []
        plain["nodes"][2]["children"][:2] = reversed(plain["nodes"][2]["children"][:2])

    # Of five requirements and eight steps one each is not met.
    assert sub_score(workflow_tree(), "order", early) == pytest.approx(11 / 13)
