"""What a list of steps is called: its heading, its lead-in, or what these speak of."""

import re
from bisect import bisect_left, bisect_right
from itertools import islice, takewhile

from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.digest import Procedure
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.sentences import stands_alone
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.titles import (
    gerund_base,
    in_sentence,
    is_structural,
    kind_of_title,
    unnumbered,
)
from aifactory.granulation.tree import Span

_DOMINANT = 0.4
_LEAD_WORDS = (4, 14)
_SHORT_COMMAND = 6
_TAIL = re.compile(
    r",? ?(?:as follows|like this|(?:in|with|by|through) (?:the following|this|these|a fixed|the right"
    r"|a set) ?"
    r"(?:order|way|steps?|manner|sequence|method)?|these steps|the following(?: steps?)?|the steps are"
    r"|step by step)?:?$",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"\b(?:follow(?:s|ing)?|steps?|proceeds?|procedure|this|instructions?|below|here|needs?)\b", re.IGNORECASE
)
_TO = re.compile(r"^To (?P<what>[a-z][^,:]{3,70})(?:,|:)")


def steps_of(study: Study, procedure: Procedure) -> list[Line]:
    """The first line of each step."""
    end = procedure.steps[-1][1]
    firsts = frozenset(begin for begin, _ in procedure.steps)
    at = bisect_left(study.lines, procedure.steps[0][0], key=lambda line: line.start)
    section = takewhile(lambda line: line.start < end, islice(study.lines, at, None))
    return [line for line in section if line.start in firsts]


def name_of(study: Study, procedure: Procedure, title: str) -> str:
    """Words that can follow "the six steps": "of shaping the loaf", "to …", "given under …", "for …"."""
    heading = study.reading.sections[procedure.section].title
    if heading and not is_structural(heading) and _is_dominant(study, procedure):
        return _after_heading(study, heading)
    lead = study.lines[procedure.lead] if procedure.lead is not None else None
    if lead is not None and lead.kind == "l":
        bare = _TAIL.sub("", lead.shown)
        least, most = _LEAD_WORDS
        if purpose := _TO.match(lead.shown):
            return f"to {purpose['what']}"
        if _is_command(lead.shown):
            return f"to {bare[:1].lower()}{bare[1:]}"
        if least <= bare.count(" ") + 1 <= most and stands_alone(bare) and not _GENERIC.search(bare):
            return f"given under “{bare}”"
        before = max(0, lead.index - 1) if study.lines[lead.index - 1].section == lead.section else lead.index
        if name := study.book.longest(before, lead.index + 1):
            return f"for {with_article(study, name)}"
    return _after_heading(study, heading or title)


def title_of(study: Study, procedure: Procedure) -> str:
    """A title out of the lead-in: "How to …" where it says what is done; "" otherwise."""
    lead = study.lines[procedure.lead] if procedure.lead is not None else None
    if lead is None or lead.kind != "l":
        return ""
    bare = _TAIL.sub("", lead.shown)
    if purpose := _TO.match(lead.shown):
        return f"How to {purpose['what']}"
    if _is_command(lead.shown):
        return f"How to {bare[:1].lower()}{bare[1:]}"
    return ""


def _is_command(lead: str) -> bool:
    """Whether a lead-in tells what the steps do ("Mix the dough as follows"), not what to see to before."""
    bare = _TAIL.sub("", lead)
    told = bare != lead.rstrip(": ") or bare.count(" ") < _SHORT_COMMAND
    return told and "," not in bare and bare.count(" ") < _LEAD_WORDS[1] and kind_of_title(bare) == "command"


def _is_dominant(study: Study, procedure: Procedure) -> bool:
    first = bisect_left(study.lines, procedure.section, key=lambda line: line.section)
    last = bisect_right(study.lines, procedure.section, key=lambda line: line.section)
    steps = sum(line.kind == "n" for line in study.lines[first:last])
    return steps >= _DOMINANT * (last - first)


def _after_heading(study: Study, title: str) -> str:
    heading = unnumbered(title)
    inside = in_sentence(heading, study.lexicon)
    kind = kind_of_title(heading)
    if kind == "doing" or (kind == "name" and "," not in inside and ":" not in inside):
        is_doing = kind == "doing" or gerund_base(inside.split()[0])
        return f"of {inside if is_doing else with_article(study, inside)}"
    if kind == "command" and "," not in inside:
        return f"to {inside}"
    return f"given under “{heading}”"


def span_of(study: Study, procedure: Procedure) -> Span:
    """The steps with their lead-in, or with their heading where that names them."""
    section = study.reading.sections[procedure.section]
    start, end = procedure.steps[0][0], procedure.steps[-1][1]
    if procedure.lead is not None:
        start = study.lines[procedure.lead].start
    if section.title and _is_dominant(study, procedure):
        start = section.heading_start
    return Span(start=start, end=end, quote=study.reading.text[start:end])
