import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, make
from tests.unit.granulation.offline.sound import all_cited, score_of

from aifactory.granulation.offline.prerequisites import in_order
from aifactory.granulation.tree import walk

SHAPE = (4, 3, 2)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_makes_a_sound_path_whose_skills_rise_and_whose_weeks_hold_the_work(name: str) -> None:
    text, tree = make(name, "learning_path", *SHAPE)
    assert score_of(tree, text, SHAPE) >= 70
    assert all_cited(tree)
    skills = [node for _, node in walk(tree) if node.kind == "skill"]
    assert all(skill.fields["to"] > skill.fields["from"] for skill in skills)
    assert tree.fields["startLevel"] == min(skill.fields["from"] for skill in skills)
    assert tree.fields["targetLevel"] == max(skill.fields["to"] for skill in skills)
    for milestone in tree.nodes:
        room = milestone.fields["weeks"] * tree.fields["hoursPerWeek"] * 60
        assert 0 < (milestone.minutes or 0) <= room


def test_what_a_skill_requires_stands_before_it() -> None:
    _, tree = make("drinking-water.md", "learning_path", *SHAPE)
    order = {node.id: at for at, (_, node) in enumerate(walk(tree))}
    required = [
        (order[name], order[node.id]) for _, node in walk(tree) for name in node.fields.get("requires", ())
    ]
    assert required
    assert all(earlier < later for earlier, later in required)


def test_parts_keep_the_source_order_but_for_what_they_build_on() -> None:
    assert in_order("abc", [{}, {}, {}]) == ["a", "b", "c"]
    assert in_order("abc", [{2: 5}, {}, {}]) == ["b", "c", "a"]
    # In a circle the one that leans least on the others goes first.
    assert in_order("abc", [{1: 9}, {2: 9}, {0: 6}]) == ["c", "b", "a"]


def test_somebody_who_is_not_a_beginner_starts_higher() -> None:
    _, tree = make("sourdough.md", "learning_path", *SHAPE, level="intermediate")
    assert tree.fields["startLevel"] == 2 < tree.fields["targetLevel"]
