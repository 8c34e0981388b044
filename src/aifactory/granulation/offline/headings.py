"""Which lines of a text are headings."""

import re
from itertools import pairwise

_ATX = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r"^([=\-~^\"'`*+#.:_])\1{2,}[ \t]*$")
_NUMBERED = re.compile(r"^(?:§ ?)?(\d{1,3}(?:\.\d{1,3}){0,4})[.)]?[ \t]+(\S.*)$")
_PART = re.compile(
    r"^(chapter|part|section|article|appendix|kapitel|artikel|capítulo|artículo|chapitre)[ \t]+\w{1,8}\b",
    re.IGNORECASE,
)
_BOLD = re.compile(r"^(\*\*|__)([^*_]+)\1:?$")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•‣]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S")
_SENTENCE_END = (".", ",", ";", ":", "!", "…")
_MAX_CHARACTERS = 120

HeadingStyle = str


def heading_at(lines: list[str], at: int, *, markdown: bool) -> tuple[HeadingStyle, str, int] | None:
    """Style, title and number of lines of the heading that starts at a line, if one does."""
    line = lines[at]
    bare = line.strip()
    if not bare or len(bare) > _MAX_CHARACTERS:
        return None
    if markdown and (atx := _ATX.match(line)):
        return f"atx{len(atx[1])}", atx[2], 1
    if found := _underlined(lines, at, bare, markdown=markdown):
        return found
    if not _stands_free(lines, at):
        return None
    if style := _free_style(lines, at, bare, markdown=markdown):
        return style, _without_bold(bare), 1
    return None


def _without_bold(bare: str) -> str:
    bold = _BOLD.match(bare)
    return bold[2].strip() if bold else bare


def _underlined(
    lines: list[str], at: int, bare: str, *, markdown: bool
) -> tuple[HeadingStyle, str, int] | None:
    if at + 1 >= len(lines) or not (rule := _UNDERLINE.match(lines[at + 1])):
        return None
    mark = rule[1]
    before = lines[at - 1].strip() if at else ""
    opens = not before or bool(_UNDERLINE.match(before))
    if not opens or _UNDERLINE.match(bare) or _LIST_MARK.match(bare) or not _has_letters(bare):
        return None
    if markdown and mark not in "=-":
        return None
    if 2 * len(lines[at + 1].strip()) < len(bare) and not markdown:
        return None
    # A line above as well makes another style: most texts give it to their title only.
    over = "^" if before and before[0] == mark else ""
    return f"rule{mark}{over}", bare, 2


def _stands_free(lines: list[str], at: int) -> bool:
    before = not at or not lines[at - 1].strip()
    return before and (at + 1 >= len(lines) or not lines[at + 1].strip())


def _free_style(lines: list[str], at: int, bare: str, *, markdown: bool) -> HeadingStyle | None:
    after = next((line for line in lines[at + 1 : at + 4] if line.strip()), "")
    if not after or bare.endswith(_SENTENCE_END) or not _has_letters(bare):
        return None
    indented = lines[at][:1] in " \t"
    words = bare.split()
    if (number := _NUMBERED.match(bare)) and not indented and len(words) <= 12:
        opens_list = _LIST_MARK.match(after) or after[:1] in " \t"
        if number[2][0].isupper() and ("." in number[1] or not opens_list):
            return f"number{number[1].count('.') + 1}"
        return None
    if (part := _PART.match(bare)) and len(words) <= 12:
        return f"part {part[1].lower()}"
    if markdown:
        return "bold" if _BOLD.match(bare) and len(words) <= 10 else None
    if indented or _LIST_MARK.match(bare):
        return None
    if bare == bare.upper() and len(words) <= 10 and len(re.sub(r"[\W\d_]", "", bare)) >= 3:
        return "capitals"
    return "plain" if _looks_like_title(bare, after) else None


def _looks_like_title(bare: str, after: str) -> bool:
    if len(bare) > 60 or len(bare.split()) > 9 or not bare[0].isupper() or bare.endswith("?") is True:
        return bare.endswith("?") and len(bare) <= 70 and bare[0].isupper()
    return len(after.strip()) >= 50 and not re.search(r"[{}<>|=;@]|\.\.|://|, ", bare)


def _has_letters(text: str) -> bool:
    return any(character.isalpha() for character in text)


def levels_of(styles: list[HeadingStyle]) -> list[int]:
    """Heading levels from 1: Markdown's own, else styles ranked by first appearance; a title is above."""
    if not styles:
        return []
    if "title" in styles:
        below = iter(levels_of([style for style in styles if style != "title"]))
        return [1 if style == "title" else next(below) + 1 for style in styles]
    rank: dict[HeadingStyle, int] = {}
    for style in styles:
        if style.startswith("atx"):
            rank[style] = int(style[3:])
    base = max(rank.values(), default=0)
    for style in styles:
        if style == "rule=" and base:
            rank.setdefault(style, 1)
        elif style == "rule-" and base:
            rank.setdefault(style, 2)
        elif style not in rank:
            rank[style] = max(rank.values(), default=0) + 1
    for low, high in pairwise(sorted(style for style in rank if style.startswith("number"))):
        rank[high] = max(rank[high], rank[low] + 1)
    return [rank[style] for style in styles]
