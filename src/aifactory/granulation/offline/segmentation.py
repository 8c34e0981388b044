"""Where the subject changes: the cheapest cut of a text under a unigram model of its segments.

After Utiyama and Isahara (2001): a segment costs the code length of its words under its own smoothed word
counts, plus ``prior`` × log of the text's length. Dynamic programming finds the cheapest cut.
"""

from collections import Counter
from collections.abc import Sequence
from math import ceil, log

# Units in the longest segment that is tried, and how much longer than the average one may be.
_LONGEST = 40
_SLACK = 3


def cut(
    units: Sequence[Sequence[str]],
    *,
    prior: float = 0.7,
    least: int = 1,
    most: int | None = None,
    fewest: int = 1,
    sizes: Sequence[int] | None = None,
) -> list[int]:
    """Indexes at which new segments begin (without 0), for units given as their stems.

    ``least``/``most`` bound the number of segments where that is possible; no segment is smaller than
    ``fewest``, counted in ``sizes`` (default 1 per unit).
    """
    total = len(units)
    sizes = sizes or [1] * total
    if total < 2 or sum(sizes) < 2 * fewest:
        return []
    ceiling = min(most or total, max(1, sum(sizes) // fewest), total)
    # The cost of trying grows with the longest segment tried; where segments are few they have to be longer.
    reach = min(total, max(_LONGEST, ceil(_SLACK * total / ceiling)))
    found = _cut_within(units, sizes, prior, min(least, ceiling), ceiling, fewest, reach)
    if found or reach == total:
        return found
    return _cut_within(units, sizes, prior, min(least, ceiling), ceiling, fewest, total)


def _cut_within(
    units: Sequence[Sequence[str]],
    sizes: Sequence[int],
    prior: float,
    least: int,
    most: int,
    fewest: int,
    reach: int,
) -> list[int]:
    total = len(units)
    costs = _segment_costs(units, sizes, fewest, reach)
    free = _cheapest(costs, total, prior * log(max(2, sum(len(unit) for unit in units))))
    wanted = max(least, min(len(free) + 1, most))
    if wanted == len(free) + 1:
        return free
    for pieces in range(wanted, 1, -1):
        if found := _cheapest_of(costs, total, pieces):
            return found
    return []


def _segment_costs(
    units: Sequence[Sequence[str]], sizes: Sequence[int], fewest: int, reach: int
) -> list[list[tuple[int, float]]]:
    """For each start the first ``reach`` possible ends with their cost."""
    total = len(units)
    frequency = Counter(word for unit in units for word in unit)
    vocabulary = len(frequency)
    # What one more occurrence of a word seen n times saves.
    gains = [(n + 1) * log(n + 2) - n * log(n + 1) for n in range(max(frequency.values(), default=0) + 1)]
    # A word that never comes again saves the same wherever it stands: only the others need counting.
    places = {word: at for at, word in enumerate(word for word, count in frequency.items() if count > 1)}
    again = [[places[word] for word in unit if word in places] for unit in units]
    alone = [gains[0] * (len(unit) - len(known)) for unit, known in zip(units, again, strict=True)]
    costs: list[list[tuple[int, float]]] = []
    for start in range(total):
        counts = [0] * len(places)
        saved, length, size = 0.0, 0, 0
        ends: list[tuple[int, float]] = []
        for at in range(start, total):
            saved += alone[at]
            for word in again[at]:
                seen = counts[word]
                saved += gains[seen]
                counts[word] = seen + 1
            length += len(units[at])
            size += sizes[at]
            if size >= fewest:
                ends.append((at + 1, length * log(length + vocabulary + 1) - saved))
                if len(ends) >= reach:
                    break
        costs.append(ends)
    return costs


def _cheapest(costs: list[list[tuple[int, float]]], total: int, penalty: float) -> list[int]:
    best = [0.0] + [float("inf")] * total
    came = [0] * (total + 1)
    for start in range(total):
        here = best[start]
        if here == float("inf"):
            continue
        for end, cost in costs[start]:
            if here + cost + penalty < best[end] - 1e-9:
                best[end], came[end] = here + cost + penalty, start
    return _walk_back(came, total) if best[total] < float("inf") else []


def _cheapest_of(costs: list[list[tuple[int, float]]], total: int, pieces: int) -> list[int]:
    """The cheapest cut into exactly ``pieces``; [] if there is none."""
    rows = [[float("inf")] * (total + 1) for _ in range(pieces + 1)]
    came = [[0] * (total + 1) for _ in range(pieces + 1)]
    rows[0][0] = 0.0
    for piece in range(1, pieces + 1):
        before, row = rows[piece - 1], rows[piece]
        for start in range(total):
            here = before[start]
            if here == float("inf"):
                continue
            for end, cost in costs[start]:
                if here + cost < row[end] - 1e-9:
                    row[end], came[piece][end] = here + cost, start
    if rows[pieces][total] == float("inf"):
        return []
    cuts, at = [], total
    for piece in range(pieces, 1, -1):
        at = came[piece][at]
        cuts.append(at)
    return cuts[::-1]


def _walk_back(came: list[int], total: int) -> list[int]:
    cuts, at = [], total
    while (at := came[at]) > 0:
        cuts.append(at)
    return cuts[::-1]


def snap(cuts: Sequence[int], breaks: frozenset[int], sizes: Sequence[int], *, fewest: int = 3) -> list[int]:
    """Move cuts to a paragraph break at most a unit away; drop those that would leave a scrap."""
    moved: list[int] = []
    total = len(sizes)
    for at in cuts:
        near = [b for b in range(max(1, at - 1), min(total, at + 2)) if b in breaks]
        low = moved[-1] if moved else 0
        for choice in [*sorted(near, key=lambda b: abs(b - at)), at]:
            if sum(sizes[low:choice]) >= fewest and sum(sizes[choice:]) >= fewest:
                moved.append(choice)
                break
    return moved
