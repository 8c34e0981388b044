"""What reading a source leaves behind: offsets into the text, so that it stays small between two jobs."""

from typing import Literal

import msgspec

SourceFormat = Literal["markdown", "text", "html", "rst"]


class SourceError(ValueError):
    """A source that cannot be used; ``code`` is stable, the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A heading and what stands below it up to the next heading; level 0 is text before any heading."""

    title: str
    level: int
    start: int
    end: int
    heading_start: int
    heading_end: int


class Sentence(msgspec.Struct, frozen=True, array_like=True):
    """A sentence, bullet or step: offsets, its block and its section (indexes), and what it is.

    ``kind``: "s" sentence, "l" lead-in that ends with a colon, "b" bullet, "n" numbered step.
    """

    start: int
    end: int
    block: int
    section: int
    kind: str


class Procedure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An ordered list of at least three steps: indexes of its sentences and of its lead-in."""

    section: int
    steps: tuple[tuple[int, int], ...]
    lead: int | None = None


class Keyphrase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A phrase that the source is about; weights fall from 1."""

    text: str
    weight: float
    start: int


class Definition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A term the source defines: ``phrase`` follows the term, ``start``/``end`` hold the whole sentence."""

    term: str
    phrase: str
    start: int
    end: int
    sentence: int
    mentions: int
    form: str


class Digest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything later phases need beside the text itself."""

    name: str
    format: SourceFormat
    title: str
    title_is_heading: bool
    language: str
    characters: int
    words: int
    sha256: str
    sections: tuple[Section, ...]
    sentences: tuple[Sentence, ...]
    procedures: tuple[Procedure, ...]
    keyphrases: tuple[Keyphrase, ...] = ()
    concepts: tuple[Definition, ...] = ()
