"""The calls that take a failed one's place. Pure."""

import msgspec

from aifactory.granulation.generation import bounds
from aifactory.granulation.model.calls import Portion
from aifactory.granulation.model.lines import ModelPath, further_call
from aifactory.resources.interface import EndedJob, JobState, NewJob, ResolvedStage, Route

# Faults after which another call is no use.
_FINAL_FAULTS = ("no_money", "no_line", "exceeds_pool", "providers_down", "cancelled")
# Faults of the request itself: only another model may take it.
_REFUSED_REQUESTS = ("bad_request", "unknown_model", "prompt_too_long")


def follow_ups(path: ModelPath, job: EndedJob) -> list[NewJob]:
    """Return the calls that take a failed one's place; they extend the hold, or are refused.

    What was cut is split, never asked again as it was; what failed otherwise is asked once more, smaller,
    of the next dearer model.
    """
    if job.state is not JobState.FAILED or job.fault is None or job.fault.code in _FINAL_FAULTS:
        return []
    if job.fault.code in _REFUSED_REQUESTS and len(path.generator.routes) == 1:
        return []
    resolved = msgspec.convert(job.payload["resolved"], ResolvedStage)
    if job.kind == "outline":
        cut = job.fault.code == "truncated"
        again = [Portion(part="", rung=1, small=cut)] if "portion" not in job.payload else []
    elif job.kind in ("expand", "items"):
        portion = msgspec.convert(job.payload["portion"], Portion)
        again = split(portion) if job.fault.code == "truncated" else _once_more(portion)
        if job.kind == "items" and job.fault.code == "truncated":
            again = [one for one in again if not one.small]  # one item can't be made smaller
    else:
        again = []
    return [
        further_call(
            path,
            job.kind,
            resolved,
            job.data,
            route=_route(path, portion.rung),
            output_limit=_limit(path, job.kind, portion),
            portion=portion,
        )
        for portion in again
    ]


def split(portion: Portion) -> list[Portion]:
    """Divide what one call was to write; what can't be divided is made as small as the type allows."""
    change = msgspec.structs.replace
    if len(portion.children) > 1:
        middle = (len(portion.children) + 1) // 2
        return [
            change(portion, children=portion.children[:middle]),
            change(portion, children=portion.children[middle:], whole=False),
        ]
    if portion.count > 1:
        first, pieces = (portion.count + 1) // 2, 2 * portion.pieces
        return [
            change(portion, count=first, piece=2 * portion.piece, pieces=pieces),
            change(
                portion,
                count=portion.count - first,
                piece=2 * portion.piece + 1,
                pieces=pieces,
                whole=False,
            ),
        ]
    return [] if portion.small else [change(portion, small=True)]


def _once_more(portion: Portion) -> list[Portion]:
    if portion.rung:
        return []
    return [msgspec.structs.replace(portion, small=True, rung=1)]


def _route(path: ModelPath, rung: int) -> Route:
    routes = path.generator.routes
    return routes[min(rung, len(routes) - 1)]


def _limit(path: ModelPath, kind: str, portion: Portion) -> int:
    if kind == "outline":
        return path.output_limit(bounds.outline_output(path.recipe))
    count = len(portion.children) or portion.count
    if kind == "items":
        return path.output_limit(bounds.items_output(count))
    return path.output_limit(bounds.expansion_output(path.recipe, count))
