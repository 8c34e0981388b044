"""What any piece of work goes through: phases and steps with their tasks; ``{t}`` is the topic."""

import msgspec

OWNER, DOER, REVIEWER = "Owner", "Performer", "Reviewer"


class Step(msgspec.Struct, frozen=True):
    """A step: its title, who does it, what it leaves behind, two tasks."""

    title: str
    role: str
    output: str
    tasks: tuple[str, str]


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase with what has to be there before it and what ends it; ``rank`` 0 is the last to be left out."""

    title: str
    about: str
    entry: str
    criteria: str
    approver: str
    rank: int
    steps: tuple[Step, ...]


_STEPS = {
    "agree": (
        Step(
            "Write down the aim",
            OWNER,
            "Aim in one sentence",
            (
                "State in one sentence who shall have what by when.",
                "Name one thing that is expressly not part of it.",
            ),
        ),
        Step(
            "Ask those concerned",
            DOER,
            "Wishes and worries by group",
            ("List everybody whom {t} will touch.", "Ask one person of each group for a wish and a worry."),
        ),
        Step(
            "Set the limits",
            OWNER,
            "Deadline, budget and limits",
            ("Fix a date and a sum that must not be exceeded.", "Record which rules or laws apply."),
        ),
        Step(
            "Confirm the order",
            REVIEWER,
            "Signed order",
            ("Read the aim back to the owner.", "File the order where everybody can find it."),
        ),
    ),
    "prepare": (
        Step(
            "Collect what is known",
            DOER,
            "Notes on earlier attempts",
            ("Look for two earlier cases of {t}.", "Note what delayed each of them."),
        ),
        Step(
            "List the tasks",
            DOER,
            "Task list with estimates",
            (
                "Break the job into tasks of half a day or less.",
                "Estimate each task, then double the doubtful ones.",
            ),
        ),
        Step(
            "Provide tools and people",
            OWNER,
            "Tools and people on call",
            ("Reserve the people by name.", "Order now whatever takes long to arrive."),
        ),
        Step(
            "Fix how success is measured",
            REVIEWER,
            "Test list with thresholds",
            ("Choose three measurements.", "Write the value beside each from which it counts as passed."),
        ),
    ),
    "carry": (
        Step(
            "Start with a trial run",
            DOER,
            "Trial run with remarks",
            ("Go through one small case from end to end.", "Write down every place where you had to guess."),
        ),
        Step(
            "Mend the instructions",
            DOER,
            "Corrected instructions",
            ("Replace each guess by a rule.", "Delete steps that changed nothing."),
        ),
        Step(
            "Carry out the full job",
            DOER,
            "Finished piece of work",
            ("Follow the corrected instructions in order.", "Log interruptions with the time they took."),
        ),
        Step(
            "Report the progress",
            DOER,
            "Short progress report",
            ("Tell the owner once a week what is done.", "Raise delays on the day they show."),
        ),
    ),
    "check": (
        Step(
            "Measure against the test list",
            REVIEWER,
            "Measured values",
            ("Take every measurement twice.", "Mark values that miss their threshold."),
        ),
        Step(
            "Let somebody else try it",
            REVIEWER,
            "Observations of a first user",
            ("Choose a person who has not seen it before.", "Watch in silence and take notes."),
        ),
        Step(
            "Repair what failed",
            DOER,
            "Repaired version",
            ("Take the costliest fault first.", "Test again whatever you touched."),
        ),
        Step(
            "Decide on release",
            OWNER,
            "Decision with reasons",
            ("Weigh open faults against a delay.", "Sign the decision and date it."),
        ),
    ),
    "hand": (
        Step(
            "Explain the result",
            DOER,
            "Hand-over talk",
            ("Show the daily use in ten minutes.", "Have the listeners repeat it."),
        ),
        Step(
            "Pass on the papers",
            DOER,
            "Folder of papers",
            ("Put instructions, log and contacts into one place.", "Remove drafts that contradict them."),
        ),
        Step(
            "Name who looks after it",
            OWNER,
            "Name of a caretaker",
            ("Agree on hours and a substitute.", "Publish both where users look first."),
        ),
        Step(
            "Close the order",
            OWNER,
            "Closed order",
            ("Settle open bills.", "Release the people by name."),
        ),
    ),
    "learn": (
        Step(
            "Collect surprises",
            REVIEWER,
            "List of surprises",
            ("Ask all involved for one surprise each.", "Group them by what could have warned you."),
        ),
        Step(
            "Compare plan and effort",
            DOER,
            "Comparison of hours",
            ("Put estimated and spent hours side by side.", "Explain the largest gap."),
        ),
        Step(
            "Improve the next round",
            OWNER,
            "Three changes with dates",
            ("Choose three changes that cost little.", "Give each a name and a date."),
        ),
        Step(
            "Share the lessons",
            REVIEWER,
            "One page of lessons",
            ("Write one page without blame.", "Send it to whoever will do {t} next."),
        ),
    ),
}
PHASES = (
    Phase(
        title="Agree on {t}",
        about="What is wanted is written down, with limits, before anybody starts.",
        entry="Somebody has asked for it",
        criteria="Aim and limits are signed",
        approver=OWNER,
        rank=0,
        steps=_STEPS["agree"],
    ),
    Phase(
        title="Prepare the work",
        about="Experience, people, tools and measurements are brought together.",
        entry="The order is signed",
        criteria="Every task has a name beside it",
        approver=OWNER,
        rank=2,
        steps=_STEPS["prepare"],
    ),
    Phase(
        title="Carry out {t}",
        about="A small case comes first, then the whole job by corrected instructions.",
        entry="People and tools are at hand",
        criteria="The log has no open interruption",
        approver=OWNER,
        rank=1,
        steps=_STEPS["carry"],
    ),
    Phase(
        title="Check the result",
        about="Somebody who did not make it measures and tries it.",
        entry="The work is reported as finished",
        criteria="Each threshold is met or waived in writing",
        approver=REVIEWER,
        rank=3,
        steps=_STEPS["check"],
    ),
    Phase(
        title="Hand it over",
        about="Those who will live with it get it, with papers and a caretaker.",
        entry="The release is decided",
        criteria="The new users have shown that they can do it alone",
        approver=OWNER,
        rank=4,
        steps=_STEPS["hand"],
    ),
    Phase(
        title="Learn from it",
        about="What came otherwise than planned is turned into changes for the next round.",
        entry="The result has been in use for a month",
        criteria="Three changes have a date",
        approver=OWNER,
        rank=5,
        steps=_STEPS["learn"],
    ),
)
