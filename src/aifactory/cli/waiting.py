"""The command that says why a request waits."""

from datetime import datetime

from aifactory.cli.remote import ask
from aifactory.cli.shell import OK, Json, Url, out, write_json
from aifactory.client import AIFactory
from aifactory.client.positions import Position


def why_command(id: str, *, url: Url = None, as_json: Json = False) -> int:
    """Say why a request waits, where it stands and when it starts.

    Parameters
    ----------
    id
        A request, an execution or a job.
    """

    def work(factory: AIFactory) -> int:
        found = factory.position(id)
        if as_json:
            write_json(found)
        else:
            for line in lines_of(found):
                out.print(line, markup=False, soft_wrap=True)
        return OK

    return ask(work, url=url, as_json=as_json)


def lines_of(found: Position) -> list[str]:
    """Return a position in words."""
    lines = [f"{found.id} {found.state}" + (f": {found.gate.detail}" if found.gate else "")]
    lines += [f"also closed: {gate.detail}" for gate in found.also_closed]
    if found.position:
        about = "at least " if found.position_at_least else "" if found.position_exact else "about "
        lines.append(f"position: {about}{found.position:,} in the pool {found.pool}")
    if score := found.priority:
        parts = f"tier {score.tier:g} + urgency {score.urgency:g} + waiting {score.waiting:g}"
        lines.append(f"priority: {score.score:g} = {parts} + fairness {score.fairness:g}")
    if found.waits and found.estimated_start:
        latest = f", at the latest {_local(found.latest_start)}" if found.latest_start else ""
        lines.append(f"starts: about {_local(found.estimated_start)}{latest}")
    elif found.waits and found.earliest_start:
        lines.append(f"starts: not before {_local(found.earliest_start)}")
    return lines


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
