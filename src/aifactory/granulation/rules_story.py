"""Rules of a plot: threads opened and closed, points of view present, words as many as planned. Pure."""

from collections.abc import Iterator

import msgspec

from aifactory.granulation.index import ROOT, TreeIndex, number_of, texts_of
from aifactory.granulation.violations import Severity, Violation

WORDS_TOLERANCE = 0.10


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """A thread with the scenes that open and close it, as indices of entries in tree order."""

    name: str
    pointer: str
    opened: tuple[int, ...]
    closed: tuple[int, ...]

    @property
    def is_told(self) -> bool:
        """Whether a scene opens it and a later one closes it."""
        return bool(self.opened and self.closed) and self.opened[0] < self.closed[-1]


def scenes_of(index: TreeIndex) -> list[int]:
    """The nodes of levels that the rule ``story`` is on for, in tree order."""
    return [
        owner
        for owner, entry in enumerate(index.entries)
        if entry.level is not None and "story" in entry.level.rules and entry.node.kind == entry.level.kind
    ]


def read_threads(index: TreeIndex) -> list[Thread]:
    """The threads that the root declares; one of the wrong shape is left out."""
    opened: dict[str, list[int]] = {}
    closed: dict[str, list[int]] = {}
    for owner in scenes_of(index):
        fields = index.entries[owner].node.fields
        for name, scenes in (("opens", opened), ("closes", closed)):
            for thread in dict.fromkeys(texts_of(fields.get(name))):
                scenes.setdefault(thread, []).append(owner)
    return [
        Thread(
            name=one.name,
            pointer=one.pointer,
            opened=tuple(opened.get(one.name, ())),
            closed=tuple(closed.get(one.name, ())),
        )
        for one in index.objects
        if one.owner == ROOT and one.pointer.startswith("/fields/threads/")
    ]


def check_story(index: TreeIndex) -> Iterator[Violation]:
    """All threads are opened, then closed; who tells a chapter is in it; the words add up."""
    scenes = scenes_of(index)
    if not scenes:
        return
    for thread in read_threads(index):
        for rule, severity, message in _flaws(index, thread):
            yield index.violation(rule, severity, message, ROOT, thread.pointer)
    yield from _check_points_of_view(index, scenes)
    yield from _check_words(index, scenes)


def _flaws(index: TreeIndex, thread: Thread) -> Iterator[tuple[str, Severity, str]]:
    def paths(owners: tuple[int, ...]) -> str:
        return ", ".join(index.entries[owner].path for owner in owners)

    if not thread.opened:
        yield "story.thread_unopened", Severity.ERROR, f"No scene opens the thread {thread.name!r}"
    if thread.opened and not thread.closed:
        message = f"The thread {thread.name!r} is opened in {paths(thread.opened)} and never closed"
        yield "story.thread_open", Severity.ERROR, message
    if thread.opened and thread.closed and not thread.is_told:
        message = f"The thread {thread.name!r} is closed in {paths(thread.closed)}, not after it was opened"
        yield "story.thread_early", Severity.ERROR, f"{message} in {paths(thread.opened)}"
    for verb, owners in (("opened", thread.opened), ("closed", thread.closed)):
        if len(owners) > 1:
            message = f"The thread {thread.name!r} is {verb} {len(owners)} times: in {paths(owners)}"
            yield "story.thread_again", Severity.WARNING, message


def _check_points_of_view(index: TreeIndex, scenes: list[int]) -> Iterator[Violation]:
    present: dict[int, set[str]] = {}
    for owner in scenes:
        cast = texts_of(index.entries[owner].node.fields.get("cast"))
        present.setdefault(index.entries[owner].parent, set()).update(cast)
    for parent, known in present.items():
        teller = index.entries[parent].node.fields.get("pov") if parent != ROOT else None
        if isinstance(teller, str) and teller not in known:
            message = f"{teller!r} tells this and is in none of its scenes"
            pointer = f"{index.entries[parent].pointer}/fields/pov"
            yield index.violation("story.pov_absent", Severity.WARNING, message, parent, pointer)


def _check_words(index: TreeIndex, scenes: list[int]) -> Iterator[Violation]:
    """The scenes' words against the target of the whole, and of each node above that has one."""
    written: dict[int, float] = {}
    for owner in scenes:
        count = number_of(index.entries[owner].node.fields.get("words")) or 0
        above = index.entries[owner].parent
        while above != ROOT:
            written[above] = written.get(above, 0) + count
            above = index.entries[above].parent
        written[ROOT] = written.get(ROOT, 0) + count
    for owner, count in sorted(written.items()):
        fields = index.tree.fields if owner == ROOT else index.entries[owner].node.fields
        target = number_of(fields.get("targetWords"))
        if target is None or target <= 0:
            continue
        if abs(count - target) > WORDS_TOLERANCE * target:
            message = f"The scenes have {count:,} words together; {target:,} are the target"
            base = "" if owner == ROOT else index.entries[owner].pointer
            pointer = f"{base}/fields/targetWords"
            yield index.violation("story.words", Severity.ERROR, message, owner, pointer)
