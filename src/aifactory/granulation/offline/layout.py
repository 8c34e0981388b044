"""What only a look at the whole of a plain text tells: its title, its numbered titles, its page headers."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import median

import msgspec

from aifactory.granulation.offline.headings import HeadingStyle
from aifactory.granulation.offline.wordlists import word_set

_LONGEST_TITLE = 80
# What is looked at of a line; some texts have a paragraph in each.
_LONGEST_LINE = 400
_MOST_WORDS = 12
_LEAST_RUN = 3
# Words that a numbered title has below it; the steps of a list have fewer.
_WORDS_BELOW = 30
_TITLED_SHARE = 0.6
_MIDDLE = 36
_OFF_MIDDLE = 8
_DEEP = 10
_ODD = re.compile(r"[<>{}|=@\\]|://|-\*-|\.\.|\S {3,}\S")
_NUMBER = re.compile(r"^([ \t]{0,8})(\d{1,3})\.[ \t]+(\S.*?)[ \t]*$")
_DOTTED = re.compile(r"^[ \t]{0,8}(\d{1,2}(?:\.\d{1,2}){1,3})\.?[ \t]+([A-Z][^.:;!?]{2,70})\.?[ \t]*$")
_RUN_IN = re.compile(r"^([A-Z“\"][^.:;!?]{2,78}\??)\.?(?=[ \t]|$)")
_INNER_END = re.compile(r"[.!?;:][ \t]")
_SMALL = word_set("with from into onto upon over under than that this these your their when what")
_ORG = re.compile(r"^(\*{1,6})[ \t]+(\S.*?)(?:[ \t]+:[\w:@]+:)?[ \t]*$")
_ORG_TITLE = re.compile(r"^#\+TITLE:[ \t]*(\S.*?)[ \t]*$", re.IGNORECASE)
_ORG_BLOCK = re.compile(r"^[ \t]*#\+(begin|end)_", re.IGNORECASE)
_ORG_SILENT = re.compile(r"^#(?:[ \t+]|$)|^[ \t]*:(?:[ \t]|[A-Z_]+:|$)")
_MAN = re.compile(r"^([^\s()]{1,40}\(\d\w{0,3}\))[ \t]{2,}.*\S[ \t]{2,}\1[ \t]*$")
_PAGE_FOOT = re.compile(r"\[Page \d+\][ \t]*$")
_DEBIAN = re.compile(r"^([a-z0-9][a-z0-9.+-]* \([^)\s]+\)) [^;]{1,80}; urgency=")
_SIGNED = re.compile(r"^ -- \S.*<[^<>]*>")
_DATED = re.compile(r"^(\d{4}-\d\d-\d\d[ \t]{1,4}[^<>\t]{2,60}?)[ \t]*<[^<>]*>[ \t]*$")
_RELEASE = re.compile(
    r"^(?:(?:noteworthy )?changes? (?:in|since|to)|version|release|new in)\b.{0,40}?\d+\.\d+.{0,40}$"
    r"|^v?\d+\.\d+(?:\.\d+)*[\w.-]*(?:[ \t]*[(,:-].{0,40})?$",
    re.IGNORECASE,
)


class Layout(msgspec.Struct, frozen=True):
    """Titles by line, with their style, and the lines that say nothing (page headers, comments)."""

    titles: dict[int, tuple[HeadingStyle, str]]
    dropped: frozenset[int]


def read_layout(lines: Sequence[str]) -> Layout:
    """The layout of a plain text that is given as its lines."""
    words = [0, *accumulate(len(line.split()) for line in lines)]
    lines = [line[:_LONGEST_LINE] for line in lines]
    titles: dict[int, tuple[HeadingStyle, str]] = {}
    dropped: set[int] = set(_page_marks(lines))
    if _is_org(lines):
        titles |= _org_titles(lines, dropped)
    elif manual := next((found for line in lines[:5] if (found := _MAN.match(line))), None):
        titles |= _manual_titles(lines, manual[1], dropped)
    else:
        titles |= _centred(lines, dropped)
        titles |= _entries(lines, dropped)
        titles |= dict(_numbered(lines, words))
    first = next((at for at, line in enumerate(lines) if line.strip() and at not in dropped), None)
    if first is not None and all(style != "title" for style, _ in titles.values()):
        bare = lines[first].strip()
        told = titles.get(first, ("", ""))[0]
        if told in ("", "centred") and _is_title(bare) and _stands_free(lines, first, dropped):
            titles[first] = ("title", bare)
    return Layout(titles, frozenset(dropped))


def _is_title(bare: str) -> bool:
    words = bare.split()
    return (
        len(bare) <= _LONGEST_TITLE
        and len(words) <= _MOST_WORDS
        and bare[-1] not in ".,;:!"
        and bare[0] not in "#*-+•=~>[("
        and not bare[0].islower()
        and any(sum(map(str.isalpha, word)) >= 3 for word in words)
        and not _ODD.search(bare)
        and not _RELEASE.match(bare)
    )


def _stands_free(lines: Sequence[str], at: int, dropped: set[int]) -> bool:
    def empty(place: int) -> bool:
        return not 0 <= place < len(lines) or place in dropped or not lines[place].strip()

    return empty(at - 1) and empty(at + 1) and any(line.strip() for line in lines[at + 1 :][:20])


def _page_marks(lines: Sequence[str]) -> Iterator[int]:
    """Foot and head lines of printed pages, which a form feed parts."""
    for at, line in enumerate(lines):
        if _PAGE_FOOT.search(line):
            yield at
        elif line.startswith("\f"):
            yield at
            head = next((place for place in range(at, min(at + 3, len(lines))) if lines[place].strip()), at)
            if re.search(r"\S {3,}\S", lines[head]):
                yield head


def _is_org(lines: Sequence[str]) -> bool:
    if any("-*- org" in line or _ORG_TITLE.match(line) for line in lines[:5]):
        return True
    stars = [len(found[1]) for line in lines if (found := _ORG.match(line))]
    return 1 in stars and sum(star > 1 for star in stars) >= 2


def _org_titles(lines: Sequence[str], dropped: set[int]) -> dict[int, tuple[HeadingStyle, str]]:
    titles: dict[int, tuple[HeadingStyle, str]] = {}
    inside = False
    for at, line in enumerate(lines):
        mark = _ORG_BLOCK.match(line)
        if mark or inside:
            inside = mark[1].lower() == "begin" if mark else inside
            dropped.add(at)
        elif title := _ORG_TITLE.match(line):
            titles[at] = ("title", title[1])
        elif found := _ORG.match(line):
            titles[at] = (f"atx{len(found[1])}", found[2])
        elif _ORG_SILENT.match(line):
            dropped.add(at)
    return titles


def _manual_titles(lines: Sequence[str], name: str, dropped: set[int]) -> dict[int, tuple[HeadingStyle, str]]:
    """The sections of a manual page as a terminal shows it."""
    titles: dict[int, tuple[HeadingStyle, str]] = {}
    for at, line in enumerate(lines):
        bare = line.strip()
        after = lines[at + 1] if at + 1 < len(lines) else ""
        deeper = _indent(after) > _indent(line) and bool(after.strip())
        if bare.endswith(name) and re.search(r"\S {2,}\S", bare):
            if titles:
                dropped.add(at)
            else:
                titles[at] = ("title", name)
        elif not deeper or not bare or len(bare.split()) > 8 or not (at and not lines[at - 1].strip()):
            continue
        elif not _indent(line) and bare == bare.upper():
            titles[at] = ("capitals", bare)
        elif _indent(line) == 3 and bare[0].isupper() and bare[-1] not in ".,:;":
            titles[at] = ("manual", bare)
    return titles


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _centred(lines: Sequence[str], dropped: set[int]) -> dict[int, tuple[HeadingStyle, str]]:
    """Short lines in the middle of the page; of several together the first, the others say little."""
    titles: dict[int, tuple[HeadingStyle, str]] = {}
    at = 0
    while at < len(lines):
        first = at
        while at < len(lines) and _is_centred(lines[at]):
            at += 1
        free = not (first and lines[first - 1].strip()) and not (at < len(lines) and lines[at].strip())
        if first < at <= first + 3 and free and _is_title(lines[first].strip()):
            titles[first] = ("centred", lines[first].strip())
            dropped.update(range(first + 1, at))
        at = max(at, first + 1)
    return titles


def _is_centred(line: str) -> bool:
    bare = line.strip()
    indent = _indent(line.expandtabs())
    return (
        bool(bare)
        and len(bare) <= 60
        and indent >= _DEEP
        and abs(indent + len(bare) / 2 - _MIDDLE) <= _OFF_MIDDLE
    )


def _entries(lines: Sequence[str], dropped: set[int]) -> dict[int, tuple[HeadingStyle, str]]:
    """The entries of a log of changes."""
    titles: dict[int, tuple[HeadingStyle, str]] = {}
    for at, line in enumerate(lines):
        if not line.strip() or line[0] in " \t":
            if _SIGNED.match(line):
                dropped.add(at)
            continue
        if at and lines[at - 1].strip():
            continue
        bare = line.strip()
        if found := _DEBIAN.match(line) or _DATED.match(line):
            titles[at] = ("entry", found[1].strip())
        elif len(bare) <= _LONGEST_TITLE and bare[-1] not in ".,;" and _RELEASE.match(bare):
            titles[at] = ("entry", bare.rstrip(":"))
    return titles


def _numbered(lines: Sequence[str], words: Sequence[int]) -> Iterator[tuple[int, tuple[HeadingStyle, str]]]:
    """Numbered titles, indented or in front of their text, when what is below them is more than a step."""
    marks: list[_Mark] = []
    for at, line in enumerate(lines):
        if found := _NUMBER.match(line):
            indent = len(found[1].expandtabs())
            marks.append(_Mark(at, int(found[2]), found[3], indent, indent + len(found[2])))
        elif (dotted := _DOTTED.match(line)) and _is_capitalised(dotted[2]):
            title = line.strip().rstrip(".")
            yield at, (f"number{dotted[1].count('.') + 1}", title)
    for run in _runs(marks):
        ends = [*(mark.at for mark in run[1:]), len(lines)]
        below = [words[end] - words[mark.at] for mark, end in zip(run, ends, strict=True)]
        titled = [(mark.at, title) for mark in run if (title := _title_of(lines, mark.at, mark.rest))]
        if median(below) >= _WORDS_BELOW and len(titled) >= _TITLED_SHARE * len(run):
            yield from ((at, ("number1", title)) for at, title in titled)


class _Mark(msgspec.Struct, frozen=True):
    """A number in front of a line: where its first digit and its point stand."""

    at: int
    number: int
    rest: str
    indent: int
    point: int


def _runs(marks: Sequence[_Mark]) -> list[list[_Mark]]:
    """Runs of at least three numbers from 0 or 1 on, in line on the left or at the point."""
    runs: list[list[_Mark]] = []
    awaited: dict[tuple[int, str, int], list[_Mark]] = {}
    for mark in marks:
        left, right = (mark.number, "indent", mark.indent), (mark.number, "point", mark.point)
        run = awaited.get(left) or awaited.get(right)
        if run is None and mark.number > 1:
            continue
        if run is None:
            run = []
            runs.append(run)
        run.append(mark)
        awaited[mark.number + 1, "indent", mark.indent] = run
        awaited[mark.number + 1, "point", mark.point] = run
    return [run for run in runs if len(run) >= _LEAST_RUN]


def _title_of(lines: Sequence[str], at: int, rest: str) -> str:
    """The title in a numbered line, with its number; "" if there is none."""
    free = not lines[at - 1].strip() and (at + 1 >= len(lines) or not lines[at + 1].strip())
    found = _RUN_IN.match(rest)
    if free and len(rest) <= _LONGEST_TITLE and not _INNER_END.search(rest):
        title = rest.rstrip(".")
    elif found and found[0].endswith(".") and _is_capitalised(found[1]):
        title = found[1]
    else:
        return ""
    if len(title.split()) > _MOST_WORDS:
        return ""
    return lines[at][: lines[at].index(rest) + len(title)].strip()


def _is_capitalised(title: str) -> bool:
    """Whether a title's longer words have capitals, as in a heading and not in a sentence."""
    longer = [word for word in re.findall(r"[^\W\d_]{4,}", title) if word.lower() not in _SMALL]
    return title[:1].isupper() and sum(word[0].isupper() for word in longer) >= 0.75 * len(longer)
