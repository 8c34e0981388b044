"""The lenses that look at what one does: how it goes, practice, and mistakes; see ``lenses``."""

from aifactory.granulation.offline.frames.lenses import Facet, Lens
from aifactory.granulation.tree import Bloom

HOW = Lens(
    name="how",
    title="The workings of {t}",
    about="What happens first, next and last, what drives it, and by which signs one can follow it.",
    aim="Trace {t} from the first event to the last in a commented sequence.",
    bloom=Bloom.ANALYZE,
    rank=1,
    facets=(
        Facet(
            title="The sequence from start to finish",
            about="Five to nine stages in order, each with the event that starts it.",
            ask="In which order do the stages of {t} follow each other?",
            do="Watch or imagine one complete run and write each stage on a line of its own. Add the event "
            "that starts it.",
            made="A numbered sequence with starting events",
            aim="Order the stages of {t} correctly, from memory, on numbered lines.",
            bloom=Bloom.ANALYZE,
            rules=(
                "A stage begins with an event that can be seen.",
                "More than nine stages want to be grouped.",
            ),
            marks=("The order is right", "Each stage has a starting event"),
        ),
        Facet(
            title="Cause and effect",
            about="The chain of becauses behind the sequence, as far down as it can be followed.",
            ask="What is the deepest cause at work in {t}?",
            do="Start from the final effect and ask “because of what?” five times in a row. Underline the "
            "answer that you could not back up.",
            made="A chain of five causes",
            aim="Deduce a chain of five causes behind {t} from one observed effect.",
            bloom=Bloom.ANALYZE,
            rules=(
                "Following in time is no proof of being caused.",
                "A cause that could be switched off can be tested.",
            ),
            marks=("Causes are told from mere order in time", "A doubtful link is marked as doubtful"),
        ),
        Facet(
            title="Conditions and supplies",
            about="What has to be there before anything begins, in what amount, and what happens if it "
            "lacks.",
            ask="What has to be in place before {t} can begin?",
            do="Draw up a packing list with amounts. Put a star beside whatever cannot be replaced at short "
            "notice.",
            made="A packing list with amounts and stars",
            aim="Specify the conditions for {t} in a checklist with amounts for each entry.",
            bloom=Bloom.CREATE,
            rules=(
                "What cannot be replaced at short notice is prepared first.",
                "An amount without a unit invites the wrong one.",
            ),
            marks=("Amounts have units", "Irreplaceable supplies are marked"),
        ),
        Facet(
            title="Signs to watch",
            about="Three readings or impressions that tell whether all is well, with their normal range.",
            ask="By which sign would you notice that {t} had gone off course?",
            do="Choose three signs, estimate a normal range for each, and check one of these ranges by "
            "measuring or asking.",
            made="Three signs with ranges, one of them checked",
            aim="Monitor {t} by three signs with a normal range for each of them.",
            bloom=Bloom.EVALUATE,
            rules=(
                "A sign without a normal range is only an impression.",
                "Early signs are weaker than late ones, and worth more.",
            ),
            marks=("A normal range is given", "The sign shows early enough to act"),
        ),
        Facet(
            title="Two ways compared",
            about="The two most common approaches, and the circumstance that decides between them.",
            ask="Which circumstance decides between two approaches to {t}?",
            do="Describe both approaches on half a page each. Exchange pages with a partner, who argues for "
            "the one that you like less.",
            made="Two half pages and a verdict",
            aim="Defend one of two approaches to {t} against the other for a given circumstance.",
            bloom=Bloom.EVALUATE,
            rules=(
                "An approach is good for a circumstance and not in general.",
                "Whoever can argue for the other side has understood both.",
            ),
            marks=("Both approaches are told fairly", "The deciding circumstance is named"),
        ),
    ),
)

PRACTICE = Lens(
    name="practice",
    title="{T} in practice",
    about="A first attempt, a case worked through, a plan for one's own setting, and feedback from others.",
    aim="Plan a first use of {t} in your own setting, with dates and names.",
    bloom=Bloom.CREATE,
    rank=4,
    facets=(
        Facet(
            title="A first small attempt",
            about="The smallest thing that one can try within a quarter of an hour, at no risk.",
            ask="What could a beginner try out about {t} within a quarter of an hour?",
            do="Do the smallest possible trial now, with whatever lies at hand. Record in three lines what "
            "you expected, what came, and what puzzled you.",
            made="Three lines of a trial record",
            aim="Conduct a short trial of {t} with a record of expectation and outcome.",
            bloom=Bloom.APPLY,
            rules=(
                "The smallest trial teaches more than the longest preparation.",
                "An expectation is written down before the outcome is known.",
            ),
            marks=("The trial is small and harmless", "Expectation and outcome are both recorded"),
        ),
        Facet(
            title="A case worked through",
            about="One real case with all decisions left visible, including the wrong ones.",
            ask="Which decisions were made in one real case of {t} that you know?",
            do="Get hold of a real case and retrace it decision by decision. Write in the margin what you "
            "would have chosen.",
            made="A retraced case with notes in the margin",
            aim="Examine a real case of {t} decision by decision, with an alternative for each.",
            bloom=Bloom.ANALYZE,
            rules=(
                "A worked case shows decisions, a success story hides them.",
                "Wrong turns belong into the record.",
            ),
            marks=("The case is real", "An alternative is given for each decision"),
        ),
        Facet(
            title="Tools and materials",
            about="What one takes in hand, from makeshift to professional, and what each costs.",
            ask="Which tool for {t} would you buy first?",
            do="Compare three tools in a table by price, time to learn and durability. Borrow one for a day "
            "before you decide.",
            made="A table of three tools with a choice",
            aim="Select a tool for {t} from three candidates by price and learning time.",
            bloom=Bloom.EVALUATE,
            rules=(
                "A borrowed tool is the cheapest lesson about tools.",
                "The price of a tool includes the hours it takes to learn.",
            ),
            marks=("Several tools were considered", "The choice follows stated measures"),
        ),
        Facet(
            title="A plan for your own setting",
            about="Who does what by when in the place where the reader lives or works.",
            ask="What would you do about {t} in your own setting during the coming week?",
            do="Fill in a week’s calendar with three actions, a name beside each, and the hour at which you "
            "will look back.",
            made="A calendar of one week with names",
            aim="Design a plan for {t} over one week with an owner for each action.",
            bloom=Bloom.CREATE,
            rules=(
                "An action without a name and a day stays undone.",
                "The appointment to look back is part of the plan.",
            ),
            marks=("Actions have an owner and a day", "A time to look back is fixed"),
        ),
        Facet(
            title="Explaining it to others",
            about="An explanation for one listener, with a picture, tested by having it told back.",
            ask="How would you explain {t} to {who} with a single picture?",
            do="Sketch one picture and talk to a listener for two minutes. Have it told back, and note what "
            "got lost on the way.",
            made="A picture, and a note of what got lost",
            aim="Demonstrate {t} to a listener with one picture, within two minutes.",
            bloom=Bloom.APPLY,
            rules=(
                "Having something told back shows what arrived.",
                "One picture with three words beats three pictures.",
            ),
            marks=("The picture carries the main idea", "What got lost is named"),
        ),
    ),
)

PITFALLS = Lens(
    name="pitfalls",
    title="Mistakes and checks",
    about="What goes wrong with {t} again and again, how to notice it early, and how to test oneself.",
    aim="Diagnose two typical mistakes with {t} from a description of their symptoms.",
    bloom=Bloom.ANALYZE,
    rank=5,
    facets=(
        Facet(
            title="Stubborn misconceptions",
            about="Beliefs that sound right, are held by many, and lead astray.",
            ask="Which widespread belief about {t} leads people astray?",
            do="Ask three people for their opinion. Write down a belief that turned up twice, and find the "
            "text that settles whether it is true.",
            made="A belief with the text that settles it",
            aim="Challenge a widespread belief about {t} with a passage from a reliable text.",
            bloom=Bloom.EVALUATE,
            rules=(
                "A misconception has a grain of truth that keeps it alive.",
                "To refute a belief, one first states it as its holders would.",
            ),
            marks=("The belief is stated fairly", "A reliable text settles it"),
        ),
        Facet(
            title="Beginners’ slips",
            about="Slips of the first days, with the habit that prevents each of them.",
            ask="Which slip do beginners make in their first days with {t}?",
            do="Remember or imagine five slips. Write a habit against each that takes less than a minute.",
            made="Five slips, each with a habit",
            aim="Match five beginners’ slips in {t} with habits that prevent them, without notes.",
            bloom=Bloom.REMEMBER,
            rules=(
                "A habit prevents what good intentions don’t.",
                "A slip that happens to many people is a flaw of the arrangement.",
            ),
            marks=("The slip is typical of the first days", "The habit takes little time"),
        ),
        Facet(
            title="Risks and safeguards",
            about="What could do lasting harm, how likely that is, and which safeguard stands in the way.",
            ask="What is the worst that could happen in dealing with {t}?",
            do="Enter five risks in a grid of likelihood and damage. Choose a safeguard for the one in the "
            "worst corner.",
            made="A grid of five risks with a safeguard",
            aim="Evaluate five risks of {t} in a grid of likelihood and damage.",
            bloom=Bloom.EVALUATE,
            rules=(
                "A rare risk with lasting damage comes before a frequent nuisance.",
                "A safeguard nobody has tried is a hope.",
            ),
            marks=("Likelihood and damage are kept apart", "A safeguard is proposed"),
        ),
        Facet(
            title="A test of oneself",
            about="Questions that cannot be answered by recognising words, with an answer key.",
            ask="With which question would you find out whether somebody has mastered {t}?",
            do="Compose four questions that nobody can answer by heart alone, and an answer key. Swap "
            "papers with another learner.",
            made="Four questions with an answer key",
            aim="Compose four test questions on {t} with an answer key for another learner.",
            bloom=Bloom.CREATE,
            rules=(
                "A question about a new case tests more than a question about a word.",
                "The key is written before the test is taken.",
            ),
            marks=("The question needs more than memory", "The key says what counts"),
        ),
        Facet(
            title="Looking back and going on",
            about="What has been settled, what is still open, and where to read on.",
            ask="Which question about {t} is still open for you?",
            do="Write a letter of ten lines to yourself in three months: what you can do now, what is open, "
            "and the book or person to consult.",
            made="A letter of ten lines",
            aim="Summarize your progress with {t} in a letter of ten lines.",
            bloom=Bloom.UNDERSTAND,
            rules=(
                "An open question that has been written down keeps working.",
                "Progress shows in what one has stopped doing.",
            ),
            marks=("An open question is put precisely", "A next source is named"),
        ),
    ),
)
