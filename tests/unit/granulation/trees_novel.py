"""The sound plot of a short novel by hand, for the tests of granulation."""

# ruff: noqa: E501

from typing import Any

from tests.unit.granulation.trees import node

from aifactory.granulation.tree import Node, Origin, Tree

CAST = [
    {
        "id": "ada",
        "name": "Ada Brandt",
        "role": "Lighthouse keeper",
        "want": "To keep the lamp burning until spring",
        "need": "To trust somebody again",
        "arc": "From hiding to asking for help",
    },
    {
        "id": "jonas",
        "name": "Jonas Vik",
        "role": "Inspector of the harbour board",
        "want": "To close the station",
    },
    {"id": "mira", "name": "Mira", "role": "Ada's niece, a stowaway", "need": "A home"},
]
PLACES = [
    {"id": "tower", "name": "The tower", "note": "Ninety steps and a lamp room"},
    {"id": "harbour", "name": "The harbour"},
    {"id": "reef", "name": "The reef at low tide"},
]
THREADS = [
    {
        "id": "ledger",
        "setup": "A page is torn from the oil ledger",
        "payoff": "Jonas confesses who sold the oil",
    },
    {"id": "niece", "setup": "Mira hides in the coal store", "payoff": "Ada signs as her guardian"},
    {"id": "wreck", "setup": "A dark ship ignores the lamp", "payoff": "The three find the ship on the reef"},
]

Scene = tuple[str, str, str, list[str], str, str, str, list[str], list[str]]
Chapter = tuple[str, str, str, list[Scene]]
ACTS: list[tuple[str, str, str, list[Chapter]]] = [
    (
        "The missing page",
        "A keeper who trusts nobody finds that oil has been stolen, and that she isn't alone on the island.",
        "Show what the keeper guards and take her peace away",
        [
            (
                "The ledger",
                "Winter begins with an empty barrel, and the book that should explain it has lost a page.",
                "ada",
                [
                    ("A barrel too few", "tower", "Ada wants to fill the lamp before dusk", ["ada"],
                     "The last barrel is hollow when she knocks on it", "yesBut", "Dusk", ["ledger"], []),
                    ("Torn paper", "tower", "She looks up who fetched the oil", ["ada"],
                     "The October page has been ripped out with care", "no", "Night", [], []),
                ],
            ),
            (
                "Coal dust",
                "Small footprints lead to the coal store, where a girl has lived on ship's biscuit for days.",
                "mira",
                [
                    ("Footprints", "tower", "Mira tries to steal bread without a sound", ["mira", "ada"],
                     "The stairs creak and a lantern comes down", "noAnd", "Night", ["niece"], []),
                    ("A name", "tower", "The girl begs to stay until the supply boat", ["mira", "ada"],
                     "Her aunt has sworn to live alone", "yesBut", "Morning", [], []),
                ],
            ),
            (
                "The inspector",
                "A man from the harbour board counts everything twice and writes down what he doesn't find.",
                "jonas",
                [
                    ("Counting", "harbour", "Jonas must prove that the station wastes money", ["jonas", "ada"],
                     "The keeper answers each question with another", "no", "Noon", [], []),
                    ("No lights", "tower", "He stays to see how the lamp is tended", ["jonas", "ada"],
                     "A vessel passes dark and close, and answers no signal", "noAnd", "Night", ["wreck"], []),
                ],
            ),
        ],
    ),
    (
        "Ice",
        "Frost cuts the island off. Three people who distrust each other must share one stove.",
        "Force the three together until a lie breaks",
        [
            (
                "Frozen in",
                "The bay closes overnight, and the visitor can neither leave nor report.",
                "jonas",
                [
                    ("The white bay", "harbour", "Jonas tries to row home", ["jonas"],
                     "Ice traps the boat a stone's throw out", "no", "Dawn", [], []),
                    ("Three plates", "tower", "Ada serves soup and hides the girl's spoon", ["ada", "jonas", "mira"],
                     "He has seen the small boots by the door", "noAnd", "Evening", [], []),
                ],
            ),
            (
                "Bargains",
                "Silence has a price. Each of the adults offers the other a bad deal.",
                "ada",
                [
                    ("A trade", "tower", "Ada offers her own post for the child's safety", ["ada", "jonas"],
                     "The inspector asks for the book instead", "yesBut", "Night", [], []),
                    ("Under the floor", "tower", "Mira searches his bag while they argue", ["mira"],
                     "She finds October, folded small", "yes", "Night", [], []),
                ],
            ),
            (
                "The confession",
                "One sheet of paper turns the guest into the accused, and then into something else.",
                "ada",
                [
                    ("October", "tower", "Ada demands the truth about the sale", ["ada", "jonas"],
                     "He could burn the sheet in the open stove", "yesBut", "Midnight", [], ["ledger"]),
                    ("Debts", "harbour", "Jonas tells whom he paid with the money", ["jonas", "mira"],
                     "His brother captains the dark vessel", "noAnd", "Dawn", [], []),
                ],
            ),
        ],
    ),
    (
        "Low tide",
        "The sea gives back a ship. Whoever goes out to it has to be lit home by the others.",
        "Pay off every debt and light the lamp again",
        [
            (
                "Masts",
                "When fog lifts, two masts stand where no water is deep enough.",
                "mira",
                [
                    ("Seen first", "reef", "Mira wants to show that she can be of use", ["mira", "ada"],
                     "Nobody believes a child about masts", "yesBut", "Morning", [], []),
                    ("Ropes", "harbour", "They carry ropes from the station to the reef", ["ada", "jonas", "mira"],
                     "The rope is a third too short", "no", "Noon", [], []),
                ],
            ),
            (
                "The wreck",
                "Between two tides there are four hours to bring frozen men over the stones.",
                "jonas",
                [
                    ("Brothers", "reef", "Jonas climbs aboard to find his brother", ["jonas", "ada"],
                     "The captain refuses to leave his cargo", "yesBut", "Afternoon", [], ["wreck"]),
                    ("Lamp oil", "reef", "They carry stolen barrels back to the station", ["ada", "jonas"],
                     "Water rises around their knees", "yes", "Dusk", [], []),
                ],
            ),
            (
                "Spring",
                "The supply boat brings a form with three lines, and for once the keeper signs at once.",
                "ada",
                [
                    ("The hearing", "harbour", "Ada speaks for the man who robbed her", ["ada", "jonas"],
                     "The board would rather close both cases and the station", "yesBut", "Noon", [], []),
                    ("A signature", "tower", "Mira asks whether she should pack", ["mira", "ada"],
                     "The form wants a guardian's name by tonight", "yes", "Evening", [], ["niece"]),
                ],
            ),
        ],
    ),
]  # fmt: skip
WORDS = 900


def _scene(scene: Scene, place: int, name: str) -> Node:
    title, where, goal, cast, conflict, outcome, time, opens, closes = scene
    fields: dict[str, Any] = {"place": where, "cast": cast, "goal": f"{goal}.", "conflict": f"{conflict}."}
    fields |= {"outcome": outcome, "opens": opens, "closes": closes, "words": WORDS}
    return node("scene", 3, place, title, id=f"{name}s{place}", tags=[time.lower()], fields=fields)


def novel_tree() -> Tree:
    """Three acts of three chapters of two scenes, with three threads."""
    acts = []
    for a, (title, summary, purpose, chapters) in enumerate(ACTS, 1):
        inside = [
            node(
                "chapter",
                2,
                c,
                heading,
                id=f"a{a}c{c}",
                summary=short,
                fields={"pov": pov},
                children=[_scene(scene, s, f"a{a}c{c}") for s, scene in enumerate(scenes, 1)],
            )
            for c, (heading, short, pov, scenes) in enumerate(chapters, 1)
        ]
        fields = {"purpose": f"{purpose}.", "targetWords": 6 * WORDS}
        acts.append(node("act", 1, a, title, id=f"a{a}", summary=summary, fields=fields, children=inside))
    return Tree(
        structure_type="novel",
        title="Ninety steps",
        summary="A lighthouse keeper, a stowaway and the man who wants to close the station share a winter.",
        language="en",
        origin=Origin.HUMAN,
        depth=3,
        fields={"cast": CAST, "places": PLACES, "threads": THREADS, "targetWords": 18 * WORDS},
        nodes=tuple(acts),
    )
