"""Small trees by hand of the types that hold edges, roles and stories, as exports have to show them."""

from typing import Any

import msgspec

from aifactory.granulation.tree import Tree


def node(name: str, kind: str, title: str, *children: dict[str, Any], **held: Any) -> dict[str, Any]:
    """A node as plain JSON; level and ordinal are set by its place."""
    own: dict[str, Any] = {
        key: held.pop(key) for key in ("summary", "minutes", "tags", "sources") if key in held
    }
    return {"id": name, "kind": kind, "title": title, **own, "fields": held, "children": list(children)}


def tree(structure_type: str, title: str, *nodes: dict[str, Any], summary: str, **held: Any) -> Tree:
    """The tree of such nodes."""
    placed = _placed(list(nodes), 1)
    depth = max((one["level"] for one in _flat(placed)), default=1)
    plain = {
        "structureType": structure_type,
        "title": title,
        "summary": summary,
        "language": "en",
        "origin": "offline",
        "depth": depth,
        "targetAudience": "beginners",
        "fields": held,
        "nodes": placed,
    }
    return msgspec.convert(plain, Tree)


def _placed(nodes: list[dict[str, Any]], level: int) -> list[dict[str, Any]]:
    return [
        {**one, "level": level, "ordinal": place, "children": _placed(one["children"], level + 1)}
        for place, one in enumerate(nodes, 1)
    ]


def _flat(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found for one in nodes for found in [one, *_flat(one["children"])]]


def path_tree() -> Tree:
    """Three milestones towards baking bread alone."""
    activity = node(
        "ac_1",
        "activity",
        "Feed a starter for a week",
        minutes=40,
        activityKind="practice",
        deliverable="A log of seven feedings with the height after eight hours.",
        resource="Your notes, and https://example.org/starter (free).",
    )
    read = node(
        "ac_2", "activity", "Read two labels", minutes=15, activityKind="read", deliverable="A comparison."
    )
    skills = [
        node(
            "sk_1", "skill", "Keep a starter alive", activity, **{"from": 0, "to": 2}, evidence="It doubles."
        ),
        node(
            "sk_2",
            "skill",
            "Choose a flour",
            read,
            **{"from": 1, "to": 3},
            evidence="A flour chosen for each of three loaves, with the reason.",
            requires=["sk_1"],
        ),
    ]
    bake = node(
        "ac_3", "activity", "Bake a tin loaf", minutes=180, activityKind="project", deliverable="A loaf."
    )
    score = node(
        "ac_4", "activity", "Score six loaves", minutes=60, activityKind="practice", deliverable="Six photos."
    )
    return tree(
        "learning_path",
        "From flour to a loaf of your own",
        node(
            "mi_1",
            "milestone",
            "Understand flour and water",
            *skills,
            summary="What the two do to each other before any heat.",
            outcome="You keep a starter and know why it rises.",
            weeks=2,
        ),
        node(
            "mi_2",
            "milestone",
            "Bake one loaf well",
            node("sk_3", "skill", "Shape and bake", bake, **{"from": 1, "to": 4}, evidence="Even crumb."),
            summary="One loaf, again and again.",
            outcome="You bake the same loaf three times in a row.",
            weeks=3.5,
            requires=["mi_1"],
        ),
        node(
            "mi_3",
            "milestone",
            "Bake for others",
            node(
                "sk_4",
                "skill",
                "Score for the oven",
                score,
                **{"from": 2, "to": 5},
                evidence="An ear.",
                tone="dry",
            ),
            summary="Looks count now.",
            outcome="A guest asks for the recipe.",
            weeks=1,
            requires=["mi_2"],
            branch="Only for those who want to sell",
            targetWords=400,
            priority=2,
        ),
        summary="Six and a half weeks from the first feeding to a loaf that you would give away.",
        goal="Bake a sourdough loaf alone, without a recipe at hand.",
        startLevel=0,
        targetLevel=4,
        hoursPerWeek=3,
        glossary=[{"term": "Crumb", "definition": "The inside of a loaf."}],
    )


def map_tree() -> Tree:
    """Three concepts with their parts, joined by every kind of edge."""
    flour = node(
        "co_1",
        "concept",
        "Flour",
        node("su_1", "subconcept", "Gluten", definition="The protein net that holds the gas of a dough."),
        node(
            "su_2",
            "subconcept",
            "Whole grain",
            node("de_1", "detail", "Bran cuts gluten", definition="Sharp bran tears the net."),
            definition="Flour that keeps bran and germ.",
        ),
        summary="Where structure comes from.",
        definition="Ground grain, the larger part of any dough.",
        importance=3,
        aliases=["meal", "farina"],
    )
    water = node(
        "co_2",
        "concept",
        "Water",
        node("su_3", "subconcept", "Hydration", definition="Water as a share of the flour's weight."),
        definition="What wakes yeast and lets gluten form.",
        importance=2,
    )
    yeast = node(
        "co_3",
        "concept",
        "Yeast and the bacteria that live beside it in a starter",
        node("su_4", "subconcept", "Starter", definition="A culture that is fed and kept."),
        definition="A fungus that turns sugar into gas and alcohol.",
        importance=3,
    )
    kinds = [
        ("co_1", "su_1", "part_of", 0.9),
        ("co_2", "su_1", "prerequisite", 0.8),
        ("su_3", "su_1", "related", 0.5),
        ("co_3", "co_2", "contrasts", 0.3),
        ("su_4", "co_3", "example_of", 0.7),
        ("su_3", "su_4", "applies_to", 0.4),
        ("de_1", "su_1", "related", 0.6),
    ]
    edges = [{"from": one, "to": two, "edgeKind": kind, "weight": weight} for one, two, kind, weight in kinds]
    return tree(
        "knowledge_map", "What bread is made of", flour, water, yeast, summary="Three things.", edges=edges
    )


def workflow_tree() -> Tree:
    """Two phases with a decision that can send work back."""
    return tree(
        "workflow",
        "A new loaf on the shelf",
        node(
            "ph_1",
            "phase",
            "Try",
            node(
                "st_1",
                "step",
                "Write the recipe",
                node("ta_1", "task", "Weigh", instruction="Weigh every part in grams.", tool="Scale, 1 g"),
                minutes=30,
                role="ro_1",
                inputs=["Wish list"],
                outputs=["Recipe"],
            ),
            node(
                "st_2",
                "step",
                "Bake and taste",
                minutes=240,
                role="ro_2",
                inputs=["Recipe"],
                outputs=["Loaf", "Tasting notes"],
                requires=["st_1"],
                decision={
                    "question": "Would we eat it again?",
                    "branches": [
                        {"label": "Yes", "to": "st_3"},
                        {"label": "No", "to": "st_1", "rework": True},
                    ],
                },
            ),
            summary="From a wish to a loaf.",
            entry="Somebody asks for a new loaf.",
            gate={"criteria": ["Two tasters agree", "The cost is known"], "approver": "ro_1"},
        ),
        node(
            "ph_2",
            "phase",
            "Sell",
            node(
                "st_3", "step", "Set the price", minutes=20, role="ro_1", outputs=["Price"], requires=["st_2"]
            ),
            summary="From a loaf to a price.",
            entry="The loaf is approved.",
            gate={"criteria": ["The price covers the cost"], "approver": "ro_2"},
        ),
        summary="How a bakery decides on a new loaf.",
        roles=[
            {"id": "ro_1", "name": "Head baker", "duty": "Answers for taste and cost."},
            {"id": "ro_2", "name": "Baker", "duty": "Bakes."},
        ],
    )


def novel_tree() -> Tree:
    """Two acts of a very short novel."""
    scenes = [
        node(
            f"sc_{place}",
            "scene",
            title,
            summary=summary,
            place=where,
            cast=cast,
            goal=goal,
            conflict=conflict,
            outcome=outcome,
            words=words,
            **more,
        )
        for place, (title, summary, where, cast, goal, conflict, outcome, words, more) in enumerate(
            _SCENES, 1
        )
    ]
    return tree(
        "novel",
        "The cold oven",
        node(
            "an_1",
            "act",
            "The letter",
            node("ch_1", "chapter", "Before six", *scenes[:2], summary="Ada opens.", pov="ca_1"),
            summary="Ada learns that the bakery is lost.",
            purpose="Show what can be lost.",
        ),
        node(
            "an_2",
            "act",
            "The fire",
            node("ch_2", "chapter", "Smoke", scenes[2], summary="Ben lights it.", pov="ca_2"),
            summary="They bake once more.",
            purpose="Let them choose.",
        ),
        summary="A baker has one night to keep her oven.",
        targetWords=12000,
        cast=[
            {"id": "ca_1", "name": "Ada", "role": "heroine", "want": "Keep the oven", "need": "Ask for help"},
            {"id": "ca_2", "name": "Ben", "role": "helper", "arc": "From guest to partner"},
        ],
        places=[
            {"id": "pl_1", "name": "The bakery", "note": "Cold since May."},
            {"id": "pl_2", "name": "The yard"},
        ],
        threads=[
            {"id": "th_1", "setup": "A letter nobody opened", "payoff": "It was a gift."},
        ],
    )


_SCENES: list[tuple[Any, ...]] = [
    (
        "The unopened letter",
        "Ada finds it under the scale.",
        "pl_1",
        ["ca_1"],
        "Find the bill",
        "It isn't a bill",
        "noAnd",
        3800,
        {"opens": ["th_1"]},
    ),
    (
        "Ben asks",
        "He wants bread that she can't bake.",
        "pl_2",
        ["ca_1", "ca_2"],
        "Send him away",
        "He stays",
        "yesBut",
        4200,
        {"tone": "wry"},
    ),
    (
        "What the letter said",
        "They read it by the fire.",
        "pl_1",
        ["ca_2", "ca_1"],
        "Light the oven",
        "The wood is wet",
        "yes",
        4000,
        {"closes": ["th_1"]},
    ),
]

HAND_MADE = {
    "learning_path": path_tree(),
    "knowledge_map": map_tree(),
    "workflow": workflow_tree(),
    "novel": novel_tree(),
}
