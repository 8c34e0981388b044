"""A beat sheet for a novel: the turning points of a story in acts, filled with what a source speaks of.

It is a frame to write from, and says so: no sentence of it claims that the source tells this story.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from aifactory.granulation.offline import beat_lines as lines
from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.beat_lines import Beat
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point
from aifactory.granulation.offline.telling import Teller, is_alike, placed
from aifactory.granulation.offline.titles import fit_title, numbered, same_title
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.tree import Node

NOTICE = (
    "A beat sheet to write from, not a plot: the turning points of a story, filled with words of the source."
)
_SCENE_WORDS = 1_200
_LEAST_NAMED = 3
_MOST_CAST = 8
_MOST_PLACES = 5
_PHRASES = 12
_NAME = re.compile(
    r"(?<![.!?:“\"'] )(?<!^)\b(?P<name>[A-Z][a-zà-ÿ]+(?: [A-Z][a-zà-ÿ]+)?)\b(?P<after> [a-z]+)?"
)
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr|Sir|Lady|Captain|Professor|Aunt|Uncle|King|Queen)\.? (?P<name>[A-Z][a-z]+)"
)
_IN_PLACE = re.compile(r"\b(?:in|at|on|near|through|into|to) (?P<name>the (?P<noun>[a-z]+))\b")
_ALIVE = word_set("""
    said says asked asks thought thinks went looked looks knew wanted wants told replied smiled wrote
    came saw felt laughed nodded answered cried whispered turned walked ran sat stood heard remembered
    forgot loved hated believed
    """)
_SITES = word_set("""
    kitchen harbour harbor river house shop bakery office coast beach plant city town village street
    bridge garden forest market station school church factory farm field hill mountain island lake sea
    shore port ship boat train hotel library hospital laboratory lab workshop cellar tower castle palace
    court prison square road valley desert warehouse mill well reservoir theatre theater museum bank
    studio yard barn attic camp border
    """)
_PURPOSES = {
    "Act one: the old world breaks": "Make the reader care for {hero} and wonder what becomes of {thing}.",
    "Act two: another world": "Let {hero} grow with {thing} until a victory turns into danger.",
    "The fall": "Take from {hero} everything but the reason to go on.",
    "Act three: the answer": "Answer every question that was opened, by what {hero} does about {thing}.",
    "The long road": "Test {hero} with {thing} again and again, each time at a higher price.",
}


class BeatMaker:
    """Makes the nodes of one beat sheet."""

    def __init__(self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point]) -> None:
        self._study = study
        self._per_level = per_level
        self._teller = Teller(study, opening)
        found = study.book.best(0, len(study.lines), limit=_PHRASES, spread=0, boost=study.focus)
        self._themes = [with_article(study, phrase.text) for phrase in found] or [study.digest.title]
        self._cast = self._find_cast()
        self._places = self._find_places()
        self._threads = [
            {
                "id": "t_" + short_hash(str(at)),
                "setup": _sentence(setup, thing=self._theme(at)),
                "payoff": _sentence(payoff, thing=self._theme(at)),
            }
            for at, (setup, payoff) in enumerate(lines.THREADS[: 3 if len(self._themes) > 2 else 1])
        ]
        self._scenes = self._total = 0

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The acts, and the fields of the root."""
        acts = _acts(self._per_level[0])
        chapters = self._per_level[1] if len(self._per_level) > 1 else 0
        scenes = self._per_level[2] if len(self._per_level) > 2 else 0
        total = max(1, len(acts) * chapters)
        cuts = [round(at * len(self._study.lines) / total) for at in range(total + 1)]
        self._total = total * scenes
        parts = [Chunk("", first, last) for first, last in pairwise(cuts)]
        nodes = []
        for at, (name, beats) in enumerate(acts):
            own = parts[at * chapters : (at + 1) * chapters]
            nodes.append(self._act(str(at + 1), name, beats, own, scenes))
        words = self._total * _SCENE_WORDS
        return tuple(nodes), {
            "cast": self._cast,
            "places": self._places,
            "threads": self._threads,
            **({"targetWords": words} if words else {}),
        }

    def _theme(self, at: int) -> str:
        return self._themes[at % len(self._themes)]

    def _act(self, path: str, name: str, beats: Sequence[Beat], parts: Sequence[Chunk], scenes: int) -> Node:
        hero, thing = _inside(self._cast[0]["name"]), self._theme(int(path) - 1)
        shares = [beats[at * len(beats) // len(parts)] for at in range(len(parts))] if parts else []
        children: list[Node] = []
        for beat, part in zip(shares, parts, strict=True):
            title = self._title(f"{beat.name}: {self._thing(part)}", [child.title for child in children])
            before = sum(child.title.startswith(beat.name) for child in children)
            place = f"{path}.{len(children) + 1}"
            children.append(self._chapter(place, title, _form_of(beat, before), beat, part, scenes))
        purpose = _sentence(_PURPOSES[name], hero=hero, thing=thing)
        names = ", ".join(dict.fromkeys(beat.name.lower() for beat in beats))
        return placed(
            path,
            "act",
            name,
            summary=f"The turning points of this act: {names}.",
            fields={"purpose": purpose},
            children=tuple(children),
        )

    def _thing(self, part: Chunk) -> str:
        """What a passage is most of all about, with its article."""
        found = self._study.book.best(part.first, part.last, limit=1, boost=self._study.focus)
        return with_article(self._study, found[0].text) if found else self._theme(part.first)

    def _things(self, part: Chunk, most: int) -> list[str]:
        found = self._study.book.best(part.first, part.last, limit=most, boost=self._study.focus)
        names = [with_article(self._study, phrase.text) for phrase in found]
        return names + [theme for theme in self._themes if theme not in names]

    def _title(self, title: str, taken: list[str]) -> str:
        fitted = fit_title(title[:1].upper() + title[1:])
        return numbered(fitted, taken) if any(same_title(fitted, other) for other in taken) else fitted

    def _chapter(self, path: str, title: str, form: str, beat: Beat, part: Chunk, scenes: int) -> Node:
        act, number = map(int, path.split("."))
        # Every third chapter is told by somebody else, each in turn.
        turn = (act - 1) * self._per_level[1] + number
        pov = self._cast[0] if turn % 3 else self._cast[1 + (turn // 3) % (len(self._cast) - 1)]
        things = self._things(part, scenes + 1)
        chosen: list[Line] = []
        for line in self._teller.ranked(part):
            if len(chosen) < scenes and not is_alike(line, chosen):
                chosen.append(line)
        children: list[Node] = []
        for at in range(scenes):
            point = self._teller.tell(chosen[at]) if at < len(chosen) else None
            children.append(
                self._scene(f"{path}.{at + 1}", beat, pov, things[at % len(things)], point, children)
            )
        purpose = _sentence(form, hero=_inside(self._cast[0]["name"]), thing=things[0])
        return placed(
            path,
            "chapter",
            title,
            summary=purpose,
            fields={"pov": pov["id"]},
            children=tuple(children),
        )

    def _scene(
        self,
        path: str,
        beat: Beat,
        pov: dict[str, str],
        thing: str,
        point: Point | None,
        before: Sequence[Node],
    ) -> Node:
        count, self._scenes = self._scenes, self._scenes + 1
        others = [one for one in self._cast if one is not pov]
        other = others[count % len(others)]
        at = len(before)
        words = {"who": _inside(pov["name"]), "other": _inside(other["name"]), "thing": thing}
        title = self._title(lines.SCENE_NAMES[at % 5].format(**words), [node.title for node in before])
        obstacle = lines.OBSTACLES[count % len(lines.OBSTACLES)]
        is_last = count == self._total - 1
        outcome = "yes" if is_last else ("yesBut", "noAnd", "no", "yesBut", "noAnd")[count % 5]
        return placed(
            path,
            "scene",
            title,
            summary=f"Out of the source: {point.text}" if point else "",
            sources=self._teller.spans([point]) if point else (),
            fields={
                "place": self._places[(count // 2) % len(self._places)]["id"],
                "cast": [pov["id"], other["id"]],
                "goal": _sentence("{who} wants to " + beat.wants[at % 3], **words),
                "conflict": _sentence(
                    f"{obstacle}, and {beat.pressure}" if at % 3 == 0 else obstacle, **words
                ),
                "outcome": outcome,
                "words": _SCENE_WORDS,
                **self._woven(count),
            },
        )

    def _woven(self, count: int) -> dict[str, list[str]]:
        """The threads that a scene opens, one after another in the beginning, and closes in the end."""
        ids = [thread["id"] for thread in self._threads]
        step = max(1, self._total // (4 * len(ids)))
        opened = [one for at, one in enumerate(ids) if count == at * step]
        closed = [one for at, one in enumerate(reversed(ids)) if count == max(0, self._total - 1 - at * step)]
        return {name: found for name, found in (("opens", opened), ("closes", closed)) if found}

    def _find_cast(self) -> list[dict[str, str]]:
        names = _people(self._study)[:_MOST_CAST]
        if len(names) < _LEAST_NAMED:
            chosen = list(lines.ROLES)
        else:
            roles = [role for _, role in lines.ROLES] + ["companion"] * _MOST_CAST
            chosen = list(zip(names, roles, strict=False))
        cast = []
        for at, (name, role) in enumerate(chosen):
            kind = at % len(lines.WANTS)
            cast.append(
                {
                    "id": "c_" + short_hash(name),
                    "name": name,
                    "role": role,
                    "want": _sentence(lines.WANTS[kind], thing=self._theme(at)),
                    "need": lines.NEEDS[kind] + ".",
                    "arc": lines.ARCS[kind] + ".",
                }
            )
        return cast

    def _find_places(self) -> list[dict[str, str]]:
        counted = Counter(
            found["name"]
            for line in self._study.lines
            for found in _IN_PLACE.finditer(line.shown)
            if found["noun"] in _SITES
        )
        found = sorted(
            (name for name in counted if counted[name] > 1), key=lambda name: (-counted[name], name)
        )
        known = [(name[:1].upper() + name[1:], "Named in the source.") for name in found[:_MOST_PLACES]]
        chosen = known if len(known) > 2 else [*known, *lines.PLACES]
        return [
            {"id": "p_" + short_hash(name), "name": name, "note": note}
            for name, note in chosen[:_MOST_PLACES]
        ]


def _acts(count: int) -> list[tuple[str, tuple[Beat, ...]]]:
    """The acts by their number, each with its turning points."""
    first, second, fall, third, road = _PURPOSES
    if count < 2:
        return [(road, (*lines.OPENING, *lines.RISING, *lines.FALLING, *lines.CLOSING))]
    if count == 2:
        return [(first, lines.OPENING), (third, (*lines.FALLING, *lines.CLOSING))]
    if count == 3:
        return [(first, lines.OPENING), (second, (*lines.RISING, *lines.FALLING)), (third, lines.CLOSING)]
    if count == 4:
        return [(first, lines.OPENING), (second, lines.RISING), (fall, lines.FALLING), (third, lines.CLOSING)]
    half = len(lines.RISING) // 2
    return [
        (first, lines.OPENING),
        (second, lines.RISING[:half]),
        (road, lines.RISING[half:]),
        (fall, lines.FALLING),
        (third, lines.CLOSING),
    ]


def _people(study: Study) -> list[str]:
    """Names that the text gives often, and to somebody who speaks, thinks or moves at least once."""
    counted: Counter[str] = Counter()
    alive: set[str] = set()
    for line in study.lines:
        for found in _NAME.finditer(line.shown):
            counted[found["name"]] += 1
            if (found["after"] or "").strip() in _ALIVE:
                alive.add(found["name"])
        alive.update(found["name"] for found in _TITLED.finditer(line.shown))
    names = [name for name, count in counted.items() if count >= _LEAST_NAMED and name in alive]
    return sorted(names, key=lambda name: (-counted[name], name))


def _form_of(beat: Beat, before: int) -> str:
    """What a chapter is for: the turning point itself, or another try if chapters of it came before."""
    if not before:
        return beat.purpose
    return f"{{hero}} tries to {beat.wants[(before - 1) % len(beat.wants)]}, but {beat.pressure}"


def _inside(name: str) -> str:
    """A name as it stands inside a sentence: "The rival", the rival."""
    return name[:1].lower() + name[1:] if name.startswith("The ") else name


def _sentence(form: str, **words: str) -> str:
    """A form filled in, with a capital in front and a full stop."""
    text = form.format(**words)
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
