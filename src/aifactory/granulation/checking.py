"""Checking a tree that somebody brings: read with suspicion, validated and scored in a worker process."""

import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.to_process
import msgspec

from aifactory.granulation import steps
from aifactory.granulation.offline.digest import Digest, SourceFormat
from aifactory.granulation.offline.source import decode_source
from aifactory.granulation.parameters import counts_of, read_parameters
from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.scoring import Assessment, assess
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.tree import MAX_NODES, Tree, walk
from aifactory.kernel.errors import FieldError, Invalid, Unavailable, invalid
from aifactory.kernel.problems import Busy, check_text, escape, has_bad_text, refuse_value

CHECK_SECONDS = 20.0
WAIT_SECONDS = 20.0
MAX_WAITING = 8
MAX_LEVELS = 10
MAX_PARTS = 50_000
MAX_VALUE_DEPTH = 40

_LARGEST = 2**53


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """A tree as it came, and what to hold it against; ``structure_type`` None: what the tree says it is.

    ``spec`` is that type where it does not come with the package.
    """

    tree: bytes
    structure_type: str | None = None
    spec: StructureSpec | None = None
    source: bytes | None = None
    source_format: SourceFormat = "markdown"
    source_name: str = "source"
    parameters: dict[str, Any] | None = None
    objects: tuple[MandatoryObject, ...] = ()


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; ``threshold`` and ``level`` are those that the parameters name, if they do.

    ``source_name`` is what the tree says that it was made from.
    """

    structure_type: str
    title: str
    nodes: int
    assessment: Assessment
    threshold: float | None
    level: int | None
    source_name: str | None = None


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing could be examined: a pointer, a code and a message for each fault."""

    errors: tuple[FieldError, ...]


async def assess_tree(
    wanted: Examination, limiter: anyio.CapacityLimiter, *, seconds: float = CHECK_SECONDS
) -> Examined:
    """Examine a tree in a worker process; nothing is stored.

    Raises Invalid for one that can't be read or takes too long, Busy when too many wait already.
    """
    async with _turn(limiter):
        try:
            with anyio.fail_after(seconds):
                found = await anyio.to_process.run_sync(
                    run_undisturbed, wanted, cancellable=True, limiter=anyio.CapacityLimiter(1)
                )
        except TimeoutError:
            message = f"The tree could not be checked within {seconds:g} s; check a part of it."
            raise invalid("/tree", "too_complex", message) from None
        except anyio.BrokenWorkerProcess as error:
            raise Unavailable("The check was interrupted; try again.") from error
    if isinstance(found, Faults):
        detail = "; ".join(f"{one.pointer}: {one.message}" for one in found.errors[:5])
        raise Invalid(detail, errors=found.errors)
    return found


@contextlib.asynccontextmanager
async def _turn(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """Take a turn among all local work: the waiting counts apart from the work. Raises Busy."""
    busy = Busy("All local workers are busy; try again in a moment.", headers={"Retry-After": "5"})
    if limiter.statistics().tasks_waiting >= MAX_WAITING:
        raise busy
    try:
        with anyio.fail_after(WAIT_SECONDS):
            await limiter.acquire()
    except TimeoutError:
        raise busy from None
    try:
        yield
    finally:
        limiter.release()


def run_undisturbed(wanted: Examination) -> Examined | Faults:
    """Examine in a worker process; a Ctrl-C in the terminal is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return examine(wanted)


def examine(wanted: Examination) -> Examined | Faults:
    """Read, validate and score a tree. Pure."""
    try:
        tree = read_tree(wanted.tree)
        spec = _spec_of(tree, wanted)
        counts, threshold, level, objects = _asked(wanted, spec)
        text, keyphrases = _read_source(wanted)
    except Invalid as refusal:
        return Faults(errors=refusal.errors)
    assessment = assess(tree, spec, text=text, keyphrases=keyphrases, counts=counts, objects=objects)
    return Examined(
        structure_type=spec.type,
        title=tree.title,
        nodes=sum(1 for _ in walk(tree)),
        assessment=assessment,
        threshold=threshold,
        level=level,
        source_name=None if tree.source is None else tree.source.name,
    )


def read_tree(raw: bytes) -> Tree:
    """Read a tree from JSON. Raises Invalid with pointers below ``/tree``."""
    try:
        value = msgspec.json.decode(raw)
        check_text(value, "/tree")
        _check_shape(value)
        return msgspec.convert(value, Tree)
    except msgspec.ValidationError as error:
        raise refuse_value(str(error), below="/tree") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid("/tree", "unreadable", f"The tree is no JSON in UTF-8: {error}.") from error
    except RecursionError as error:
        raise invalid("/tree", "too_deep", "The tree is nested too deeply.") from error


def _check_shape(tree: Any) -> None:
    """Refuse what no tree can be before anything is built from it: too deep, too many parts, huge numbers."""
    pending: list[tuple[Any, str, int, int]] = [(tree, "/tree", 0, 0)]
    nodes = parts = 0
    while pending:
        value, pointer, depth, level = pending.pop()
        if depth > MAX_VALUE_DEPTH or level > MAX_LEVELS:
            raise invalid(pointer, "too_deep", f"A tree has at most {MAX_LEVELS} levels of nodes.")
        if isinstance(value, dict):
            parts += 1
            for name, inner in value.items():
                deeper = level + 1 if name in ("nodes", "children") and isinstance(inner, list) else level
                nodes += len(inner) if deeper > level else 0
                pending.append((inner, f"{pointer}/{escape(name[:80])}", depth + 1, deeper))
        elif isinstance(value, list):
            pending += [(one, f"{pointer}/{place}", depth + 1, level) for place, one in enumerate(value)]
        elif isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
            raise invalid(pointer, "out_of_range", "Numbers beyond ±2^53 are not taken.")
        if nodes > MAX_NODES:
            raise invalid("/tree/nodes", "too_many_nodes", f"A tree has at most {MAX_NODES:,} nodes.")
        if parts > MAX_PARTS:
            raise invalid("/tree", "too_many_parts", f"A tree has at most {MAX_PARTS:,} objects in all.")


def said_type(tree: bytes) -> str | None:
    """Return the structure type that a tree says it is of; None where it can't be read."""
    try:
        said = msgspec.json.decode(tree, type=_Said).structure_type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if has_bad_text(said) else said


class _Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    structure_type: str


def _spec_of(tree: Tree, wanted: Examination) -> StructureSpec:
    asked = wanted.structure_type
    pointer = "/tree/structureType" if asked is None else "/structureType"
    spec = wanted.spec or builtin_specs().get(tree.structure_type if asked is None else asked)
    if spec is None:
        known = ", ".join(sorted(builtin_specs()))
        raise invalid(pointer, "unknown_type", f"One of {known}, or one of GET /api/structure-types.")
    if tree.structure_type != spec.type:
        message = f"The tree says that it is a {tree.structure_type[:80]}, not a {spec.type}."
        raise invalid(pointer, "wrong_type", message)
    return spec


def _asked(
    wanted: Examination, spec: StructureSpec
) -> tuple[Counts | None, float | None, int | None, tuple[MandatoryObject, ...]]:
    """Return what a request's parameters ask of its tree; without any, the type's own limits hold."""
    if wanted.parameters is None:
        return None, None, None, wanted.objects
    if "source" in wanted.parameters:
        raise invalid("/parameters/source", "misplaced", "Give the source beside the parameters: /source.")
    parameters = read_parameters(wanted.parameters, spec)
    told = "validation" in wanted.parameters
    return (
        counts_of(parameters, spec),
        parameters.validation.threshold if told else None,
        parameters.validation.level if told else None,
        wanted.objects or parameters.objects,
    )


def _read_source(wanted: Examination) -> tuple[str | None, Sequence[tuple[str, float]]]:
    if wanted.source is None:
        return None, ()
    made = steps.read(wanted.source, wanted.source_format, wanted.source_name, None)
    if isinstance(made, steps.Refused):
        raise invalid("/source", made.code, made.message)
    digest = msgspec.json.decode(made.artifacts["digest"], type=Digest)
    return decode_source(wanted.source), [(phrase.text, phrase.weight) for phrase in digest.keyphrases]
