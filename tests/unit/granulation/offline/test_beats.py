import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, brief, make
from tests.unit.granulation.offline.sound import score_of

from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.tree import leaves, walk

SHAPE = (3, 4, 2)
STORY = """Each day Marta walked down to the harbour with a net. The old boat of Captain Jonas lay there.
One day Jonas said that the boat would not sail again. Nobody in the town believed him, and Marta laughed.
In the evening Marta asked her brother Tobias for help. Tobias thought about it while he mended a net in the
kitchen.
The engine of the boat had been broken since spring. Then Tobias said that the engine needed one part from
the city.
At night Jonas went to the harbour alone. He heard Marta and Tobias on the boat, and in the kitchen a light
was on.
They worked until morning on the engine. In the end Marta said that the boat could sail, and Jonas smiled.
The town came to the harbour to see it. Later Tobias told the story of the engine in every kitchen of the
town.
"""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_makes_a_sound_beat_sheet_that_says_what_it_is(name: str) -> None:
    text, tree = make(name, "novel", *SHAPE)
    assert score_of(tree, text, SHAPE) >= 60
    assert tree.summary.startswith("A beat sheet to write from, not a plot")
    scenes = [node for _, node in leaves(tree)]
    assert len(scenes) == 24
    assert sum(scene.fields["words"] for scene in scenes) == tree.fields["targetWords"]
    assert {one["name"] for one in tree.fields["cast"]} >= {"The newcomer", "The rival"}


@pytest.mark.parametrize("shape", [(3, 3, 2), (4, 6, 3), (5, 12, 5)])
def test_threads_are_opened_before_they_are_closed_and_nobody_stands_idle(shape: tuple[int, ...]) -> None:
    _, tree = make("tides.txt", "novel", *shape)
    scenes = [node for _, node in leaves(tree)]
    opened = {name: at for at, scene in enumerate(scenes) for name in scene.fields.get("opens", ())}
    closed = {name: at for at, scene in enumerate(scenes) for name in scene.fields.get("closes", ())}
    assert opened.keys() == closed.keys() == {thread["id"] for thread in tree.fields["threads"]}
    assert all(opened[name] < closed[name] for name in opened)
    assert {name for scene in scenes for name in scene.fields["cast"]} == {
        one["id"] for one in tree.fields["cast"]
    }
    assert {scene.fields["place"] for scene in scenes} == {place["id"] for place in tree.fields["places"]}
    for _, chapter in walk(tree):
        if chapter.kind == "chapter":
            assert all(chapter.fields["pov"] in scene.fields["cast"] for scene in chapter.children)


def test_the_people_and_places_of_a_story_are_its_cast() -> None:
    tree = generate(read_source(STORY, format="text", name="boat.txt"), STORY, brief("novel", 3, 3, 2))
    assert {one["name"] for one in tree.fields["cast"]} == {"Marta", "Jonas", "Tobias"}
    assert "The harbour" in {place["name"] for place in tree.fields["places"]}
