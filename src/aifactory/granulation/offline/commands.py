"""What a text tells its reader to do: its commands, who carries them out, and what they leave behind."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from aifactory.granulation.offline.concepts import PLACEHOLDERS
from aifactory.granulation.offline.grammar import IMPERATIVES
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.sequences import is_end
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.titles import kind_of_title
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import words_of

_MOST_WORDS = 60
_TITLE_WORDS = 9
_MOST_TITLE_WORDS = 12
_MOST_OBJECT = 5
_QUANTITY = re.compile(r"^(?P<verb>[A-Za-z]+) (?:about )?\d[\d.,]* [a-z]+ of (?:the )?")
_CONDITION = re.compile(
    r"^(?P<cue>if|unless|when|whenever|in case)\s+(?P<test>[^,;:]{4,120}),\s*(?:then\s+)?(?P<rest>\S.*)$",
    re.IGNORECASE,
)
_LATER_CONDITION = re.compile(r"\b(?P<cue>if|unless|until)\s+(?P<test>[^,;:.]{4,120})", re.IGNORECASE)
_BEFORE = re.compile(
    r"^(?:then|next|now|first|finally|afterwards?|lastly|please|always|never|do not|don't|"
    r"(?:to|before|after|once|with|for|in|on|at|during|while|by)\b[^,;:]{3,80},)[,\s]+",
    re.IGNORECASE,
)
_DENIED = re.compile(r"(?:never|do not|don't)\b", re.IGNORECASE)
_DUTY = re.compile(
    r"\b(?P<who>(?:the|an?|each|every) (?P<actor>(?:[a-z-]+ )?[a-z-]+)|you|we)"
    r" (?:must|shall|should|has to|have to|is to|needs? to|is responsible for|are responsible for)"
    r" (?:also |always |then )?"
    r"(?P<verb>[a-z]+)",
    re.IGNORECASE,
)
_DOES = re.compile(
    r"\b(?:the|an?|each|every) (?P<actor>(?:[a-z-]+ )?[a-z-]+)"
    r" (?:must|shall|should|does|will|may|has to|is responsible)\b",
    re.IGNORECASE,
)
_SPANS_OF_TIME = re.compile(
    r"(?<![\d.,–-])(?P<number>\d{1,3})(?:\s*(?:to|–|-)\s*(?P<most>\d{1,3}))?[\s-]*(?P<unit>minutes?|mins?|hours?)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"(?:er|or|ist|ian|ant|eer|man|woman|team|staff|chef|nurse|board|clerk|crew|group|user|owner|lead)$"
)
# Words that are built like the name of a person and mean a thing.
_THINGS = word_set("""
    water paper number letter container computer server timer filter power layer order starter butter
    temperature other another never ever after under over either rather whether matter river winter
    summer paper cover corner figure factor error color colour sector motor monitor mirror vector
    processor sensor reactor indicator generator conductor resistor transformer refrigerator refrigerant
    coolant plant instant constant amount restaurant parser compiler browser router folder buffer
    pointer identifier parameter header footer layer wrapper handler loader helper adapter iterator
    operator separator descriptor constructor selector editor cluster counter register driver controller
    scheduler worker listener adder meter center centre quarter paper chapter member character offer
    answer remainder border tower boiler cooker oven burner fertilizer disinfectant
    """)
_IRREGULAR = {
    "bring": "brought", "build": "built", "choose": "chosen", "cut": "cut", "draw": "drawn", "feed": "fed",
    "find": "found", "get": "obtained", "give": "given", "go": "reached", "grind": "ground", "hang": "hung",
    "hold": "held", "keep": "kept", "lay": "laid", "leave": "", "let": "", "make": "made", "put": "placed",
    "read": "read", "run": "run", "send": "sent", "set": "set", "shake": "shaken", "show": "shown",
    "split": "split", "spread": "spread", "take": "taken", "tell": "told", "think": "considered",
    "throw": "thrown", "write": "written", "begin": "begun", "rise": "risen", "submit": "submitted",
    "plan": "planned", "stop": "stopped", "wrap": "wrapped", "tap": "tapped", "trim": "trimmed",
    "fit": "fitted", "plug": "plugged", "drop": "dropped", "scrap": "scrapped", "chop": "chopped",
    "mix": "mixed", "rub": "rubbed", "stir": "stirred", "drag": "dragged", "flip": "flipped",
    "refer": "referred", "transfer": "transferred", "wait": "", "repeat": "", "work": "", "try": "",
    "look": "", "rest": "", "return": "",
}  # fmt: skip


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do.

    ``test`` is the condition under which it is done ("" if always), ``negative`` whether it is one that
    prevents it, ``again`` whether it tells to do something until then; ``order`` is the list it is a step of.
    """

    line: Line
    text: str
    verb: str
    test: str = ""
    negative: bool = False
    again: bool = False
    order: int = -1


def commands_of(study: Study) -> list[Command]:
    """Everything the text tells to do, in text order: numbered steps, and sentences that are commands."""
    numbered = {
        begin: at for at, procedure in enumerate(study.reading.procedures) for begin, _ in procedure.steps
    }
    found = (read_command(line, numbered.get(line.start, -1)) for line in study.lines)
    return [one for one in found if one is not None]


def read_command(line: Line, order: int = -1) -> Command | None:
    """A line as a command; None if it isn't one. Any step of a numbered list is taken as one."""
    told = line.told.strip()
    if line.kind == "l" or line.words > _MOST_WORDS or told.endswith("?") or is_end(told):
        return None
    test, negative, again, rest = "", False, False, told
    if conditional := _CONDITION.match(told):
        test, rest = conditional["test"], conditional["rest"]
        negative = conditional["cue"].lower() == "unless"
        if conditional["cue"].lower().startswith(("when", "in case")):
            test = ""
    bare = _BEFORE.sub("", rest)
    verb = _verb_of(bare)
    duty = None if verb else _duty_in(rest)
    if duty and duty["verb"].lower() in IMPERATIVES and not _is_placeholder(duty["actor"]):
        verb = duty["verb"].lower()
    if not verb and (order < 0 or _is_name(rest)):
        return None
    if not test and (later := _LATER_CONDITION.search(rest)):
        again = later["cue"].lower() == "until"
        negative = later["cue"].lower() == "unless"
        test = later["test"]
    # "The operator must check the gauge": what is told is to check it, whoever does.
    told_whom = _DUTY.match(rest)
    text = rest[told_whom.start("verb") :] if told_whom and verb == told_whom["verb"].lower() else rest
    text = text[:1].upper() + text[1:]
    return Command(
        line=line, text=text, verb=verb, test=test.strip(), negative=negative, again=again, order=order
    )


def _is_name(text: str) -> bool:
    """Whether a numbered line is a heading: "Grant of Patent License."."""
    words = words_of(text)
    return kind_of_title(text.rstrip(".:")) in ("name", "doing") and all(
        word[:1].isupper() or word.lower() in _JOINTS | _ARTICLES for word in words
    )


def _duty_in(text: str) -> re.Match[str] | None:
    """Who must do what; not "the reason you have to install it", which tells no duty."""
    for found in _DUTY.finditer(text):
        front = text[: found.start()].rstrip()
        if found["actor"] or not front or front.endswith((",", ";", ":", "(", " and", " then")):
            return found
    return None


def _is_placeholder(actor: str | None) -> bool:
    """Whether what has to do something is a part of the writing: "the argument must start with …"."""
    return actor is not None and actor.split()[-1].lower() in PLACEHOLDERS


def _verb_of(bare: str) -> str:
    """The verb that a sentence opens with, if it is a command and not a name such as "Water"."""
    words = words_of(bare)
    if len(words) < 2 or words[0].lower() not in IMPERATIVES or _LABELLED.match(bare):
        return ""
    first, second = words[0].lower(), words[1].lower()
    return "" if second in _AFTER_NAME or (first in _MINDFUL and second == "that") else first


# "Type: Boolean" says what a setting is, and "Note: …" that something is worth knowing.
_LABELLED = re.compile(r"^[A-Za-z]+ ?:")
_MINDFUL = frozenset(("note", "observe", "consider"))
_AFTER_NAME = word_set("""
    request requests
    is are was were of has have had can may must should will would does did means refers begins happens and or
    """)


def title_of_command(command: Command) -> str:
    """A command in a few words, cut where a clause or a phrase ends."""
    # What comes before a command ("To build it, run …") is told below; the title is what to do, or not to.
    lead = _BEFORE.match(command.text)
    bare = command.text[lead.end() :] if lead and not _DENIED.match(lead[0]) else ""
    does = bare[:1].upper() + bare[1:] if bare and command.verb == _verb_of(bare) else command.text
    words = _first_clause(does.rstrip(".!")).split()
    if len(words) > _TITLE_WORDS:
        cuts = (at for at in range(_TITLE_WORDS, 2, -1) if words[at].lower() in _JOINTS - {"of"})
        words = words[: next(cuts, _MOST_TITLE_WORDS)]
    while len(words) > 2 and words[-1].lower() in _JOINTS | _ARTICLES:
        words.pop()
    return " ".join(words)


def _first_clause(text: str) -> str:
    """A command up to what is only told beside it; a comma between two adjectives ends nothing."""
    parts = re.split(r"([,;:(]| (?:so that|because|until|unless|if|which|and then|while) )", text)
    clause = parts[0]
    if (
        len(parts) > 2
        and parts[1] == ","
        and clause.split()[-2:-1]
        and clause.split()[-2].lower() in _ARTICLES
    ):
        clause = f"{clause},{parts[2]}"
    return clause


_ARTICLES = word_set("the a an its your their this that these those each every")
_JOINTS = word_set("""
    and or to of in on at for from by with as into onto over under between through per until about than
    without before after
    """)


def output_of(study: Study, command: Command) -> str:
    """What there is once a command is carried out: the thing it names, with what has been done to it."""
    if _DENIED.match(command.text):
        return f"“{title_of_command(command)}” kept to"
    name = _object_of(command) or study.book.longest(command.line.index, command.line.index + 1)
    done = _participle(command.verb)
    if name and done:
        return f"{name[:1].upper()}{name[1:]} {done}"
    if name:
        return f"{name[:1].upper()}{name[1:]} done and checked"
    return f"“{title_of_command(command)}” ticked off"


def _object_of(command: Command) -> str:
    """The noun behind the verb of a command, as far as the next small word; "" if there is none."""
    found = _QUANTITY.sub(r"\g<verb> ", _BEFORE.sub("", command.text).rstrip(".!"))
    words = re.split(r"[,;:(]", found)[0].split()
    if not command.verb or not words or words[0].lower() != command.verb:
        return ""
    rest = [word for word in words[1:] if word.lower() not in _ARTICLES] if len(words) > 1 else []
    ends = next((at for at, word in enumerate(rest) if word.lower() in _JOINTS | _AFTER_NOUN), len(rest))
    return " ".join(rest[:ends]) if 0 < ends <= _MOST_OBJECT else ""


_AFTER_NOUN = word_set("""
    it them they you he she if when until unless because so that which who is are was were must should
    can will again up down out off away back there here not all well once twice while then gently slowly
    """)


def _participle(verb: str) -> str:
    if not verb or verb in _IRREGULAR:
        return _IRREGULAR.get(verb, "")
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + "ed"


def minutes_in(line: Line) -> int | None:
    """The time that a line gives for what it tells, in minutes; of a range its end; None without one."""
    found = _SPANS_OF_TIME.search(line.shown)
    if found is None:
        return None
    number = int(found["most"] or found["number"])
    return number * 60 if found["unit"].lower().startswith("h") else number


def question_of(test: str) -> str:
    """A condition as a question: "the dough is wet" → "Is the dough wet?"."""
    words = test.strip().rstrip(".").split()
    for at, word in enumerate(words[:6]):
        if at and word.lower() in _TURNED:
            head = words[:at]
            if head[0].lower() not in ("it", "they", "this", "that", "these", "those", "you") or at == 1:
                first = (
                    head[0] if head[0] == "I" or head[0][1:2].isupper() else head[0][:1].lower() + head[0][1:]
                )
                return " ".join([word.capitalize(), first, *head[1:], *words[at + 1 :]]) + "?"
    return f"Is it so that {test[:1].lower()}{test[1:].rstrip('.')}?"


_TURNED = word_set("is are was were has can must should will does do")


def actors_of(study: Study, lines: Sequence[Line]) -> list[tuple[str, Line]]:
    """Who the text says has to do something, most often named first, with the first line that says so."""
    named: Counter[str] = Counter()
    first: dict[str, Line] = {}
    for line in lines:
        for actor in _actors(line):
            named[actor] += 1
            first.setdefault(actor, line)
    return [(actor, first[actor]) for actor in sorted(named, key=lambda one: (-named[one], first[one].index))]


def _actors(line: Line) -> Iterator[str]:
    for found in _DOES.finditer(line.shown):
        words = found["actor"].lower().split()
        if _PERSON.search(words[-1]) and words[-1] not in _THINGS:
            yield " ".join(words) if len(words) > 1 and words[0] not in _ARTICLES | _JOINTS else words[-1]


def actor_in(line: Line) -> str:
    """Who a line says has to do something; "" if nobody."""
    return next(_actors(line), "")
