"""What every sub-score may look at: the tree read once, its violations, source and keyphrases. Pure."""

from collections import Counter
from collections.abc import Sequence

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.violations import Severity, Violation

Keyphrase = tuple[str, float]


class Material:
    """The inputs of the sub-scores, with violations grouped by the place that they belong to."""

    def __init__(
        self,
        *,
        index: TreeIndex,
        violations: Sequence[Violation],
        text: str | None,
        keyphrases: Sequence[Keyphrase],
    ) -> None:
        self.index = index
        self.violations = violations
        self.text = text
        self.keyphrases = keyphrases
        self.by_rule = Counter(violation.rule for violation in violations)

    def owners_of(self, *rules: str) -> set[str]:
        """The paths of the nodes where one of the rules is broken."""
        return {violation.path for violation in self.violations if violation.rule in rules}

    def weights_below(self, pointers: Sequence[str], prefix: str) -> dict[str, tuple[int, int]]:
        """Errors and warnings of the rules with a prefix, per pointer that they lie at or below."""
        wanted = frozenset(pointers)
        counted = dict.fromkeys(pointers, (0, 0))
        for violation in self.violations:
            if not violation.rule.startswith(prefix):
                continue
            pointer = violation.pointer
            while pointer and pointer not in wanted:
                pointer = pointer.rpartition("/")[0]
            if pointer:
                errors, warnings = counted[pointer]
                is_warning = violation.severity is Severity.WARNING
                counted[pointer] = (errors + (not is_warning), warnings + is_warning)
        return counted
