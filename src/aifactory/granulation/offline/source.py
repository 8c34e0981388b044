"""Reading a source: bytes to text, text to digest."""

import hashlib
import re

from aifactory.granulation.offline import html, rst
from aifactory.granulation.offline.blocks import Block, read_blocks
from aifactory.granulation.offline.concepts import find_definitions, term_key
from aifactory.granulation.offline.digest import (
    Digest,
    Keyphrase,
    Procedure,
    Section,
    Sentence,
    SourceError,
    SourceFormat,
)
from aifactory.granulation.offline.language import detect_language
from aifactory.granulation.offline.lexicon import build_lexicon
from aifactory.granulation.offline.phrases import PhraseBook
from aifactory.granulation.offline.reading import Line, read_lines, shown_of
from aifactory.granulation.offline.sentences import clean, split_sentences
from aifactory.granulation.offline.words import count_words

__all__ = ["Digest", "SourceError", "SourceFormat", "decode_source", "read_source"]

LEAST_WORDS = 80
LEAST_SENTENCES = 4
_KEYPHRASES = 30
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd]")
_CONTROL_SHARE = 0.002
_EMPHASIS = re.compile(r"(?:\*\*|__)([^*_\n]{3,50})(?:\*\*|__)")
_SAMPLE_CHARACTERS = 40_000
# What page makers hang at a heading to link to it.
_AFTER_TITLE = ": ¶"
_COUNTED = re.compile(r"^\d+(?:\.\d+)*[.)]?\s")
_UNTOLD = re.compile(
    r"^(?:table of )?contents$|^(?:references|bibliography|see also|further reading|external links|index"
    r"|acknowledge?ments?|footnotes)$",
    re.IGNORECASE,
)


def decode_source(data: bytes) -> str:
    """Text of an uploaded file: UTF-8 with or without BOM, or UTF-16 with BOM. Raises ``SourceError``."""
    encoding = "utf-8-sig"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        binary = data.find(b"\x00")
        if binary >= 0 and encoding != "utf-16":
            raise _not_text(f"It has a zero byte at offset {binary}") from None
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise SourceError(
            "source_encoding",
            f"The source isn't valid {name}: byte {error.start} can't be read. "
            "Open it in an editor, save it as UTF-8 and send it again.",
        ) from None
    if "\x00" in text:
        raise _not_text(f"It has a zero byte at offset {data.index(bytes(1))}")
    _refuse_control_characters(text)
    return text


def read_source(text: str, *, format: SourceFormat, name: str) -> Digest:
    """Read a source into a digest whose offsets point into ``text``. Raises ``SourceError``."""
    if not text.strip():
        raise SourceError(
            "source_empty", "The source is empty. Send the text that the content should be made from."
        )
    _refuse_control_characters(text)
    surface = html.surface_of(text) if format == "html" else text
    sections, sentences, procedures = _arrange(text, surface, _blocks(text, surface, format), format)
    language = detect_language(_sample(surface, sentences))
    lines = read_lines(text, sentences, language, format)
    words = sum(count_words(line.shown) for line in lines)
    _refuse_short(words, len(lines))
    lexicon = build_lexicon(lines, language)
    title, is_heading = _title(sections, name, html.page_title(text) if format == "html" else "")
    return Digest(
        name=name,
        format=format,
        title=title,
        title_is_heading=is_heading,
        language=language,
        characters=len(text),
        words=words,
        sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        sections=sections,
        sentences=sentences,
        procedures=procedures,
        keyphrases=_keyphrases(lines, PhraseBook(lines, lexicon, language), sections, language),
        concepts=find_definitions(lines, lexicon, language, _strong_terms(text, sections, language)),
    )


def _not_text(what: str) -> SourceError:
    return SourceError(
        "source_not_text",
        f"The source isn't text. {what}. Send plain text or Markdown, saved as UTF-8; export other "
        "documents as text first.",
    )


def _refuse_control_characters(text: str) -> None:
    found = _CONTROL.search(text)
    if found and ("\x00" in text or len(_CONTROL.findall(text)) > _CONTROL_SHARE * len(text)):
        at = text.find("\x00") if "\x00" in text else found.start()
        raise _not_text(f"It has control characters, the first at character {at}")
    surrogate = re.search(r"[\ud800-\udfff]", text)
    if surrogate:
        raise _not_text(f"It has half a character (a lone surrogate) at character {surrogate.start()}")


def _refuse_short(words: int, sentences: int) -> None:
    if words < LEAST_WORDS or sentences < LEAST_SENTENCES:
        raise SourceError(
            "source_too_short",
            f"The source has {words} words in {sentences} sentences outside code, tables and headings; at "
            "least "
            f"{LEAST_WORDS} words and {LEAST_SENTENCES} sentences are needed. Send more text.",
        )


def _blocks(text: str, surface: str, format: SourceFormat) -> list[Block]:
    if format == "html":
        return html.read_html(text, surface)
    return rst.read_rst(text) if format == "rst" else read_blocks(text, markdown=format == "markdown")


def _sample(surface: str, sentences: tuple[Sentence, ...]) -> str:
    """Prose enough to tell its language."""
    taken, room = [], _SAMPLE_CHARACTERS
    for sentence in sentences:
        taken.append(surface[sentence.start : min(sentence.end, sentence.start + room)])
        room -= len(taken[-1]) + 1
        if room <= 0:
            break
    return " ".join(taken)


def _arrange(
    text: str, surface: str, blocks: list[Block], format: SourceFormat
) -> tuple[tuple[Section, ...], tuple[Sentence, ...], tuple[Procedure, ...]]:
    """Sections, sentences and procedures out of blocks."""
    sections: list[Section] = []
    sentences: list[Sentence] = []
    items: list[tuple[Block, int, int, int]] = []
    heads = [block for block in blocks if block.kind == "heading"]
    if not heads or blocks[0].kind != "heading":
        sections.append(_section(text, None, 0, heads[0].start if heads else len(text), format))
    ends = [head.start for head in heads[1:]] + [len(text)]
    following = iter(zip(heads, ends, strict=False))
    for index, block in enumerate(blocks):
        if block.kind == "heading":
            head, end = next(following)
            sections.append(_section(text, head, head.end, end, format))
            items.append((block, len(sections) - 1, 0, 0))
        elif block.kind in ("paragraph", "bullet", "step"):
            if _UNTOLD.match(sections[-1].title) and len(heads) > 2:
                continue
            first = len(sentences)
            sentences.extend(_sentences(surface, block, index, len(sections) - 1, format))
            items.append((block, len(sections) - 1, first, len(sentences)))
    return tuple(sections), tuple(sentences), _procedures(items, sentences)


def _section(text: str, head: Block | None, start: int, end: int, format: SourceFormat) -> Section:
    if head is None:
        return Section(title="", level=0, start=start, end=end, heading_start=start, heading_end=start)
    return Section(
        title=shown_of(text, head.start, head.end, format).rstrip(_AFTER_TITLE),
        level=head.level,
        start=start,
        end=end,
        heading_start=head.start,
        heading_end=head.end,
    )


def _sentences(surface: str, block: Block, index: int, section: int, format: SourceFormat) -> list[Sentence]:
    mark = {"paragraph": "s", "bullet": "b", "step": "n"}[block.kind]
    return [
        Sentence(start, end, index, section, "l" if surface[end - 1] == ":" and mark == "s" else mark)
        for start, end in split_sentences(surface, block.start, block.end)
        if _says_something(surface[start:end])
    ]


def _says_something(passage: str) -> bool:
    """Whether letters are left once pictures and tags are gone."""
    shown = clean(passage) if passage[0] in "![<" else passage
    return any(character.isalpha() for character in shown)


def _procedures(items: list[tuple[Block, int, int, int]], sentences: list[Sentence]) -> tuple[Procedure, ...]:
    """Runs of at least three numbered items of one list; deeper items may stand between them."""
    found: list[Procedure] = []
    run: list[tuple[Block, int, int, int]] = []

    def close() -> None:
        steps = [item for item in run if item[0].kind == "step" and item[2] < item[3]]
        if len(steps) >= 3:
            first = steps[0][2]
            lead = first - 1 if first and sentences[first - 1].section == steps[0][1] else None
            found.append(
                Procedure(
                    section=steps[0][1],
                    steps=tuple((sentences[item[2]].start, sentences[item[3] - 1].end) for item in steps),
                    lead=lead,
                )
            )
        run.clear()

    for item in items:
        block = item[0]
        if block.kind == "step" and run and block.indent == run[0][0].indent:
            last = next(before for before in reversed(run) if before[0].indent == block.indent)
            if block.number not in (last[0].number + 1, 1) or (block.number == 1 and last[0].number != 1):
                close()
            run.append(item)
        elif run and block.kind != "heading" and block.indent > run[0][0].indent:
            continue
        else:
            close()
            if block.kind == "step":
                run.append(item)
    close()
    return tuple(found)


def _title(sections: tuple[Section, ...], name: str, told: str) -> tuple[str, bool]:
    """The one heading above all others, else what the page is ``told`` to be, or its file's name readable."""
    heads = [section for section in sections if section.level]
    if (
        heads
        and all(other.level > heads[0].level for other in heads[1:])
        and not _COUNTED.match(heads[0].title)
    ):
        return heads[0].title, True
    if told:
        return told[:120], False
    stem = re.sub(r"(?:\.[a-z][a-z0-9]{0,4})+$", "", name.rsplit("/", 1)[-1], flags=re.IGNORECASE)
    words = re.sub(r"[\W_]+", " ", stem).strip()
    return (words[:1].upper() + words[1:])[:120] or "Untitled", False


def _strong_terms(text: str, sections: tuple[Section, ...], language: str) -> frozenset[tuple[str, ...]]:
    names = [section.title for section in sections] + [found[1] for found in _EMPHASIS.finditer(text)]
    return frozenset(term_key(name, language) for name in names)


def _keyphrases(
    lines: tuple[Line, ...], book: PhraseBook, sections: tuple[Section, ...], language: str
) -> tuple[Keyphrase, ...]:
    titled = frozenset(stem for section in sections for stem in term_key(section.title, language))
    best = book.best(0, len(lines), limit=_KEYPHRASES, spread=0, boost=titled)
    top = best[0].score if best else 1.0
    return tuple(
        Keyphrase(text=phrase.text, weight=round(phrase.score / top, 4), start=phrase.first)
        for phrase in best
    )
