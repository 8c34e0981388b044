"""Sentences by rules: where they end, how they read without markup, and whether they stand alone."""

import re
from collections.abc import Iterator

from aifactory.granulation.offline.wordlists import word_set

_ABBREVIATIONS = word_set("""
    e.g i.e cf vs approx ca etc dr mr mrs ms prof st jr sr inc ltd co corp vs ed eds al dept est min max
    temp avg jan feb apr aug sept oct nov dec a.m p.m u.s u.k u.n d.c b.c a.d z.b d.h u.a usw bzw ca str
    evtl ggf vgl tzv tj např č apod atd p.ej sra dra ud uds av env m mm cm
    """)
# These only shorten a word in front of a number.
_BEFORE_NUMBER = word_set("no nos fig figs eq eqs sec ch vol pp p nr pág cap s")
# After these an upper-case word may well open the next sentence.
_ENDS_OFTEN = frozenset(
    {"etc", "a.m", "p.m", "u.s", "u.k", "u.n", "usw", "atd", "apod", "al", "m", "mm", "cm", "min"}
)
_END = re.compile(r"[.!?…]+[\"'”’»)\]*_`]*(?=\s)|[。！？]+")
_OPENERS = "\"'“‘«([*_`¿¡"
_STARTERS = word_set("""
    The A An In It This These That Those There They We You He She If When For But And As
    """)

_MARKUP: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<!--.*?-->", re.S), " "),
    (re.compile(r"!\[([^\]]{0,200})\]\([^)\s]{0,500}[^)]{0,100}\)"), ""),
    (re.compile(r"\[([^\[\]]{1,300})\]\([^)\s]{0,800}(?:\s+\"[^\"]{0,200}\")?\)"), r"\1"),
    (re.compile(r"\[([^\[\]]{1,300})\]\[[^\]]{0,100}\]"), r"\1"),
    (re.compile(r"\[\^?\d{0,3}[\w-]{0,20}\](?=[\s.,;:]|$)"), ""),
    (re.compile(r"`([^`<]{1,200}?)\s*<[^`<>]{1,500}>`_{1,2}"), r"\1"),
    (re.compile(r"<(https?://[^<>\s]{1,500})>"), r"\1"),
    (re.compile(r"(?<![`=\-])</?[a-zA-Z][^<>]{0,300}>(?!`)"), ""),
    (re.compile(r"(?::[\w+-]{1,20}){1,2}:`[~!]?([^`<]{1,200}?)(?:\s*<[^`>]{0,200}>)?`"), r"\1"),
    (re.compile(r"`{1,2}([^`]{1,300}?)`{1,2}_{0,2}"), r"\1"),
    (
        re.compile(
            r"(?<![\w*])\*{1,3}(?=\S)([^*\n]{1,400}?(?:\n[^*\n]{1,400}?){0,3})(?<=\S)\*{1,3}(?![\w*])"
        ),
        r"\1",
    ),
    (re.compile(r"(?<!\w)_{1,3}(?=\S)([^_]{1,400}?)(?<=\S)_{1,3}(?!\w)"), r"\1"),
    (re.compile(r"\n[ \t]*>[ \t]?"), "\n"),
    (re.compile(r"^[ \t]*(?:>[ \t]?)+"), ""),
    (re.compile(r"(?<=[a-z])-\n\s*(?=[a-z])"), ""),
    (re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u200e\u200f\ufeff\u00ad]"), ""),
)
_MAYBE_MARKUP = re.compile(
    r"-\n|[\[\]<>`*_\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\ufeff\u00ad]|:\w+:"
)
_ENTITIES = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&nbsp;": " ",
    "&#39;": "'",
    "&mdash;": "—",
}
_SPACE = re.compile(r"\s+")


def clean(raw: str) -> str:
    """A passage as a reader sees it: inline markup, line breaks and control characters gone."""
    text = raw
    if _MAYBE_MARKUP.search(text):
        for pattern, shown in _MARKUP:
            text = pattern.sub(shown, text)
    if "&" in text:
        for entity, shown in _ENTITIES.items():
            text = text.replace(entity, shown)
    return _SPACE.sub(" ", text).strip()


def split_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Offsets of the sentences between two offsets, without the white space around them."""
    begin = start
    for stop in _END.finditer(text, start, end):
        if stop.end() < end and not _is_end(text, begin, stop, end):
            continue
        yield from _trimmed(text, begin, stop.end())
        begin = stop.end()
    yield from _trimmed(text, begin, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    bare = piece.strip()
    if bare:
        first = start + len(piece) - len(piece.lstrip())
        yield first, first + len(bare)


def _is_end(text: str, begin: int, stop: re.Match[str], end: int) -> bool:
    if stop[0][0] in "。！？":
        return True
    after = text[stop.end() : min(end, stop.end() + 40)].lstrip()
    if not after:
        return True
    head = after.lstrip(_OPENERS)[:1]
    if head.islower():
        return False
    if stop[0][0] != "." or len(stop[0].rstrip("\"'”’»)]*_`")) > 1:
        return True
    before = re.search(r"[^\s(\[“\"*]{1,20}$", text[max(begin, stop.start() - 20) : stop.start()])
    word = before[0] if before else ""
    low = word.lower()
    if low in _ENDS_OFTEN:
        return after.split()[0].strip(",") in _STARTERS or low in ("etc", "m", "mm", "cm", "min")
    if low in _ABBREVIATIONS or (low in _BEFORE_NUMBER and head.isdigit()):
        return False
    # An initial ("J. Smith") or a number that only counts ("1. First").
    if len(word) == 1 and word.isupper() and word != "I":
        return False
    return not (word.isdigit() and len(word) <= 2 and stop.start() - begin <= 3)


_ANAPHORS = word_set("""
    this that these those it they he she its their his her such both neither either another others however
    therefore thus hence moreover furthermore consequently nevertheless nonetheless similarly likewise
    meanwhile otherwise instead accordingly additionally also but and or so yet then still again first
    second third fourth secondly thirdly finally lastly next later afterwards here now we i my our as same
    former latter too even nor conversely besides yes no well perhaps
    """)
_LEANING = re.compile(
    r"^(?:for (?:example|instance|this|that|these)|in (?:addition|this|that|these|contrast|fact|other words"
    r"|short|both|such|turn|practice)|as a (?:result|consequence)|on the (?:other|one) hand|at (?:this|that)"
    r"|of (?:these|this|those|course)|one (?:of (?:these|them)|such|reason|way|more)|two of"
    r"|some of (?:these|them)"
    r"|to (?:do|see|get) (?:this|that|so|it)|by (?:this|that|then)|with (?:this|that|these)|after (?:this"
    r"|that"
    r"|these)|because of (?:this|that)|once (?:this|it|they|these)|when (?:this|it|they)|if (?:this|it"
    r"|they|so|not)"
    r"|the (?:former|latter|other|others|same|reverse|opposite|rest|second|third|next|following|first|last"
    r"|result|reason|answer|difference|point|trick|exception|effect|problem)\b|unlike (?:this|it|them)"
    r"|there (?:is|are) "
    r"(?:also|another|two|three|other|no other)|an?other|each of|all of (?:this|these|them)"
    r"|most of (?:these|them)"
    r"|none of|from (?:this|there|here)|until then|since then|that is|to this|let us|rather than)\b",
    re.IGNORECASE,
)
_POINTS_AWAY = re.compile(
    r"\b(?:above|below|aforementioned|following|previous(?:ly)?|as (?:we|you) (?:saw|have seen)"
    r"|see (?:also|section"
    r"|figure|table|chapter)|figure \d|table \d|this (?:section|chapter|guide|article|document|page|book"
    r"|text)"
    r"|next section|(?:first|next|last) (?:chapter|section)|here|please)\b",
    re.IGNORECASE,
)
_PERSONAL = re.compile(r"\b(?:I|I['’](?:m|ve|ll|d)|me|my|mine)\b(?!\.)|^(?:[QA]\.|[QA]:|See|Note \d)\s")
_CONNECTIVE = re.compile(
    r"^(?:please )?note(?: that |: ?)(?=[^\W_])"
    r"|^(?:however|therefore|thus|hence|moreover|furthermore|consequently|nevertheless|nonetheless|similarly"
    r"|likewise|meanwhile|accordingly|additionally|finally|in addition|in fact|in practice|in general"
    r"|in short|in turn"
    r"|for example|for instance|as a result|as a consequence|of course|on the other hand|by contrast"
    r"|in contrast|in other words|for this reason|first|second|third|secondly|thirdly|lastly|then|next|indeed"
    r"|generally|usually|typically|normally|traditionally|importantly|naturally|also|besides|conversely"
    r"|again),\s+"
    r"|^(?:and|but|so|yet)\s+(?=[a-z])",
    re.IGNORECASE,
)


def without_connective(shown: str) -> str:
    """A sentence without a "However," or "In addition," in front; the next word gets the capital."""
    found = _CONNECTIVE.match(shown)
    if not found:
        return shown
    rest = shown[found.end() :]
    return rest[:1].upper() + rest[1:]


def stands_alone(shown: str) -> bool:
    """Whether a sentence makes sense out of its place: no pronoun or connective in front, no "see above"."""
    first = re.match(r"[^\W\d_]+", shown.lstrip(_OPENERS))
    if first and first[0].lower() in _ANAPHORS:
        return False
    if _PERSONAL.search(shown):
        return False
    return not _LEANING.match(shown) and not _POINTS_AWAY.search(shown)


def is_prose(shown: str) -> bool:
    """Whether this is a whole sentence: opens like one, ends like one, neither a scrap nor a monster."""
    opener = shown.lstrip(_OPENERS)[:1]
    words = shown.count(" ") + 1
    if not opener or not (opener.isupper() or opener.isdigit()) or not 5 <= words <= 60:
        return False
    letters = sum(map(str.isalpha, shown)) + shown.count(" ")
    return shown.rstrip("\"'”’»)")[-1:] in (".", "!", "…") and letters >= 0.8 * len(shown)
