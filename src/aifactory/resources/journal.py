"""The log of what became of executions: one line per event, once it is durable."""

import logging
from collections.abc import Collection

import structlog

from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.records import Event

log = structlog.get_logger()

_TOLD = {"jobId": "job_id", "kind": "kind", "attempt": "attempt", "stage": "stage", "reasons": "reasons"}


def write_journal(events: Collection[Event]) -> None:
    """Log events: executions and stages as information, jobs and progress for who debugs."""
    for event in events:
        quiet = event.type.startswith("job.") or event.type == "execution.progress"
        level = logging.DEBUG if quiet else logging.INFO
        if not log.is_enabled_for(level):
            continue
        told = {name: event.data[key] for key, name in _TOLD.items() if event.data.get(key) not in (None, [])}
        if event.final:
            told["cost_usd"] = f"{usd(event.data['spentNano']):f}"
        log.log(
            level,
            event.type,
            execution_id=text_id("exec", event.execution_id),
            **told,
        )
