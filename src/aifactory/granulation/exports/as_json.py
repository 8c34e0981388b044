"""The own, versioned JSON format: carries everything, reads back to an equal tree. Pure."""

import msgspec

from aifactory.granulation.exports.model import ImportRefused, Loss
from aifactory.granulation.tree import SCHEMA_VERSION, Tree

FORMAT = "aifactory.tree"
VERSION = 1


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope, so that a reader knows the format before it reads the tree."""

    format: str
    version: int
    tree: Tree


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    tree: msgspec.Raw


def export(tree: Tree) -> bytes:
    """UTF-8, indented, maps in key order: the same tree gives the same bytes."""
    document = Document(format=FORMAT, version=VERSION, tree=tree)
    raw = msgspec.json.encode(document, order="deterministic")
    return msgspec.json.format(raw, indent=2) + b"\n"


def read(raw: bytes) -> Tree:
    """The tree of an exported document; raises ImportRefused for anything else."""
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
        if envelope.format != FORMAT:
            raise ImportRefused(f"The format is {envelope.format!r}, not {FORMAT!r}")
        if envelope.version != VERSION:
            raise ImportRefused(f"Version {envelope.version} is not supported, only {VERSION}")
        tree = msgspec.json.decode(envelope.tree, type=Tree)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ImportRefused(str(error) or "The document is nested too deeply") from error
    if tree.schema_version != SCHEMA_VERSION:
        raise ImportRefused(f"Tree schema {tree.schema_version} is not supported, only {SCHEMA_VERSION}")
    return tree


def losses(tree: Tree) -> list[Loss]:
    """Nothing is lost."""
    return []
