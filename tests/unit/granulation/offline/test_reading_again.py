"""What a teacher marked in thirty things made of real documents must not come back."""

import pytest
from tests.unit.granulation.offline.samples import brief

from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.choosing import Chooser
from aifactory.granulation.offline.clauses import capped
from aifactory.granulation.offline.commands import Command, output_of, read_command, title_of_command
from aifactory.granulation.offline.distractors import answers_beside
from aifactory.granulation.offline.facts import Fact, facts_of
from aifactory.granulation.offline.figures import figure_in
from aifactory.granulation.offline.gaps import word_gaps
from aifactory.granulation.offline.items import drafts_of
from aifactory.granulation.offline.objectives import subject_of, topic_of
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.phrases import is_telling
from aifactory.granulation.offline.procedures import name_of
from aifactory.granulation.offline.quotable import is_aside, is_plain
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.sentences import clean, without_connective
from aifactory.granulation.offline.sequences import ordered_steps
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import opening_points, rank_lines
from aifactory.granulation.offline.titles import Titles
from aifactory.granulation.tree import ItemKind

SHELL = """# The shell

Welcome to the manual of the shell, which you will hopefully like to read!

## Editing

Note that node-gyp is not used to build the Node.js program itself on any of the systems.
The editing facilities include a feature that completes the names of commands and of files.
The enable builtin allows other builtin commands to be selectively switched on by the user.
The shell allows users to forget about the jobs that run in the background of a session.
The shell allows the primary prompt to be customized by a number of special characters.
The history list may be saved across the sessions of one user on the same machine.
Aliases may be used to create a mnemonic for a command with all of its arguments.
The directory stack may be changed to any directory that was visited in the session.
Array variables may be assigned to with a compound syntax in a single statement.
A stream is an abstract interface for working with data that arrives bit by bit.
The precise terms and conditions for copying and for distribution follow in the licence file.
The binding.gyp file describes how the native module is built by the build tool of Node.js.
A record of the IPv4 kind carries an address, and one of the IPv6 kind carries a longer address.

## Running

If the `<folder>` sits outside the root of your project, the packages in it are not installed at all.
If there are no versions available for the current set of packages, the command will end with an error.
Removes the dependency from the file of the package when used with the remove command.
The key question is how to represent a code so that you can decode it fast enough.
When the omit list includes the word dev, npm will leave out the packages for development.
If compression matters more than speed, deflate() attempts a second search of the whole window.
The argument must start with a protocol and a colon in order to be read as an address.
Aho A., Ullman J., “Principles of the design”, Transactions on Compilers, Vol. 23, No. 3, pp. 337-343.

## 6. Conveying Other Forms

You may convey the work in one of these ways:

a) Convey the object code in a physical product together with the source on a medium.
b) Convey the object code with a written offer that is valid for three years or more.
c) Convey the object code by a server from which the source can be fetched as well.

## Installing

1. Copy the program to the right folder of the machine.
2. Copy the configuration file to the folder for settings.
3. Edit the configuration file with your favourite editor.
4. You are finished.
"""


def study_of(text: str) -> Study:
    return Study(read_source(text, format="markdown", name="text.md"), text, brief("course", 3, 2, 2))


STUDY = study_of(SHELL)


def line(text: str) -> Line:
    return Line(0, 0, len(text), 0, 0, "s", text, text, (), text.count(" ") + 1, True, True)


def fact(question: str) -> Fact:
    return next(one for one in facts_of(STUDY) if one.question == question)


def test_what_the_whole_source_is_about_is_not_asked_for_one_of_its_many_deeds() -> None:
    asked = {one.question for one in facts_of(STUDY)}
    assert "What does the shell allow?" not in asked
    assert "What does the enable builtin allow?" in asked


def test_a_clause_without_a_subject_makes_no_question() -> None:
    asked = " ".join(one.question for one in facts_of(STUDY))
    assert "used with the remove command" not in asked
    assert "key question" not in asked
    assert "no versions available" in asked
    assert "sits outside" not in asked


def test_a_name_in_code_keeps_its_small_letter_and_its_angle_brackets() -> None:
    assert capped("deflate() attempts a second search") == "deflate() attempts a second search"
    assert capped("npm will leave it out") == "npm will leave it out"
    assert capped("the command will error") == "The command will error"
    assert fact("What happens if compression matters more than speed?").answer.startswith("deflate() ")
    assert clean("If `<folder>` sits outside, see `<folder>`.") == "If <folder> sits outside, see <folder>."
    assert clean("A <b>bold</b> word") == "A bold word"


def test_wrong_answers_do_not_differ_by_it_and_they() -> None:
    key = fact("What may be done with aliases?")
    assert key.answer.startswith("They ")
    assert all(other.answer.startswith("They ") for other in answers_beside(STUDY, key))


def test_choices_are_not_put_in_order_and_the_end_is_no_step() -> None:
    lists = STUDY.reading.procedures
    named = {name_of(STUDY, one, "The shell"): ordered_steps(STUDY, one) for one in lists}
    assert not any("6." in name for name in named)
    kept = [steps for steps in named.values() if steps]
    assert [[one.told.split()[0] for one in steps] for steps in kept] == [["Copy", "Copy", "Edit"]]
    orders = [one for one in drafts_of(STUDY, 0, len(STUDY.lines)) if one.kind is ItemKind.ORDER]
    assert [len(one.steps) for one in orders] == [3]


def test_half_of_a_name_with_a_dot_or_a_figure_is_no_phrase() -> None:
    shown = {phrase.text.lower() for phrase in STUDY.book.best(0, len(STUDY.lines), limit=200)}
    assert shown.isdisjoint({"gyp", "gyp file", "node", "ipv", "js"})
    assert "address" in shown


def test_a_word_that_could_stand_anywhere_is_no_gap_and_no_term_of_an_objective() -> None:
    assert not is_telling("terms", STUDY.lexicon)
    assert not is_telling("precise terms", STUDY.lexicon)
    assert not is_telling("compiled", STUDY.lexicon)
    assert is_telling("history list", STUDY.lexicon)
    gaps = {gap.name for gap in word_gaps(STUDY, 0, len(STUDY.lines))}
    assert gaps.isdisjoint({"terms", "precise terms", "file", "command", "version"})


def test_what_is_said_to_the_reader_is_told_last_and_never_asked() -> None:
    asides = [one for one in STUDY.lines if is_aside(one.told)]
    assert [one.told.split()[0] for one in asides] == ["Welcome"]
    assert is_aside("For more details, just read through the sample configuration file.")
    assert not is_aside("For more than two users, a lock is taken.")
    assert not is_plain(asides[0])
    assert opening_points(STUDY, len(STUDY.lines))[0].line not in asides
    scores = {one.index: score for score, one in rank_lines(STUDY, 0, 8)}
    assert scores[asides[0].index] == min(scores.values())
    reference = next(one for one in STUDY.lines if "Vol. 23" in one.told)
    assert not is_plain(reference)


def test_note_that_is_no_part_of_what_is_noted() -> None:
    assert without_connective("Note that the file is read once.") == "The file is read once."
    assert without_connective("NOTE: The flag has no meaning.") == "The flag has no meaning."
    assert without_connective("Note the time at which it starts.") == "Note the time at which it starts."


@pytest.mark.parametrize(
    "told",
    [
        "Type: Boolean",
        "Note that changing a range within the same version updates the lockfile.",
        "The argument must start with a protocol and a colon.",
        "Pull requests typically involve changes to a few places of the repository.",
    ],
)
def test_a_setting_and_a_note_are_no_steps_of_a_workflow(told: str) -> None:
    assert read_command(line(told)) is None


def test_the_title_of_a_step_says_what_to_do_and_what_not() -> None:
    def title(told: str) -> str:
        command = read_command(line(told))
        assert isinstance(command, Command)
        return title_of_command(command)

    assert title("To use the native compiler on this machine, install the tools for it.") == (
        "Install the tools for it"
    )
    assert title("Never leave the oven unwatched.").startswith("Never leave")
    denied = read_command(line("Do not send a patch to the main project."))
    assert denied is not None
    assert output_of(STUDY, denied) == "“Do not send a patch to the main project” kept to"


def test_many_headings_are_told_by_two_of_them_and_a_place_is_no_subject() -> None:
    def merged(*names: str) -> Chunk:
        return Chunk("", 0, 4, tuple(Chunk(name, at, at + 1) for at, name in enumerate(names)), merged=True)

    many = merged("Brace expansion", "Quoting", "Arrays", "Prompts")
    assert topic_of(STUDY, many, "Brace expansion, quoting and 2 more") == (
        "brace expansion, quoting and two related topics"
    )
    places = merged("On Unix", "On macOS")
    assert subject_of(STUDY, places, "On Unix and on macOS") == "the main points of “On Unix and on macOS”"


def test_a_defined_name_has_the_article_of_its_definition() -> None:
    assert with_article(STUDY, "stream") == "a stream"


def test_a_statement_to_judge_is_true_as_said_or_joined_to_another_subject() -> None:
    drafts = [one for one in drafts_of(STUDY, 0, len(STUDY.lines)) if one.kind is ItemKind.TRUE_FALSE]
    assert {one.answer for one in drafts} == {True, False}
    told = {one.told for one in STUDY.lines}
    for one in drafts:
        assert one.feedback.startswith("True." if one.answer else "False: ")
        assert not (one.answer is False and one.stem in told)


def test_gaps_come_last_and_statements_to_judge_before_them() -> None:
    drafts = drafts_of(STUDY, 0, len(STUDY.lines))
    few = Chooser("en").choose(drafts, 10, per_kind=4, least=4)
    kinds = [one.kind for one in few]
    assert ItemKind.TRUE_FALSE in kinds
    assert kinds.count(ItemKind.CLOZE) <= 0.4 * len(kinds)
    assert kinds.count(ItemKind.TRUE_FALSE) <= 0.3 * len(kinds) + 1


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("A RC of 4 indicates an unknown algorithm in the status line of the program.", None),
        ("We are migrating to an ISO 8601 format in all of the lines that hold a date.", None),
        ("Example: 'Verified 10 messages signed by the same key in the past days.'", None),
        ("The lazy search is not performed at level 1 of the fast modes.", None),
        ("The length of each record is 40 bytes in all versions of the file.", 40),
    ],
)
def test_a_number_that_belongs_to_a_name_or_an_example_is_no_figure_to_ask_for(
    sentence: str, value: float | None
) -> None:
    found = figure_in(sentence)
    assert (found.value if found else None) == value


def test_what_was_done_in_a_version_is_nothing_to_do() -> None:
    entries = "# Changes\n\n## 1.0.2 (November 16th, 2026)\n\n{}\n\n## Use\n\n{}\n"
    told = "Raise a neater error when the needed packages of the program are not installed."
    plain = "The program is small and quick. " * 15
    texts = (entries.format(told, plain), entries.format(plain, told))
    logged, said = (facts_of(study_of(text)) for text in texts)
    assert [one.question for one in logged] == []
    assert [one.question.split(" when ")[0] for one in said] == ["What should be done"]


def test_dated_versions_are_told_by_the_first_and_the_last() -> None:
    names = ("2.0.0 (November 16th, 2026)", "1.9.0 (October 21st, 2026)", "1.8.0 (May 2nd, 2026)")
    merged = Chunk("", 0, 4, tuple(Chunk(name, at, at + 1) for at, name in enumerate(names)), merged=True)
    title = Titles(STUDY).of(merged, [], "Changes")
    assert title == "Changes: 2.0.0 (November 16th, 2026) to 1.8.0 (May 2nd, 2026)"
