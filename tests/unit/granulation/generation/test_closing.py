"""What no single answer can keep: references across parts, and the rules of paths, flows, plots and maps."""

from typing import Any

from aifactory.granulation.generation.closing import Closed, closed
from aifactory.granulation.generation.nodes import every
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Node, NodeState


def node(kind: str, name: str, children: list[Node] | None = None, **fields: Any) -> Node:
    below = tuple(children or ())
    minutes = fields.pop("minutes", None)
    return Node(
        id=name, kind=kind, level=1, ordinal=1, title=f"Title of {name}", summary=f"All that {name} says.",
        minutes=minutes, fields=fields, children=below,
    )  # fmt: skip


def fields_of(made: Closed) -> dict[str, dict[str, Any]]:
    return {one.id: one.fields for one in every(made.nodes)}


def rules_of(made: Closed) -> set[str]:
    return {rule for rule, _ in made.notes}


# Workflows.

ROLES = {"roles": [{"id": "role1", "name": "Editor"}, {"id": "role2", "name": "Printer"}]}


def workflow(*steps: Node, gate: Any = None) -> Closed:
    gate = gate or {"criteria": ["Read by two"], "approver": "role1"}
    phase = node("phase", "p", list(steps), entry="A text is there", gate=gate)
    return closed([phase], ROLES, builtin_specs()["workflow"])


def step(name: str, **fields: Any) -> Node:
    return node("step", name, **{"role": "role2", "outputs": [f"the {name}"], **fields})


def branches(*ends: str, **more: Any) -> dict[str, Any]:
    return {"question": "Good?", "branches": [{"label": f"to {end}", "to": end, **more} for end in ends]}


def test_a_branch_is_rework_where_it_leads_back_and_nowhere_else() -> None:
    made = workflow(step("a"), step("b", decision=branches("a", "c", rework=True)), step("c"))
    back, on = fields_of(made)["b"]["decision"]["branches"]
    assert back["rework"] is True
    assert "rework" not in on
    assert "flow" in rules_of(made)


def test_a_decision_has_two_ways_that_exist_and_leads_on() -> None:
    lost = workflow(step("a"), step("b", decision=branches("nowhere", "c")), step("c"))
    assert "decision" not in fields_of(lost)["b"]
    same = workflow(step("a"), step("b", decision=branches("c", "c")), step("c"))
    assert "decision" not in fields_of(same)["b"]
    last = workflow(step("a"), step("b"), step("c", decision=branches("a", "b")))
    assert "decision" not in fields_of(last)["c"]
    stuck = workflow(step("a"), step("b"), step("c", decision=branches("a", "b")), step("d"))
    assert fields_of(stuck)["d"]["requires"] == ["c"]
    jumped = workflow(step("a", decision=branches("c", "d")), step("b"), step("c"), step("d"))
    assert fields_of(jumped)["b"]["requires"] == ["a"]
    assert "requires" not in fields_of(jumped)["c"]


def test_a_step_requires_only_what_comes_earlier_and_takes_up_what_the_step_before_puts_out() -> None:
    made = fields_of(workflow(step("a", requires=["b"]), step("b", requires=["a", "gone"]), step("c")))
    assert "requires" not in made["a"]
    assert made["b"]["requires"] == ["a"]
    assert (made["b"]["inputs"], made["c"]["inputs"]) == (["the a"], ["the b"])
    own = fields_of(workflow(step("a"), step("b", inputs=["a plan"])))
    assert own["b"]["inputs"] == ["a plan"]


def test_what_is_required_and_was_not_said_comes_from_the_node_and_says_so() -> None:
    made = workflow(step("a", role="role9"), step("b", outputs=[]), gate={"criteria": []})
    fields = fields_of(made)
    assert fields["a"]["role"] == "role1"
    assert fields["b"]["outputs"] == ["All that b says."]
    assert fields["p"]["gate"] == {"criteria": ["All that p says."], "approver": "role1"}
    states = {one.id: one.state for one in every(made.nodes)}
    assert set(states.values()) == {NodeState.REPAIRED}
    assert "schema.required" in rules_of(made)


def test_roles_that_nobody_has_are_left_out() -> None:
    made = workflow(step("a"), step("b", role="role1"), gate={"criteria": ["Read"], "approver": "role1"})
    assert [row["id"] for row in made.fields["roles"]] == ["role1", "role2"]
    alone = workflow(step("a", role="role1"), step("b", role="role1"))
    assert [row["id"] for row in alone.fields["roles"]] == ["role1"]
    assert "ids.unused" in rules_of(alone)


# Plots.


def novel(*scenes: dict[str, Any], **fields: Any) -> Closed:
    root = {
        "cast": [{"id": f"character{at}", "name": "N", "role": "r"} for at in range(1, 5)],
        "places": [{"id": "place1", "name": "Pier"}],
        "threads": [{"id": "thread1"}, {"id": "thread2"}],
        **fields,
    }
    usual = {"place": "place1", "cast": ["character1"], "words": 1_000}
    made = [node("scene", f"s{at}", **{**usual, **own}) for at, own in enumerate(scenes)]
    chapter = node("chapter", "c", made, pov="character2")
    act = node("act", "a", [chapter], purpose="Begin")
    return closed([act], root, builtin_specs()["novel"])


def test_every_thread_is_opened_once_and_closed_once_later() -> None:
    made = fields_of(
        novel(
            {"closes": ["thread1", "thread2"]},
            {"opens": ["thread1"]},
            {"opens": ["thread1"], "closes": ["thread1"]},
            {"closes": ["thread1"]},
            {},
        )
    )
    opened = {thread: at for at in range(5) for thread in made[f"s{at}"].get("opens", ())}
    shut = {thread: at for at in range(5) for thread in made[f"s{at}"].get("closes", ())}
    assert opened == {"thread1": 1, "thread2": 1}
    assert shut == {"thread1": 3, "thread2": 4}


def test_the_teller_is_in_the_chapter_and_who_has_no_part_is_left_out_of_a_cast_that_is_large_enough() -> (
    None
):
    made = novel({}, {"cast": ["character1", "character9"]})
    assert fields_of(made)["s0"]["cast"] == ["character2", "character1"]
    assert fields_of(made)["s1"]["cast"] == ["character1"]
    assert [row["id"] for row in made.fields["cast"]] == ["character1", "character2", "character4"]


def test_the_words_of_scenes_add_up_to_the_target_or_to_a_round_number() -> None:
    free = novel({"words": 730}, {"words": 1_204}, {"words": 10**9})
    words = [fields_of(free)[f"s{at}"]["words"] for at in range(3)]
    assert sum(words) == free.fields["targetWords"] == 21_900
    assert words[0] < words[1] < words[2] <= 20_000
    bound = novel({"words": 700}, {"words": 1_400}, targetWords=6_300)
    assert [fields_of(bound)[f"s{at}"]["words"] for at in range(2)] == [2_100, 4_200]


# Paths.


def test_skills_and_the_path_rise_and_promise_what_is_reached() -> None:
    skills = [
        node("skill", f"k{at}", **{"from": start, "to": end, "evidence": "A finished list"})
        for at, (start, end) in enumerate([(2, 2), (5, 5), (1, 3), (4, 0)])
    ]
    stone = node("milestone", "m", skills, outcome="A list of all of it", weeks=1.0, minutes=120)
    root = {"goal": "Lists that hold", "startLevel": 4, "targetLevel": 2, "hoursPerWeek": 2.0}
    made = closed([stone], root, builtin_specs()["learning_path"])
    rises = [(own["from"], own["to"]) for name, own in fields_of(made).items() if name != "m"]
    assert rises == [(2, 3), (4, 5), (1, 3), (4, 5)]
    assert (made.fields["startLevel"], made.fields["targetLevel"]) == (4, 5)
    short = node("milestone", "m", skills[2:3], weeks=1.0)
    low = closed([short], {**root, "startLevel": 1, "targetLevel": 5}, builtin_specs()["learning_path"])
    assert (low.fields["startLevel"], low.fields["targetLevel"]) == (1, 3)


def test_a_milestone_has_the_weeks_that_its_work_needs() -> None:
    root = {"goal": "A goal to reach", "startLevel": 0, "targetLevel": 2, "hoursPerWeek": 2.0}
    stones = [node("milestone", f"m{at}", outcome="An outcome", weeks=weeks, minutes=480) for at, weeks in
              enumerate([1.0, 4.5, 40.0])]  # fmt: skip
    made = fields_of(closed(stones, root, builtin_specs()["learning_path"]))
    assert [made[f"m{at}"]["weeks"] for at in range(3)] == [5.0, 4.5, 5.0]


# Maps.


def mapped(*edges: tuple[str, str, str]) -> list[tuple[str, str, str]]:
    rows = [{"from": one, "to": other, "edgeKind": kind} for one, other, kind in edges]
    nodes = [
        node("concept", name, [node("subconcept", f"{name}{at}") for at in range(2)], importance=1)
        for name in "abc"
    ]
    made = closed(nodes, {"edges": rows}, builtin_specs()["knowledge_map"])
    return [(one["from"], one["to"], one["edgeKind"]) for one in made.fields["edges"]]


def test_edges_join_two_nodes_once_and_the_parts_into_one_whole() -> None:
    kept = mapped(
        ("a0", "b0", "related"), ("b0", "a0", "related"), ("a", "a", "related"), ("b1", "x", "related")
    )
    assert kept[0] == ("a0", "b0", "related")
    assert len(kept) == 2
    assert kept[1][1:] == ("c", "related")
    assert {one for one, *_ in mapped()} <= {"a", "b"}
    assert len(mapped()) == 2


def test_of_a_circle_of_prerequisites_the_one_against_the_order_goes() -> None:
    circle = [("c0", "a0", "prerequisite"), ("a0", "b0", "prerequisite"), ("b0", "c0", "prerequisite")]
    assert mapped(*circle) == circle[1:]
    backward = [("c0", "a0", "prerequisite"), ("a0", "b0", "prerequisite")]
    assert mapped(*backward) == backward
