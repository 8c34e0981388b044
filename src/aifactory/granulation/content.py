"""What granulation keeps of content, and how it is erased: trees lose their words and keep their figures."""

from collections.abc import Sequence

from aifactory.granulation import queries
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import Erased, ErasedExecution, Term


class Trees:
    """Implements ``ContentKeeper`` for trees."""

    async def erase_with(self, tx: Tx, executions: Sequence[ErasedExecution]) -> Erased:
        """See ``ContentKeeper.erase_with``."""
        erasures = {one.id: one.erasure.value for one in executions}
        return Erased(trees=await queries.erase_trees(tx, erasures))

    async def erase_alone(self, tx: Tx, terms: Sequence[Term], limit: int) -> tuple[Erased, bool]:
        """See ``ContentKeeper.erase_alone``: every tree belongs to an execution."""
        return Erased(), False

    async def still_needed(self, tx: Tx, data_ids: Sequence[DataId]) -> set[DataId]:
        """See ``ContentKeeper.still_needed``: trees refer to no stored data."""
        return set()
