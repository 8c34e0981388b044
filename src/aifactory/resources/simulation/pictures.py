"""The plots of a play, or of two: waits, depths, utilisation, clients' shares; SVG by file name. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from aifactory.resources.simulation.ground import QUEUES, client_ids
from aifactory.resources.simulation.observing import LAST_SLICE, Slice, Waits
from aifactory.resources.simulation.playing import Played
from aifactory.resources.simulation.plots import Axes, Line, line_chart, share_chart

_MOST_CLIENTS = 8
_SLICES_TOGETHER = 6  # few starts in a slice make no share
_HOUR = timedelta(hours=1)
_FIRST_LINE = 0.01  # seconds; a shorter wait is none to look at
_ACROSS = "hours since the start"


def pictures(plays: Sequence[Played]) -> dict[str, str]:
    """Return the plots of a play; of two, the first is drawn paler, as what was before the change."""
    said = "The pale dashed lines are before the change." if len(plays) > 1 else ""
    last = plays[-1]
    drawn = {
        "waits.svg": _waits(plays, said),
        "waits-over-time.svg": _waits_over_time(plays, said),
        "waiting.svg": _depth(plays, said),
        "utilisation.svg": _utilisation(plays, said),
    }
    for pool in last.ground.pools:
        if last.observer.pool_units[pool]:
            drawn[f"shares-{pool}.svg"] = _shares(last, pool)
    return drawn


def _title(words: str, plays: Sequence[Played]) -> str:
    return f"{words} (dashed: before)" if len(plays) > 1 else words


def _waits(plays: Sequence[Played], said: str) -> str:
    """Draw which share of the jobs of a queue has waited how long at most."""
    lines = []
    for play in plays:
        for queue, waits in _by_queue(play).items():
            shares = [n / 100 for n in range(1, 100)] + [0.995, 0.999]
            points = [(100 * share, max(_FIRST_LINE, waits.quantile(share))) for share in shares]
            lines.append(_line(queue, points, play, plays))
    axes = Axes(
        title=_title("How long jobs wait", plays),
        said=f"For each queue, the longest wait of each share of its jobs. {said}",
        across="% of jobs that waited at most so long",
        upwards="seconds",
        log=True,
    )
    return line_chart(axes, lines)


def _by_queue(play: Played) -> dict[str, Waits]:
    found: dict[str, Waits] = {}
    for (_, queue, _), waits in play.observer.waits.items():
        found.setdefault(queue, Waits()).merge(waits)
    return {queue: found[queue] for queue in QUEUES if queue in found}


def _line(queue: str, points: Sequence[tuple[float, float]], play: Played, plays: Sequence[Played]) -> Line:
    before = len(plays) > 1 and play is plays[0]
    return Line(name=queue, points=points, hue=list(QUEUES).index(queue), before=before)


def _hours(play: Played, number: int) -> float:
    return (number + 0.5) * play.observer.width / _HOUR


def _slices(play: Played) -> list[tuple[int, Slice]]:
    """Return the slices of time in their order, without the endless last one."""
    slices = play.observer.slices.items()
    return sorted((number, here) for number, here in slices if number < LAST_SLICE)


def _waits_over_time(plays: Sequence[Played], said: str) -> str:
    lines = []
    for play in plays:
        for queue in _by_queue(play):
            points = [
                (_hours(play, number), max(_FIRST_LINE, here.waits[queue].quantile(0.95)))
                for number, here in _slices(play)
                if queue in here.waits
            ]
            lines.append(_line(queue, points, play, plays))
    axes = Axes(
        title=_title("The wait of 95 % of the jobs, over the day", plays),
        said=f"For each queue, the 95th percentile of waits by time of start. {said}",
        across=_ACROSS,
        upwards="seconds",
        log=True,
    )
    return line_chart(axes, lines)


def _depth(plays: Sequence[Played], said: str) -> str:
    lines = []
    for play in plays:
        for queue in _by_queue(play):
            points = [
                (_hours(play, number), here.depth[queue] / here.ticks if here.ticks else 0.0)
                for number, here in _slices(play)
            ]
            lines.append(_line(queue, points, play, plays))
    axes = Axes(
        title=_title("Jobs that wait", plays),
        said=f"For each queue, how many jobs wait after a tick, on average. {said}",
        across=_ACROSS,
        upwards="jobs",
    )
    return line_chart(axes, lines)


def _utilisation(plays: Sequence[Played], said: str) -> str:
    lines = []
    for play in plays:
        run, seen = play.ground.run, play.observer
        width = seen.width.total_seconds()
        before = len(plays) > 1 and play is plays[0]
        whole = {"slots": run.slots * width} | {
            name: spec.refill_per_second * width for name, spec in play.ground.pools.items()
        }
        for hue, (name, most) in enumerate(whole.items()):
            points = [
                (_hours(play, number), 100 * (here.busy if name == "slots" else here.used[name]) / most)
                for number, here in _slices(play)
                if most
            ]
            lines.append(Line(name=name, points=points, hue=hue, before=before))
    axes = Axes(
        title=_title("How busy slots and pools are", plays),
        said=f"Slots in use, and units used of those refilled, by time. {said}",
        across=_ACROSS,
        upwards="%",
        top=100.0,
    )
    return line_chart(axes, lines)


def _shares(play: Played, pool: str) -> str:
    """Draw which part of a pool's units each client had; the smaller ones together."""
    total: Counter[UUID] = Counter()
    for here in play.observer.slices.values():
        for (name, client), units in here.units.items():
            total[client] += units if name == pool else 0
    names: dict[UUID, str] = {client_id: name for name, client_id in client_ids(play.ground).items()}
    largest = [client for client, _ in total.most_common(_MOST_CLIENTS)]
    spans: dict[int, Counter[UUID]] = {}
    for number, here in _slices(play):
        for (name, client), units in here.units.items():
            if name == pool:
                spans.setdefault(number // _SLICES_TOGETHER, Counter())[client] += units
    shares = {names[client]: [float(span[client]) for span in spans.values()] for client in largest}
    if len(total) > len(largest):
        shares["all others"] = [
            float(sum(units for client, units in span.items() if client not in largest))
            for span in spans.values()
        ]
    axes = Axes(
        title=f"Who has the units of {pool}",
        said="The share of each client in the units started, by time.",
        across=_ACROSS,
        upwards="% of the units",
    )
    return share_chart(axes, shares, [_hours(play, number * _SLICES_TOGETHER) for number in spans])
