"""The frame of a novel: a beat sheet whose themes are the topic and what the brief names."""

from hashlib import sha256
from typing import Any

from aifactory.granulation.offline.beats import BeatMaker
from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.frames.topic import names_in, wording_of
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.study import Study
from aifactory.granulation.tree import Node

Made = tuple[tuple[Node, ...], dict[str, Any]]

_MOST_ACTS, _MOST_CHAPTERS, _MOST_SCENES = 4, 3, 2
_THEMES = (
    "{t}",
    "the truth about {t}",
    "the price of {t}",
    "the promise of {t}",
    "a rumour about {t}",
    "the first day with {t}",
    "the silence around {t}",
)


def make_novel(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Acts, chapters and scenes of a story in which it is about the topic."""
    # More chapters than turning points would tell the same again: there is no source to tell them apart.
    most = (_MOST_ACTS, _MOST_CHAPTERS, _MOST_SCENES)
    return _TopicBeats(brief, tuple(map(min, per_level, most))).make()


class _TopicBeats(BeatMaker):
    """Fills the beats with a topic instead of a source's words."""

    def __init__(self, brief: Brief, per_level: tuple[int, ...]) -> None:
        put = wording_of(brief).put
        self._topics = [*names_in(brief), *map(put, _THEMES)]
        self._chapters = 0
        super().__init__(Study(_nothing(self._topics[0]), "", brief), per_level, ())

    def _theme(self, at: int) -> str:
        return self._topics[at % len(self._topics)]

    def _thing(self, part: Chunk) -> str:
        self._chapters += 1
        return self._theme(self._chapters - 1)

    def _things(self, part: Chunk, most: int) -> list[str]:
        return [self._theme(self._chapters - 1 + at) for at in range(len(self._topics))]


def _nothing(title: str) -> Digest:
    """The digest of an empty text."""
    return Digest(
        name="",
        format="text",
        title=title,
        title_is_heading=False,
        language="en",
        characters=0,
        words=0,
        sha256=sha256(b"").hexdigest(),
        sections=(),
        sentences=(),
        procedures=(),
    )
