"""Six ways to look at any topic, each with five facets: what to find out, ask, do and check.

They say how one works on a topic and claim nothing about it. ``{t}`` is the topic inside a sentence and
``{who}`` the audience; as nobody knows whether these are singular or plural, neither is the subject of a verb
that would show it.
"""

import msgspec

from aifactory.granulation.tree import Bloom


class Facet(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to work out: a question, a task with its product, an objective, two rules, two marks.

    ``about`` says what belongs here, ``rules`` hold whatever the topic is, ``marks`` tell a good answer.
    """

    title: str
    about: str
    ask: str
    do: str
    made: str
    aim: str
    bloom: Bloom
    rules: tuple[str, str]
    marks: tuple[str, str]


class Lens(msgspec.Struct, frozen=True, kw_only=True):
    """A way to look at a topic: its facets from plain to demanding; ``rank`` 0 is the last to be left out."""

    name: str
    title: str
    about: str
    aim: str
    bloom: Bloom
    rank: int
    facets: tuple[Facet, ...]


WHAT = Lens(
    name="what",
    title="The meaning of {t}",
    about="What counts as a case, which words belong to the subject, and where its borders run.",
    aim="Describe {t} to {who} within three minutes, without any notes at hand.",
    bloom=Bloom.UNDERSTAND,
    rank=0,
    facets=(
        Facet(
            title="A definition in one sentence",
            about="The kind of thing that is meant, and the one trait that sets it apart from its kin.",
            ask="How would you define {t} in one sentence?",
            do="Write a sentence that names the kind of thing first and the dividing trait second. Try it "
            "on three cases and mend it where it fails.",
            made="A definition that holds for three cases",
            aim="Define {t} in one sentence that names the kind and the dividing trait.",
            bloom=Bloom.REMEMBER,
            rules=(
                "A definition names a kind of thing and the trait that sets it apart.",
                "A definition that lets in a wrong case is too wide.",
            ),
            marks=("The kind of thing is named", "The dividing trait is named"),
        ),
        Facet(
            title="Words of the trade",
            about="Six to ten terms that newcomers stumble over, each put into everyday language.",
            ask="Which technical terms come up first when people talk about {t}?",
            do="Collect ten terms from two different texts. Put each into plain language that {who} would "
            "use, and cross out those that say the same.",
            made="A word list in everyday language",
            aim="Explain six technical terms of {t} in plain language, without a dictionary.",
            bloom=Bloom.UNDERSTAND,
            rules=(
                "A technical term earns its place when no everyday word is as exact.",
                "Two terms for one thing cost readers more than one good term.",
            ),
            marks=("The terms are really in use", "Each is put into everyday language"),
        ),
        Facet(
            title="Typical and borderline examples",
            about="Three examples that nobody disputes, and one where experts hesitate.",
            ask="Where does the border of {t} run?",
            do="List three undisputed examples and a doubtful one. Note beside the doubtful one what speaks "
            "for it and what against.",
            made="Four examples, the doubtful one with reasons",
            aim="Classify five given examples of {t} as typical, doubtful or foreign.",
            bloom=Bloom.UNDERSTAND,
            rules=(
                "Typical examples teach the middle of an idea, doubtful ones its border.",
                "An example from daily life is remembered longer than a famous one.",
            ),
            marks=("A case on either side is named", "The border follows a reason"),
        ),
        Facet(
            title="Lookalikes",
            about="The nearest thing with which the subject gets confused, and the test that tells them "
            "apart.",
            ask="What is most easily confused with {t}?",
            do="Draw two overlapping circles, one for {t} and one for the nearest lookalike. Write at least "
            "two traits into each of the three fields.",
            made="Two overlapping circles with six traits",
            aim="Distinguish {t} from the nearest lookalike by two traits in a drawing.",
            bloom=Bloom.ANALYZE,
            rules=(
                "A comparison needs common traits as well as differences.",
                "The nearest lookalike causes more confusion than a distant one.",
            ),
            marks=("A real lookalike is chosen", "A test tells the two apart"),
        ),
        Facet(
            title="Origin and change",
            about="When people began to speak of it, what it meant then, and what has shifted since.",
            ask="How has the idea behind {t} changed since people first spoke of it?",
            do="Draw a time line with four dated events from a reference work. Mark the one after which "
            "people meant something else.",
            made="A time line with four dated events",
            aim="Outline the history of {t} on a time line with four dated events.",
            bloom=Bloom.ANALYZE,
            rules=(
                "Old quarrels often survive in the names of things.",
                "A date without a source is a rumour.",
            ),
            marks=("The dates are sourced", "One turning point is argued for"),
        ),
    ),
)

WHY = Lens(
    name="why",
    title="The reasons behind {t}",
    about="Which problem is solved, who gains by that, what it costs, and when it is not worth the trouble.",
    aim="Justify the effort for {t} in a given case by two reasons.",
    bloom=Bloom.EVALUATE,
    rank=3,
    facets=(
        Facet(
            title="The problem behind it",
            about="The trouble that somebody had before, told as a short scene.",
            ask="Which trouble would somebody have without {t}?",
            do="Tell in five sentences of a day on which something goes wrong for lack of {t}. Let a person "
            "act in the scene.",
            made="A scene of five sentences",
            aim="Describe a problem that calls for {t} in a scene of five sentences.",
            bloom=Bloom.UNDERSTAND,
            rules=(
                "People take up a remedy once they have felt the problem.",
                "A problem told as a scene convinces more than one told as a heading.",
            ),
            marks=("The trouble is concrete", "A person has it"),
        ),
        Facet(
            title="Gains and burdens",
            about="Everybody who is touched by it, with what each wins and what each has to bear.",
            ask="Who gains by {t} at the expense of others?",
            do="Make a table of at least four groups of people. Enter a gain and a burden for each, and "
            "circle the group that nobody asks.",
            made="A table of four groups with gains and burdens",
            aim="Identify four groups concerned with {t} in a table of gains and burdens.",
            bloom=Bloom.ANALYZE,
            rules=(
                "A gain for one group can be a burden for another.",
                "The group that nobody asks is the first to resist.",
            ),
            marks=("At least three groups appear", "Each has a gain as well as a burden"),
        ),
        Facet(
            title="Proof that it pays",
            about="Two figures or observations that would convince a sceptic, and where they come from.",
            ask="Which figure would convince a sceptic of the worth of {t}?",
            do="Look for two figures with an author and a year. Write under each what a sceptic could still "
            "object.",
            made="Two sourced figures, each with an objection",
            aim="Assess two published figures on {t} against the objections of a sceptic.",
            bloom=Bloom.EVALUATE,
            rules=(
                "A figure without an author and a year proves nothing.",
                "The best test of evidence is the sharpest objection to it.",
            ),
            marks=("Author and year are given", "An objection is taken seriously"),
        ),
        Facet(
            title="Doing without",
            about="What people did earlier or elsewhere instead, and how far they got.",
            ask="How far would you get without {t}?",
            do="Interview somebody who manages without. Ask what they do in its place, and compare the "
            "effort in minutes or money.",
            made="Notes of a talk with a comparison of effort",
            aim="Compare the effort with and without {t} by an example in minutes or money.",
            bloom=Bloom.ANALYZE,
            rules=(
                "The alternative to a method is seldom nothing, and mostly an older method.",
                "Effort is compared in one unit or not at all.",
            ),
            marks=("A real alternative is described", "Effort is compared in one unit"),
        ),
        Facet(
            title="When to leave it",
            about="Situations in which the price exceeds the benefit, stated as conditions.",
            ask="Under which conditions would you advise against {t}?",
            do="Formulate three conditions that begin with “Not if”. Give them to a colleague who tries to "
            "find an exception.",
            made="Three conditions that survived an attack",
            aim="Recommend for or against {t} in three situations, with a stated condition.",
            bloom=Bloom.EVALUATE,
            rules=(
                "Advice is honest once it says when not to follow it.",
                "A condition has to be checkable before the decision falls.",
            ),
            marks=("The conditions can be checked beforehand", "An exception was looked for"),
        ),
    ),
)

PARTS = Lens(
    name="parts",
    title="The parts of {t}",
    about="What the whole consists of, what each piece contributes, and how the pieces hang together.",
    aim="Divide {t} into at least five parts in a diagram with labelled links.",
    bloom=Bloom.ANALYZE,
    rank=2,
    facets=(
        Facet(
            title="An inventory",
            about="Every piece that one can point at or name, first unsorted, then in groups.",
            ask="Which pieces make up the whole of {t}?",
            do="Write each piece on a slip of paper until nothing comes to mind. Sort the slips into three "
            "to five heaps and give each heap a name.",
            made="Slips in named heaps",
            aim="List the pieces of {t} in three to five named groups, without prompts.",
            bloom=Bloom.REMEMBER,
            rules=(
                "Sorting comes after collecting.",
                "A heap whose name is “other” hides a category.",
            ),
            marks=("No large piece is missing", "The groups have telling names"),
        ),
        Facet(
            title="What each piece contributes",
            about="The task of every piece, in a verb and an object.",
            ask="What does the most important piece contribute to {t}?",
            do="Give each piece a label of two words, a verb and an object. Remove in thought one piece "
            "after another and record what stops.",
            made="Labels of two words, and a record of what stops",
            aim="Explain the contribution of four pieces to {t} with one verb for each.",
            bloom=Bloom.UNDERSTAND,
            rules=(
                "A piece is understood when one knows what stops without it.",
                "One verb and one object are enough to state a task.",
            ),
            marks=("The contribution is put as a verb", "What stops without the piece is told"),
        ),
        Facet(
            title="Kinds and varieties",
            about="The main varieties, and the question by which an expert sorts them.",
            ask="What would an expert check first to put a case of {t} into the right drawer?",
            do="Build a tree of yes-or-no questions that leads to at least four varieties. Let somebody "
            "walk through it with a fresh specimen.",
            made="A tree of questions with four varieties",
            aim="Categorize four varieties of {t} in a tree of yes-or-no questions.",
            bloom=Bloom.ANALYZE,
            rules=(
                "A good sorting question has two answers and no maybe.",
                "Varieties that are treated alike need no names of their own.",
            ),
            marks=("The check has a clear outcome", "The kinds don’t overlap"),
        ),
        Facet(
            title="How the pieces hang together",
            about="Which piece needs which, drawn with arrows that carry a word.",
            ask="Which two pieces of {t} depend on each other most?",
            do="Arrange the pieces on a sheet and draw arrows between them. Put a word on every arrow, and "
            "delete arrows for which you find none.",
            made="A sheet with labelled arrows",
            aim="Diagram the dependencies within {t} in a sketch of six labelled arrows.",
            bloom=Bloom.ANALYZE,
            rules=(
                "An arrow without a word is a guess.",
                "The piece with most arrows is the one to learn first.",
            ),
            marks=("The dependency is named", "It runs in the right direction"),
        ),
        Facet(
            title="The vital fifth",
            about="The small share of pieces that decides most of the result.",
            ask="Which single piece of {t} deserves half of all attention?",
            do="Rank the pieces by how much goes wrong when they are poor. Defend your first three before "
            "{who}, in two minutes.",
            made="A ranking with a defence of the first three",
            aim="Rank the pieces of {t} by their weight, with reasons for the first three.",
            bloom=Bloom.EVALUATE,
            rules=(
                "Few pieces decide most of a result.",
                "A ranking shows its worth when time is short.",
            ),
            marks=("The ranking has a stated measure", "The first place is defended"),
        ),
    ),
)
