"""Numbers with units in a sentence."""

import re

import msgspec

from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import is_stop

_FIGURE = re.compile(
    r"(?<![\w.,/–\-−€$£])(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?P<gap>[  ]?)(?P<unit>%|°[CF]?|[^\W\d_]+)"
)
_RANGE_BEFORE = re.compile(r"(?:\bbetween|\bfrom|\d\s*(?:to|and|or|–|-|×|x))\s*$", re.IGNORECASE)
_RANGE_AFTER = re.compile(r"^\s*(?:%|°[CF]?|[^\W\d_]+)?\s*(?:to|or|and|–|-|×|x|/)\s*\d", re.IGNORECASE)
_ROUGH = re.compile(
    r"\b(?:about|around|roughly|approximately|nearly|almost|some|over|under|up to|more than|less than)\s*$",
    re.I,
)
# "ISO 8601", "level 3", "HTTPCore 2": a number that is a name's second half measures nothing.
_NAMED = re.compile(
    r"(?:\b[A-Z]{2,}|\b[A-Z]\w*[A-Z]\w*"
    r"|\b[Ss]ection|[Ll]evel|[Vv]ersion|[Cc]hapter|[Tt]able|[Ff]igure|[Pp]age|[Pp]ort|[Nn]umber|[Ss]tep|[Pp]art"
    r"|[Cc]ode|[Ll]ength|[Tt]ype|[Ll]ayer|[Rr]elease|RC of)\s*$"
)
_EXAMPLE = re.compile(r"^(?:examples?|e\.g\.)\b", re.IGNORECASE)
_MONTHS = word_set("""
    january february march april may june july august september october november december
    """)
_ROUGH_SHARE = 0.05


class Figure(msgspec.Struct, frozen=True):
    """A number in a sentence: offsets of the digits, value, unit, tolerance (5 % after "about")."""

    start: int
    end: int
    value: float
    unit: str
    tolerance: float


def figure_in(sentence: str) -> Figure | None:
    """The one figure worth asking for; None if there is none, or if it is a range, a year or said twice."""
    if _EXAMPLE.match(sentence):
        return None
    for found in _FIGURE.finditer(sentence):
        number, unit = found["number"], found["unit"]
        before, after = sentence[: found.start()], sentence[found.end("number") :]
        if (
            _RANGE_BEFORE.search(before)
            or _NAMED.search(before)
            or _RANGE_AFTER.match(after)
            or unit.lower() in _MONTHS
            or is_stop(unit)
            or unit.endswith("ed")
        ):
            continue
        if len(re.findall(rf"(?<![\d.,]){re.escape(number)}(?![\d.,]*\d)", sentence)) != 1:
            continue
        if not found["gap"] and unit not in ("%",) and not unit.startswith("°") and len(unit) > 3:
            continue
        value = float(number.replace(",", ""))
        if value > 1e12 or re.match(r"(?:st|nd|rd|th)$", unit):
            continue
        tolerance = round(value * _ROUGH_SHARE, 6) if _ROUGH.search(before) else 0.0
        return Figure(found.start("number"), found.end("number"), value, unit, tolerance)
    return None
