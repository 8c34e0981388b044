"""The parameters of a granulation request, checked. Pure."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.granulation.offline.brief import Brief, GivenObjective
from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.sizes import Counts, SizeError, resolve_counts
from aifactory.granulation.specs import StructureSpec
from aifactory.kernel.errors import invalid
from aifactory.kernel.problems import refuse_value

ShortText = Annotated[str, Meta(min_length=1, max_length=200)]
Count = Annotated[int, Meta(ge=0, le=1500)]


class SourceFormat(StrEnum):
    """How a source text is written."""

    MARKDOWN = "markdown"
    TEXT = "text"
    HTML = "html"
    RST = "rst"


class Mode(StrEnum):
    """How to generate: one call per part, one per child where that is faster, or without a model."""

    BALANCED = "balanced"
    FAST = "fast"
    OFFLINE = "offline"


class Parameter(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """Base of everything inside the parameters."""


class SourceReference(Parameter, frozen=True, kw_only=True):
    """The stored source material."""

    data_ref: str
    format: SourceFormat = SourceFormat.MARKDOWN
    name: Annotated[str, Meta(max_length=200)] = "source"


class Size(Parameter, frozen=True, kw_only=True):
    """Nodes per parent on each level, outermost first; replaces the counts of granularityLevel."""

    per_level: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=3)]


class Constraints(Parameter, frozen=True, kw_only=True):
    """Caps on the result."""

    max_modules: Annotated[int, Meta(ge=1, le=100)] | None = None
    estimated_hours: Annotated[float, Meta(gt=0, le=10_000)] | None = None
    focus_areas: Annotated[tuple[ShortText, ...], Meta(max_length=20)] = ()


class Validation(Parameter, frozen=True, kw_only=True):
    """How far the result is checked, and from which score it is accepted."""

    enabled: bool = True
    level: Annotated[int, Meta(ge=1, le=3)] = 1
    threshold: Annotated[float, Meta(ge=0, le=100)] = 60


class Parameters(Parameter, frozen=True, kw_only=True):
    """What a client may ask of a worker template."""

    topic: ShortText | None = None
    structure_type: ShortText | None = None
    source: SourceReference | None = None
    title: ShortText | None = None
    target_audience: Annotated[str, Meta(max_length=200)] = ""
    level: Annotated[str, Meta(max_length=60)] = ""
    language: Annotated[str, Meta(pattern="^[a-z]{2}$")] | None = None
    granularity_level: Annotated[int, Meta(ge=1, le=5)] = 3
    depth: Annotated[int, Meta(ge=1, le=3)] | None = None
    size: Size | None = None
    constraints: Constraints = Constraints()
    objects: Annotated[tuple[MandatoryObject, ...], Meta(max_length=50)] = ()
    mode: Mode = Mode.BALANCED
    validation: Validation = Validation()


def read_parameters(given: dict[str, Any], spec: StructureSpec) -> Parameters:
    """Return the parameters of a request for one structure type. Raises Invalid with pointers."""
    try:
        parameters = msgspec.convert(given, Parameters)
    except msgspec.ValidationError as error:
        raise refuse_value(str(error), below="/parameters") from error
    if parameters.structure_type not in (None, spec.type):
        raise invalid(
            "/parameters/structureType",
            "wrong_type",
            f"This template makes a {spec.type}, not a {parameters.structure_type}; choose another template.",
        )
    counts_of(parameters, spec)
    return parameters


def counts_of(parameters: Parameters, spec: StructureSpec) -> Counts:
    """Return the upper counts that the parameters ask for. Raises Invalid."""
    try:
        return resolve_counts(
            spec,
            granularity_level=parameters.granularity_level,
            size=parameters.size.per_level if parameters.size else None,
            max_modules=parameters.constraints.max_modules,
            depth=parameters.depth,
        )
    except SizeError as error:
        raise invalid("/parameters/size", "bad_size", str(error)) from error


def brief_of(
    parameters: Parameters, spec: StructureSpec, objectives: tuple[GivenObjective, ...] = ()
) -> Brief:
    """Return what is asked of the offline generator."""
    return Brief(
        structure_type=spec.type,
        topic=parameters.topic or "",
        counts=counts_of(parameters, spec),
        title=parameters.title,
        target_audience=parameters.target_audience,
        level=parameters.level,
        language=parameters.language or "",
        estimated_hours=parameters.constraints.estimated_hours,
        focus_areas=parameters.constraints.focus_areas,
        objects=tuple(wanted.name for wanted in parameters.objects),
        objectives=objectives,
    )
