"""An execution's event as it leaves: the same JSON in a stream and in a webhook."""

from datetime import datetime
from typing import Any

import msgspec


class EventMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, when, and to which execution: ``data`` has its ids, state, progress and cost."""

    type: str
    timestamp: datetime
    data: dict[str, Any]
