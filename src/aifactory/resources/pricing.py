"""What a call costs: prices in nano-dollars per million units, one rounding, upwards, per call. Pure."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from aifactory.kernel.money import UNITS_PER_PRICE, Nano
from aifactory.resources.interface import Hop, Line, Route, Urgency, Usage


class Price(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model's price, with where and when it was found."""

    input_nano_per_million: int
    cached_nano_per_million: int
    output_nano_per_million: int
    source: str
    at: datetime

    def cost_of(self, usage: Usage) -> Nano:
        """Return what a call cost; cached units are part of the input units."""
        cached = min(usage.cached_input_units, usage.input_units)
        total = (
            (usage.input_units - cached) * self.input_nano_per_million
            + cached * self.cached_nano_per_million
            + usage.output_units * self.output_nano_per_million
        )
        return Nano(-(-total // UNITS_PER_PRICE))

    def worst(self, input_bound: int, output_limit: int) -> Nano:
        """Return the most that a call within these bounds can cost."""
        dearest_input = max(self.input_nano_per_million, self.cached_nano_per_million)
        total = input_bound * dearest_input + output_limit * self.output_nano_per_million
        return Nano(-(-total // UNITS_PER_PRICE))


Prices = dict[tuple[str, str], Price]


class PoolSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool can hold; the reserved part is for urgent work.

    ``quotas``: the least quota of each client that was asked for and has one, units per period.
    """

    pool: str
    capacity: int
    reserved_percent: int
    unit: str
    quotas: Mapping[UUID, int] = {}

    def usable(self, urgency: Urgency) -> int:
        """Return the most units that one job of this urgency can get."""
        reserved = 0 if urgency is Urgency.URGENT else self.capacity * self.reserved_percent // 100
        return self.capacity - reserved


Pools = dict[str, PoolSize]


def pools_of(route: Route) -> list[str]:
    """Return every pool that a route may draw on, in its order."""
    return list(dict.fromkeys([*(hop.pool for hop in route.hops), *route.further_pools]))


def largest_draws(route: Route, units: int, needs: Mapping[str, int]) -> dict[str, int]:
    """Return the most that one start takes from each pool that it may draw on."""
    hops = {hop.pool for hop in route.hops}
    names = dict.fromkeys([*pools_of(route), *needs])
    return {pool: (units if pool in hops else 0) + needs.get(pool, 0) for pool in names}


def too_large(draws: Mapping[str, int], client_id: UUID, urgency: Urgency, pools: Pools) -> bool:
    """Tell whether a job could never start: a pool, or its client's quota of it, never has so many units, or
    there is no such pool.
    """
    return any(
        pool not in pools
        or units < 0
        or units > min(pools[pool].usable(urgency), pools[pool].quotas.get(client_id, units))
        for pool, units in draws.items()
    )


def price_of(hop: Hop, prices: Prices) -> Price:
    """Return the price of a hop; KeyError for a model that is not registered."""
    return prices[hop.provider, hop.model]


def worst_of_route(route: Route, input_bound: int, output_limit: int, prices: Prices) -> Nano:
    """Return the worst case at the route's dearest hop."""
    return max(price_of(hop, prices).worst(input_bound, output_limit) for hop in route.hops)


def expected_of_line(line: Line, prices: Prices) -> Nano:
    """Return what all jobs of a line are expected to cost, at the route's first hop."""
    usage = Usage(input_units=line.expected_input, output_units=line.expected_output)
    return Nano(line.count * price_of(line.route.hops[0], prices).cost_of(usage))


def quote_lines(lines: list[Line], prices: Prices) -> tuple[int, int]:
    """Return what lines are expected to cost and the most that they can cost."""
    worst = sum(
        line.count * worst_of_route(line.route, line.input_bound, line.output_limit, prices) for line in lines
    )
    return sum(expected_of_line(line, prices) for line in lines), worst
