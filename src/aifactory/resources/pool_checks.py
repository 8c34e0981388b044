"""Refuses by name, at submission, work of which one job could never start. Pure."""

from collections.abc import Iterable

from aifactory.kernel.errors import Unavailable
from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import ExceedsPool, ExceedsQuota, Line, Urgency
from aifactory.resources.pricing import Pools, largest_draws, pools_of


def check_pools(lines: Iterable[Line], client_id: ClientId, urgency: Urgency, pools: Pools) -> None:
    """Check each line's largest start against its pools and the client's quotas of them.

    Raises Unavailable for a line that is not set up right, ExceedsPool or ExceedsQuota for one too large.
    """
    for line in lines:
        _check_needs(line)
        draws = largest_draws(line.route, line.input_bound + line.output_limit, line.needs)
        for pool, units in draws.items():
            if pool not in pools:
                raise Unavailable(f"Pool {pool} of step {line.kind} is not set up; the operator must add it.")
            _check_units(line, pool, units, client_id, urgency, pools)


def _check_needs(line: Line) -> None:
    known = pools_of(line.route)
    for pool, units in line.needs.items():
        if pool not in known or units < 0:
            raise Unavailable(
                f"Step {line.kind} asks for {units:,} units of pool {pool}, which its route does not allow; "
                "the operator must mend its worker."
            )


def _check_units(
    line: Line, pool: str, units: int, client_id: ClientId, urgency: Urgency, pools: Pools
) -> None:
    size = pools[pool]
    if units > size.usable(urgency):
        raise ExceedsPool(
            f"Step {line.kind} needs up to {units:,} {size.unit} and pool {pool} gives at "
            f"most {size.usable(urgency):,} at once. Make the source or the result smaller.",
            pool=pool,
            neededUnits=units,
            usableUnits=size.usable(urgency),
        )
    if client_id in size.quotas and units > size.quotas[client_id]:
        raise ExceedsQuota(
            f"Step {line.kind} needs up to {units:,} {size.unit} of pool {pool} and your quota is "
            f"{size.quotas[client_id]:,}. Make the request smaller, or ask the operator for a larger quota.",
            pool=pool,
            neededUnits=units,
            quotaUnits=size.quotas[client_id],
        )
