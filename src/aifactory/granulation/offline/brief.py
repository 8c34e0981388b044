"""What a caller asks of the offline generator."""

import msgspec

from aifactory.granulation.sizes import Counts
from aifactory.granulation.tree import Bloom


class GivenObjective(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An objective of another tree that this one is to serve.

    ``start`` and ``end`` are where that tree's source treats it, in characters, -1 where that is not known;
    ``source`` is the SHA-256 of that source.
    """

    id: str
    text: str
    bloom: Bloom
    start: int = -1
    end: int = -1
    source: str = ""


class Brief(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The wish for one tree. ``counts`` are upper limits; ``objects`` are names that should appear.

    With ``objectives``, a type that has them at its root uses these and no others. ``estimated_hours`` is
    what all minutes should add up to, as far as the lengths that a type allows its leaves permit.
    """

    structure_type: str
    topic: str
    counts: Counts
    title: str | None = None
    target_audience: str = ""
    level: str = ""
    language: str = "en"
    estimated_hours: float | None = None
    focus_areas: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    objectives: tuple[GivenObjective, ...] = ()
