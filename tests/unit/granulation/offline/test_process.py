import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, brief, example, make
from tests.unit.granulation.offline.sound import all_cited, score_of

from aifactory.granulation.offline.commands import minutes_in, question_of, read_command
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.tree import Tree, walk

SHAPE = (4, 4, 2)
RELEASE = """# Releasing a version

## Prepare

1. Create a branch for the release from the main branch.
2. Update the version number in the project file.
3. Write the changelog from the merged changes.
4. The developer must run the test suite on the branch.
5. Repeat the test run until all tests pass.

The reviewer must approve the branch within 2 days. The changelog must name every change that users can see.

## Publish

1. Build the package on the build server.
2. If the package is larger than 10 megabytes, remove the unused files.
3. The reviewer should check the signature of the package.
4. Upload the package to the registry.
5. Send the announcement to the mailing list.

The upload takes 15 minutes at least. The registry should show the new version at once.
"""


def line(text: str, kind: str = "s") -> Line:
    return Line(0, 0, len(text), 0, 0, kind, text, text, (), text.count(" ") + 1, True, True)


def made(text: str, *per_level: int) -> Tree:
    digest = read_source(text, format="markdown", name="text.md")
    return generate(digest, text, brief("workflow", *per_level))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_makes_a_sound_workflow_or_says_why_not(name: str) -> None:
    text, tree = make(name, "workflow", *SHAPE)
    if tree.nodes:
        assert score_of(tree, text, SHAPE) >= 60
        assert all_cited(tree)
    else:
        assert "too few steps" in tree.fields["reason"]


def test_steps_are_done_by_whom_the_text_names_and_take_up_what_earlier_ones_leave() -> None:
    tree = made(RELEASE, 2, 8)
    assert score_of(tree, RELEASE, (2, 8)) >= 60
    names = {role["id"]: role["name"] for role in tree.fields["roles"]}
    assert set(names.values()) == {"Developer", "Reviewer"}
    steps = [node for _, node in walk(tree) if node.kind == "step"]
    doers = {step.title: names[step.fields["role"]] for step in steps}
    assert next(doers[title] for title in doers if "signature" in title) == "Reviewer"
    outputs = [output for step in steps for output in step.fields["outputs"]]
    assert all(step.fields["inputs"][0] in outputs for step in steps[1:])
    assert steps[0].fields["outputs"] == ["Branch created"]


def test_a_condition_becomes_a_decision_and_until_leads_back() -> None:
    steps = [node for _, node in walk(made(RELEASE, 2, 8)) if node.kind == "step"]
    at = {step.title.split()[0]: step for step in steps}
    again = at["Repeat"].fields["decision"]
    assert again["branches"][1] | {"label": ""} == {"label": "", "to": at["Repeat"].id, "rework": True}
    whether = at["Build"].fields["decision"]
    assert whether["question"] == "Is the package larger than 10 megabytes?"
    assert [branch["label"] for branch in whether["branches"]] == ["Yes", "No"]
    assert whether["branches"][0]["to"] == at["Remove"].id


def test_a_text_without_commands_makes_no_workflow_and_says_so() -> None:
    tides = example("tides.txt")
    tree = generate(read_source(tides, format="text", name="tides.txt"), tides, brief("workflow", 4, 4))
    assert tree.nodes == ()
    assert "numbered steps or as commands" in tree.fields["reason"]


@pytest.mark.parametrize(
    ("text", "verb", "test"),
    [
        ("Knead the dough until it is smooth.", "knead", "it is smooth"),
        ("If the tank leaks, close the valve.", "close", "the tank leaks"),
        ("Then, stir the mixture for 10 minutes.", "stir", ""),
        ("The operator must check the gauge.", "check", ""),
        ("Water is a liquid that everybody knows.", None, None),
        ("Work is force times distance, says the book.", None, None),
    ],
)
def test_a_command_is_told_from_a_statement(text: str, verb: str | None, test: str | None) -> None:
    found = read_command(line(text))
    assert (found.verb if found else None, found.test if found else None) == (verb, test)


@pytest.mark.parametrize(
    ("condition", "question"),
    [
        ("the dough is too wet", "Is the dough too wet?"),
        ("The test has failed", "Has the test failed?"),
        ("nobody answers", "Is it so that nobody answers?"),
    ],
)
def test_a_condition_is_asked_as_a_question(condition: str, question: str) -> None:
    assert question_of(condition) == question


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("Wait for 20 to 30 minutes.", 30), ("Let it rest for 2 hours.", 120), ("Wait a while for it.", None)],
)
def test_the_time_that_a_step_takes_is_read_from_it(text: str, minutes: int | None) -> None:
    assert minutes_in(line(text)) == minutes
