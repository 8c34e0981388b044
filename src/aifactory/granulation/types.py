"""Structure types: those that come with the package, and those that an operator adds as data.

A stage keeps the version that it began with: its settings carry the text of a type that is not built in.
"""

import difflib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from aifactory.granulation import type_queries as queries
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.type_queries import StoredType
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound
from aifactory.resources.interface import ResolvedStage


class StructureTypeNotFound(NotFound):
    """No structure type in use has this name; ``nearNames`` lists similar ones."""

    code, title = "structure_type_not_found", "There is no such structure type"


def type_of(resolved: ResolvedStage) -> StructureSpec:
    """Return the structure type that a stage makes, as it was when the stage was submitted."""
    kept = resolved.settings.get("spec")
    return builtin_specs()[resolved.settings["structureType"]] if kept is None else _read(kept)


def kept_with(spec: StructureSpec) -> dict[str, Any]:
    """Return what a stage's settings keep of its type; a text, in which fields stay in their order."""
    named = {"structureType": spec.type}
    if is_built_in(spec.type):
        return named
    return named | {"spec": msgspec.json.encode(spec).decode()}


@lru_cache(64)
def _read(spec: str) -> StructureSpec:
    return msgspec.json.decode(spec, type=StructureSpec)


def is_built_in(name: str) -> bool:
    """Whether a structure type comes with the package."""
    return name in builtin_specs()


async def find_own_type(tx: Tx, name: str) -> StoredType | None:
    """Return the newest version of a type that an operator made, unless that takes it out of use."""
    stored = None if is_built_in(name) else await queries.find_newest_type(tx, name)
    return stored if stored is not None and stored.active else None


async def find_type(tx: Tx, name: str) -> StructureSpec | None:
    """Return a structure type in use."""
    if is_built_in(name):
        return builtin_specs()[name]
    stored = await find_own_type(tx, name)
    return None if stored is None else stored.spec


async def get_type(tx: Tx, name: str) -> StructureSpec:
    """Return a structure type in use. Raises StructureTypeNotFound."""
    found = await find_type(tx, name)
    if found is None:
        raise await type_not_found(tx, name)
    return found


async def specs_named(tx: Tx, names: Collection[str]) -> Mapping[str, StructureSpec]:
    """Return the structure types of some names, also those that are out of use."""
    own = await queries.newest_types(tx, {name for name in names if not is_built_in(name)})
    return {**builtin_specs(), **{stored.structure_type: stored.spec for stored in own}}


async def known_types(tx: Tx) -> list[str]:
    """Return the names of all structure types in use."""
    return sorted({*builtin_specs(), *await queries.active_names(tx)})


async def type_not_found(tx: Tx, name: str) -> StructureTypeNotFound:
    """Return the refusal of a name that no structure type in use has."""
    known = await known_types(tx)
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or known[:10]
    return StructureTypeNotFound(
        f"There is no structure type with this name. Near ones: {', '.join(near)}.", near_names=near
    )
