"""Assessment items of every kind, made from passages with a gap; keys are right by construction. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from devprovider.writing.desk import Desk, Scope
from devprovider.writing.material import NUMBER, SPARE_TERMS, first_clause, form_of, shorten
from devprovider.writing.objectives import level_of
from devprovider.writing.phrases import Phrase

KINDS = ("single", "multi", "true_false", "short", "numeric", "match", "order", "cloze", "essay")
GAP = "____"
DIFFICULTIES = ("easy", "medium", "hard")
_STEMS = {
    "single": (
        'Which term completes this statement of the source: "{s}"?',
        'Which of these terms belongs in the gap: "{s}"?',
        'What does the source name at the gap in "{s}"?',
    ),
    "multi": (
        'Which terms belong in the gaps of this statement: "{s}"?',
        'Which of these terms does the source use at the gaps in "{s}"?',
    ),
    "short": (
        'Which term does the source use at the gap in "{s}"?',
        'Write the term that is missing here: "{s}"',
    ),
    "numeric": (
        'Which number belongs in the gap: "{s}"?',
        'What figure does the source give at the gap in "{s}"?',
    ),
    "match": ("Match each term with the statement of the source that it completes.",),
    "order": ("Put these statements in the order in which the source makes them.",),
    "essay": ("Explain in your own words what the source says about the {p} and how it bears on the {q}.",),
}
LONGEST_QUOTE = 30


def item(desk: Desk, scope: Scope, kind: str, objective_ids: Sequence[str]) -> dict[str, Any]:
    """Every field that an item of the kind may have; the schema decides which are kept."""
    made, number = _MAKERS[kind](desk, scope)
    level = next((level for level in (level_of(desk, one) for one in objective_ids) if level), "")
    return {
        "kind": kind,
        "objectiveIds": list(objective_ids),
        "bloom": level or ("create" if kind == "essay" and not desk.english else "understand"),
        "difficulty": DIFFICULTIES[scope.position % 3],
        "points": 1,
        "feedback": desk.proof(number),
        "hint": None,
        "sources": desk.labels([number]),
        **made,
    }


def feasible(desk: Desk, scope: Scope, kind: str) -> bool:
    """Whether the place's passages can carry an item of that kind."""
    if kind == "numeric":
        return bool(desk.material.numeric - desk.used.get("items", set()))
    if kind in ("match", "order"):
        return len(desk.material.passages) >= 3
    return True


def _free(desk: Desk, scope: Scope) -> list[int]:
    """Passages without an item, the place's own first and plain ones before negative ones; never empty."""
    used = desk.used.setdefault("items", set())
    negative = desk.material.negative
    own = set(scope.passages)
    numbers = range(len(desk.material.passages))
    free = [number for number in numbers if number not in used] or list(numbers)
    # A statement that negates or generalises makes a poor question.
    return sorted(free, key=lambda number: (number in negative, number not in own, number))


def gapped(desk: Desk, scope: Scope, gaps: int) -> tuple[str, list[str], int]:
    """A statement with that many gaps, the phrases that were there, and its passage."""
    for number in _free(desk, scope):
        text = shorten(desk.text(number), LONGEST_QUOTE)
        chosen = _gap_phrases(desk, number, text, gaps)
        if len(chosen) == gaps:
            desk.used["items"].add(number)
            desk.terms_used.update(phrase.text.lower() for phrase in chosen)
            for phrase in sorted(chosen, key=lambda one: -one.start):
                text = text[: phrase.start] + GAP + text[phrase.end :]
            return text, [phrase.text for phrase in chosen], number
    return _invented(desk, scope, gaps)


def _gap_phrases(desk: Desk, number: int, text: str, gaps: int) -> list[Phrase]:
    """Phrases of like form that stand once in the text, not behind a/an, and were no key before."""
    usable = []
    for phrase in desk.material.phrases[number]:
        before = text[: phrase.start].rstrip().lower()
        if phrase.end >= len(text) or before.endswith((" a", " an")) or before in ("a", "an"):
            continue
        word_stems = _stems(phrase.text)
        rest = _stems(text[: phrase.start] + " " + text[phrase.end :])
        if not word_stems & rest and phrase.text.lower() not in desk.terms_used:
            usable.append(phrase)
    chosen: list[Phrase] = []
    for phrase in usable:
        if all(form_of(phrase.text) == form_of(one.text) and _apart(phrase, one) for one in chosen):
            chosen.append(phrase)
    return chosen[:gaps]


def _apart(left: Phrase, right: Phrase) -> bool:
    return left.end <= right.start or right.end <= left.start


def _invented(desk: Desk, scope: Scope, gaps: int) -> tuple[str, list[str], int]:
    """A statement about the topic, for passages that have no phrase to take out."""
    turn = len(desk.terms_used)
    keys = [SPARE_TERMS[(turn + step) % 4] for step in range(gaps)]
    desk.terms_used.update(f"{key} {turn}" for key in keys)
    topic = " ".join(desk.prompt.topic.split()[:6])
    blanks = " beside the ".join([GAP] * gaps)
    number = scope.passages[scope.position % len(scope.passages)]
    return f"Part {turn + 1} of the text on {topic} describes the {blanks}.", keys, number


def _distractors(desk: Desk, keys: list[str], number: int, wanted: int) -> list[str]:
    """Phrases of other passages in the key's form and near its length, sharing no word with it or the "
    "text."""
    taken = _stems(" ".join([*keys, desk.text(number)]))
    form, length = form_of(keys[0]), len(keys[0])
    pool = desk.material.forms.get(form, ())
    start = desk.below(len(pool), keys[0], number) if pool else 0
    # Sorting keeps the seeded order among phrases of one length.
    near = sorted((*pool[start:], *pool[:start]), key=lambda text: abs(len(text) - length))
    chosen: list[str] = []
    for text in [*near, *(one for one in SPARE_TERMS if form_of(one) == form)]:
        if len(chosen) == wanted:
            break
        own = _stems(text)
        if own & taken or 2 * len(text) < length:
            continue
        taken |= own
        chosen.append(text)
    return chosen


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:5] for word in re.findall(r"[^\W_]{3,}", text.lower()))


def _choice(desk: Desk, scope: Scope, kind: str, gaps: int) -> tuple[dict[str, Any], int]:
    text, keys, number = gapped(desk, scope, gaps)
    wrong = _distractors(desk, keys, number, 2 + desk.below(2, scope.path, scope.place, "options"))
    while len(wrong) + gaps < 3:
        wrong.append(f"{keys[0]} {len(wrong) + 2}")
    reason = desk.proof(number)
    elsewhere = "{} stands elsewhere in the source, if at all." if desk.english else "≠ {}"
    options = [{"text": key, "correct": True, "rationale": reason} for key in keys]
    options += [{"text": one, "correct": False, "rationale": elsewhere.format(one)} for one in wrong]
    options.sort(key=lambda option: desk.below(10_007, scope.path, scope.place, option["text"]))
    return {"stem": _stem(desk, scope, kind, text), "options": options}, number


def _stem(desk: Desk, scope: Scope, kind: str, text: str, **names: str) -> str:
    if text and not desk.english:
        return text
    frames = _STEMS[kind]
    frame = frames[(scope.position + desk.below(len(frames), scope.path, "stem")) % len(frames)]
    return frame.format(s=text.rstrip("."), **names)


def _single(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    return _choice(desk, scope, "single", 1)


def _multi(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    return _choice(desk, scope, "multi", 2)


def _true_false(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    """A claim of the source, or one with its term exchanged."""
    number = _free(desk, scope)[0]
    desk.used["items"].add(number)
    claim = shorten(first_clause(desk.text(number)), LONGEST_QUOTE)
    phrase = next((one for one in desk.material.phrases[number] if one.end <= len(claim) - 1), None)
    if phrase and desk.below(2, scope.path, scope.place, "truth"):
        other = _distractors(desk, [phrase.text], number, 1)
        if other:
            claim = claim[: phrase.start] + other[0] + claim[phrase.end :]
            return {"stem": claim[0].upper() + claim[1:], "answer": False}, number
    return {"stem": claim, "answer": True}, number


def _short(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    text, keys, number = gapped(desk, scope, 1)
    return {"stem": _stem(desk, scope, "short", text), "accepted": keys}, number


def _cloze(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    text, keys, number = gapped(desk, scope, 1)
    return {"stem": text, "accepted": keys}, number


def _numeric(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    """A number of a passage; without any, the count of words of a quoted passage."""
    for number in _free(desk, scope):
        text = shorten(desk.text(number), LONGEST_QUOTE)
        match = NUMBER.search(text)
        if match:
            desk.used["items"].add(number)
            gapped = text[: match.start(1)] + GAP + text[match.end(1) :]
            return _figure(desk, scope, gapped, float(match[1]), match[2]), number
    number = desk.take_passage(scope, "items")
    quoted = shorten(desk.text(number), 12)
    stem = f'How many words does this statement have: "{quoted}"?'
    return {"stem": stem, "value": len(quoted.split()), "tolerance": 0, "unit": "words"}, number


def _figure(desk: Desk, scope: Scope, text: str, value: float, unit: str | None) -> dict[str, Any]:
    shown = int(value) if value == int(value) else value
    return {"stem": _stem(desk, scope, "numeric", text), "value": shown, "tolerance": 0, "unit": unit or None}


def _match(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    pairs, first = [], -1
    for _ in range(3):
        text, keys, number = gapped(desk, scope, 1)
        first = number if first < 0 else first
        pairs.append({"left": keys[0], "right": shorten(text, 20)})
    return {"stem": _STEMS["match"][0], "pairs": pairs}, first


def _order(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    numbers = sorted(_free(desk, scope)[:4])
    steps = list(dict.fromkeys(shorten(first_clause(desk.text(number)), 16) for number in numbers))
    while len(steps) < 3:
        steps.append(f"The source then comes to the {desk.term(scope, len(steps))} ({len(steps) + 1}).")
    desk.used["items"].update(numbers)
    return {"stem": _STEMS["order"][0], "steps": steps}, numbers[0]


def _essay(desk: Desk, scope: Scope) -> tuple[dict[str, Any], int]:
    number = desk.take_passage(scope, "items")
    terms = desk.terms(scope)
    first, second = terms[scope.position % len(terms)], terms[(scope.position + 1) % len(terms)]
    rubric = [
        {"criterion": f"Says what the {first} is, in the learner's own words", "points": 2},
        {"criterion": "Rests each claim on a statement of the source", "points": 2},
        {"criterion": "Names one consequence", "points": 1},
    ]
    return {"stem": _stem(desk, scope, "essay", "", p=first, q=second), "rubric": rubric, "points": 5}, number


_MAKERS: dict[str, Callable[[Desk, Scope], tuple[dict[str, Any], int]]] = {
    "single": _single,
    "multi": _multi,
    "true_false": _true_false,
    "short": _short,
    "numeric": _numeric,
    "match": _match,
    "order": _order,
    "cloze": _cloze,
    "essay": _essay,
}
