"""Which terms a tree has introduced so far, where, and what they mean."""

from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.study import Study
from aifactory.granulation.tree import Concept, Span

_MOST_AT_ONCE = 4
_MOST_NEEDS = 5


class Terms:
    """The terms of one tree; ``owners`` maps each to the name it was introduced under, in order."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._definitions: list[Definition] = []
        self.owners: dict[str, str] = {}

    def needs(self, first: int, last: int) -> list[tuple[str, int]]:
        """Earlier terms that lines from first up to, without, last use, with the number of lines."""
        counts = [(term, self._study.mentions.between(term, first, last)) for term in self.owners]
        used = sorted((pair for pair in counts if pair[1]), key=lambda pair: (-pair[1], pair[0]))
        return used[:_MOST_NEEDS]

    def introduce(self, first: int, last: int, owner: str) -> list[str]:
        """Introduce terms that lines from first up to, without, last define; a few, in text order."""
        found = self._study.defined_between(first, last)
        fresh = [definition for definition in found if definition.term not in self.owners][:_MOST_AT_ONCE]
        fresh.sort(key=lambda definition: definition.start)
        for definition in fresh:
            self.owners[definition.term] = owner
            self._definitions.append(definition)
        return [definition.term for definition in fresh]

    def glossary(self) -> list[Concept]:
        """The introduced terms with what the source says of them, by name."""
        ordered = sorted(self._definitions, key=lambda definition: definition.term.casefold())
        return [self._concept(definition) for definition in ordered]

    def _concept(self, definition: Definition) -> Concept:
        line = self._study.lines[definition.sentence]
        text = self._study.reading.text
        span = Span(start=definition.start, end=definition.end, quote=text[definition.start : definition.end])
        if definition.form == "this":
            before = self._study.lines[max(0, definition.sentence - 1)]
            return Concept(term=definition.term, definition=f"{before.shown} {line.shown}", sources=(span,))
        phrase = definition.phrase.rstrip(".")
        shown = line.told if definition.form == "called" else phrase[:1].upper() + phrase[1:] + "."
        return Concept(term=definition.term, definition=shown, sources=(span,))
