"""Outlines of stored trees, for whoever shows what an execution made."""

from typing import Any

import msgspec

from aifactory.granulation import queries, schemas
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, TreeId, parse_id


class Outlines:
    """Implements ``OutlineSource``."""

    async def find_outline(self, tx: Tx, *, client_id: ClientId, tree_id: str) -> dict[str, Any] | None:
        """See ``OutlineSource.find_outline``."""
        wanted = parse_id("tree", tree_id)
        if wanted is None:
            return None
        stored = await queries.find_tree(tx, client_id=client_id, tree_id=TreeId(wanted))
        if stored is None or stored.erased_at is not None:
            return None
        outline = schemas.structure_of(tree_id, await queries.load_tree(tx, stored))
        found: dict[str, Any] = msgspec.to_builtins(outline)
        return found
