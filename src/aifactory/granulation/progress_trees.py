"""Growing trees of this process's readers: what was read once is not read again."""

from typing import Any

import msgspec

from aifactory.granulation.progress_tree import Growing, growing_tree, wanted_data
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import DataId, StageId
from aifactory.resources.interface import Resources, StageView

MOST_STAGES = 32


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A stage's tree at some point of its work, and what it was made from."""

    at: tuple[str, int, int]
    tree: Growing | None
    read: dict[DataId, Any]


class GrowingTrees:
    """The ``most`` trees that were looked at last; one is made anew when a job of its stage has ended."""

    def __init__(self, *, most: int = MOST_STAGES) -> None:
        self._most = most
        self._seen: dict[StageId, _Seen] = {}

    async def look(self, tx: Tx, resources: Resources, stage: StageView) -> Growing | None:
        """Return a stage's tree as far as it is; None before there is a plan."""
        at = (stage.phase, stage.jobs_done, stage.open_jobs)
        seen = self._seen.pop(stage.id, None)
        if seen is None or seen.at != at:
            before = {} if seen is None else seen.read
            work = await resources.find_stage_work(tx, stage.id)
            wanted = wanted_data(work)
            read = {data_id: before[data_id] for data_id in wanted if data_id in before}
            loaded = await resources.load_intact(tx, [one for one in wanted if one not in read])
            read |= {one: msgspec.json.decode(text, type=wanted[one]) for one, text in loaded.items()}
            seen = _Seen(at=at, tree=growing_tree(work, read), read=read)
        self._seen[stage.id] = seen
        while len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]
        return seen.tree
