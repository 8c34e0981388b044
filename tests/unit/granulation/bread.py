"""What the hand-made trees are about: a small text on bread, cut into modules and lessons."""

# ruff: noqa: E501

from typing import NamedTuple


class Lesson(NamedTuple):
    title: str
    term: str
    needs: tuple[str, ...]
    passage: str
    points: tuple[str, str, str]
    practice: str
    question: str
    options: tuple[str, str, str]
    reason: str


class Module(NamedTuple):
    title: str
    summary: str
    objectives: tuple[tuple[str, str], tuple[str, str]]
    lessons: tuple[Lesson, ...]


MODULES = (
    Module(
        "Flour and water",
        "Flour and water decide how a loaf holds together. The module shows what protein does in wet dough and "
        "how much water each flour can carry before it turns slack.",
        (
            (
                "understand",
                "Explain in three sentences how gluten forms in wet dough, using the section on flour",
            ),
            (
                "apply",
                "Calculate the hydration of a dough to the nearest percent, given the weights of two ingredients",
            ),
        ),
        (
            Lesson(
                "Protein in flour",
                "gluten",
                (),
                "Gluten is an elastic net that two proteins of wheat build as soon as the flour meets water. A strong "
                "flour holds more of these proteins, so its net is tighter and the loaf rises higher in the oven.",
                (
                    "Two wheat proteins join into one net",
                    "Strong flour holds more protein than cake flour",
                    "A tight net keeps the loaf tall",
                ),
                "Knead two small balls of strong and weak flour and write down which one stretches further.",
                "What does wheat protein build when the flour gets wet?",
                ("An elastic net", "A sugar syrup", "A thick cream"),
                "Wet wheat protein links up into an elastic net that holds the dough together.",
            ),
            Lesson(
                "Weighing the water",
                "hydration",
                (),
                "Hydration is the weight of the water in percent of the weight of the flour. A stiff bagel stays near "
                "fifty five percent, while an open ciabatta may reach eighty percent and needs gentle hands.",
                (
                    "Percentages always refer to the flour",
                    "Bagels are stiff and ciabatta is slack",
                    "Scales beat cups for every ingredient",
                ),
                "Weigh the ingredients of one recipe and compute the share of water to the nearest percent.",
                "Hydration is given in percent of which weight?",
                ("The flour", "The salt", "The whole loaf"),
                "A baker's percentage always compares an ingredient with the flour.",
            ),
            Lesson(
                "Resting before kneading",
                "autolyse",
                ("gluten",),
                "Autolyse is a rest of about thirty minutes between mixing and kneading, before salt goes in. During the "
                "pause enzymes loosen the gluten, and the later work at the table becomes much shorter.",
                (
                    "Mix roughly, cover the bowl and wait",
                    "Enzymes relax the net without any effort",
                    "Salt would slow the enzymes down",
                ),
                "Mix one bowl with a rest and one without, then time how long each needs at the table.",
                "Why is salt left out during the autolyse?",
                ("It slows the enzymes", "It melts the crust", "It feeds the yeast"),
                "Salt slows the enzymes that loosen the net during the rest.",
            ),
        ),
    ),
    Module(
        "Yeast and fermentation",
        "Living cultures lift the dough and give it taste. The module follows yeast from the first bubbles to a "
        "lively starter and shows how warmth changes the speed of the work.",
        (
            (
                "understand",
                "Describe in two sentences what yeast makes from sugar, using the section on cultures",
            ),
            (
                "apply",
                "Prepare a starter that doubles within six hours, using equal parts of old culture and flour",
            ),
        ),
        (
            Lesson(
                "Gas from sugar",
                "fermentation",
                (),
                "Fermentation is the work of yeast cells that eat sugar and give off gas and alcohol. The bubbles are "
                "caught inside the dough, and the alcohol leaves an aroma that baking turns into flavour.",
                (
                    "Yeast cells live on simple sugars",
                    "Trapped bubbles lift the dough",
                    "Alcohol evaporates and leaves aroma",
                ),
                "Stir yeast with warm sugar water, stretch a balloon over the bottle and note its size each hour.",
                "Which product of the yeast lifts the loaf?",
                ("Gas", "Heat", "Acid"),
                "Yeast gives off gas, and the caught bubbles lift the loaf.",
            ),
            Lesson(
                "Keeping a starter",
                "sourdough starter",
                ("fermentation",),
                "A sourdough starter is a culture of wild yeast and bacteria kept alive with fresh meals of flour. Fed "
                "every day it doubles in six hours, and its mild acid protects the crumb from mould.",
                (
                    "Wild yeast lives beside helpful bacteria",
                    "Daily meals keep the culture lively",
                    "Acid from bacteria guards against mould",
                ),
                "Feed a jar for three days, mark the level after each meal and report when it has doubled.",
                "What protects a sour crumb from mould?",
                ("A mild acid", "A thin crust", "A dry surface"),
                "The bacteria of the culture make a mild acid that mould does not like.",
            ),
            Lesson(
                "Warm and cold proofs",
                "proofing",
                ("fermentation",),
                "Proofing is the last rise of a shaped loaf before it enters the oven. At twenty six degrees it lasts one "
                "hour, whereas a night in the refrigerator slows the yeast and deepens the taste.",
                (
                    "The final rise follows shaping",
                    "Warmth speeds the yeast and cold slows it",
                    "A slow night brings deeper taste",
                ),
                "Shape two rolls, leave one in the kitchen and chill the other, then compare them with the poke test.",
                "What does a night in the refrigerator do to a shaped loaf?",
                ("It deepens the taste", "It hardens the salt", "It bleaches the flour"),
                "Cold slows the yeast, and the longer rise deepens the taste.",
            ),
        ),
    ),
    Module(
        "Shaping loaves",
        "Hands turn a slack mass into a tight form that keeps its height. The module trains folding, pulling and "
        "scoring so that the skin of the dough opens where the baker wants.",
        (
            (
                "apply",
                "Demonstrate three folds that tighten a slack dough, using only wet hands and a scraper",
            ),
            (
                "analyze",
                "Distinguish two kinds of cuts by the angle of the blade, given photographs of baked loaves",
            ),
        ),
        (
            Lesson(
                "Folding in the bowl",
                "stretch and fold",
                ("hydration",),
                "A stretch and fold is a gentle turn that pulls one side of the mass up and lays it over the middle. Four "
                "turns every half hour give a wet mixture strength that kneading could not give.",
                (
                    "Wet hands do not stick",
                    "Four sides make one complete turn",
                    "Half an hour lies between the rounds",
                ),
                "Give a wet mixture four rounds of turns and photograph its height after each of them.",
                "How many sides are pulled in one round of folding?",
                ("Two", "Four", "Six"),
                "One complete round pulls up all four sides.",
            ),
            Lesson(
                "Tension on the surface",
                "boule",
                (),
                "A boule is a round form whose outer skin was pulled tight against the table. The tension carries the "
                "weight, so the ball keeps standing instead of spreading into a flat cake.",
                (
                    "Drag the ball towards your body",
                    "The seam points down on the bench",
                    "A flat cake shows missing tension",
                ),
                "Drag three balls across the bench and measure how wide each stands after ten minutes.",
                "What keeps a round form from spreading?",
                ("A tight skin", "A hot table", "A deep bowl"),
                "The tight outer skin carries the weight of the ball.",
            ),
            Lesson(
                "Cutting the skin",
                "scoring",
                ("boule",),
                "Scoring is a quick cut through the skin with a razor just before loading. A flat angle lifts an ear, and "
                "an upright blade opens the top evenly into a cross or a leaf.",
                (
                    "Razors cut cleaner than kitchen knives",
                    "Flat cuts lift a crisp ear",
                    "Upright cuts open evenly",
                ),
                "Cut one form at a flat angle and one upright, bake both and sketch the openings.",
                "Which cut lifts an ear?",
                ("A flat one", "An upright one", "A double one"),
                "A razor held at a flat angle lifts an ear.",
            ),
        ),
    ),
    Module(
        "Heat and crust",
        "The oven fixes the form and makes the colour. The module explains steam, temperature and cooling, and "
        "lets every baker judge when a loaf is really done.",
        (
            ("understand", "Explain in two steps why steam delays the crust, using the section on ovens"),
            (
                "evaluate",
                "Judge whether a loaf is done by two signs, given its core temperature and its sound",
            ),
        ),
        (
            Lesson(
                "Steam in the oven",
                "oven spring",
                ("fermentation",),
                "Oven spring is the sudden growth of the first ten minutes, when gas expands faster than the shell dries. "
                "Steam keeps the shell soft for that time and lets it stretch without tearing.",
                (
                    "Expanding gas pushes in the first minutes",
                    "Moist air keeps the shell soft",
                    "A dry chamber tears the shell",
                ),
                "Bake one roll under a pot and one uncovered, then compare height and shine of both.",
                "What does steam do to the shell?",
                ("It keeps it soft", "It makes it salty", "It turns it black"),
                "Moist air keeps the shell soft, so that it can stretch.",
            ),
            Lesson(
                "Colour and taste",
                "maillard reaction",
                (),
                "The Maillard reaction is a change of sugars and amino acids above one hundred forty degrees that browns the "
                "outside. It brings hundreds of roasted aromas, and pale loaves taste of little.",
                (
                    "Browning starts far above boiling",
                    "Sugars meet amino acids",
                    "Pale outsides lack roasted aroma",
                ),
                "Bake four slices for different times and rank them by colour and by taste.",
                "Which substances brown together above one hundred forty degrees?",
                ("Sugars and amino acids", "Salts and mineral oils", "Starches and pure waxes"),
                "The reaction joins sugars with amino acids.",
            ),
            Lesson(
                "Knowing when it is done",
                "core temperature",
                ("oven spring",),
                "Core temperature is what a probe shows in the middle of the loaf. At ninety six degrees the starch has set, "
                "a knock on the bottom sounds hollow, and the rack must let air around for an hour.",
                (
                    "A probe reads the middle",
                    "Hollow knocks mean the starch has set",
                    "Cooling on a rack finishes the job",
                ),
                "Probe a loaf every five minutes near the end and record the degrees beside the sound of a knock.",
                "How does a finished loaf sound when it is knocked?",
                ("Hollow", "Silent", "Ringing"),
                "When the starch has set, a knock on the bottom sounds hollow.",
            ),
        ),
    ),
)
