"""What holds of every tree that is made offline, checked in one place."""

from aifactory.granulation.scoring import assess
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.tree import Tree, leaves, walk
from aifactory.granulation.validation import Severity

TARGETS = {"targetWords", "tone", "priority", "estimatedMinutes"}


def score_of(tree: Tree, text: str, counts: tuple[int, ...], spec: StructureSpec | None = None) -> float:
    """The score of a tree without a fallen gate or a broken error rule, whose spans are in its source."""
    spec = spec or builtin_specs()[tree.structure_type]
    assessment = assess(tree, spec, text=text, counts=Counts(per_level=counts))
    assert assessment.score.gates_failed == (), assessment.violations
    errors = [one for one in assessment.violations if one.severity is Severity.ERROR]
    assert not errors, errors
    assert all(text[span.start : span.end] == span.quote for _, node in walk(tree) for span in node.sources)
    assert all(node.fields.keys() >= TARGETS for _, node in walk(tree))
    assert assessment.score.score is not None
    return assessment.score.score


def all_cited(tree: Tree) -> bool:
    """Whether every leaf cites a passage."""
    return all(node.sources for _, node in leaves(tree))
