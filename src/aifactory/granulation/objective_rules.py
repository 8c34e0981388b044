"""The form of a learning objective: one measurable verb, its Bloom level, condition, degree, length. Pure."""

import re

from aifactory.granulation.tree import Bloom
from aifactory.granulation.violations import Severity
from aifactory.granulation.words import words

BLOOM_ORDER: dict[Bloom, int] = {bloom: rank for rank, bloom in enumerate(Bloom)}
MIN_WORDS, MAX_WORDS = 8, 25


def _set(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Verbs per level after Anderson & Krathwohl 2001 and the usual verb lists; a verb may stand on two levels.
BLOOM_VERBS: dict[Bloom, frozenset[str]] = {
    Bloom.REMEMBER: _set(
        "cite define duplicate enumerate identify indicate label list locate match memorize memorise name "
        "outline point quote recall recite recognize recognise record relate repeat reproduce retell "
        "select state tell write"
    ),
    Bloom.UNDERSTAND: _set(
        "articulate associate characterize characterise clarify classify compare contrast convert "
        "describe differentiate discuss distinguish estimate exemplify explain express extend generalize "
        "generalise give identify illustrate infer interpret locate map outline paraphrase predict "
        "present recognize recognise report represent restate review rewrite select show summarize "
        "summarise trace translate"
    ),
    Bloom.APPLY: _set(
        "add adapt administer apply assemble build calculate carry change choose complete compute conduct "
        "configure connect construct convert deliver demonstrate deploy derive determine draw employ "
        "enter execute fill find follow handle implement install instrument label make manipulate measure "
        "modify move obtain operate order perform place practice practise prepare produce program prove "
        "provide read relate restore run schedule select set show simulate sketch solve start store teach "
        "test transfer translate troubleshoot trace tune update use utilize utilise verify write"
    ),
    Bloom.ANALYZE: _set(
        "analyze analyse appraise break categorize categorise classify compare contrast correlate debug "
        "deconstruct decompose deduce detect diagnose diagram differentiate discover discriminate dissect "
        "distinguish divide examine experiment identify infer inspect inventory investigate isolate map "
        "model monitor observe order organize organise outline prioritize prioritise profile question "
        "relate separate structure subdivide test trace troubleshoot"
    ),
    Bloom.EVALUATE: _set(
        "appraise argue assess attack audit challenge check choose compare conclude contrast convince "
        "criticize criticise critique debate decide defend determine discriminate estimate evaluate grade "
        "interpret judge justify measure monitor prioritize prioritise predict prove rank rate recommend "
        "reject review score select support test validate value verify weigh"
    ),
    Bloom.CREATE: _set(
        "arrange assemble build categorize categorise collect combine compile compose construct create "
        "design develop devise draft draw engineer facilitate formulate forge generate hypothesize "
        "hypothesise integrate invent make manage model negotiate organize organise originate plan "
        "prepare prescribe produce propose rearrange reconstruct refactor reorganize reorganise revise "
        "rewrite set specify substitute synthesize synthesise transform write"
    ),
}
MEASURABLE = frozenset().union(*BLOOM_VERBS.values())
# Verbs that nobody can observe (Mager 1962); the last five are what courses, not learners, do.
VAGUE_VERBS = _set(
    "understand know learn appreciate believe comprehend grasp realize realise internalize internalise enjoy "
    "think see hear feel familiarize familiarise become be have gain acquire study explore cover address "
    "introduce look"
)
JOINABLE = MEASURABLE | _set("understand know learn appreciate explore")
_VAGUE_PHRASE = re.compile(
    r"\b(?:be|become|being|is|are)\s+(?:more\s+)?(?:aware|familiar|acquainted|conscious|knowledgeable|"
    r"comfortable)\b"
    r"|\b(?:gain|have|acquire|develop)\s+(?:an?\s+|the\s+|some\s+)?(?:\w+\s+)?"
    r"(?:understanding|knowledge|awareness|appreciation|insight|familiarity)\b",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"^\W*(?:(?:(?:by|at|after|upon|on)\s[^,:]{0,80}[,:]\s*)?"
    r"(?:the\s+|each\s+|every\s+|all\s+)?(?:students?|learners?|participants?|trainees?|readers?|you|users?|"
    r"employees?|engineers?|developers?|they)\s+(?:should|will|can|must|are|is|may)?\s*(?:then\s+)?"
    r"(?:be\s+)?(?:able\s+to\s+)?)?(?:to\s+)?",
    re.IGNORECASE,
)
_CONDITION_FIRST = re.compile(
    r"^(?:given|using|without|with|when|in|from|under|during|after|before|based|provided|for|by|at)\b[^,]{3,120},\s*",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:given|using|without|with|when|while|provided|based\s+on|from|under|during|after|before|by|following|"
    r"in\s+(?:a|an|the|this|your)|on\s+(?:a|an|the)|for\s+(?:a|an|the)|against|within|if|where|whenever)\b",
    re.IGNORECASE,
)
_DEGREE = re.compile(
    r"\d|%|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|each|every|all|any|both|at\s+least|"
    r"at\s+most|no\s+more|no\s+fewer|without\s+(?:error|mistake|help|notes|aid)s?|correct(?:ly)?|accurate(?:ly)?|"
    r"complete(?:ly)?|exact(?:ly)?|precise(?:ly)?|full(?:y)?|success(?:fully)?|within|half|most|majority|"
    r"percent|minutes?|steps?|criteri(?:on|a)|rubric|standard|so\s+that|in\s+your\s+own\s+words|"
    r"in\s+own\s+words)\b",
    re.IGNORECASE,
)
_SECOND_VERB = re.compile(r"(?:,|\band\b|\bor\b|\bthen\b|/|&)\s+(?:then\s+|to\s+|also\s+)?([a-z]+)\b")
# Nouns that look like verbs of the table after "and": "names and labels", "design and test results".
_NOUN_AFTER = re.compile(
    r"^\s*(?:$|[,.;:)]|of\b|for\b|in\b|to\b|and\b|or\b|with\b|by\b|on\b|from\b|using\b|given\b)"
)

# Where the condition of an objective begins, as far as a word tells: "from" and "for" may be of its subject.
_CONDITION_LAST = re.compile(
    r"[\s,]+(?:given|using|without|within|when|while|whenever|provided|based\s+on|following|"
    r"(?:with|in|by|to|for)\s+(?:at\s+(?:least|most)|no\s+more|no\s+fewer|an?\s+accuracy))\b.*",
    re.IGNORECASE | re.DOTALL,
)
_EXTENT = re.compile(
    r"\bin\s+\w+\s+(?:sentences?|words?|lines?|steps?|minutes?|hours?|days?)\b", re.IGNORECASE
)

# Verbs that end like adverbs.
_VERBS_IN_LY = frozenset({"apply", "comply", "imply", "multiply", "rely", "reply", "supply"})

Finding = tuple[str, Severity, str]


def leading_verb(text: str) -> str:
    """The verb that an objective starts with, after "you will be able to" or a condition; may be no verb."""
    rest = _CONDITION_FIRST.sub("", text.strip())
    found = words(_LEAD_IN.sub("", rest, count=1))
    if found and found[0].endswith("ly") and found[0].lower() not in _VERBS_IN_LY and len(found) > 1:
        found = found[1:]
    return _base_form(found[0]) if found else ""


def subject_of(text: str, language: str) -> str:
    """What an objective is about: without lead-in, verb, condition and degree; outside English all of it."""
    if language != "en":
        return text
    rest = _LEAD_IN.sub("", _CONDITION_FIRST.sub("", text.strip()), count=1)
    rest = _DEGREE.sub(" ", _EXTENT.sub(" ", _CONDITION_LAST.sub("", rest)))
    found = words(rest)
    if found and _base_form(found[0].lower()) == leading_verb(text).lower():
        found = found[1:]
    return " ".join(found) or text


def bloom_levels(verb: str) -> tuple[Bloom, ...]:
    """The levels that a verb stands for, lowest first; empty for a verb outside the table."""
    return tuple(bloom for bloom in Bloom if verb in BLOOM_VERBS[bloom])


def check_objective(text: str, bloom: Bloom, language: str) -> list[Finding]:
    """Rule, severity and message for each flaw; outside English only the length is checked."""
    findings: list[Finding] = []
    length = len(words(text))
    if not MIN_WORDS <= length <= MAX_WORDS:
        message = f"The objective has {length} words; {MIN_WORDS} to {MAX_WORDS} are clear and complete"
        findings.append(("objective.length", Severity.WARNING, message))
    if language != "en":
        return findings
    verb = leading_verb(text)
    levels = bloom_levels(verb)
    if verb in VAGUE_VERBS or _VAGUE_PHRASE.search(text):
        message = f"{verb!r} cannot be observed; say what the learner does"
        findings.append(("objective.vague_verb", Severity.ERROR, message))
    elif not levels:
        message = f"{verb!r} is not a known measurable verb" if verb else "The objective has no verb"
        findings.append(("objective.unknown_verb", Severity.WARNING, message))
    elif bloom not in levels:
        named = " or ".join(levels)
        message = f"{verb!r} is a verb of {named}, not of {bloom}"
        findings.append(("objective.bloom", Severity.WARNING, message))
    second = second_verb(text)
    if second:
        message = f"One objective, one verb: {verb!r} and {second!r}"
        findings.append(("objective.two_verbs", Severity.WARNING, message))
    if not _CONDITION.search(text):
        findings.append(("objective.condition", Severity.WARNING, "No condition (given, using, without …)"))
    if not _DEGREE.search(text):
        findings.append(("objective.degree", Severity.WARNING, "No degree (a number or a criterion)"))
    return findings


def second_verb(text: str) -> str:
    """A second verb joined to the first by "and", "or" or a comma; "" when there is none."""
    rest = _CONDITION_FIRST.sub("", text.strip()).lower()
    rest = _LEAD_IN.sub("", rest, count=1)
    first = words(rest)
    for match in _SECOND_VERB.finditer(rest):
        word = match.group(1)
        # Only the base form counts: after "and", a verb in another form belongs to a clause of its own.
        follows_as_noun = _NOUN_AFTER.match(rest[match.end() :])
        if first and word in JOINABLE and not follows_as_noun:
            return word
    return ""


def _base_form(word: str) -> str:
    if word in MEASURABLE or word in VAGUE_VERBS:
        return word
    for ending, replacement in (
        ("ies", "y"),
        ("es", ""),
        ("s", ""),
        ("ing", ""),
        ("ing", "e"),
        ("ed", ""),
        ("ed", "e"),
    ):
        if word.endswith(ending):
            base = word[: -len(ending)] + replacement
            if base in MEASURABLE or base in VAGUE_VERBS:
                return base
    return word
