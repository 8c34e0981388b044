"""Where an answer is written: the material, the seed, what is used already, the place being filled."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from devprovider import draw
from devprovider.writing.material import Material, gather, shorten
from devprovider.writing.phrases import stems
from devprovider.writing.prompt import Heading, Prompt

MANY_PASSAGES = 8


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the answer.

    ``path`` names the list as in the prompt's sizes, ``place`` the position in every list down to here;
    ``passages`` are numbers into the material; ``objectives`` the ids that this part has to use.
    """

    path: str = ""
    place: tuple[int, ...] = ()
    of: int = 1
    passages: tuple[int, ...] = ()
    key: str = ""
    title: str = ""
    bloom: str = ""
    objectives: tuple[str, ...] | None = None
    earlier: tuple[str, ...] = ()

    @property
    def turn(self) -> int:
        """The position among the lists of all neighbours too, so that neighbours do not all begin alike."""
        return self.position + (self.place[-2] * self.of if len(self.place) > 1 else 0)

    @property
    def position(self) -> int:
        """The position in the innermost list."""
        return self.place[-1] if self.place else 0


class Desk:
    """What all writers share; only what is already used changes."""

    def __init__(self, *, prompt: Prompt, schema: dict[str, Any], seed: str) -> None:
        self.prompt = prompt
        self.schema = schema
        self.seed = seed
        self.material: Material = gather(prompt)
        self.english = prompt.language == "en"
        self.titles: set[str] = {heading.title.lower() for heading in prompt.outline}
        self.headings: dict[str, Heading] = {heading.key: heading for heading in prompt.outline}
        self.introduced: list[tuple[tuple[int, ...], str]] = []
        self.explained: set[str] = set()
        self.used: dict[str, set[int]] = {}
        self.levels: dict[str, str] = {}
        self.title_terms: set[str] = set()
        self.terms_used: set[str] = set()

    def below(self, limit: int, *parts: object) -> int:
        """A seeded whole number below the limit."""
        return draw.below(limit, self.seed, *parts)

    def pick(self, choices: Sequence[Any], *parts: object) -> Any:
        """A seeded choice."""
        return draw.pick(choices, self.seed, *parts)

    def text(self, number: int) -> str:
        """A passage's text."""
        return self.material.passages[number].text

    def terms(self, scope: Scope) -> list[str]:
        """The phrases of a place, its own passages first; never empty."""
        return self.material.terms(scope.passages) or [" ".join(self.prompt.topic.split()[:4]).lower()]

    def term(self, scope: Scope, skip: int = 0) -> str:
        """One phrase of a place; a larger ``skip`` gives another one as long as there are any."""
        found = self.terms(scope)
        return found[skip % len(found)]

    def take_passage(self, scope: Scope, purpose: str) -> int:
        """A passage for a purpose: an unused one of the place, else any unused one, else one again."""
        used = self.used.setdefault(purpose, set())
        for number in chain(scope.passages, range(len(self.material.passages))):
            if number not in used:
                used.add(number)
                return number
        return scope.passages[scope.position % len(scope.passages)]

    def introduced_elsewhere(self, place: tuple[int, ...] | None = None) -> list[str]:
        """The terms introduced so far, in order, without those of that place."""
        return [term for where, term in self.introduced if where != place]

    def proof(self, number: int, most_words: int = 30) -> str:
        """What the source says, as a reason; outside English the quotation alone."""
        quoted = f'"{shorten(self.text(number), most_words)}"'
        return f"The source says: {quoted}" if self.english else quoted

    def labels(self, numbers: Sequence[int]) -> list[str]:
        """The labels of passages of the source; nothing can be cited without one."""
        return [self.material.passages[number].label for number in numbers] if self.material.is_source else []


def whole(desk: Desk) -> Scope:
    """The root's place: the passages of the node that the task is about, or all of them."""
    everything = tuple(range(len(desk.material.passages)))
    focus = focus_of(desk)
    if focus is None:
        return Scope(passages=everything)
    passages = everything
    family = sum(is_below(one.key, focus.key) for one in desk.prompt.outline)
    # A few passages were chosen for this node by the asker; many are the whole source.
    if len(everything) > MANY_PASSAGES * (1 + family):
        passages = _own_passages(desk, focus) or everything
    return Scope(passages=passages, title=focus.title, key=focus.key)


def _own_passages(desk: Desk, focus: Heading) -> tuple[int, ...]:
    """The passages that share more words with the node and what is below it than with any other such node."""
    tops = [one for one in desk.prompt.outline if one.depth == focus.depth]
    wanted = {
        top.key: stems(
            " ".join(
                one.title for one in desk.prompt.outline if one.key == top.key or is_below(one.key, top.key)
            )
        )
        for top in tops
    }
    own = []
    for number, said in enumerate(desk.material.stems):
        best = max(tops, key=lambda top: len(said & wanted[top.key]))
        if best.key == focus.key and said & wanted[focus.key]:
            own.append(number)
    return tuple(own)


def focus_of(desk: Desk) -> Heading | None:
    """The outline's line that the task names first by its key."""
    words = [word.strip(".,;:()\"'`") for word in desk.prompt.task.split()]
    return next((desk.headings[word] for word in words if word in desk.headings), None)


def is_below(key: str, parent: str) -> bool:
    """Whether a key such as m1.c2 or m1c2 belongs to m1."""
    return key.startswith(parent) and not key.removeprefix(parent)[:1].isdigit() and key != parent


def about(desk: Desk, scope: Scope) -> list[int]:
    """The passage of the place that shares most words with its title."""
    wanted = stems(scope.title)
    return [max(scope.passages, key=lambda number: len(desk.material.stems[number] & wanted))]


def parts(desk: Desk, scope: Scope, titles: Sequence[str]) -> list[tuple[int, ...]]:
    """The passages of each child: a stretch of its own, and where titles are known those that fit it best."""
    numbers, count = scope.passages, len(titles)
    stretches = [_stretch(numbers, position, count) for position in range(count)]
    if not any(titles) or len(numbers) < 2 * count:
        return stretches
    wanted = [stems(title) for title in titles]
    share = max(1, len(numbers) // count)
    found: list[tuple[int, ...]] = []
    free = set(numbers)
    for position, stretch in enumerate(stretches):
        near = set(stretch)
        ranked = sorted(
            free,
            key=lambda number: (
                -len(desk.material.stems[number] & wanted[position]),
                number not in near,
                number,
            ),
        )
        chosen = ranked[:share]
        free.difference_update(chosen)
        found.append(tuple(chosen) or stretch)
    return found


def _stretch(numbers: tuple[int, ...], position: int, count: int) -> tuple[int, ...]:
    if len(numbers) < count:
        return (numbers[position % len(numbers)],)
    return numbers[position * len(numbers) // count : (position + 1) * len(numbers) // count]
