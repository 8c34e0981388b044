"""Flaws in the wording of an item: negatives, cues, lead-ins, absolutes, lengths; English only. Pure."""

import re
from collections.abc import Iterator

from aifactory.granulation.item_texts import without_article
from aifactory.granulation.tree import Item, ItemKind, Option
from aifactory.granulation.violations import Severity
from aifactory.granulation.words import STOP_WORDS, content_stems, sentences, words

STEM_WORDS = 60
OPTION_WORDS = 25
WINDOW_DRESSING_WORDS = 12

Flaw = tuple[str, Severity, str, str]

_CHOICE = frozenset({ItemKind.SINGLE, ItemKind.MULTI})
_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|any|both|neither|each|either)\s+(?:of\s+)?(?:the\s+|these\s+)?"
    r"(?:above|preceding|foregoing|following|these|those|options?|answers?|choices?|them)\b"
    r"|^(?:all|none|any|both|neither|each|either)\s+of\s+the\s+others?"
    r"(?:\s+(?:two|three|four|ones|options?|answers?|choices?))?\.?$"
    r"|^(?:all|none|both|neither)(?:\s+are)?(?:\s+(?:correct|true|apply))?\.?$"
    r"|^(?:both\s+|neither\s+)?[A-E1-5]\)?\s*(?:,|and|or|nor|&)\s*[A-E1-5]\b",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(
    r"\b(?:always|never|only|all|none|every|everyone|nobody|completely|entirely|absolutely|totally|"
    r"invariably|exclusively|solely|forever|ever|nothing\s+(?:but|else)|"
    r"under no circumstances|without exception|in every case|impossible)\b",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(?:not|except|never|cannot|neither|nor)\b|n['’]t\b|\bleast\s+(?:likely|true|accurate)\b"
)
_NEGATIVE_ANY = re.compile(_NEGATIVE.pattern, re.IGNORECASE)
_EMPHASIS = re.compile(
    r"[*_]{1,2}(?:not|except|never|least|cannot)[*_]{1,2}"
    r"|<(?:b|strong|em|i|u)>\s*(?:not|except|never|least)",
    re.IGNORECASE,
)
_EMPHASIS_CAPITALS = re.compile(r"\b(?:NOT|EXCEPT|NEVER|CANNOT|LEAST)\b")
_NEGATIVE_WORD = re.compile(
    r"\b(?:unlikely|uncommon|unusual|unnecessary|untrue|unable|impossible|incorrect|inaccurate|invalid|false|"
    r"wrong|disagree|without|lacks?|lacking|fails?\s+to|none|no|nothing|absent|unfamiliar|unrelated|"
    r"disadvantages?|exception)\b",
    re.IGNORECASE,
)
_SUBORDINATE = re.compile(
    r"^(?:if|when|whenever|while|because|since|although|though|after|before|unless|suppose|given)\b[^,]*,",
    re.IGNORECASE,
)
_WHICH = re.compile(r"^(?:what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)
_COMPLETION = re.compile(r"(?:[:…—–]|\.\.\.|_{3,}\W*)$")
_LEAD_IN = re.compile(
    r"^(?:as\s+(?:you|we|everyone|everybody)\s+(?:all\s+)?(?:may\s+|might\s+|should\s+|already\s+)*"
    r"(?:know|knows|learned|learnt|saw|have\s+(?:seen|learned|learnt|read)|remember|recall)|"
    r"it\s+is\s+(?:well[- ]known|widely\s+known|common(?:ly)?\s+know\w*|important\s+to\s+\w+|interesting)|"
    r"of\s+course|obviously|clearly|interestingly|needless\s+to\s+say|without\s+a\s+doubt|in\s+your\s+opinion|"
    r"based\s+on\s+(?:your|what\s+you)\b|according\s+to\s+(?:what\s+you|your)|remember\s+that|keep\s+in\s+mind|"
    r"everyone\s+knows|everybody\s+knows|please\b|think\s+(?:about|carefully|back)|read\s+(?:the\s+following\s+)?"
    r"carefully|let\s+us|let['’]s|now\s+that|now,|many\s+people\s+(?:think|believe|wonder|ask)|"
    r"in\s+(?:today['’]s|the\s+modern|our\s+modern)|have\s+you\s+ever|imagine\s+that\s+you|we\s+all\s+know|"
    r"you\s+(?:have\s+)?(?:probably|surely|certainly|may\s+have|might\s+have)\b|to\s+answer\s+this|"
    r"here\s+(?:is|are|comes)\b|consider\s+the\s+following\s+(?:question|carefully))",
    re.IGNORECASE,
)
_GENERIC = frozenset(
    content_stems(
        "following statement statements true correct false incorrect best answer option options choose "
        "select one right wrong sentence claim accurate valid pick mark item describe describes "
        "description applies apply holds good appropriate suitable likely regarding concerning question",
        "en",
    )
)
_PRONOUNS = frozenset(
    {"it", "they", "he", "she", "we", "you", "there", "this", "these", "that", "because", "by"}
)
_CLAUSE_JOIN = re.compile(
    r";|\b(?:because|since|whereas|while|although|though|so\s+that|therefore|hence|but|yet|and|or|so)\b",
    re.IGNORECASE,
)
_SUBORDINATING = frozenset(
    {";", "because", "since", "whereas", "although", "though", "so that", "therefore", "hence"}
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|could|does|do|did|will|would|must|should|may|might|cannot)\b"
    r"|\b[a-z]{3,}(?:es|s)\s+(?:the|a|an|its|their|it|them|to|not|only|all|each|every|no|on|in|from|into|with|when|after|until)\b",
    re.IGNORECASE,
)


def wording_flaws(item: Item) -> Iterator[Flaw]:
    """Everything in the wording that confuses, or lets a test-wise person guess."""
    stem = " ".join(item.stem.split())
    if not stem:
        return
    if len(words(stem)) > STEM_WORDS:
        message = f"The stem has {len(words(stem))} words; {STEM_WORDS} are enough"
        yield ("item.long_stem", Severity.WARNING, message, "/stem")
    if _LEAD_IN.match(stem) or _is_window_dressing(item, stem):
        yield (
            "item.lead_in",
            Severity.WARNING,
            "The stem begins with words that the question does not need",
            "/stem",
        )
    yield from _negative_flaws(item, stem)
    if item.kind is ItemKind.TRUE_FALSE and _has_two_clauses(stem):
        yield ("item.two_clauses", Severity.WARNING, "The statement makes two claims", "/stem")
    if item.kind in _CHOICE:
        yield from _stem_flaws(stem)
        yield from _wording_of_options(item)
        yield from _grammar_flaws(stem, item.options)
    if item.kind is ItemKind.CLOZE:
        yield from _cloze_article(stem, item.accepted)


def _stem_flaws(stem: str) -> Iterator[Flaw]:
    if not is_question_or_completion(stem):
        message = "The stem ends neither as a question nor as a sentence to complete"
        yield ("item.stem_form", Severity.WARNING, message, "/stem")
    if _is_unfocused(stem):
        message = "The stem asks nothing that could be answered without the options"
        yield ("item.unfocused", Severity.WARNING, message, "/stem")


def is_question_or_completion(stem: str) -> bool:
    """A stem ends with a question mark, or breaks off where an option goes on."""
    bare = stem.rstrip("*_\"'”’) ") if not stem.endswith("_") else stem
    if bare.endswith("?") or _COMPLETION.search(bare):
        return True
    last = (sentences(bare) or [bare])[-1]
    return not bare.endswith((".", "!")) and not _WHICH.match(last)


def _is_unfocused(stem: str) -> bool:
    asked = [part for part in content_stems(stem, "en") if part not in _GENERIC and part.strip("_")]
    return not asked


def _is_window_dressing(item: Item, stem: str) -> bool:
    parts = sentences(stem)
    if len(parts) < 2 or item.kind not in _CHOICE:
        return False
    opening = " ".join(parts[:-1])
    if len(words(opening)) < WINDOW_DRESSING_WORDS:
        return False
    rest = [parts[-1], *(option.text for option in item.options)]
    return not set(content_stems(opening, "en")) & set(content_stems("\n".join(rest), "en"))


def _negative_flaws(item: Item, stem: str) -> Iterator[Flaw]:
    question = _SUBORDINATE.sub("", (sentences(stem) or [stem])[-1]).strip()
    found = _NEGATIVE_ANY.findall(question)
    asks_negatively = bool(found) and item.kind in _CHOICE | {ItemKind.TRUE_FALSE}
    emphasised = bool(_EMPHASIS_CAPITALS.search(question) or _EMPHASIS.search(question))
    if asks_negatively and not emphasised:
        yield ("item.negative_stem", Severity.WARNING, "The stem is negative and does not stress it", "/stem")
    doubled = len(found) > 1 or (found and _NEGATIVE_WORD.search(question))
    if doubled:
        yield ("item.double_negative", Severity.ERROR, "The stem negates twice", "/stem")
    elif asks_negatively and item.kind in _CHOICE:
        for position, option in enumerate(item.options):
            if _NEGATIVE_ANY.search(option.text):
                message = "A negative option after a negative stem"
                yield ("item.double_negative", Severity.ERROR, message, f"/options/{position}")
                return


def _wording_of_options(item: Item) -> Iterator[Flaw]:
    key_is_absolute = any(option.correct and _ABSOLUTE.search(option.text) for option in item.options)
    for position, option in enumerate(item.options):
        where = f"/options/{position}"
        if len(words(option.text)) > OPTION_WORDS:
            message = f"The option has {len(words(option.text))} words; {OPTION_WORDS} are enough"
            yield ("item.long_option", Severity.WARNING, message, where)
        if is_about_options(option.text):
            yield ("item.all_or_none", Severity.WARNING, "The option is about the other options", where)
        elif not option.correct and not key_is_absolute and _ABSOLUTE.search(option.text):
            word = _ABSOLUTE.search(option.text)
            message = f"{word.group(0) if word else ''!r} gives the distractor away"
            yield ("item.absolute", Severity.WARNING, message, where)


def is_about_options(text: str) -> bool:
    """Whether an option answers nothing itself, but speaks of the others: "all of the above"."""
    return bool(_ALL_OR_NONE.search(text.strip()))


def _has_two_clauses(statement: str) -> bool:
    """Two claims: a joining word with a verb of its own on both sides, or a reason given."""
    for match in _CLAUSE_JOIN.finditer(statement):
        before, after = statement[: match.start()], statement[match.end() :]
        if len(words(before)) < 2 or len(words(after)) < 2:
            continue
        join = " ".join(match.group(0).lower().split())
        near = " ".join(after.split()[:6])
        is_reason = join in _SUBORDINATING or (join == "so" and before.rstrip().endswith(","))
        if is_reason or (_VERB.search(before) and _VERB.search(near)):
            return True
    return False


def _grammar_flaws(stem: str, options: tuple[Option, ...]) -> Iterator[Flaw]:
    """The stem's last word, or the form of the others, rules an option out by grammar alone."""
    bare = re.sub(r"[\s_:…—–.]+$", "", stem).lower()
    last = bare.rsplit(" ", 1)[-1] if bare else ""
    texts = [option.text.strip() for option in options if option.text.strip()]
    if last in ("a", "an"):
        for position, option in enumerate(options):
            if option.text.strip() and _wants_an(option.text) != (last == "an"):
                message = f"{last!r} before the gap does not fit this option"
                yield ("item.grammar", Severity.WARNING, message, f"/options/{position}")
                return
    nominal = [bool(re.match(r"(?:a|an|the|\w+ing)\b", text, re.IGNORECASE)) for text in texts]
    if last == "to" and any(nominal) and not all(nominal):
        yield ("item.grammar", Severity.WARNING, "'to' before the gap does not fit every option", "/options")
        return
    odd = _odd_form(options) if len(texts) == len(options) >= 3 else None
    if odd is not None and not _is_told_otherwise(options, odd):
        message = "The option differs in grammar from all the others"
        yield ("item.grammar", Severity.WARNING, message, f"/options/{odd}")


def _is_told_otherwise(options: tuple[Option, ...], odd: int) -> bool:
    """Whether the odd option is a flaw of another kind: about the others, or one of them with an article."""
    text = options[odd].text
    others = (without_article(option.text) for place, option in enumerate(options) if place != odd)
    return is_about_options(text) or without_article(text) in others


def _odd_form(options: tuple[Option, ...]) -> int | None:
    """The one option whose opening form (gerund, infinitive, article) differs from all others' one form."""
    forms = [_form(option.text) for option in options]
    for position, form in enumerate(forms):
        rest = forms[:position] + forms[position + 1 :]
        if form != rest[0] and len(set(rest)) == 1 and {form, rest[0]} & {"gerund", "infinitive", "article"}:
            return position
    return _odd_number(options)


def _odd_number(options: tuple[Option, ...]) -> int | None:
    """The key, when it alone is plural or alone is singular among short noun phrases."""
    plural = [None if _form(option.text) == "gerund" else _is_plural(option.text) for option in options]
    if any(one is None for one in plural):
        return None
    for position, option in enumerate(options):
        rest = plural[:position] + plural[position + 1 :]
        if option.correct and len(set(rest)) == 1 and plural[position] != rest[0]:
            return position
    return None


def _form(text: str) -> str:
    first = (words(text) or [""])[0]
    if len(words(text)) > 1 and len(first) > 5 and first.endswith("ing"):
        return "gerund"
    if first == "to":
        return "infinitive"
    return "article" if first in ("a", "an", "the") else "other"


def _is_plural(text: str) -> bool | None:
    """Whether a noun phrase of up to four words is plural; None for longer ones, names and numbers."""
    found = words(re.split(r"\b(?:of|in|for|with|from|that|which|by|on|to)\b", text)[0])
    if (
        not 1 <= len(found) <= 4
        or found[0] in _PRONOUNS
        or text.strip()[:1].isdigit()
        or found[-1] in STOP_WORDS["en"]
    ):
        return None
    head = found[-1]
    if not head.isalpha() or len(head) < 4 or text.strip().isupper():
        return None
    return head.endswith("s") and not head.endswith(("ss", "us", "is", "ics", "ous"))


def _wants_an(text: str) -> bool:
    first = (words(text) or [""])[0]
    if re.match(r"(?:uni[^nm]|use|usu|eu|one\b|once\b|ur[aei])", first):
        return False
    if re.match(r"(?:hour|honest|honou?r|heir)", first):
        return True
    token = text.strip().split()[0] if text.strip() else ""
    if token.isupper() and 1 < len(token) <= 5 and not re.match(r"[AEIOU]?[^AEIOU]+[AEIOU]", token):
        # Spelled out letter by letter: "an HTTP", "an SQL", "a TCP".
        return token[0] in "AEFHILMNORSX"
    return first[:1] in "aeiou" or first[:1] == "8"


def _cloze_article(stem: str, accepted: tuple[str, ...]) -> Iterator[Flaw]:
    match = re.search(r"\b(an?)\s+_{3,}", stem, re.IGNORECASE)
    if match and any(one.strip() for one in accepted):
        article = match.group(1).lower()
        if any(one.strip() and _wants_an(one) != (article == "an") for one in accepted):
            message = f"{article!r} before the gap does not fit the answer"
            yield ("item.grammar", Severity.WARNING, message, "/stem")
