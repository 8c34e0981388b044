"""What a settle adds to the usage of a day: calls and units as they ended, money as it was booked. Pure."""

from collections import defaultdict
from datetime import UTC, date

import msgspec

from aifactory.kernel.ids import ClientId, ExecutionId
from aifactory.resources.books import Books
from aifactory.resources.interface import Hop, Usage
from aifactory.resources.ledger import Entry, EntryKind

SUCCEEDED = "succeeded"


class DayKey(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Whose usage of what, on a day in UTC; the order is that in which rows are locked."""

    day: date
    client_id: ClientId
    template: str
    provider: str
    model: str


class DayUsage(msgspec.Struct, kw_only=True):
    """Sums of a day; ``operator_nano``: overrun, waste and unreconciled less what was reconciled."""

    calls: int = 0
    failed_calls: int = 0
    input_units: int = 0
    cached_input_units: int = 0
    output_units: int = 0
    cost_nano: int = 0
    operator_nano: int = 0

    def count(self, usage: Usage | None) -> None:
        """Add metered units."""
        if usage is not None:
            self.input_units += usage.input_units
            self.cached_input_units += usage.cached_input_units
            self.output_units += usage.output_units


def roll_up(books: Books) -> list[tuple[DayKey, DayUsage]]:
    """Return what books add to each row of the daily usage, in the order of their keys."""
    sums: defaultdict[DayKey, DayUsage] = defaultdict(DayUsage)
    hops = {run.token: run.hop for run in books.ended_runs}
    for end in books.attempts:
        row = sums[_key(books, books.jobs[end.job_id].execution_id, hops[end.token])]
        row.calls += 1
        row.failed_calls += end.outcome != SUCCEEDED
        row.count(end.usage)
    for entry in books.entries:
        if entry.kind in _BOOKED and entry.hop is not None:
            _book(sums[_key(books, entry.execution_id, entry.hop)], entry)
    return sorted(sums.items())


_BOOKED = frozenset(
    {EntryKind.SPEND, EntryKind.OVERRUN, EntryKind.WASTE, EntryKind.UNRECONCILED, EntryKind.RECONCILED}
)


def _key(books: Books, execution_id: ExecutionId, hop: Hop) -> DayKey:
    execution = books.executions[execution_id]
    return DayKey(
        day=books.now.astimezone(UTC).date(),
        client_id=execution.client_id,
        template=execution.template,
        provider=hop.provider,
        model=hop.model,
    )


def _book(row: DayUsage, entry: Entry) -> None:
    if entry.kind is EntryKind.SPEND:
        row.cost_nano += entry.amount_nano
    elif entry.kind is EntryKind.RECONCILED:
        row.operator_nano -= entry.amount_nano
    else:
        row.operator_nano += entry.amount_nano
    if entry.kind is EntryKind.WASTE:  # the attempt itself ended without a known usage
        row.count(entry.usage)
