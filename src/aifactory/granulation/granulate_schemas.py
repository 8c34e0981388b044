"""What the routes that start a granulation and check a tree take and give."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.granulation.checking import Examined
from aifactory.granulation.parameters import Parameters, ShortText, SourceFormat
from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.schemas import View
from aifactory.granulation.scoring import SubScore
from aifactory.granulation.violations import Violation
from aifactory.resources.interface import Accuracy, Urgency

DEFAULT_THRESHOLD = 60.0
MOST_VIOLATIONS = 1_000
NO_JUDGE = "a judge is a model; a check that is answered at once asks none"

Label = Annotated[str, Meta(max_length=500)]
LabelName = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=64)]


class GivenSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Source material: its text, or a reference to stored data; exactly one of them."""

    text: str | None = None
    data_ref: Text | None = None
    format: SourceFormat = SourceFormat.MARKDOWN
    name: Annotated[str, Meta(max_length=200)] = "source"


class GranulateInput(Parameters, frozen=True, kw_only=True):
    """A structure type, or a worker template, and its parameters beside each other.

    ``type`` and ``structureType`` say the same here; one of them is enough.
    """

    type: ShortText | None = None
    template: ShortText | None = None
    source: GivenSource | None = None  # type: ignore[assignment]  # a text becomes a reference when stored
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: Annotated[datetime, Meta(tz=True)] | None = None
    deadline: Annotated[datetime, Meta(tz=True)] | None = None
    metadata: Annotated[dict[LabelName, Label], Meta(max_length=16)] = {}  # noqa: RUF012 (msgspec copies it)
    client_id: Text | None = None


PARAMETER_NAMES = tuple(field.encode_name for field in msgspec.structs.fields(Parameters))


class ValidateInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A tree, or the id of a stored one, and what to hold it against.

    ``parameters`` are those of a request: their counts, objects and validation hold unless given here.
    """

    tree: (
        Annotated[
            msgspec.Raw,
            Meta(
                description="A tree, as under tree in the JSON export of one.",
                extra_json_schema={"type": "object"},
            ),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    tree_id: Text | None = None
    structure_type: ShortText | None = None
    source: GivenSource | None = None
    parameters: dict[str, Any] | None = None
    objects: Annotated[tuple[MandatoryObject, ...], Meta(max_length=50)] = ()
    threshold: Annotated[float, Meta(ge=0, le=100)] | None = None
    level: Annotated[int, Meta(ge=1, le=3)] | None = None


class Checked(View, frozen=True, kw_only=True):
    """What a check found; ``passed``: no gate failed and the score reaches the threshold.

    ``validation`` is ``rules``, or ``unverified`` when a judge was asked for. ``violations`` are the worst of
    ``violationCount``, at most 1,000.
    """

    tree_id: str | None
    structure_type: str
    title: str
    nodes: int
    state: str
    score: Decimal | None
    band: str
    threshold: float
    passed: bool
    validation: str
    validation_reason: str | None
    gates_failed: tuple[str, ...]
    sub_scores: dict[str, SubScore]
    checks_run: tuple[str, ...]
    checks_skipped: dict[str, str]
    violation_count: int
    violations: tuple[Violation, ...]


def checked_of(found: Examined, asked: ValidateInput) -> Checked:
    """Return what a check found as it leaves."""
    score = found.assessment.score
    threshold = next(one for one in (asked.threshold, found.threshold, DEFAULT_THRESHOLD) if one is not None)
    judged = (asked.level or found.level or 1) > 1
    reached = score.score is not None and score.score >= threshold
    return Checked(
        tree_id=asked.tree_id,
        structure_type=found.structure_type,
        title=found.title,
        nodes=found.nodes,
        state=score.state.value,
        score=None if score.score is None else Decimal(str(score.score)),
        band=score.band.value,
        threshold=threshold,
        passed=reached and not score.gates_failed,
        validation="unverified" if judged else "rules",
        validation_reason=NO_JUDGE if judged else None,
        gates_failed=score.gates_failed,
        sub_scores=score.sub_scores,
        checks_run=score.checks_run,
        checks_skipped=score.checks_skipped | _unasked(found, asked, judged=judged),
        violation_count=len(found.assessment.violations),
        violations=found.assessment.violations[:MOST_VIOLATIONS],
    )


def _unasked(found: Examined, asked: ValidateInput, *, judged: bool) -> dict[str, str]:
    skipped = {"judge": NO_JUDGE} if judged else {}
    if found.source_name is not None and asked.source is None:
        skipped["source"] = (
            f"the tree was made from {found.source_name!r}, which was not used here: give it as source (its "
            "dataRef or text), and the request's parameters, to check and score as when the tree was made"
        )
    return skipped
