"""How alike texts are: TF-IDF cosine over many short texts with an exact inverted index. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain

Vector = dict[str, float]
# What sums of products may be off by.
ROUNDING = 1e-9


def tfidf_vectors(documents: Sequence[Sequence[str]]) -> list[Vector]:
    """Unit vectors of (1 + log tf) × log((n + 1) / df); empty for an empty document.

    A word in every document weighs almost nothing, so boilerplate neither makes texts alike nor hides it.
    """
    counted = [Counter(document) for document in documents]
    frequency: Counter[str] = Counter()
    for counts in counted:
        frequency.update(counts.keys())
    total = len(documents) + 1
    idf = {word: math.log(total / count) for word, count in frequency.items()}
    vectors: list[Vector] = []
    for counts in counted:
        vector = {
            word: idf[word] if count == 1 else (1 + math.log(count)) * idf[word]
            for word, count in counts.items()
        }
        norm = math.sqrt(sum([weight * weight for weight in vector.values()]))
        vectors.append({word: weight / norm for word, weight in vector.items()} if norm else {})
    return vectors


def cosine(left: Vector, right: Vector) -> float:
    """The dot product of two unit vectors, 0 to 1."""
    # fsum rounds once, so the set's order, which depends on the hash seed, does not show.
    return math.fsum([left[word] * right[word] for word in left.keys() & right.keys()])


def similar_pairs(vectors: Sequence[Vector], threshold: float) -> list[tuple[int, int, float]]:
    """All pairs (i < j) with a cosine of at least ``threshold``, in order.

    Each text lists its words from the rarest on until what is left is shorter than half the threshold. A
    word that two texts share without both listing it lies in that short rest of one of them, so a pair whose
    listed words give less than the other half cannot reach the threshold (prefix filtering after Bayardo,
    Ma & Srikant 2007). Only the pairs that share enough listed words to reach that half are multiplied out.
    """
    frequency: Counter[str] = Counter()
    for vector in vectors:
        frequency.update(vector.keys())
    by_rarity = sorted(frequency, key=lambda one: (frequency[one], one))
    rank = {word: place for place, word in enumerate(by_rarity)}
    # Words that only one text has are never shared.
    alone = sum(count == 1 for count in frequency.values())
    half = threshold / 2
    postings: list[list[int]] = [[] for _ in by_rarity]
    heaviest: list[float] = []
    most = 0.0
    pairs: list[tuple[int, int, float]] = []
    for index, vector in enumerate(vectors):
        listed = _listed(vector, rank, by_rarity, half, alone)
        # The heaviest weights on both sides are the most that one shared word can give.
        heaviest.append(max([vector[by_rarity[word]] for word in listed], default=0.0))
        most = max(most, heaviest[index])
        wanted = (half - ROUNDING) / heaviest[index] if listed else math.inf
        least = wanted / most if most else math.inf
        shared = Counter(chain.from_iterable([postings[word] for word in listed]))
        for other, count in [pair for pair in shared.items() if pair[1] >= least]:
            if count * heaviest[other] >= wanted:
                value = cosine(vectors[other], vector)
                if value >= threshold:
                    pairs.append((other, index, value))
        for word in listed:
            postings[word].append(index)
    pairs.sort(key=lambda pair: pair[:2])
    return pairs


def _listed(
    vector: Vector, rank: dict[str, int], by_rarity: Sequence[str], short: float, alone: int
) -> list[int]:
    """The ranks of the words, rarest first, until the rest is shorter than ``short``; without the lone."""
    left_over = 1.0
    listed = []
    for place in sorted([rank[word] for word in vector]):
        if left_over < short * short:
            break
        left_over -= vector[by_rarity[place]] ** 2
        if place >= alone:
            listed.append(place)
    return listed
