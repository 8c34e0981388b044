"""Objectives that an outline does not make up but is given: under keys, served, and never reworded. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from aifactory.granulation.generation.plan import PlannedObjective, PlannedPart, one_line
from aifactory.granulation.offline.brief import GivenObjective
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.tree import Objective, Tree

MOST_GIVEN = 40
# A given objective as a prompt shows it: key, level and at most so many characters.
LONGEST_SHOWN = 300


def as_planned(given: Sequence[GivenObjective], most: int) -> tuple[PlannedObjective, ...]:
    """Return at most so many of the objectives, from all over their tree, under keys."""
    count = min(most, len(given))
    chosen = [given[at * len(given) // count] for at in range(count)]
    return tuple(
        PlannedObjective(key=f"o{at}", text=one_line(one.text)[:LONGEST_SHOWN], bloom=one.bloom, id=one.id)
        for at, one in enumerate(chosen, 1)
    )


def places_of(
    planned: Sequence[PlannedObjective], given: Sequence[GivenObjective], digest: Digest
) -> dict[str, frozenset[int]]:
    """Return the sentences that treat each objective, by key, of those that were made from this source."""
    known = {one.id: one for one in given if one.start >= 0 and one.source == digest.sha256}
    return {
        one.key: frozenset(
            index
            for index, sentence in enumerate(digest.sentences)
            if known[one.id].start <= sentence.start and sentence.end <= known[one.id].end
        )
        for one in planned
        if one.id in known
    }


def all_served(
    parts: Sequence[PlannedPart],
    given: Sequence[PlannedObjective],
    places: Mapping[str, frozenset[int]] = MappingProxyType({}),
) -> list[PlannedPart]:
    """Let the part that is nearest in the source, else in words, serve each objective that none does."""
    served = {key for part in parts for key in part.refers_to}
    refers = [list(part.refers_to) for part in parts]
    stems = [frozenset(stems_of(f"{part.title} {part.summary}")) for part in parts]
    lines = [frozenset(part.lines) for part in parts]
    most = -(-len(given) // len(parts))
    for one in given:
        if one.key in served:
            continue
        wanted, place = frozenset(stems_of(one.text)), places.get(one.key, frozenset())
        room = [at for at in range(len(parts)) if len(refers[at]) < most] or range(len(parts))
        best = max(
            room, key=lambda at: (len(place & lines[at]), len(wanted & stems[at]), -len(refers[at]), -at)
        )
        refers[best].append(one.key)
    return [
        msgspec.structs.replace(part, refers_to=tuple(keys)) for part, keys in zip(parts, refers, strict=True)
    ]


def with_objectives(tree: Tree, given: Sequence[GivenObjective]) -> Tree:
    """Return a tree whose given objectives read as they were given, whatever a repair made of them."""
    known = {one.id: one for one in given}
    stored = msgspec.convert(tree.fields.get("objectives", []), list[Objective])
    if not any(one.id in known for one in stored):
        return tree
    restored = [
        msgspec.structs.replace(one, text=known[one.id].text, bloom=known[one.id].bloom)
        if one.id in known
        else one
        for one in stored
    ]
    return msgspec.structs.replace(tree, fields={**tree.fields, "objectives": msgspec.to_builtins(restored)})
