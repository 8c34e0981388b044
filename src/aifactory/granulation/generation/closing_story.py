"""A plot closed: threads opened, then closed; tellers in their chapters; words that add up. Pure."""

from collections.abc import Sequence
from typing import Any

from aifactory.granulation.generation.nodes import every, refielded
from aifactory.granulation.specs import LevelSpec, StructureSpec
from aifactory.granulation.tree import Node

_WORDS_TO = 100
_Fields = dict[str, dict[str, Any]]


def told(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[list[Node], int, dict[str, Any]]:
    """Return a plot's nodes, how many were changed, and the root's fields with the words in all."""
    level = next(one for one in spec.levels if "story" in one.rules)
    scenes = [node for node in every(nodes) if node.kind == level.kind]
    if not scenes:
        return nodes, 0, fields
    changed = {scene.id: dict(scene.fields) for scene in scenes}
    threads = [row["id"] for row in fields.get("threads", ()) if "id" in row]
    _open_and_close(scenes, changed, threads, int(level.fields["opens"].max or len(threads)))
    _let_tellers_be_there(nodes, changed, int(level.fields["cast"].max or 100))
    total = _add_up(scenes, changed, level, fields.get("targetWords"))
    if "targetWords" in spec.root_fields:
        fields = {**fields, "targetWords": total}
    kept = {
        name: {key: value for key, value in own.items() if value not in (None, [])}
        for name, own in changed.items()
    }
    count = sum(kept[scene.id] != scene.fields for scene in scenes)
    return refielded(nodes, kept), count, fields


def _open_and_close(scenes: Sequence[Node], changed: _Fields, threads: Sequence[str], most: int) -> None:
    """Each thread is opened once, and closed once in a later scene: the last that would, or the very last."""
    last = len(scenes) - 1
    opens: list[list[str]] = [[] for _ in scenes]
    closes: list[list[str]] = [[] for _ in scenes]
    for at, thread in enumerate(threads if last else ()):
        opened = [place for place, scene in enumerate(scenes) if thread in scene.fields.get("opens", ())]
        start = min(opened[0] if opened else at, last - 1)
        start = next((place for place in range(start, last) if len(opens[place]) < most), start)
        closed = [
            place
            for place, scene in enumerate(scenes)
            if place > start and thread in scene.fields.get("closes", ())
        ]
        opens[start].append(thread)
        closes[closed[-1] if closed else last].append(thread)
    for place, scene in enumerate(scenes):
        changed[scene.id] |= {"opens": opens[place], "closes": closes[place]}


def _let_tellers_be_there(nodes: Sequence[Node], changed: _Fields, most: int) -> None:
    for node in every(nodes):
        scenes = [changed[child.id] for child in node.children if child.id in changed]
        teller = node.fields.get("pov")
        if scenes and teller and not any(teller in own.get("cast", ()) for own in scenes):
            scenes[0]["cast"] = [teller, *scenes[0].get("cast", ())][:most]


def _add_up(scenes: Sequence[Node], changed: _Fields, level: LevelSpec, target: Any) -> int:
    """Scale the scenes' words to a target, or to a round number near their sum; returns the words in all."""
    field = level.fields["words"]
    low, high = int(field.min or 1), int(field.max or 100_000)
    words = [max(low, min(high, int(changed[scene.id].get("words") or low))) for scene in scenes]
    wanted = target or max(_WORDS_TO, round(sum(words), -2))
    scaled = [max(low, min(high, round(count * wanted / sum(words)))) for count in words]
    longest = max(range(len(scaled)), key=scaled.__getitem__)
    scaled[longest] = max(low, min(high, scaled[longest] + wanted - sum(scaled)))
    for scene, count in zip(scenes, scaled, strict=True):
        changed[scene.id]["words"] = count
    return sum(scaled)
