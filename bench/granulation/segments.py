"""How well and how fast a text without headings is cut: texts of ten passages each, from real documents."""

import random
import statistics
import time
from collections.abc import Sequence

from aifactory.granulation.offline.reading import open_reading
from aifactory.granulation.offline.segmentation import cut
from bench.granulation.documents import DOMAIN, SEED, digest_of, domain, name_of
from bench.granulation.figures import Figure, Measure

SETTINGS = ((3, 11), (3, 5), (6, 8), (9, 11))
AIMS = {(3, 11): 18.0, (9, 11): 12.0}
SEGMENTS, PRIOR, DOCUMENTS = 10, 0.7, 120

Sentences = list[list[str]]


def measure(*, quick: bool) -> Measure:
    """Pk against the true borders and against an even cut, and processor time per 100 sentences."""
    pools = _pools()
    texts = 10 if quick else 100
    figures: list[Figure] = []
    for setting in SETTINGS:
        figures += _one_setting(setting, texts, list(pools.values()))
    return Measure(
        name="segments",
        title="Cutting a text without headings",
        settings={
            "texts": f"{texts} for each of {len(SETTINGS)} lengths, {SEGMENTS} passages each, seeds from 0",
            "passages": "consecutive sentences of a random document of one domain, code and lists left out",
            "cut": f"without the number of passages, prior {PRIOR}; the even cut knows the number",
        },
        figures=tuple(figures),
        lists={"documents": tuple(pools)},
    )


def _pools() -> dict[str, Sentences]:
    """The sentences of every document that has enough, as stems."""
    found = {}
    for document in domain(DOMAIN, DOCUMENTS):
        digest = digest_of(document)
        if digest is None or digest.language != "en":
            continue
        lines = [line.stems for line in open_reading(digest, document.text).lines if line.kind == "s"]
        if len(lines) >= 2 * max(high for _, high in SETTINGS):
            found[name_of(document)] = [list(line) for line in lines]
    return found


def _one_setting(setting: tuple[int, int], texts: int, pools: Sequence[Sentences]) -> list[Figure]:
    errors, even, spent, sentences = [], [], 0.0, 0
    for seed in range(texts):
        units, true = _mixed(random.Random(1_000 * SEED + seed), setting, pools)
        began = time.process_time()
        found = cut(units, prior=PRIOR)
        spent += time.process_time() - began
        sentences += len(units)
        errors.append(pk(found, true, len(units)))
        even.append(
            pk([round(len(units) * place / SEGMENTS) for place in range(1, SEGMENTS)], true, len(units))
        )
    low, high = setting
    named = f"passages of {low}–{high} sentences"
    return [
        Figure(what=f"{named}: Pk", value=100 * statistics.mean(errors), unit="%", aim=AIMS.get(setting)),
        Figure(what=f"{named}: Pk of an even cut", value=100 * statistics.mean(even), unit="%"),
        Figure(what=f"{named}: time", value=100_000 * spent / sentences, unit="ms per 100 sentences", aim=10),
    ]


def _mixed(
    dice: random.Random, setting: tuple[int, int], pools: Sequence[Sentences]
) -> tuple[Sentences, list[int]]:
    """A text and its true borders; two neighbours never come from one document."""
    units: Sentences = []
    borders = []
    pool: Sentences | None = None
    for _ in range(SEGMENTS):
        size = dice.randint(*setting)
        pool = dice.choice([one for one in pools if one is not pool])
        start = dice.randrange(len(pool) - size + 1)
        units += pool[start : start + size]
        borders.append(len(units))
    return units, borders[:-1]


def pk(found: Sequence[int], true: Sequence[int], total: int) -> float:
    """Beeferman's Pk: the share of windows that one cut has in one passage and the other has not."""
    window = max(1, round(total / (len(true) + 1) / 2))
    ours, theirs = _passages(found, total), _passages(true, total)
    wrong = sum(
        (ours[at] == ours[at + window]) != (theirs[at] == theirs[at + window]) for at in range(total - window)
    )
    return wrong / (total - window)


def _passages(borders: Sequence[int], total: int) -> list[int]:
    """For each sentence the number of its passage."""
    marks = set(borders)
    numbers, current = [], 0
    for place in range(total):
        current += place in marks
        numbers.append(current)
    return numbers
