"""Real documents, where a machine has them: their sections, titles and changes of subject."""

import gzip
from functools import cache
from pathlib import Path
from random import Random

import msgspec
import pytest
from tests.unit.granulation.offline.test_segmentation import pk

from aifactory.granulation.offline.blocks import read_blocks
from aifactory.granulation.offline.digest import Digest, SourceFormat
from aifactory.granulation.offline.reading import shown_of
from aifactory.granulation.offline.segmentation import cut
from aifactory.granulation.offline.sentences import clean, split_sentences
from aifactory.granulation.offline.source import decode_source, read_source
from aifactory.granulation.offline.words import stems_of

CORPUS = Path(__file__).parents[3] / "data" / "corpus.txt"
PAGES = (
    "dns errors events fs net os path url util vm zlib console timers readline dgram cluster child_process"
    " worker_threads modules"
)
MANUALS = Path("/usr/share/doc/nodejs/api")


class Document(msgspec.Struct, frozen=True, array_like=True):
    """A document of the list: how it is written, its least number of sections, its title, its path."""

    format: SourceFormat
    sections: int
    title: str
    path: str


def _listed() -> list[Document]:
    rows = [line.split("\t") for line in CORPUS.read_text().splitlines() if line and line[0] != "#"]
    return [msgspec.convert(row, Document, strict=False) for row in rows]


@cache
def _read(path: str, format: SourceFormat) -> tuple[str, Digest]:
    if not Path(path).is_file():
        pytest.skip(f"{path} is not on this machine")
    data = Path(path).read_bytes()
    text = decode_source(gzip.decompress(data) if path.endswith(".gz") else data)
    return text, read_source(text, format=format, name=Path(path).name)


@pytest.mark.parametrize("document", _listed(), ids=lambda document: Path(document.path).name)
def test_a_real_document_has_its_sections_and_its_title(document: Document) -> None:
    text, digest = _read(document.path, document.format)
    titles = [section.title for section in digest.sections if section.level]
    assert len(titles) >= document.sections
    assert document.title in ("-", digest.title)
    assert digest.language == "en"
    assert all(
        shown_of(text, one.heading_start, one.heading_end, document.format).startswith(one.title)
        for one in digest.sections
    )


def test_a_page_and_its_markdown_have_the_same_headings() -> None:
    page, source = _read(f"{MANUALS}/dns.html", "html")[1], _read(f"{MANUALS}/dns.md", "markdown")[1]
    told = {section.title for section in page.sections}
    written = [section.title for section in source.sections if section.level]
    assert sum(title in told for title in written) >= 0.8 * len(written)


@pytest.mark.parametrize(("shortest", "longest", "most"), [(3, 11, 0.18), (9, 11, 0.12)])
def test_changes_of_subject_are_found_between_passages_of_one_manual(
    shortest: int, longest: int, most: float
) -> None:
    passages = _passages()
    wrong = []
    for seed in range(60):
        dice = Random(seed)
        sizes = [dice.randint(shortest, longest) for _ in range(10)]
        units: list[tuple[str, ...]] = []
        for size, lines in zip(sizes, dice.sample(passages, 10), strict=True):
            first = dice.randrange(len(lines) - size + 1)
            units += lines[first : first + size]
        true = [sum(sizes[:part]) for part in range(1, 10)]
        wrong.append(pk(cut(units, prior=0.7), true, len(units)))
    assert sum(wrong) / len(wrong) <= most


@cache
def _passages() -> list[list[tuple[str, ...]]]:
    """The sentences of each page of a manual, as stems."""
    found = []
    for name in PAGES.split():
        page = MANUALS / f"{name}.md"
        if not page.is_file():
            pytest.skip(f"{page} is not on this machine")
        text = page.read_text(encoding="utf-8")
        told = (block for block in read_blocks(text, markdown=True) if block.kind == "paragraph")
        places = (place for block in told for place in split_sentences(text, block.start, block.end))
        found.append([tuple(stems_of(clean(text[start:end]))) for start, end in places])
    return [lines for lines in found if len(lines) >= 12]
