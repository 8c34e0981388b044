"""Which items of those that a source supports go into a tree: sound ones that don't spoil each other."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from aifactory.granulation.item_rules import check_item
from aifactory.granulation.offline.items import Draft
from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.tree import ItemKind, Option

_ALIKE = 0.55
_GIVEN = 0.4
# Of ten items at most so many ask for a missing word; a missing number is another task.
_GAPS_OF_TEN = 4
# Half of those who know nothing judge a statement rightly.
_TRUTHS_OF_TEN = 3
_OF_TEN = {ItemKind.CLOZE: _GAPS_OF_TEN, ItemKind.TRUE_FALSE: _TRUTHS_OF_TEN}
_LAST = {ItemKind.TRUE_FALSE: 1, ItemKind.CLOZE: 2}
_QUOTED = re.compile(r"“([^”]*)”")


class Chooser:
    """Takes drafts one by one; remembers keys, stems and passages used anywhere in the tree."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._lines: set[int] = set()
        self._keys: set[str] = set()
        self._kinds: Counter[ItemKind] = Counter()
        self._taken: list[tuple[frozenset[str], frozenset[str]]] = []
        self._places: dict[int, list[int]] = {}

    def choose(
        self,
        drafts: Iterable[Draft],
        most: int,
        *,
        per_kind: int,
        least: int = 0,
        taken: Sequence[Draft] = (),
    ) -> list[Draft]:
        """At most ``most`` drafts beside those taken, in the order given, at most ``per_kind`` of a kind.

        Statements to judge are kept to three in ten of the tree and gaps to four, unless there would be less
        than ``least`` without them.
        """
        chosen = list(taken)
        kinds = Counter(draft.kind for draft in taken)
        # The kinds of which there is always enough come last.
        for draft in sorted(drafts, key=lambda draft: _LAST.get(draft.kind, 0)):
            if len(chosen) >= most:
                break
            share = _OF_TEN.get(draft.kind, 10)
            is_wanted = len(chosen) < least or 10 * (self._kinds[draft.kind] + 1) <= share * (
                self._kinds.total() + 1
            )
            is_kept = draft.kind is ItemKind.CLOZE or kinds[draft.kind] < self._room(draft, per_kind)
            if is_wanted and is_kept and self._is_usable(draft):
                kinds[draft.kind] += 1
                chosen.append(self._take(draft))
        return chosen

    @staticmethod
    def _room(draft: Draft, per_kind: int) -> int:
        # Choosing is many tasks in one form: what follows, why, what for.
        return 2 * per_kind if draft.kind is ItemKind.SINGLE else per_kind

    def _is_usable(self, draft: Draft) -> bool:
        return self._is_free(draft) and self._is_sound(draft)

    def _is_sound(self, draft: Draft) -> bool:
        return not check_item(draft.as_item("o", draft.bloom, ""), self._language)

    def _is_free(self, draft: Draft) -> bool:
        """Whether its passage and key are unused, and neither it nor an earlier item gives the other away."""
        if not self._lines.isdisjoint((draft.line, *draft.lines)) or self._key_of(draft) in self._keys:
            return False
        stem, key = self._asked(draft), frozenset(stems_of(draft.key, self._language))
        for other, other_key in self._taken:
            if len(stem & other) > _ALIKE * min(len(stem), len(other)):
                return False
            if _gives_away(other, key, stem - key) or _gives_away(stem, other_key, other - other_key):
                return False
        return True

    def _key_of(self, draft: Draft) -> str:
        """What an item's answer is, in any number; "" is nobody's."""
        return " ".join(stems_of(draft.key, self._language)) or draft.key.casefold()

    def _asked(self, draft: Draft) -> frozenset[str]:
        """Stems of what an item says, without the words that all items of its kind share."""
        quoted = " ".join(_QUOTED.findall(draft.stem)) or draft.stem
        paired = " ".join(pair.left for pair in draft.pairs)
        return frozenset(stems_of(f"{quoted} {draft.key} {paired}", self._language))

    def _take(self, draft: Draft) -> Draft:
        self._kinds[draft.kind] += 1
        self._lines.update((draft.line, *draft.lines))
        self._taken.append((self._asked(draft), frozenset(stems_of(draft.key, self._language))))
        if draft.key:
            self._keys.add(self._key_of(draft))
        return self._with_place(draft) if draft.options else draft

    def _with_place(self, draft: Draft) -> Draft:
        """Move the key to the place that has had fewest keys so far, so that no place is favoured."""
        options = list(draft.options)
        at = next(place for place, option in enumerate(options) if option.correct)
        counts = self._places.setdefault(len(options), [0] * len(options))
        # Its own place breaks ties: it follows from the passage, not from the order of the items.
        best = min(range(len(options)), key=lambda place: (counts[place], (place - at) % len(options)))
        counts[best] += 1
        key: Option = options.pop(at)
        options.insert(best, key)
        return msgspec.structs.replace(draft, options=tuple(options))


def _gives_away(stem: frozenset[str], key: frozenset[str], asked: frozenset[str]) -> bool:
    """Whether a stem holds another item's key together with much of what that item asks."""
    return bool(key) and key <= stem and len(asked & stem) >= max(2, _GIVEN * len(asked))
