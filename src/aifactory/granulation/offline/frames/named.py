"""Facets of what a brief names beside its topic; ``{s}`` is the name, see ``lenses`` for the rest."""

from aifactory.granulation.offline.frames.lenses import Facet
from aifactory.granulation.tree import Bloom

NAMED = (
    Facet(
        title="The place of {s}",
        about="The role of {s} in the whole, and what would change without it.",
        ask="What would change about {t} without {s}?",
        do="Put {s} in the middle of a sheet and {t} around it. Join the two by three lines and label each.",
        made="A sheet on {s} with three labelled lines",
        aim="Relate {s} to two other parts of {t} in a labelled sketch.",
        bloom=Bloom.ANALYZE,
        rules=(
            "The role of {s} shows when one leaves it out in thought.",
            "A line from {s} to another part needs a word that names the link.",
        ),
        marks=("The role of {s} is named", "The loss without it is told"),
    ),
    Facet(
        title="A closer look at {s}",
        about="How {s} can be recognised, measured or touched, with one picture.",
        ask="By which feature would you recognise {s}?",
        do="Find a picture or recording of {s} and describe it to somebody who cannot see it. Count the "
        "guesses.",
        made="A description of {s} that was guessed",
        aim="Describe {s} by three visible features, without its name.",
        bloom=Bloom.UNDERSTAND,
        rules=(
            "Whoever can describe {s} without the name knows its features.",
            "One feature of {s} that can be measured is worth several adjectives.",
        ),
        marks=("A feature of {s} can be checked", "The name is not used up as an explanation"),
    ),
    Facet(
        title="Questions on {s}",
        about="What beginners ask about {s}, what experts ask, and who could answer.",
        ask="Which question on {s} would an expert ask?",
        do="Note five questions on {s} from beginners and two from experts. Underline the one nobody could "
        "answer.",
        made="Seven questions on {s}, one underlined",
        aim="Formulate two questions on {s} that an expert could investigate.",
        bloom=Bloom.CREATE,
        rules=(
            "Beginners ask what {s} may be called, experts ask when it fails.",
            "An unanswered question on {s} is worth a note with a date.",
        ),
        marks=("The question on {s} is precise", "Somebody who could answer is named"),
    ),
    Facet(
        title="A story about {s}",
        about="One event in which {s} made the difference, with people, place and year.",
        ask="In which event did {s} make the difference?",
        do="Search newspapers or ask elders for an event with {s} in it. Retell it in one minute with names.",
        made="A story about {s} of one minute",
        aim="Retell an event in which {s} mattered, within one minute.",
        bloom=Bloom.REMEMBER,
        rules=(
            "An event with people in it keeps {s} in memory.",
            "The year and the place make a story about {s} checkable.",
        ),
        marks=("The event around {s} has a place and a year", "The turning point is clear"),
    ),
    Facet(
        title="Choices around {s}",
        about="The alternatives that exist to {s}, and the price of each.",
        ask="Which alternative to {s} would be cheapest in the long run?",
        do="Set up a scale of cost and one of benefit. Mark {s} and two alternatives on both, and argue for "
        "one.",
        made="Two scales with {s} and two alternatives",
        aim="Judge {s} against two alternatives on a scale of cost and benefit.",
        bloom=Bloom.EVALUATE,
        rules=(
            "The price of {s} includes what one cannot do meanwhile.",
            "A choice about {s} is sound when its opposite could be argued as well.",
        ),
        marks=("Alternatives to {s} are real", "Cost and benefit are kept apart"),
    ),
)
