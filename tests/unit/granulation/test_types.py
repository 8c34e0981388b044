"""Structure types as data: what a stage keeps of one, what is refused of one, which of them models write."""

from typing import Any

import msgspec
import pytest

from aifactory.granulation.model.choice import why_not_by_models
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.type_checks import check_type
from aifactory.granulation.types import kept_with, type_of
from aifactory.kernel.errors import Invalid
from aifactory.resources.interface import ResolvedStage

REFERENCE = {"type": "reference", "required": True}


def spec_of(**changes: Any) -> StructureSpec:
    plain = {
        "type": "checklist",
        "title": "Checklist",
        "levels": [
            {"kind": "area", "title": "Area", "min": 1, "max": 6},
            {"kind": "check", "title": "Check", "min": 1, "max": 8, "fields": changes.pop("fields", {})},
        ],
        "weights": {"coverage": 0.5, "form": 0.5},
    }
    return msgspec.convert({**plain, **changes}, StructureSpec)


def stage(spec: StructureSpec) -> ResolvedStage:
    """A stage as it comes back from the database, where the members of objects have no order of their own."""
    settings = kept_with(spec)
    return ResolvedStage(
        template="t",
        template_version=1,
        minimum_tier="basic",
        expected_seconds=1,
        memory_mb=1,
        parameters={},
        settings={name: settings[name] for name in sorted(settings)},
    )


def test_a_stage_keeps_its_type_as_it_was_written():
    fields = {"why": {"type": "text"}, "by": {"type": "text"}, "after": {"type": "text"}}
    spec = spec_of(fields=fields)
    kept = type_of(stage(spec))
    assert kept == spec
    assert list(kept.levels[1].fields) == ["why", "by", "after"]
    assert type_of(stage(builtin_specs()["quiz"])) is builtin_specs()["quiz"]
    assert set(kept_with(builtin_specs()["quiz"])) == {"structureType"}


def test_models_write_all_types_that_come_with_the_package_and_what_the_outline_names():
    told = {name: why_not_by_models(spec) for name, spec in builtin_specs().items()}
    assert set(told.values()) == {None}
    needed = {
        "note": {"type": "text", "required": True},
        "by": {**REFERENCE, "refersTo": "owner"},
        "then": {**REFERENCE, "refersTo": "check"},
    }
    owner = {"type": "object", "defines": "owner", "fields": {"id": {"type": "text", "required": True}}}
    root = {
        "goal": {"type": "text", "required": True},
        "owners": {"type": "list", "required": True, "of": owner},
    }
    assert why_not_by_models(spec_of(fields=needed, rootFields=root)) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fields": {"after": {**REFERENCE, "refersTo": "check", "use": "order"}}}, "check.after"),
        (
            {
                "fields": {
                    "after": {
                        "type": "list",
                        "required": True,
                        "of": {"type": "reference", "refersTo": "area", "use": "order"},
                    }
                }
            },
            "check.after",
        ),
        (
            {
                "fields": {
                    "by": {
                        "type": "object",
                        "required": True,
                        "fields": {"who": {**REFERENCE, "refersTo": "term"}},
                    }
                }
            },
            "check.by",
        ),
        ({"fields": {"tests": {**REFERENCE, "refersTo": "objective"}}}, "check.tests"),
        ({"rootFields": {"first": {**REFERENCE, "refersTo": "check"}}}, "first"),
    ],
)
def test_what_models_are_not_told_of_is_made_offline(changes, named):
    assert named in str(why_not_by_models(spec_of(**changes)))


def test_a_field_that_a_tree_can_do_without_keeps_no_model_away():
    after = {"type": "list", "of": {"type": "reference", "refersTo": "check"}}
    assert why_not_by_models(spec_of(fields={"after": after}, rootFields={"goal": {"type": "text"}})) is None


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"type": "myChecklist"}, {"/type"}),
        ({"description": "x" * 40_000}, {""}),
        ({"presets": {"3": [100, 100]}}, {"/presets/3"}),
        ({"presets": {"9": [1]}, "rules": ["no"]}, {"/presets/9", "/rules"}),
        (
            {
                "rootFields": {
                    "cast": {"type": "list", "of": {"type": "object", "fields": {"at": {"type": "list"}}}}
                }
            },
            {"/rootFields/cast/of/fields/at"},
        ),
        (
            {
                "fields": {
                    "many": {
                        "type": "list",
                        "min": 50,
                        "of": {"type": "list", "min": 50, "of": {"type": "text"}},
                    }
                }
            },
            {"/levels/1/fields/many"},
        ),
    ],
)
def test_each_fault_of_a_type_has_its_place(changes, pointers):
    with pytest.raises(Invalid) as refused:
        check_type(spec_of(**changes))
    assert {one.pointer for one in refused.value.errors} == pointers


def test_a_type_as_it_is_meant_is_taken_and_one_nested_beyond_measure_is_refused():
    check_type(spec_of())
    deep: dict[str, Any] = {"type": "text"}
    for _ in range(450):
        deep = {"type": "list", "of": deep}
    with pytest.raises(Invalid):
        check_type(spec_of(fields={"deep": deep}))
