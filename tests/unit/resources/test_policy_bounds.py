"""The policy in virtual time: many plans one after the other, on clients whose work never runs dry."""

import itertools
import math
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.resources.snapshots import NOW, QUEUES, client, head, hop, lane, pool, snapshot

from aifactory.resources.gates import ClientGate, Lane, Start, UsageGate
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import GUARD_EVERY, Plan, plan
from aifactory.resources.pool_plan import RECENT_STARTS


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """A client's endless lane of one queue in one pool."""

    client: int
    queue: str = "normal"
    pool: str = "a"
    urgency: Urgency = Urgency.NORMAL
    units: int = 10
    needs: tuple[str, ...] = ()


class Stream:
    """Floods that are planned again and again with so many slots; every job ends at once."""

    def __init__(self, clients: list[ClientGate], floods: list[Flood], *, slots: int = 1) -> None:
        self.clients = clients
        self.floods = floods
        self.slots = slots
        self.now = NOW
        self.pools = {
            name: pool(name, capacity=10**9, level_micro=10**15)
            for name in sorted({flood.pool for flood in floods})
        }
        self.usage: dict[tuple[UUID, str], UsageGate] = {}
        self.seq = 0
        self.next_head = [0] * len(floods)
        self.starts: dict[str, list[Start]] = {name: [] for name in self.pools}

    def lanes(self) -> list[Lane]:
        return [self.lane(number, flood) for number, flood in enumerate(self.floods)]

    def lane(self, number: int, flood: Flood) -> Lane:
        first = 1000 * number + self.next_head[number]
        needs = dict.fromkeys(flood.needs, 1)
        heads = (head(first + place, units=flood.units, needs=needs) for place in range(self.slots))
        return lane(
            number,
            flood.client,
            *(msgspec.structs.replace(one, aged_from=self.now) for one in heads),
            hops=(hop(flood.pool),),
            further_pools=flood.needs,
            queue=flood.queue,
            urgency=flood.urgency,
            complete=False,
        )

    def run(self, starts: int) -> None:
        """Plan until every pool has had so many starts."""
        while min(map(len, self.starts.values())) < starts:
            self.now += timedelta(milliseconds=100)
            decision = plan(
                snapshot(
                    *self.lanes(),
                    clients=self.clients,
                    pools=list(self.pools.values()),
                    usage=self.usage,
                    slots=self.slots,
                    start_seq=self.seq,
                ),
                self.now,
            )
            assert decision.starts
            for change in decision.usage:
                gate = self.usage.get((change.client_id, change.pool), UsageGate())
                self.usage[change.client_id, change.pool] = msgspec.structs.replace(
                    gate, usage=change.usage, active=change.active
                )
            for start in decision.starts:
                self.apply(start)

    def apply(self, start: Start) -> None:
        name, key = start.hop.pool, (start.lane.client_id, start.hop.pool)
        self.seq = start.seq
        self.next_head[start.lane.id] += 1
        self.starts[name].append(start)
        gate, usage = self.pools[name], self.usage[key]
        self.usage[key] = msgspec.structs.replace(
            usage, usage=usage.usage + start.head.units, last_start_seq=start.seq
        )
        self.pools[name] = msgspec.structs.replace(
            gate,
            start_seq=gate.start_seq + 1,
            last_start_seq=start.seq,
            recent_starts=(*gate.recent_starts, start.lane.queue)[-RECENT_STARTS:],
        )

    def counts(self) -> Counter[int]:
        """Starts in the first pool, by client."""
        return Counter(self.floods[start.lane.id].client for start in self.starts["a"])

    def gap_over_bound(self) -> float:
        """The longest gap between two starts of a client in a pool, in starts of it, over its bound."""
        worst = 0.0
        for name, starts in self.starts.items():
            active = {flood.client for flood in self.floods if flood.pool == name}
            for number in active:
                own = [at for at, one in enumerate(starts, 1) if self.floods[one.lane.id].client == number]
                gaps = (b - a for a, b in itertools.pairwise([0, *own, len(starts) + 1]))
                worst = max(worst, max(gaps) / (GUARD_EVERY * len(active)))
        return worst


def random_stream(seed: int) -> Stream:
    """Clients of any weight, one of them with many lanes, in up to three pools."""
    rng = random.Random(seed)
    number = rng.randint(2, 4)
    clients = [
        client(each, weight=rng.choice([1, 10, 40, 100]), points=rng.randint(0, 40)) for each in range(number)
    ]
    whose = [*range(number), *([rng.randrange(number)] * rng.randint(0, 4))]
    floods = [
        Flood(
            client=who,
            queue=rng.choice(["immediate", "fast", "normal", "batch"]),
            pool=rng.choice("abc"[: rng.randint(1, 3)]),
            urgency=rng.choice(list(Urgency)),
            units=rng.choice([0, 1, 100, 10_000]),
        )
        for who in whose
    ]
    pools = sorted({flood.pool for flood in floods})
    floods = [
        msgspec.structs.replace(one, needs=(rng.choice(pools),)) if rng.random() < 0.2 else one
        for one in floods
    ]
    return Stream(clients, floods, slots=rng.randint(1, 9))


@settings(max_examples=12)
@given(st.integers(0, 2**32).map(random_stream))
def test_every_active_client_starts_within_twenty_starts_for_each_client(stream: Stream) -> None:
    stream.run(45 * len(stream.clients))
    assert stream.gap_over_bound() <= 1


def standard(number: int) -> list[ClientGate]:
    return [client(each) for each in range(number)]


def test_without_the_guard_the_bound_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "_guarded", lambda *_: None)
    urgent = [Flood(client=each, queue="immediate", urgency=Urgency.URGENT) for each in range(2)]
    stream = Stream([client(0, "basic"), client(1, "enterprise")], urgent)
    stream.run(120)
    assert stream.gap_over_bound() > 1


@pytest.mark.parametrize("slots", [1, 8])
def test_every_queue_gets_its_share_of_the_last_hundred_starts(slots: int) -> None:
    floods = [Flood(client=number, queue=queue) for number, queue in enumerate(QUEUES)]
    stream = Stream(standard(5), floods, slots=slots)
    stream.run(300)
    counts = Counter(start.lane.queue for start in stream.starts["a"][-RECENT_STARTS:])
    for name, gate in QUEUES.items():
        assert counts[name] >= gate.share_percent - 1
    assert counts["immediate"] >= 45


@pytest.mark.parametrize(("tier", "share"), [("enterprise", 4), ("basic", 1), ("premium", 3)])
def test_a_fair_queue_serves_clients_by_their_weights(tier: str, share: float) -> None:
    stream = Stream([client(0, "basic"), client(1, tier)], [Flood(client=0), Flood(client=1)], slots=4)
    stream.run(400)
    counts = stream.counts()
    assert math.isclose(counts[1] / counts[0], share, rel_tol=0.1)


def test_a_client_gains_nothing_by_many_lanes() -> None:
    many = [Flood(client=0, urgency=urgency, needs=needs) for urgency in Urgency for needs in ((), ("a",))]
    stream = Stream(standard(2), [*many, Flood(client=1)])
    stream.run(200)
    assert abs(stream.counts()[0] - 100) <= 10
