"""The turning points of a story in three acts, and what its people try: lines to fill with a subject."""

import msgspec


class Beat(msgspec.Struct, frozen=True):
    """A turning point: its name, what it is for, what is tried in its scenes, and what presses against it.

    ``{hero}`` is the main figure, ``{thing}`` something the source is about, ``{wants}`` fit behind "to".
    """

    name: str
    purpose: str
    wants: tuple[str, str, str]
    pressure: str


OPENING = (
    Beat(
        "An ordinary day",
        "Show {hero} in a world in which {thing} is taken for granted.",
        (
            "get through a day's work with {thing}",
            "keep a small promise about {thing}",
            "show a stranger round {thing}",
        ),
        "the day is too full for it",
    ),
    Beat(
        "What is missing",
        "Let {hero} say what is wrong with things as they are, and not yet see their own part in it.",
        ("hide a mistake with {thing}", "win praise for {thing}", "avoid a talk about {thing}"),
        "somebody has noticed already",
    ),
    Beat(
        "The disturbance",
        "Something happens to {thing} that can't be undone, and the old way is over.",
        ("put {thing} back as it was", "find out who has changed {thing}", "warn the others about {thing}"),
        "nobody else thinks that it matters",
    ),
    Beat(
        "Holding back",
        "Give {hero} good reasons to leave {thing} alone, and one better reason not to.",
        (
            "pass the matter of {thing} to somebody else",
            "buy time before {thing} is decided",
            "find a rule that settles {thing}",
        ),
        "waiting turns out to be a choice as well",
    ),
    Beat(
        "No way back",
        "{hero} decides to go after {thing}, and closes the door behind.",
        (
            "leave for {thing} without being stopped",
            "give up something dear for {thing}",
            "make one ally for the sake of {thing}",
        ),
        "the price is higher than it was said to be",
    ),
)
RISING = (
    Beat(
        "New rules",
        "Let {hero} learn how things work where {thing} is what counts.",
        (
            "learn how {thing} is handled here",
            "pass a first test of {thing}",
            "unlearn a habit from home about {thing}",
        ),
        "what used to work fails at once",
    ),
    Beat(
        "A second story",
        "Bring in somebody who needs {hero} and sees {thing} in another light.",
        (
            "be understood about {thing} for once",
            "repay a favour with {thing}",
            "tell the truth about {thing} to one person",
        ),
        "trust takes longer than there is time for",
    ),
    Beat(
        "What was promised",
        "Give the reader the scenes the subject promises: {hero} tries out {thing}, and it is a pleasure.",
        ("try out {thing} on a large scale", "outwit a rival with {thing}", "show off {thing} before others"),
        "success draws the wrong eyes",
    ),
    Beat(
        "The middle turns",
        "What looks like a victory over {thing} changes what the story is about.",
        (
            "finish {thing} before the others do",
            "celebrate {thing} as settled",
            "ask who really gains by {thing}",
        ),
        "the true question is another one",
    ),
)
FALLING = (
    Beat(
        "The net draws in",
        "Let the other side learn from its mistakes while {hero} repeats old ones with {thing}.",
        (
            "hold the group together over {thing}",
            "repair {thing} in secret",
            "find out who talks to the other side about {thing}",
        ),
        "each way out closes as it is tried",
    ),
    Beat(
        "All is lost",
        "Take {thing} from {hero}, with something that can't be replaced.",
        (
            "save {thing} at the last moment",
            "take the blame for {thing}",
            "say goodbye to what {thing} stood for",
        ),
        "it comes too late",
    ),
    Beat(
        "The dark hour",
        "Leave {hero} alone with what was known from the start and not believed about {thing}.",
        (
            "sleep, and not think of {thing}",
            "read again what was written about {thing}",
            "ask forgiveness for {thing}",
        ),
        "there is nobody left to blame",
    ),
)
CLOSING = (
    Beat(
        "The idea",
        "Join both stories: what {hero} has learnt from others is what {thing} needs.",
        (
            "win the others back with a plan for {thing}",
            "see {thing} with the other's eyes",
            "choose what to leave out of {thing}",
        ),
        "the plan needs the one who was hurt most",
    ),
    Beat(
        "The reckoning",
        "{hero} faces the opponent over {thing}, and has to give up the old want for the real need.",
        (
            "reach {thing} before it is decided",
            "face the opponent over {thing}",
            "let go of {thing} when it is in reach",
        ),
        "the first plan fails before everybody's eyes",
    ),
    Beat(
        "A new day",
        "Show the same place as in the beginning, and what is different about {thing}.",
        (
            "pass on what was learnt about {thing}",
            "close the last open account of {thing}",
            "spend an ordinary day with {thing}",
        ),
        "not everybody has come through",
    ),
)

OBSTACLES = (
    "{other} has a plan of their own",
    "{other} holds back what is needed",
    "{other} believes the opposite, for a good reason",
    "{other} asks for something in return",
    "{other} is watched and can't speak openly",
    "{other} was hurt by the last attempt",
    "{other} arrives first",
)
SCENE_NAMES = (
    "{who} and {thing}",
    "{thing}, as {other} sees it",
    "An offer about {thing}",
    "The trouble with {thing}",
    "{thing}: what is left",
)
ROLES = (
    ("The newcomer", "protagonist"),
    ("The rival", "opponent"),
    ("The old hand", "mentor"),
    ("The friend", "ally"),
    ("The doubter", "sceptic"),
    ("The messenger", "go-between"),
)
WANTS = (
    "To be the one who masters {thing}",
    "To keep {thing} for themselves",
    "To see {thing} in good hands before it is too late",
    "To stay close to the others, whatever becomes of {thing}",
    "To prove that {thing} is not worth the trouble",
    "To be paid for what they know of {thing}",
)
NEEDS = (
    "To ask for help in time",
    "To be seen without having to win",
    "To let somebody else make the mistakes",
    "To say no to a friend",
    "To believe in something that can fail",
    "To take sides",
)
ARCS = (
    "From doing it alone to sharing the risk",
    "From certainty to a respect that comes too late",
    "From holding the reins to handing them over",
    "From following to choosing",
    "From mockery to the first serious attempt",
    "From carrying messages to having something to say",
)
THREADS = (
    (
        "Somebody knows more about {thing} than they say.",
        "What was kept back about {thing} comes out, and decides the end.",
    ),
    ("A promise is made over {thing}.", "The promise over {thing} is kept, in a way that nobody expected."),
    ("A fault in {thing} is seen and passed over.", "The fault in {thing} is paid for."),
    ("{thing} is refused as a gift.", "{thing} is given once more, and accepted."),
)
PLACES = (
    ("Where the work is done", "Familiar to all; here the story begins and ends."),
    ("The way between", "Nobody stays here; people meet who would rather not."),
    ("The other side's ground", "Its rules are not those of the main figure."),
    ("A room with a closed door", "For talks that nobody else is to hear."),
)
