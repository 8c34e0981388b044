"""Documents that this machine has: chosen by pattern and seed, the same ones each time on one machine."""

import glob
import gzip
import random
import re
import sysconfig
from functools import cache
from pathlib import Path

import msgspec

from aifactory.granulation.offline.digest import Digest, SourceFormat
from aifactory.granulation.offline.source import SourceError, read_source
from bench.running import REPOSITORY

SEED = 4
LARGEST = 400_000
_PACKAGES = sysconfig.get_paths()["purelib"]
#: Kind, pattern, how many, and what their text is.
PATTERNS: tuple[tuple[str, str, int, SourceFormat], ...] = (
    ("example", f"{REPOSITORY}/examples/*.md", 9, "markdown"),
    ("reference", "/usr/share/doc/nodejs/api/*.md", 12, "markdown"),
    ("manual", "/usr/lib/node_modules/npm/docs/content/**/*.md", 8, "markdown"),
    ("package", f"{_PACKAGES}/*/METADATA", 14, "markdown"),
    ("readme", "/usr/share/doc/*/README*", 14, "text"),
    ("changelog", "/usr/share/doc/*/changelog.gz", 6, "text"),
    ("licence", "/usr/share/common-licenses/*", 6, "text"),
    ("text", "/usr/share/doc/*/*.txt.gz", 10, "text"),
    ("news", "/usr/share/doc/*/NEWS*.gz", 6, "text"),
)
#: Those whose prose is alike enough to be cut apart and mixed.
DOMAIN = ("/usr/share/doc/nodejs/api/*.md", "/usr/lib/node_modules/npm/docs/content/**/*.md")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document: ``kind`` of the table above, its text and how to read it."""

    kind: str
    path: str
    text: str
    format: SourceFormat


def corpus(*, share: int = 1) -> list[Document]:
    """The documents to sweep; ``share`` 4 takes a quarter of each kind."""
    dice = random.Random(SEED)
    found = []
    for kind, pattern, most, form in PATTERNS:
        paths = _paths(pattern)
        chosen = dice.sample(paths, min(most, len(paths)))
        found += [_open(path, kind, form) for path in chosen[: max(1, len(chosen) // share)]]
    return [one for one in found if one is not None]


def domain(patterns: tuple[str, ...], most: int) -> list[Document]:
    """Documents of one domain, by seed."""
    paths = [path for pattern in patterns for path in _paths(pattern)]
    chosen = sorted(random.Random(SEED).sample(paths, min(most, len(paths))))
    opened = [_open(path, "domain", "markdown") for path in chosen]
    return [one for one in opened if one is not None]


def _paths(pattern: str) -> list[str]:
    found = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
    return [str(path) for path in found if path.is_file() and path.stat().st_size < LARGEST]


@cache
def _open(path: str, kind: str, form: SourceFormat) -> Document | None:
    raw = Path(path).read_bytes()
    try:
        text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode("utf-8", "replace")
    except OSError:
        return None
    if path.endswith("METADATA"):
        text = text.partition("\n\n")[2]
    return Document(kind=kind, path=path, text=text, format=form)


@cache
def digest_of(document: Document) -> Digest | None:
    """The document as the generator reads it; None where it refuses."""
    try:
        return read_source(document.text, format=document.format, name=name_of(document))
    except SourceError:
        return None


def name_of(document: Document) -> str:
    """A short name: of a package the package's, of anything else the folder's and the file's."""
    path = Path(document.path)
    if path.name == "METADATA":
        return re.sub(r"\.dist-info$", "", path.parent.name)
    return f"{path.parent.name}/{path.name}"
