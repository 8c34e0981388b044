"""What a teacher would stumble over in the things made of a source must not come back."""

import re
from collections import Counter

import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, brief, make

from aifactory.granulation.offline.activities import tasks_of
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.distractors import answers_beside
from aifactory.granulation.offline.facts import Fact, facts_of
from aifactory.granulation.offline.gaps import word_gaps
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.objectives import aims_of
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.quotable import is_quotable
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import key_points, shorten
from aifactory.granulation.offline.titles import Titles, fit_title, in_sentence
from aifactory.granulation.sizes import resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Bloom, Difficulty, Item, ItemKind, Node, Tree, walk
from aifactory.granulation.validation import Severity, validate

STREAMS = """# Streams

## Buffering

The node:stream module is useful for creating new types of stream instances in a running program.
The amount of data potentially buffered depends on the highWaterMark option passed into the constructor.
A transform stream is a duplex stream whose output is computed in some way from its input.
If the readable stream emits an error during processing, the writable destination is not closed automatically.
When the internal buffer reaches the threshold, the stream stops reading data from the underlying resource.
If the consumer is slow, the memory of the process grows until the program is ended by the system.
The pipeline method closes every stream of a chain because an open descriptor would never be given back.
The writable buffer must be drained before the next chunk is written to the destination.
The constructor must receive an object with all the options of the stream.
A backpressure signal is a message that tells a producer to wait until the consumer has caught up.
Users' home directories may be expanded using this feature of the shell in every release.
Because B's own copy is installed in another folder, C has to install its own copy as well.

## Reading

The resume method causes an explicitly paused stream to emit its events again in the usual order.
The read method returns a chunk of data from the internal buffer of the stream.
The encoding option is used to turn the bytes of a chunk into text before it is handed on.
The pause method stops a flowing stream from emitting events until somebody resumes it.
A consumer is a part of a program that takes data out of a stream and does something with it.
The size argument must be less than or equal to 1 GiB in all supported versions of the program.
Reading a stream twice fails because the data has left the buffer after the first time.
If the encoding is set late, the chunks that were read before are handed on as plain bytes.
Every handler of the running program gets its data from the node:consumer module before anything else.
The consumer must attach a handler for errors before it starts to read from a stream.
"""

CHANGES = """Changelog of the tool

- deps: Updates actions/checkout from 5 to 6
- npm: Currently v10 (#2970)
- README: Update for the new way of building the program on a clean machine
- Window: the part of a screen in which a program shows what it does
"""


def study_of(text: str, name: str = "text.md") -> Study:
    digest = _read(text, name)
    return Study(digest, text, brief("course", 3, 2, 2))


def _read(text: str, name: str = "text.md") -> Digest:
    return read_source(text, format="markdown", name=name)


def items_of(tree: Tree) -> list[Item]:
    return [item for _, node in walk(tree) for item in node.items]


def cards_of(tree: Tree) -> list[Node]:
    return [node for _, node in walk(tree) if node.kind == "card"]


def _asked() -> dict[str, Fact]:
    return {fact.question: fact for fact in facts_of(study_of(STREAMS))}


def test_a_gap_is_a_whole_word_of_its_own_and_never_half_of_a_name_or_path() -> None:
    study = study_of(STREAMS)
    gaps = list(word_gaps(study, 0, len(study.lines), spare=True))
    assert gaps
    for gap in gaps:
        assert not re.search(r"[.\-:/_]$", gap.before), gap
        assert not re.match(r"[.\-:/_]\w", gap.after), gap
    assert not [gap for gap in gaps if "node:stream" in gap.line.told and gap.answer == "stream"]
    assert any("node:consumer" in line.told for line in study.lines)
    assert not [gap for gap in gaps if "node:consumer" in gap.line.told and gap.answer == "consumer"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_gaps_are_the_lesser_part_and_no_answer_is_asked_for_twice_in_a_group(name: str) -> None:
    _, quiz = make(name, "quiz", 4, 5)
    kinds = Counter(item.kind for item in items_of(quiz))
    assert kinds[ItemKind.CLOZE] <= 0.4 * kinds.total()
    _, deck = make(name, "flashcards", 4, 10)
    assert sum(card.fields["cardKind"] == "cloze" for card in cards_of(deck)) <= 0.5 * len(cards_of(deck))
    for group in deck.nodes:
        words = [card.fields["back"] for card in group.children if card.fields["cardKind"] == "cloze"]
        words = [word for word in words if not word[0].isdigit()]
        assert len(set(words)) == len(words)


def test_difficulty_tells_items_apart() -> None:
    found = {item.difficulty for name in DOCUMENTS for item in items_of(make(name, "quiz", 8, 10)[1])}
    assert found == set(Difficulty)
    gaps = [item for name in DOCUMENTS for item in items_of(make(name, "quiz", 8, 10)[1])]
    hard = [item for item in gaps if item.kind is ItemKind.CLOZE and item.difficulty is Difficulty.HARD]
    assert len(hard) < sum(item.kind is ItemKind.CLOZE for item in gaps)


def test_an_entry_of_a_log_defines_nothing_and_a_definition_in_a_list_still_does() -> None:
    terms = {one.term for one in _read(CHANGES + "\n" + STREAMS).concepts}
    assert terms.isdisjoint({"deps", "npm", "README", "readme"})
    assert "window" in terms
    assert {"transform stream", "backpressure signal", "consumer"} <= terms


def test_each_mark_of_a_log_alone_is_enough_and_words_that_only_look_like_one_are_not() -> None:
    logged = {
        "jetty": "the gauge of the harbour, as in https://tides.example/gauge and beside it",
        "mole": "the gauge (#12) that stands in the harbour",
        "quay": "the gauge (12) that stands in the harbour",
        "dock": "the gauge that closes #12 in the harbour",
        "berth": "the gauge that 8ea71e5 brought into the harbour",
        "crane": "the gauge that has been in the harbour since 1.2 came",
        "buoy": "the gauge that has been in the harbour since v2 came",
        "pier": "the gauge went from north to south",
        "lock": "Adds a gauge to the harbour",
        "sluice": "Fixes the gauge of the harbour",
        "canal": "Bumps the gauge of the harbour",
    }
    sound = {
        "lantern": "the gauge that stands in the harbour",
        "anchor": "the gauge (metres) that stands in the harbour",
        "harpoon": "the gauge of the year 2024 in the harbour",
        "rudder": "the gauge that goes from north to the harbour",
        "sailor": "Users of the gauge of the harbour",
    }
    lines = "".join(f"\n- {term}: {phrase}" for term, phrase in (logged | sound).items())
    terms = {one.term for one in _read(f"{STREAMS}\n{lines}\n").concepts}
    assert (logged.keys() & terms, sound.keys() - terms) == (set(), set())


def test_what_one_value_is_defines_no_value() -> None:
    text = STREAMS + "\nThe value is an array of {Object} entries that the caller has passed in before.\n" * 2
    assert "value" not in {one.term for one in _read(text).concepts}


def test_sentences_answer_what_follows_why_what_for_and_what_must_be() -> None:
    asked = _asked()
    answers = {question: fact.answer for question, fact in asked.items()}
    case = "What happens if the readable stream emits an error during processing?"
    assert answers[case] == "The writable destination is not closed automatically."
    assert answers["What is the encoding option used for?"].startswith(
        "To turn the bytes of a chunk into text"
    )
    assert answers["What must the size argument be?"].startswith("Less than or equal to 1 GiB")
    assert answers["What must be done with the writable buffer?"].startswith("It must be drained before")
    assert answers["What does the read method return?"].startswith("A chunk of data from")
    why = next(question for question in answers if question.startswith("Reading a stream twice fails"))
    assert why.endswith(". Why?")
    assert answers[why].startswith("Because the data has left the buffer")


def test_wrong_answers_are_right_ones_to_other_questions_in_the_same_form() -> None:
    study = study_of(STREAMS)
    key = next(fact for fact in facts_of(study) if fact.question.startswith("What happens if the readable"))
    others = answers_beside(study, key)
    assert len(others) >= 2
    assert {other.kind for other in others} == {"case"}
    assert key.line not in [other.line for other in others]


def test_no_objective_speaks_of_what_the_source_says_and_some_ask_for_more_than_understanding() -> None:
    trees = [make(name, "course", 6, 3, 2)[1] for name in DOCUMENTS]
    objectives = [one for tree in trees for node in tree.nodes for one in node.objectives]
    assert not [one for one in objectives if "what the source says about" in one.text]
    assert any(one.bloom in (Bloom.ANALYZE, Bloom.EVALUATE) for one in objectives)
    study = study_of(STREAMS)
    aims = {aim.purpose: aim for aim in aims_of(study, Chunk("Reading", 0, len(study.lines)), "Reading")}
    assert aims["rules"].bloom is Bloom.EVALUATE
    assert aims["cases"].bloom is Bloom.ANALYZE
    assert aims["reasons"].text.startswith("Explain why ")


def test_titles_are_whole_names_in_their_own_capitals() -> None:
    study = study_of(STREAMS)
    assert in_sentence("AssertionErrors and limits", study.lexicon) == "AssertionErrors and limits"
    assert fit_title("Class: {EvalError}") == "Class: EvalError"
    _, tree = make("tides.txt", "course", 6, 3, 2)
    assert not [node.title for _, node in walk(tree) if node.title.isupper()]


def test_a_part_of_many_headings_says_how_many_and_gives_a_range_only_of_codes() -> None:
    def merged(*names: str) -> Chunk:
        return Chunk("", 0, 4, tuple(Chunk(name, at, at + 1) for at, name in enumerate(names)), merged=True)

    titles = Titles(study_of(STREAMS))
    plain = merged("Installing", "Reading files", "Writing files", "Closing down")
    assert titles.of(plain, [], "Streams") == "Installing, reading files and 2 more"
    codes = merged("ABORT_ERR", "ERR_CLOSED", "ERR_LATE", "ERR_STATUS_101")
    assert titles.of(codes, [], "Errors") == "Errors: ABORT_ERR to ERR_STATUS_101"
    dates = merged("(2021-11-05)", "(2021-10-11)", "(2021-08-23)")
    assert titles.of(dates, [], "Releases") == "Releases: 2021-11-05 to 2021-08-23"


INHERIT = (
    "All JavaScript and system errors raised by Node.js inherit from, or are instances of, the standard "
    "JavaScript Error class and provide at least the properties available on it."
)
DERIVED = (
    "Derivative works shall mean any work for which the editorial revisions, annotations, elaborations, or "
    "other modifications represent, as a whole, an original work by its maker."
)
READ = "The office reads the gauge daily, because ships depend on it, so that nobody runs aground."


@pytest.mark.parametrize(
    ("sentence", "most", "head"),
    [
        # As much as there is room for; five words at least.
        (READ, 16, READ),
        (READ, 15, "The office reads the gauge daily, because ships depend on it."),
        (READ, 11, "The office reads the gauge daily, because ships depend on it."),
        (READ, 10, "The office reads the gauge daily."),
        (READ, 5, READ),
        ("Ships wait, because the gauge at the pier was read too late.", 8, ""),
        # A clause in front is not all.
        ("If the gauge is frozen, because nobody warmed it, the office reads it by hand.", 10, ""),
        (
            "If the gauge is frozen, the office reads it; the harbour waits for its figure.",
            12,
            "If the gauge is frozen, the office reads it.",
        ),
        # Not before the object of a verb or preposition, nor before a sentence goes on after an aside.
        ("What an inspector of the harbour looks at must include: the gauges and the pens.", 12, ""),
        ("All faults of the gauge stem, or so the office says, from water in its box.", 10, ""),
        (INHERIT, 24, ""),
        (DERIVED, 20, ""),
        # Not before the last of a list, but before what is set against the whole.
        ("The box of a gauge holds a dial, two pens, or keys for a drum.", 11, ""),
        (
            "The office reads each gauge by hand, not the dial that the harbour put up.",
            10,
            "The office reads each gauge by hand.",
        ),
        # Not inside of quotation marks or brackets.
        ("The sign says “keep out of the box; danger to life” in tall red letters.", 10, ""),
        ('The sign says "keep out of the box; danger to life" in tall red letters.', 10, ""),
        ("The level of the sea (at the pier, because the gauge is there) rises twice a day.", 10, ""),
    ],
)
def test_a_sentence_is_cut_only_where_what_is_left_is_whole(sentence: str, most: int, head: str) -> None:
    assert shorten(sentence, most) == (head or sentence)


def test_a_sentence_that_speaks_of_another_one_is_not_shown_alone() -> None:
    told = {line.told: is_quotable(line) for line in study_of(STREAMS).lines}
    assert not next(alone for text, alone in told.items() if "using this feature" in text)
    assert not next(alone for text, alone in told.items() if text.startswith("Because B's"))
    assert next(alone for text, alone in told.items() if text.startswith("The amount of data"))


def test_key_points_leave_out_what_stands_above() -> None:
    study = study_of(STREAMS)
    above = frozenset(point.line.index for point in key_points(study, 0, 8, most=3))
    points = key_points(study, 0, len(study.lines), most=6, avoid=above)
    assert len(points) >= 5
    assert above.isdisjoint(point.line.index for point in points)


def test_lessons_practise_in_six_forms_and_no_answer_stands_beside_its_task() -> None:
    kinds: set[str] = set()
    for name in DOCUMENTS:
        _, tree = make(name, "course", 6, 3, 2)
        for _, node in walk(tree):
            if node.kind == "activity":
                kinds.add(" ".join(node.title.split()[:2]))
                task = node.fields["instructions"]
                assert (
                    not re.search(r"Say what .* mean", node.title) or "“" not in task.split("Then look up")[1]
                )
    assert len(kinds) >= 7
    study = study_of(STREAMS)
    whole = Chunk("Streams", 0, len(study.lines))
    aims = [aim for aim in aims_of(study, whole, "Streams") if aim.purpose in ("cases", "explain")]
    used: Counter[str] = Counter()
    tasks = [
        task
        for _ in range(7)
        for task in tasks_of(study, whole, "Streams", aims, key_points(study, 0, 20, most=6), 3, used)
    ]
    assert len(used) >= 6
    cases = next(task for task in tasks if task.title.startswith("Say what follows"))
    assert "not closed automatically" not in cases.instructions


@pytest.mark.parametrize("structure_type", ["quiz", "flashcards"])
def test_a_source_of_three_hundred_words_fills_a_quiz_and_a_deck(structure_type: str) -> None:
    spec = builtin_specs()[structure_type]
    counts = resolve_counts(spec)
    plain = re.sub(r"^#.*\n", "", STREAMS, flags=re.MULTILINE)
    for text in (STREAMS, plain):
        tree = generate(_read(text), text, brief(structure_type, *counts.per_level))
        found = validate(tree, spec, counts, text=text)
        assert [one for one in found if one.severity is Severity.GATE] == []
        assert [one for one in found if one.rule.startswith("item.") and one.severity is Severity.ERROR] == []


def test_names_of_things_in_a_list_keep_the_capitals_of_both_words() -> None:
    text = (
        STREAMS
        + "\n- Dependency Injection\n- Dependency Injection for tests\n- Dependency Injection by name\n"
    )
    study = study_of(text)
    shown = {phrase.text for phrase in study.book.best(0, len(study.lines), limit=60)}
    assert "dependency Injection" not in shown
