"""How alike texts are: TF-IDF cosine over many short texts with an exact inverted index. Pure."""

import math
from collections import Counter
from collections.abc import Sequence

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
        vector = {word: (1 + math.log(count)) * idf[word] for word, count in counts.items()}
        norm = math.sqrt(sum(weight * weight for weight in vector.values()))
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
    Ma & Srikant 2007). Only the other pairs are multiplied out.
    """
    frequency: Counter[str] = Counter()
    for vector in vectors:
        frequency.update(vector.keys())
    rank = {
        word: place for place, word in enumerate(sorted(frequency, key=lambda one: (frequency[one], one)))
    }
    half = threshold / 2
    postings: dict[str, list[tuple[int, float]]] = {}
    pairs: list[tuple[int, int, float]] = []
    for index, vector in enumerate(vectors):
        left_over = 1.0
        listed: dict[int, float] = {}
        for word in sorted(vector, key=rank.__getitem__):
            if left_over < half * half:
                break
            weight = vector[word]
            left_over -= weight * weight
            places = postings.setdefault(word, [])
            for other, other_weight in places:
                listed[other] = listed.get(other, 0.0) + weight * other_weight
            places.append((index, weight))
        for other, product in listed.items():
            if product >= half - ROUNDING:
                value = cosine(vectors[other], vector)
                if value >= threshold:
                    pairs.append((other, index, value))
    pairs.sort(key=lambda pair: pair[:2])
    return pairs
