"""Ways to write a known flaw into a sound question, by a script that reads nothing of the rules of items.

How a flaw is worded was written from the guidelines for item writers (Haladyna, Downing and Rodriguez 2002;
Tarrant and others 2006).
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from bench.granulation.questions import DOUBLE_NEGATIVE, ECHO, ODD_FORM, QUIET_NEGATIVE, WRONG_ARTICLE

Plain = dict[str, Any]
# Writes a flaw into a question; False where it cannot be written into this one.
Plant = Callable[[Plain, random.Random], bool]


def sound(place: int, question: Sequence[str], chance: random.Random) -> Plain:
    """A sound question as an item; numbers stay in order, else the key stands anywhere."""
    stem, key, *wrong = question
    numbers = all(text.split()[0].isdigit() for text in (key, *wrong))
    texts = [key, *wrong]
    if numbers:
        texts.sort(key=lambda text: int(text.split()[0]))
    else:
        texts.remove(key)
        texts.insert(chance.randrange(len(question) - 1), key)
    options = [
        {
            "text": text,
            "correct": text == key,
            "rationale": "It is what the field calls it." if text == key else "",
        }
        for text in texts
    ]
    return {
        "id": f"q{place}",
        "kind": "single",
        "stem": stem,
        "objectiveIds": ["o1"],
        "bloom": "remember",
        "difficulty": "medium",
        "options": options,
    }


def _key(item: Plain) -> Plain:
    return next(one for one in item["options"] if one["correct"])


def _wrong(item: Plain, chance: random.Random) -> Plain:
    return chance.choice([one for one in item["options"] if not one["correct"]])


def _is_question(item: Plain) -> bool:
    return item["stem"].endswith("?")


def _numbers(item: Plain) -> bool:
    return all(one["text"].split()[0].isdigit() for one in item["options"])


def no_key(item: Plain, chance: random.Random) -> bool:
    """No option is right."""
    _key(item)["correct"] = False
    return True


def second_key(item: Plain, chance: random.Random) -> bool:
    """A wrong option is right too."""
    _wrong(item, chance).update(correct=True, rationale="This is right too.")
    return True


def two_options(item: Plain, chance: random.Random) -> bool:
    """One wrong option alone is left."""
    item["options"] = [one for one in item["options"] if one["correct"]] + [_wrong(item, chance)]
    return True


def six_options(item: Plain, chance: random.Random) -> bool:
    """Numbers go on until there are six."""
    if not _numbers(item) or not item["options"][0]["text"].isdigit():
        return False
    while len(item["options"]) < 6:
        last, before = (int(item["options"][place]["text"]) for place in (-1, -2))
        item["options"].append({"text": str(2 * last - before), "correct": False})
    return True


def same_option(item: Plain, chance: random.Random) -> bool:
    """An option stands there twice."""
    one = _wrong(item, chance)
    text = chance.choice((one["text"].upper(), one["text"] + ".", one["text"], f" {one['text']} "))
    item["options"].append({"text": text, "correct": False})
    return True


def article_twin(item: Plain, chance: random.Random) -> bool:
    """An option stands there with an article and without."""
    one = _wrong(item, chance)
    first, _, rest = one["text"].partition(" ")
    bare = rest if first in ("The", "A", "An") and rest else one["text"]
    if bare == one["text"] and (_numbers(item) or first == "In"):
        return False
    item["options"].append({"text": f"the {bare}" if bare == one["text"] else bare, "correct": False})
    return True


def blank_option(item: Plain, chance: random.Random) -> bool:
    """An option is empty."""
    one = chance.choice(item["options"])
    one["text"] = chance.choice(("", " ", "\u00a0"))
    return True


def blank_stem(item: Plain, chance: random.Random) -> bool:
    """The stem is empty."""
    item["stem"] = chance.choice(("", "   "))
    return True


def long_key(item: Plain, chance: random.Random) -> bool:
    """The key alone is explained at length."""
    key = _key(item)
    if _numbers(item):
        return False
    key["text"] += chance.choice(
        (
            ", as can be shown by careful observation and has been confirmed since",
            " (in the sense that is usual in textbooks and reference works)",
            ", although the exact circumstances matter in some cases",
        )
    )
    return True


def about_others(item: Plain, chance: random.Random) -> bool:
    """An option speaks of the others."""
    _wrong(item, chance)["text"] = chance.choice(
        (
            "All of the above",
            "None of the above",
            "None of these",
            "All of these answers are correct",
            "Both A and B",
            "Neither of the other two",
            "Every one of the above",
            "Any of the options listed",
        )
    )
    return True


def absolute_word(item: Plain, chance: random.Random) -> bool:
    """A wrong option claims too much."""
    one = _wrong(item, chance)
    if _numbers(item):
        return False
    one["text"] += chance.choice(
        (
            ", always",
            ", in every case",
            " and nothing else ever",
            ", without exception",
            " only",
            ", at all times",
        )
    )
    return True


def _replace(item: Plain, texts: Sequence[str]) -> None:
    item["options"] = [
        {"text": text, "correct": not place, "rationale": "" if place else "It is what is known."}
        for place, text in enumerate(texts)
    ]


def no_question(item: Plain, chance: random.Random) -> bool:
    """The stem is neither a question nor to be completed."""
    if not _is_question(item):
        return False
    item["stem"] = item["stem"][:-1] + chance.choice((".", "", "!"))
    return True


def _replaced(questions: Sequence[Sequence[str]]) -> Plant:
    """Put one of the questions, each with the flaw, in the place of the sound one."""

    def plant(item: Plain, chance: random.Random) -> bool:
        item["stem"], *texts = chance.choice(questions)
        _replace(item, texts)
        return True

    return plant


def overlapping(item: Plain, chance: random.Random) -> bool:
    """Ranges share their ends."""
    low, step = chance.choice(((10, 10), (20, 5), (100, 50), (0, 4)))
    form = chance.choice(("{} to {} metres", "{}–{}", "between {} and {} kilos", "from {} to {} days"))
    item["stem"] = chance.choice(("How much is usual here?", "In which range does the usual value lie?"))
    _replace(item, [form.format(low + step * n, low + step * (n + 1)) for n in range(3)])
    return True


def unsorted(item: Plain, chance: random.Random) -> bool:
    """Numbers are in no order."""
    unit = chance.choice(("", " kg", " minutes", " %"))
    item["stem"] = chance.choice(
        ("How long is the usual duration?", "How much does a full load weigh?", "What share is lost?")
    )
    _replace(item, [f"{one}{unit}" for one in chance.choice(((30, 10, 20), (7, 3, 5, 9), (45, 90, 15)))])
    return True


def unfocused(item: Plain, chance: random.Random) -> bool:
    """The stem asks nothing by itself."""
    item["stem"] = chance.choice(
        (
            "Which of the following is true?",
            "Which one is correct?",
            "Select the best answer.",
            "Which of these statements applies?",
            "Which statement is right?",
            "Mark the correct sentence:",
        )
    )
    return True


def long_stem(item: Plain, chance: random.Random) -> bool:
    """The stem is a story."""
    about = item["stem"].rstrip("?")
    asked = about[0].lower() + about[1:]
    item["stem"] = (
        f"Somebody who teaches a class of beginners has prepared a lesson on {asked}, has read "
        "three books on it, has spoken with a colleague from another school, has collected pictures and "
        "short films that show it from several sides, has tried out two experiments at home, and asks "
        f"what pupils know a week later, so the first thing to ask is: {asked}?"
    )
    return True


def long_option(item: Plain, chance: random.Random) -> bool:
    """Every option is a story."""
    tails = (
        "which has been described at length in most of the school books that were printed on this subject "
        "within the last twenty years or so, pictures and all",
        "whose use somebody who was told about it once before would find out after a while by trying, asking "
        "older colleagues, making mistakes and starting over again",
        "a term that goes back to the people who wrote on these matters, long before there were schools "
        "or courses, tests or exams in which one could be asked for it",
    )
    for one, tail in zip(item["options"], tails, strict=False):
        one["text"] += f", {tail}"
    return not _numbers(item) and len(item["options"]) == len(tails)


def lead_in(item: Plain, chance: random.Random) -> bool:
    """The stem begins with words that nobody needs."""
    if not _is_question(item):
        return False
    opening = chance.choice(
        (
            "As everybody knows from school,",
            "As you have learned,",
            "It is widely known that this matters:",
            "Think carefully about this one.",
            "Please read the question slowly.",
            "In your opinion,",
            "Here is an easy one for you:",
            "We have talked about this often in class, and it came up in the last lesson again as well.",
        )
    )
    item["stem"] = f"{opening} {item['stem'][0].lower()}{item['stem'][1:]}"
    return True


def two_claims(item: Plain, chance: random.Random) -> bool:
    """A statement makes two claims."""
    item["stem"] = chance.choice(
        (
            "Whales are mammals and sharks are fish.",
            "Iron rusts because it takes up oxygen.",
            "Bread rises in the warmth, so bakers heat their rooms.",
            "The Moon has no air, but it has water ice.",
            "Copper conducts heat well and it is cheaper than gold.",
            "Yeast needs sugar; salt slows it down.",
        )
    )
    item.update(kind="true_false", answer=True, options=[])
    return True


def far_distractor(item: Plain, chance: random.Random) -> bool:
    """A wrong option could not be the answer to anything."""
    if _numbers(item):
        return False
    _wrong(item, chance)["text"] = chance.choice(("7", "42", "1 %", "?", "xyzzy 99"))
    return True


def near_distractor(item: Plain, chance: random.Random) -> bool:
    """A wrong option is the key, misspelt."""
    key = _key(item)["text"]
    if _numbers(item) or len(key) < 8:
        return False
    _wrong(item, chance)["text"] = chance.choice(
        (f"{key}s", key.replace(" ", "-", 1) + "s", key[:-1] + key[-1] * 2)
    )
    return True


def no_rationale(item: Plain, chance: random.Random) -> bool:
    """It is not said why the key is right."""
    _key(item)["rationale"] = chance.choice(("", "  "))
    return True


def no_objective(item: Plain, chance: random.Random) -> bool:
    """The question is for no objective."""
    item["objectiveIds"] = []
    return True


def no_points(item: Plain, chance: random.Random) -> bool:
    """The question is worth nothing."""
    item["points"] = chance.choice((0, -1))
    return True


PLANTS: tuple[tuple[str, Plant], ...] = (
    ("item.one_key", no_key),
    ("item.one_key", second_key),
    ("item.option_count", two_options),
    ("item.option_count", six_options),
    ("item.duplicate_option", same_option),
    ("item.option_article", article_twin),
    ("item.blank_option", blank_option),
    ("item.stem_missing", blank_stem),
    ("item.longest_key", long_key),
    ("item.all_or_none", about_others),
    ("item.absolute", absolute_word),
    ("item.negative_stem", _replaced(QUIET_NEGATIVE)),
    ("item.double_negative", _replaced(DOUBLE_NEGATIVE)),
    ("item.stem_form", no_question),
    ("item.grammar", _replaced(WRONG_ARTICLE)),
    ("item.grammar", _replaced(ODD_FORM)),
    ("item.clang", _replaced(ECHO)),
    ("item.overlapping_ranges", overlapping),
    ("item.unsorted_numbers", unsorted),
    ("item.unfocused", unfocused),
    ("item.long_stem", long_stem),
    ("item.long_option", long_option),
    ("item.lead_in", lead_in),
    ("item.two_clauses", two_claims),
    ("item.distractor_similarity", far_distractor),
    ("item.distractor_similarity", near_distractor),
    ("item.rationale", no_rationale),
    ("item.no_objective", no_objective),
    ("item.points", no_points),
)
