"""Whether a structure type of an operator's own can be used; every fault at once, with its place. Pure."""

import re
from collections.abc import Iterator

import msgspec

from aifactory.granulation.sizes import DEFAULT_GRANULARITY, SizeError, resolve_counts
from aifactory.granulation.specs import FieldSpec, SpecError, StructureSpec, load_spec
from aifactory.kernel.errors import FieldError, Invalid
from aifactory.kernel.problems import escape

# Each step of a running stage carries its type.
MAX_BYTES = 32_768
# How many values the shortest lists of one node may come to; who fills them makes no fewer.
MAX_LEAST_VALUES = 200

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_STEP = re.compile(r"[A-Za-z0-9_]+")
_MOST_TOLD = 50


def check_type(spec: StructureSpec) -> None:
    """Check a structure type. Raises Invalid with a pointer for each fault, of which it tells 50."""
    errors = tuple(_faults(spec))[:_MOST_TOLD]
    if errors:
        raise Invalid("; ".join(f"{one.pointer}: {one.message}" for one in errors[:5]), errors=errors)


def _faults(spec: StructureSpec) -> Iterator[FieldError]:
    if not _NAME.fullmatch(spec.type):
        message = "a-z, 0-9, _ only, at most 40, starting with a letter: names of templates are made from it."
        yield FieldError(pointer="/type", code="bad_name", message=message)
    try:
        raw = msgspec.json.encode(spec)
        if len(raw) > MAX_BYTES:
            message = f"A structure type has at most {MAX_BYTES:,} bytes; this one has {len(raw):,}."
            yield FieldError(pointer="", code="too_large", message=message)
            return
        load_spec(raw)
    except SpecError as error:
        yield from (_fault(problem) for problem in error.problems)
        return
    except RecursionError:
        yield FieldError(pointer="", code="too_deep", message="Fields are nested too deeply.")
        return
    yield from _size_faults(spec)
    yield from _value_faults(spec)


def _fault(problem: str) -> FieldError:
    place, _, message = problem.partition(": ")
    return FieldError(pointer=_pointer(place), code="unusable", message=f"{message}.")


def _pointer(place: str) -> str:
    """Return the pointer of a place in a spec, such as ``levels[0].fields.name.of``.

    Places leave out that what an object holds stands under its ``fields``.
    """
    steps = _STEP.findall(place)
    named = 2 if steps[:1] == ["rootFields"] else 4 if steps[2:3] == ["fields"] else len(steps)
    inner = [part for step in steps[named:] for part in (("of",) if step == "of" else ("fields", step))]
    return "".join(f"/{step}" for step in [*steps[:named], *inner])


def _size_faults(spec: StructureSpec) -> Iterator[FieldError]:
    """Each granularity has to be makeable, and so has the one that is taken when none is asked for."""
    for name in sorted({*spec.presets, str(DEFAULT_GRANULARITY)}):
        try:
            resolve_counts(spec, granularity_level=int(name))
        except SizeError as error:
            pointer = f"/presets/{name}" if name in spec.presets else "/levels"
            yield FieldError(pointer=pointer, code="bad_size", message=str(error))


def _value_faults(spec: StructureSpec) -> Iterator[FieldError]:
    groups = [("/rootFields", spec.root_fields)]
    groups += [(f"/levels/{at}/fields", level.fields) for at, level in enumerate(spec.levels)]
    for pointer, fields in groups:
        for name, field in fields.items():
            if (least := _least_values(field)) > MAX_LEAST_VALUES:
                message = f"Its lists have at least {least:,.0f} values; {MAX_LEAST_VALUES} are the most."
                yield FieldError(pointer=f"{pointer}/{escape(name)}", code="too_many_values", message=message)


def _least_values(field: FieldSpec) -> float:
    """Return how many values a field has at least, when it has any."""
    if field.of is not None:
        return max(1, field.min or 0) * _least_values(field.of)
    return max(1, sum(_least_values(inner) for inner in field.fields.values() if inner.required))
