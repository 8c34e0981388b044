"""Coverage: how much of what matters in the source, or was promised, the nodes are about. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from aifactory.granulation.index import ROOT, Part, PlacedObjective, TreeIndex
from aifactory.granulation.objective_rules import subject_of
from aifactory.granulation.rules_learning import own_objectives
from aifactory.granulation.scoring.evidence import Keyphrase, Material
from aifactory.granulation.specs import FieldSpec, FieldType, Presence, StructureSpec
from aifactory.granulation.words import bigram_similarity, content_stems, is_word_list

TOP_PHRASES = 30
SOFT_MATCH = 0.6
SAME_WORD = 0.75
# One sentence is about a few things, and says something about each: more names in it are stuffing.
PHRASES_PER_UNIT = 2
WORDS_PER_PHRASE = 2
PHRASES_PER_NODE = 3


def coverage(material: Material) -> tuple[float, str]:
    """Weighted share of the top keyphrases that a title or a sentence of a summary is about.

    Leaves that are off topic take their share away. Each title, sentence and node vouches for a few phrases
    only, a sentence that says nothing about them and a list of keywords for none: stuffing gains nothing.
    """
    index = material.index
    given = _given(material)
    stated, terms = promises(index)
    phrases = given or stated
    if not phrases or not index.entries:
        return 0.0, "nothing to cover" if not phrases else "no nodes"
    covered = _share(phrases, index)
    if terms and not given:  # a glossary is nobody's duty: it may help, and dropping it never does
        covered = max(covered, _share([*stated, *terms], index))
    share, detail = covered
    off_topic = material.by_rule["coherence.off_topic"] / len(index.leaves)
    if off_topic:
        detail += f", {off_topic:.0%} of the leaves off topic"
    return share * (1 - off_topic), detail


def _share(phrases: Sequence[Keyphrase], index: TreeIndex) -> tuple[float, str]:
    """The weighted share of the top phrases that is covered, and in words."""
    top = sorted(phrases, key=lambda one: (-one[1], one[0]))[:TOP_PHRASES]
    found = _covered([phrase for phrase, _ in top], index)
    total = math.fsum(weight for _, weight in top)
    share = math.fsum(top[position][1] for position in sorted(found)) / total
    return share, f"{len(found)} of {len(top)} phrases"


def _given(material: Material) -> list[Keyphrase]:
    return [(phrase, weight) for phrase, weight in material.keyphrases if weight > 0 and phrase.strip()]


def is_voluntary(material: Material) -> bool:
    """Tell whether the tree is held to nothing but what it chose to promise: its type asks for nothing."""
    fields = _root_objectives(material.index.spec)
    return not _given(material) and not any(field.required for field in fields)


def promises(index: TreeIndex) -> tuple[list[Keyphrase], list[Keyphrase]]:
    """What a tree itself promises, equally weighted, and the glossary's terms that it may add to that.

    Promised are the outcomes or objectives at the root where the type has them; a type without is held to
    its nodes' objectives, else to its glossary. A tree that drops its outcomes gets no easier duty.
    """
    terms = [(placed.concept.term, 1.0) for placed in index.concepts if placed.concept.term.strip()]
    if _root_objectives(index.spec):
        own = [placed for placed in index.objectives if placed.owner == ROOT]
        chosen = [placed for placed in own if placed.space == "outcome"] or own
        stated = _subjects(chosen, index)
        return stated, terms if stated else []
    stated = _subjects(own_objectives(index), index)
    return (stated, terms) if stated else (terms, [])


def _root_objectives(spec: StructureSpec) -> list[FieldSpec]:
    return [
        field
        for field in spec.root_fields.values()
        if field.type is FieldType.LIST and field.of is not None and field.of.type is FieldType.OBJECTIVE
    ]


def _subjects(stated: Sequence[PlacedObjective], index: TreeIndex) -> list[Keyphrase]:
    # A whole sentence with verb and condition is no title's business, and would never be found in one.
    texts = [subject_of(placed.objective.text, index.language) for placed in stated]
    return [(text, 1.0) for text in texts if text.strip()]


def _covered(phrases: Sequence[str], index: TreeIndex) -> set[int]:
    """The phrases that some node is about, each node vouching for a limited number."""
    wanted = [frozenset(content_stems(phrase, index.language)) for phrase in phrases]
    units = _units(index)
    owners = [unit.owner for unit in units]
    candidates = _matching_units(wanted, [unit.stems for unit in units])
    per_node = max(PHRASES_PER_NODE, math.ceil(2 * len(phrases) / len(index.entries)))
    node_room = dict.fromkeys(owners, per_node)
    unit_room = _rooms(units, frozenset().union(*wanted))
    found: set[int] = set()
    # The phrases with the fewest places choose first.
    for phrase in sorted(range(len(phrases)), key=lambda one: (len(candidates[one]), one)):
        free = [unit for unit in candidates[phrase] if unit_room[unit] and node_room[owners[unit]]]
        if free:
            unit = max(free, key=lambda one: (node_room[owners[one]], unit_room[one], -one))
            unit_room[unit] -= 1
            node_room[owners[unit]] -= 1
            found.add(phrase)
    return found


class _Unit(NamedTuple):
    owner: int
    stems: list[str]
    is_title: bool


def _units(index: TreeIndex) -> list[_Unit]:
    """Titles and sentences of summaries (of the body where a level has none), keyword lists left out."""
    units: list[_Unit] = []
    for owner, entry in enumerate(index.entries):
        units.append(_Unit(owner, entry.title_stems, True))
        # Key points and instructions repeat what titles and summaries say; an item has nothing but its words.
        only_body = entry.level is not None and entry.level.summary is Presence.OPTIONAL
        for sentence in entry.sentences:
            counts = only_body or sentence.part is Part.SUMMARY
            if counts and not is_word_list(sentence.words, index.language):
                units.append(_Unit(owner, sentence.stems, False))
    return units


def _rooms(units: Sequence[_Unit], wanted: frozenset[str]) -> list[int]:
    """How many phrases each unit may vouch for; a sentence needs words of its own for each."""
    return [
        PHRASES_PER_UNIT
        if unit.is_title
        else min(PHRASES_PER_UNIT, sum(stem not in wanted for stem in unit.stems) // WORDS_PER_PHRASE)
        for unit in units
    ]


def _matching_units(wanted: Sequence[frozenset[str]], units: Sequence[list[str]]) -> list[list[int]]:
    """For each set of stems, the units that hold enough of it, spelling slips allowed."""
    meanings = _spellings(frozenset().union(*wanted), frozenset().union(*units))
    phrases_of: dict[str, list[int]] = {}
    for phrase, stems in enumerate(wanted):
        for stem in stems:
            phrases_of.setdefault(stem, []).append(phrase)
    found: list[list[int]] = [[] for _ in wanted]
    for unit, said in enumerate(units):
        held = {meaning for stem in said if stem in meanings for meaning in meanings[stem]}
        hits = Counter(phrase for stem in held for phrase in phrases_of[stem])
        for phrase, count in hits.items():
            if count >= SOFT_MATCH * len(wanted[phrase]):
                found[phrase].append(unit)
    return found


def _spellings(wanted: frozenset[str], vocabulary: frozenset[str]) -> dict[str, list[str]]:
    """The wanted stems that each stem of the vocabulary stands for: itself, or one spelt nearly the same."""
    by_opening: dict[str, list[str]] = {}
    for stem in sorted(wanted):
        if len(stem) >= 5:
            by_opening.setdefault(stem[:4], []).append(stem)
    meanings: dict[str, list[str]] = {}
    for stem in vocabulary:
        near = [
            other for other in by_opening.get(stem[:4], ()) if bigram_similarity(stem, other) >= SAME_WORD
        ]
        if stem in wanted and stem not in near:
            near.append(stem)
        if near:
            meanings[stem] = near
    return meanings
