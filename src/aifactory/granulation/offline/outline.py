"""The plan of a tree: the source's headings where there are some, else where the subject changes."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import msgspec

from aifactory.granulation.offline.segmentation import cut, snap
from aifactory.granulation.offline.study import Study

# Quotable sentences that a lesson wants: three key points and a summary.
SENTENCES_PER_LESSON = 4
# One with more of them is divided where more lessons are asked for.
SENTENCES_OF_A_FULL_LESSON = 8
# With so few pieces asked for the headings decide alone; so many are to be small ones.
_FEW, _MANY, _ENDLESS = 24, 60, 1_000_000
_LEAST_SENTENCES = 2
# Bounds on what the cut has to weigh, so that its cost does not grow with the square of a long text.
_MOST_UNITS = 300
_MOST_STEMS = 60
_LONGEST_LIST = 30
_LONGEST_BLOCK = 15
_PRIORS = (1.0, 0.7)


class Chunk(msgspec.Struct, frozen=True):
    """A part of the source: lines from ``first`` up to, without, ``last``; no title if it has no heading."""

    title: str
    first: int
    last: int
    children: tuple["Chunk", ...] = ()
    merged: bool = False


def outline(
    study: Study, *, most: int, inner: int, inner_least: int = 2, room: int | None = None
) -> list[list[Chunk]]:
    """Parts, each followed by its pieces: at most ``most`` × ``inner``, ``inner_least`` where they fit.

    Short sources get smaller pieces before they get fewer parts. With ``room`` long ones are divided further
    than by their headings, until they fill the counts or a piece has no more sentences than that.
    """
    total = study.weight(0, len(study.lines))
    piece = max(_LEAST_SENTENCES, min(SENTENCES_PER_LESSON, total // (min(3, most) * inner_least)))
    parts = _parts(study, most, piece * inner_least)
    room = room or _ENDLESS
    full = room * max(1, inner)
    wanted = sum(max(1, study.weight(part.first, part.last) // full) for part in parts)
    parts = _divided(study, parts, min(most, wanted), room * inner_least)
    plan = []
    for part in parts:
        pieces = _pieces(study, part, inner, inner_least, piece)
        wanted = min(inner, study.weight(part.first, part.last) // room)
        plan.append([part, *_divided(study, pieces, wanted, max(piece, room // 2))])
    return plan


def room_for(pieces: int) -> int | None:
    """The sentences of a piece that need no division, by how many pieces are asked for; None: any number."""
    if pieces <= _FEW:
        return None
    return SENTENCES_OF_A_FULL_LESSON if pieces < _MANY else SENTENCES_PER_LESSON + 1


def _divided(study: Study, chunks: Sequence[Chunk], wanted: int, least: int) -> list[Chunk]:
    """The chunks in ``wanted`` parts of ``least`` sentences or more, the largest divided first."""
    made, whole = list(chunks), set[int]()
    total = sum(study.weight(chunk.first, chunk.last) for chunk in made)
    while len(made) < wanted:
        free = [chunk for chunk in made if chunk.first not in whole]
        largest = max(
            free, key=lambda chunk: (study.weight(chunk.first, chunk.last), -chunk.first), default=None
        )
        size = 0 if largest is None else study.weight(largest.first, largest.last)
        if largest is None or size < 2 * least:
            break
        share = max(2, min(wanted - len(made) + 1, round(wanted * size / total)))
        pieces = _split(study, largest, share, share, least)
        if len(pieces) < 2:
            whole.add(largest.first)
        else:
            at = made.index(largest)
            made[at : at + 1] = pieces
    return made


def _parts(study: Study, most: int, least: int) -> list[Chunk]:
    chunks = _unwrap(_heading_tree(study), len(study.lines))
    chunks = _fit(study, chunks, most=max(most, 1), least=least)
    wanted = min(3, most, max(1, study.weight(0, len(study.lines)) // least))
    while len(chunks) < wanted:
        widest = max(
            range(len(chunks)), key=lambda at: (study.weight(chunks[at].first, chunks[at].last), -at)
        )
        pieces = _split(study, chunks[widest], most - len(chunks) + 1, wanted - len(chunks) + 1, least)
        if len(pieces) < 2:
            break
        chunks[widest : widest + 1] = pieces
    return chunks


def _split(study: Study, chunk: Chunk, most: int, wanted: int, least: int) -> list[Chunk]:
    """A chunk in two or more: by its headings if it has several, else by subject."""
    below = _fit(study, _with_intro(chunk), most=most, least=least)
    if len(below) > 1:
        return below
    bounds = cut_range(
        study, chunk.first, chunk.last, prior=_PRIORS[0], least=wanted, most=most, fewest=least
    )
    return [Chunk("", first, last) for first, last in bounds]


def _pieces(study: Study, part: Chunk, most: int, least: int, smallest: int) -> list[Chunk]:
    pieces = _fit(study, _with_intro(part), most=most, least=smallest)
    if len(pieces) >= least or most < least:
        return pieces
    # Smaller pieces before too few; a list is cut only when nothing else is left.
    for fewest, whole in ((smallest, True), (_LEAST_SENTENCES, True), (1, True), (_LEAST_SENTENCES, False)):
        bounds = cut_range(
            study, part.first, part.last, prior=_PRIORS[1], least=least, most=most, fewest=fewest, whole=whole
        )
        if len(bounds) >= least:
            return [Chunk("", first, last) for first, last in bounds]
    return pieces


def _heading_tree(study: Study) -> list[Chunk]:
    """Chunks of the sections, nested by level; sections without lines stand only for their children."""
    first_of = [line.section for line in study.lines]
    spans = [
        (section, bisect_left(first_of, at), bisect_left(first_of, at + 1))
        for at, section in enumerate(study.reading.sections)
    ]
    position = 0

    def siblings(above: int) -> list[Chunk]:
        nonlocal position
        found: list[Chunk] = []
        while position < len(spans) and spans[position][0].level > above:
            section, first, last = spans[position]
            position += 1
            # Deeper than six levels is a damaged text, not an outline.
            children = siblings(section.level) if section.level < 7 else []
            end = children[-1].last if children else last
            if end > first:
                found.append(Chunk(section.title, first, end, tuple(children)))
        return found

    return siblings(-1)


def _unwrap(chunks: list[Chunk], total: int) -> list[Chunk]:
    """Open a single heading above everything (the document's title)."""
    if not chunks:
        return [Chunk("", 0, total)]
    if chunks[0].title == "" and len(chunks) == 1:
        chunks = [*_with_intro(chunks[0])]
    while len(chunks) == 1 and chunks[0].children:
        chunks = _with_intro(chunks[0])
    if len(chunks) == 2 and not chunks[0].title and chunks[1].children:
        chunks = [chunks[0], *_with_intro(chunks[1])]
    return chunks


def _with_intro(chunk: Chunk) -> list[Chunk]:
    """A chunk's children, and before them what stands under its own heading."""
    if not chunk.children:
        return [msgspec.structs.replace(chunk, children=())]
    start = chunk.children[0].first
    intro = [Chunk("", chunk.first, start)] if start > chunk.first else []
    return [*intro, *chunk.children]


def _fit(study: Study, chunks: Sequence[Chunk], *, most: int, least: int) -> list[Chunk]:
    """Merge neighbours until none is too small and there are not too many."""
    fitted = list(chunks)
    sizes = [study.weight(chunk.first, chunk.last) for chunk in fitted]
    while len(fitted) > 1:
        small = min(range(len(fitted)), key=lambda at: (sizes[at], at))
        if sizes[small] < least:
            # A scrap without a heading leads into what follows; others join the smaller neighbour.
            after = small + 1 < len(fitted) and (
                not small or not fitted[small].title or sizes[small + 1] < sizes[small - 1]
            )
            at = small if after else small - 1
        elif len(fitted) > most:
            at = min(range(len(fitted) - 1), key=lambda i: (sizes[i] + sizes[i + 1], i))
        else:
            break
        fitted[at : at + 2] = [_merge(fitted[at], fitted[at + 1])]
        sizes[at : at + 2] = [sizes[at] + sizes[at + 1]]
    return fitted


def _merge(left: Chunk, right: Chunk) -> Chunk:
    if not left.title and not left.merged and right.title:
        # An introduction goes into the section that follows it.
        children = right.children
        return msgspec.structs.replace(right, first=left.first, children=children)
    return joined(left, right)


def joined(left: Chunk, right: Chunk) -> Chunk:
    """Two neighbouring parts as one without a heading of its own."""
    pieces = [*(left.children if left.merged else [left]), *(right.children if right.merged else [right])]
    return Chunk("", left.first, right.last, tuple(pieces), merged=True)


def cut_range(
    study: Study,
    first: int,
    last: int,
    *,
    prior: float,
    least: int,
    most: int,
    fewest: int,
    whole: bool = True,
) -> list[tuple[int, int]]:
    """Cut lines by subject: between paragraphs, and inside them only if these give too few parts.

    Lists stay ``whole`` with their lead-in.
    """
    if whole and last - first > 1:
        bounds = _cut(
            study, _unit_starts(study, first, last, by_block=True), last, prior, least, most, fewest
        )
        if len(bounds) >= least:
            return bounds
    starts = _unit_starts(study, first, last, by_block=False) if whole else list(range(first, last))
    return _cut(study, starts, last, prior, least, most, fewest)


def _cut(
    study: Study, starts: list[int], last: int, prior: float, least: int, most: int, fewest: int
) -> list[tuple[int, int]]:
    ends = [*starts[1:], last]
    units = [_unit(study, start, end) for start, end in zip(starts, ends, strict=True)]
    sizes = [study.weight(start, end) for start, end in zip(starts, ends, strict=True)]
    cuts = cut(units, prior=prior, least=least, most=most, fewest=fewest, sizes=sizes)
    breaks = frozenset(at for at, start in enumerate(starts) if study.lines[start].opens_block)
    bounds = [starts[0], *(starts[at] for at in snap(cuts, breaks, sizes, fewest=fewest)), last]
    return list(pairwise(bounds))


def _unit_starts(study: Study, first: int, last: int, *, by_block: bool) -> list[int]:
    """Where units begin: every paragraph or sentence, in long texts every few; never inside a list."""
    step = ceil((last - first) / _MOST_UNITS)
    starts = [first]
    for at in range(first + 1, last):
        line, before = study.lines[at], study.lines[at - 1]
        if line.kind in "bn" and before.kind in "bnl" and at - starts[-1] < _LONGEST_LIST * step:
            continue
        if by_block and not line.opens_block and at - starts[-1] < _LONGEST_BLOCK * step:
            continue
        if at - starts[-1] >= (step if line.opens_block or step == 1 else 3 * step):
            starts.append(at)
    return starts


def _unit(study: Study, first: int, last: int) -> list[str]:
    """The stems of a unit; of a large one those that are most frequent in the whole source."""
    stems = [stem for line in study.lines[first:last] for stem in line.stems]
    if len(stems) <= _MOST_STEMS:
        return stems
    frequency = study.reading.frequency
    return sorted(dict.fromkeys(stems), key=lambda stem: (-frequency[stem], stem))[:_MOST_STEMS]
