"""The usage of days: added to by each settle, read by reports."""

import msgspec

from aifactory.kernel.db import Tx
from aifactory.resources.rollup import DayKey, DayUsage


async def add(tx: Tx, rows: list[tuple[DayKey, DayUsage]]) -> None:
    """Add to rows of the daily usage, in the order given: that of their keys, or two could wait in a ring."""
    if not rows:
        return
    columns = zip(
        *(msgspec.structs.astuple(key) + msgspec.structs.astuple(sums) for key, sums in rows), strict=True
    )
    await tx.raw.execute(
        """
        INSERT INTO daily_usage AS d (day, client_id, template, provider, model, calls, failed_calls,
            input_units, cached_input_units, output_units, cost_nano, operator_nano)
        SELECT * FROM unnest($1::date[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
        ON CONFLICT (day, client_id, template, provider, model) DO UPDATE SET
            calls = d.calls + excluded.calls,
            failed_calls = d.failed_calls + excluded.failed_calls,
            input_units = d.input_units + excluded.input_units,
            cached_input_units = d.cached_input_units + excluded.cached_input_units,
            output_units = d.output_units + excluded.output_units,
            cost_nano = d.cost_nano + excluded.cost_nano,
            operator_nano = d.operator_nano + excluded.operator_nano
        """,
        *columns,
    )
