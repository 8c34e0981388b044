"""Frames: sound trees of a topic alone, that say what they are and score no more than 60."""

import hashlib
import json
import re
import subprocess
import sys

import msgspec
import pytest

from aifactory.granulation.offline.frames.doing import HOW
from aifactory.granulation.offline.frames.framing import why_unframed
from aifactory.granulation.offline.frames.topic import LENSES, names_in, parts_of, wording_of
from aifactory.granulation.offline.generate import STRUCTURE_TYPES, Brief, frame
from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.scoring import assess
from aifactory.granulation.scoring.model import Assessment
from aifactory.granulation.sizes import Counts, resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.steps import Made, Refused, score, write
from aifactory.granulation.taking import take
from aifactory.granulation.tree import SourceInfo, Tree, walk
from aifactory.granulation.violations import Severity


def _brief(structure_type: str, topic: str = "tides", granularity: int = 3, **rest: object) -> Brief:
    counts = resolve_counts(builtin_specs()[structure_type], granularity_level=granularity)
    return msgspec.structs.replace(Brief(structure_type=structure_type, topic=topic, counts=counts), **rest)


def _sound(tree: Tree, counts: Counts) -> Assessment:
    assessed = assess(tree, builtin_specs()[tree.structure_type], counts=counts)
    assert assessed.score.gates_failed == (), assessed.violations
    errors = [one for one in assessed.violations if one.severity is Severity.ERROR]
    assert not errors, errors
    return assessed


@pytest.mark.parametrize("structure_type", STRUCTURE_TYPES)
def test_a_topic_alone_gives_a_sound_frame_of_every_type_and_size_that_is_labelled_and_capped(
    structure_type: str,
) -> None:
    for granularity in (1, 3, 5):
        brief = _brief(structure_type, granularity=granularity)
        tree = frame(brief)
        scored = _sound(tree, brief.counts).score
        assert scored.template_grade
        assert scored.score is not None
        assert 50 <= scored.score <= 60
        assert re.search(r"from the topic alone, without a source", tree.summary)
        assert tree.title == "Tides"
        assert not any(node.sources for _, node in walk(tree))
    assert all("targetWords" in node.fields and "tone" in node.fields for _, node in walk(tree))


@pytest.mark.parametrize("structure_type", STRUCTURE_TYPES)
@pytest.mark.parametrize(
    "topic",
    ["How do you bake bread?", "{t} {who} {s}", "x" * 400, "🌊", "</script><b>", "One, two and three", "?!"],
)
def test_a_frame_of_any_topic_is_sound_and_shows_no_blank_of_its_forms(
    structure_type: str, topic: str
) -> None:
    brief = _brief(structure_type, topic, granularity=1)
    tree = frame(brief)
    _sound(tree, brief.counts)
    if "{" not in topic:
        assert not re.search(r"\{(?:t|T|s|who|thing|hero|other)\}", json.dumps(msgspec.to_builtins(tree)))


def test_audience_level_title_hours_and_names_of_the_brief_are_used() -> None:
    asked = {"target_audience": "harbour pilots", "level": "advanced", "title": "Tides for pilots"}
    names = ("spring tide", "neap tide")
    tree = frame(_brief("course", focus_areas=names, estimated_hours=4.0, **asked))
    told = json.dumps(msgspec.to_builtins(tree))
    assert (tree.title, tree.target_audience) == ("Tides for pilots", "harbour pilots")
    assert all(name in told for name in (*names, "harbour pilots"))
    assert {node.fields["tone"] for _, node in walk(tree)} == {"plain and friendly"}
    leaves = [node for _, node in walk(tree) if not node.children]
    assert 0.8 * 240 <= sum(node.minutes or 0 for node in leaves) <= 1.2 * 240
    plain, far_on = (parts_of(_brief("course", level=level), 6, 2) for level in ("", "advanced"))
    assert [facet.title for facet in plain[3].facets] == [facet.title for facet in HOW.facets[:2]]
    assert [facet.title for facet in far_on[3].facets] == [facet.title for facet in HOW.facets[-2:]]
    path = [frame(_brief("learning_path", level=level)).fields for level in ("", "expert")]
    assert [one["startLevel"] for one in path] == [0, 2]


def test_mandatory_objects_stand_in_the_frame_of_each_type() -> None:
    wanted = MandatoryObject(name="amphidromic point")
    for structure_type in STRUCTURE_TYPES:
        brief = _brief(structure_type, objects=(wanted.name,))
        assessed = assess(
            frame(brief), builtin_specs()[structure_type], counts=brief.counts, objects=(wanted,)
        )
        assert "objects.missing" not in {one.rule for one in assessed.violations}, structure_type


def test_what_a_topic_lists_becomes_parts_and_a_clause_is_quoted() -> None:
    assert names_in(_brief("course", "Tides, waves and currents")) == ["Tides", "waves", "currents"]
    assert names_in(_brief("course", "tides")) == []
    assert wording_of(_brief("course", "How do tides work?")).put("The use of {t}") == (
        "The use of “How do tides work”"
    )
    many = tuple(f"name {number}" for number in range(12))
    told = json.dumps(msgspec.to_builtins(frame(_brief("course", granularity=5, focus_areas=many))))
    assert all(name in told for name in many)


def test_no_two_facets_ask_or_task_the_same() -> None:
    facets = [facet for lens in LENSES for facet in lens.facets]
    for name in ("title", "about", "ask", "do", "made", "aim"):
        said = [getattr(facet, name) for facet in facets]
        assert len(set(said)) == len(said)
    assert sorted(lens.rank for lens in LENSES) == list(range(6))


def test_a_type_of_ones_own_or_another_language_has_no_frame_and_the_step_says_so() -> None:
    assert why_unframed("course", "en-GB") is None
    assert "English" in (why_unframed("course", "de") or "")
    assert "checklist" in (why_unframed("checklist", "") or "")
    refused = write(None, None, _brief("course", language="de"))
    assert isinstance(refused, Refused)
    assert refused.code == "source_required"
    with pytest.raises(ValueError, match="English"):
        frame(_brief("course", language="de"))


def test_the_steps_write_and_score_a_frame_without_a_source() -> None:
    brief = _brief("quiz")
    made = write(None, None, brief)
    assert isinstance(made, Made)
    assert made.words_read == 0
    scored = score(None, None, made.artifacts["tree"], builtin_specs()["quiz"], brief.counts, ())
    told = json.loads(scored.artifacts["assessment"])["score"]
    assert told["templateGrade"] is True
    assert told["score"] <= 60


def test_the_same_brief_gives_the_same_bytes_in_any_process() -> None:
    program = (
        "import hashlib, msgspec\n"
        "from tests.unit.granulation.offline.test_frames import STRUCTURE_TYPES, _brief, frame\n"
        "made = b''.join(msgspec.json.encode(frame(_brief(one))) for one in STRUCTURE_TYPES)\n"
        "print(hashlib.sha256(made).hexdigest())"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    here = b"".join(msgspec.json.encode(frame(_brief(one))) for one in STRUCTURE_TYPES)
    assert told.strip() == hashlib.sha256(here).hexdigest()


def test_a_frame_is_no_source_for_a_later_stage_and_a_tree_with_a_source_is() -> None:
    tree = frame(_brief("course"))
    refused = take(msgspec.json.encode(tree), None, 1_000)
    assert isinstance(refused, Refused)
    assert refused.code == "source_is_frame"
    info = SourceInfo(name="a", characters=9, words=2, sha256="0")
    assert isinstance(
        take(msgspec.json.encode(msgspec.structs.replace(tree, source=info)), None, 1_000), Made
    )
