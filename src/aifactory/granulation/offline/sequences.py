"""Which lists of steps have an order to be learned: not choices, not parts, and without "you are done"."""

import re

from aifactory.granulation.offline.digest import Procedure
from aifactory.granulation.offline.procedures import steps_of
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study

_CHOICE = re.compile(
    r"\b(?:one|any|some) of (?:the|these|those|its|two|three|four|several|following)\b|\beither\b"
    r"|\b(?:ways|options|alternatives|reasons|cases|kinds|types|states|requirements|conditions|conventions"
    r"|rules|values|terms)\b[^.]*:$",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"\(?[a-z][.)]")
_OR = re.compile(r"(?:;|,)? or\.?$")
_END = re.compile(
    r"^(?:you(?:[’']re| are) (?:now )?(?:finished|done|ready|all set)|done|finished|enjoy"
    r"|that[’']s (?:it|all))\b",
    re.IGNORECASE,
)
_LEAST = 3


def is_end(told: str) -> bool:
    """Whether an entry of a list only says that all is done: "You are finished."."""
    return bool(_END.match(told))


def ordered_steps(study: Study, procedure: Procedure) -> list[Line]:
    """The steps of a list that has to be followed in its order; [] if its entries are choices or parts."""
    lines = steps_of(study, procedure)
    lead = study.lines[procedure.lead].shown if procedure.lead is not None else ""
    text = study.reading.text
    lettered = sum(bool(_LETTERED.match(text, line.start)) for line in lines)
    before = text[max(0, lines[0].start - 6) : lines[0].start] if lines else ""
    if _CHOICE.search(lead) or lettered or re.search(r"\(?\b[a-z][.)]\s*$", before):
        return []
    if any(_OR.search(line.shown) for line in lines):
        return []
    kept = [line for line in lines if not is_end(line.told)]
    return kept if len(kept) >= _LEAST else []
