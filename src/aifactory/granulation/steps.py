"""The local steps of a granulation, each a function of bytes that runs in a worker process. Pure.

read: source → digest · write: source, digest → tree · assess: source, digest, tree → tree, assessment.
Without a source there is nothing to read, and what is written is a frame.
Words are what these steps are charged for, each once: the source's where it is read, the tree's where it is
written and where it is judged.
"""

import signal
from collections.abc import Callable
from typing import Any

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Digest, SourceError, SourceFormat
from aifactory.granulation.offline.frames.framing import why_unframed
from aifactory.granulation.offline.generate import frame, generate
from aifactory.granulation.offline.language import UNKNOWN
from aifactory.granulation.offline.source import decode_source, read_source
from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.scoring import assess
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.tree import Tree, walk

NODE_WORDS_LIMIT = 400
_TOO_THIN = (
    "The source holds too little connected prose to build on. Use a longer text, or one with fewer tables "
    "and lists."
)


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A source that cannot be used: a stable code and what to do."""

    code: str
    message: str


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a step made: named bytes, a few facts about them, and the words it read and wrote."""

    artifacts: dict[str, bytes]
    words_read: int = 0
    words_written: int = 0
    output: dict[str, Any] = {}


def read(source: bytes, source_format: SourceFormat, name: str, language: str | None) -> Made | Refused:
    """Read a source: headings, sentences, keyphrases, concepts, as offsets into the text.

    The offline generator quotes its source, so a source in another language than asked for is refused.
    """
    try:
        digest = read_source(decode_source(source), format=source_format, name=name)
    except SourceError as error:
        return Refused(code=error.code, message=str(error))
    if language is not None and digest.language not in (language, UNKNOWN):
        return Refused(
            code="language_mismatch",
            message=f"The source is in {digest.language!r} and {language!r} was asked for; the offline "
            "generator does not translate. Leave language out, or give a source in it.",
        )
    return Made(
        artifacts={"digest": msgspec.json.encode(digest)}, words_read=len(source.split()), words_written=0
    )


def write(
    source: bytes | None, digest: bytes | None, brief: Brief, spec: StructureSpec | None = None
) -> Made | Refused:
    """Write the tree with the offline generator; ``spec`` is the brief's type. Without a source: a frame."""
    if source is None or digest is None:
        why = why_unframed(brief.structure_type, brief.language)
        return _written(frame(brief)) if why is None else Refused(code="source_required", message=why)
    tree = generate(msgspec.json.decode(digest, type=Digest), decode_source(source), brief, spec)
    if not tree.nodes and brief.objectives:
        return Refused(
            code="objectives_not_in_source",
            message="Nothing in the source tests the objectives that the stage was given. Use the source "
            "that they were made from.",
        )
    if not tree.nodes:
        return Refused(code="source_too_thin", message=str(tree.fields.get("reason") or _TOO_THIN))
    return _written(tree)


def _written(tree: Tree) -> Made:
    encoded = msgspec.json.encode(tree)
    return Made(artifacts={"tree": encoded}, words_read=0, words_written=len(encoded.split()))


def score(
    source: bytes | None,
    digest: bytes | None,
    tree: bytes,
    spec: StructureSpec,
    counts: Counts,
    objects: tuple[MandatoryObject, ...],
) -> Made:
    """Validate and score the tree against its type, its size and its source, if it has one."""
    phrases = msgspec.json.decode(digest, type=Digest).keyphrases if digest is not None else ()
    made = msgspec.json.decode(tree, type=Tree)
    assessment = assess(
        made,
        spec,
        text=decode_source(source) if source is not None else None,
        keyphrases=[(phrase.text, phrase.weight) for phrase in phrases],
        counts=counts,
        objects=objects,
    )
    return Made(
        artifacts={"tree": tree, "assessment": msgspec.json.encode(assessment)},
        words_read=len(tree.split()),
        words_written=0,
        output={"counts": counts_by_kind(made)},
    )


def ready() -> Made:
    """Do nothing: a process that has done it has loaded everything that the steps need."""
    return Made(artifacts={}, words_read=0, words_written=0)


def run_undisturbed(step: Callable[..., Made | Refused], arguments: tuple[Any, ...]) -> Made | Refused:
    """Run a step in a worker process; a Ctrl-C in the terminal is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return step(*arguments)


def counts_by_kind(tree: Tree) -> dict[str, int]:
    """Return how many nodes of each kind a tree has, and how many objectives and items."""
    counted: dict[str, int] = {}
    objectives = len(tree.fields.get("objectives", ()))
    items = 0
    for _, node in walk(tree):
        counted[node.kind] = counted.get(node.kind, 0) + 1
        objectives += len(node.objectives)
        items += len(node.items) if node.kind != "item" else 0
    counted["objective"] = objectives
    counted["item"] = counted.get("item", 0) + items
    return counted
