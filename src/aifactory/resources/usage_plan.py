"""Clients' usage of pools during a plan: who is active, who has fallen behind, who was served when. Pure."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from uuid import UUID

from aifactory.resources.gates import ClientGate, Snapshot, UsageChange, UsageGate
from aifactory.resources.interface import Hop
from aifactory.resources.scores import FAIRNESS_POINTS

NO_USAGE = UsageGate()


class Standing:
    """A client in a pool where it is active: its usage, charged at once with every start, and its turn.

    ``fair_share`` is weight ÷ Σ weights × Σ usage of the pool's active clients, as the plan began;
    ``usage_before`` is the usage then.
    """

    __slots__ = ("fair_share", "last_start_seq", "points", "starts", "usage", "usage_before", "weight")

    def __init__(self, client: ClientGate, usage: float, last_start_seq: int) -> None:
        self.points = client.points
        self.weight = client.weight
        self.usage = self.usage_before = usage
        self.last_start_seq = last_start_seq
        self.fair_share = 0.0
        self.starts = 0

    @property
    def fairness(self) -> float:
        """Return 0 to 10 points, falling as the usage approaches the fair share."""
        if self.fair_share <= 0:
            return FAIRNESS_POINTS
        left = 1.0 - self.usage / self.fair_share
        return FAIRNESS_POINTS * left if left > 0.0 else 0.0

    @property
    def per_weight(self) -> float:
        """Return usage ÷ weight, which the fair queues keep even."""
        return self.usage / self.weight

    def charge(self, units: int, seq: int) -> None:
        """Count a start: its estimate, at least 1, and that it is now the client's last one."""
        self.usage += units if units > 1 else 1
        self.last_start_seq = seq
        self.starts += 1


class UsagePlan:
    """The standing of every client that is active in a pool: that has a waiting or a running job there."""

    def __init__(self, snapshot: Snapshot, clients: Mapping[UUID, ClientGate]) -> None:
        self.snapshot = snapshot
        self.clients = clients
        self.standings: dict[tuple[UUID, str], Standing] = {}

    def level(self, hop_of: Mapping[int, Hop], is_here: Callable[[Hop], bool]) -> tuple[UsageChange, ...]:
        """Mark who is active in each pool; one that comes back may not live on old credit.

        What this process can't call may be active where another process starts it, so nothing is said of
        that.
        """
        changes: list[UsageChange] = []
        for pool, clients in self._active(hop_of).items():
            changes += self._activate(pool, clients)
        usage, lanes = self.snapshot.usage, self.snapshot.lanes
        gone = [key for key, gate in usage.items() if gate.active and key not in self.standings]
        if gone:
            elsewhere = {
                (lane.client_id, hop.pool) for lane in lanes for hop in lane.hops if not is_here(hop)
            }
            changes += [
                UsageChange(client_id=key[0], pool=key[1], usage=usage[key].usage, active=False)
                for key in gone
                if key not in elsewhere
            ]
        return tuple(changes)

    def _active(self, hop_of: Mapping[int, Hop]) -> dict[str, dict[UUID, None]]:
        active: defaultdict[str, dict[UUID, None]] = defaultdict(dict)
        for lane in self.snapshot.lanes:
            if hop := hop_of.get(lane.id):
                active[hop.pool][lane.client_id] = None
        for (client_id, pool), gate in self.snapshot.usage.items():
            if gate.running and pool in self.snapshot.pools and client_id in self.clients:
                active[pool][client_id] = None
        return active

    def standing(self, client_id: UUID, pool: str) -> Standing:
        """Return a client's standing as the plan began; where it is not active, as if it came there now."""
        client, gate = self.clients[client_id], self.snapshot.usage.get((client_id, pool), NO_USAGE)
        if known := self.standings.get((client_id, pool)):
            found = Standing(client, known.usage_before, gate.last_start_seq)
            found.fair_share = known.fair_share
            return found
        there = [one for (_, name), one in self.standings.items() if name == pool]
        least = min((one.usage_before / one.weight for one in there), default=0.0)
        found = Standing(client, max(gate.usage, client.weight * least), gate.last_start_seq)
        total = math.fsum([found.usage, *(one.usage_before for one in there)])
        found.fair_share = found.weight / (found.weight + sum(one.weight for one in there)) * total
        return found

    def _activate(self, pool: str, clients: Iterable[UUID]) -> Iterator[UsageChange]:
        usages = self.snapshot.usage
        there = [(self.clients[client], usages.get((client, pool), NO_USAGE)) for client in clients]
        least = min([gate.usage / client.weight for client, gate in there if gate.active], default=0.0)
        standings = []
        for client, gate in there:
            usage = gate.usage if gate.active else max(gate.usage, client.weight * least)
            standing = Standing(client, usage, gate.last_start_seq)
            self.standings[client.client_id, pool] = standing
            standings.append(standing)
            if not gate.active:
                yield UsageChange(client_id=client.client_id, pool=pool, usage=usage, active=True)
        total_weight = sum([one.weight for one in standings])
        total_usage = math.fsum([one.usage for one in standings])  # in whatever order they come
        for one in standings:
            one.fair_share = one.weight / total_weight * total_usage
