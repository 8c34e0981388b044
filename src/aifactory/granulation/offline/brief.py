"""What a caller asks of the offline generator."""

import msgspec

from aifactory.granulation.sizes import Counts


class Brief(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The wish for one tree. ``counts`` are upper limits; ``objects`` are names that should appear."""

    structure_type: str
    topic: str
    counts: Counts
    title: str | None = None
    target_audience: str = ""
    level: str = ""
    language: str = "en"
    focus_areas: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
