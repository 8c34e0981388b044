"""What a prompt says: its sections, passages, sizes and problems; what stands in the source is data. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

_HEADING = re.compile(r"^#{1,3}\s+(\w[\w ]*?)\s*:?\s*$")
_SECTIONS = frozenset({"brief", "outline", "passages", "problems", "task", "sizes", "schema"})
_PASSAGE = re.compile(r"^\s*\[([\w.:-]+)\]\s*(.+)$")
_OUTLINE = re.compile(r"^(\s*)[-*]?\s*([A-Za-z]+\d\w*(?:[.\-]\w+)*):?\s+(?!\()(.+)$")
_SIZE = re.compile(r"^\s*[-*]?\s*([\w.\[\]]+)\s*[:=]\s*(\d+)\s*$")
_FIELD = re.compile(r"^\s*[-*]?\s*([A-Za-z][\w ]{0,30}):\s*(.*)$")
_SOURCE_OPEN = re.compile(r"<source\b[^>]*>", re.IGNORECASE)
_SOURCE_CLOSE = re.compile(r"</source\s*>", re.IGNORECASE)
_ORDER = re.compile(
    r"^\W*SYSTEM\s*:\s*(?P<said>.+)$"
    r"|\b(?:ignore|disregard|forget)\s+(?:(?:any|every|the|your|of)\s+)*"
    r"(?:all|previous|prior|earlier|above|preceding)\s+(?:(?:of|the|your|previous|prior|earlier|above)\s+)*"
    r"(?:instructions|rules|prompts?)\b(?!\s+(?:in|inside|within|from)\s+(?:the\s+)?(?:source|passages))"
)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Who says what."""

    role: str
    text: str


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A labelled sentence of the source."""

    label: str
    text: str


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the outline; ``depth`` from 0."""

    key: str
    title: str
    depth: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a repair call; ``known`` holds everything that the line says."""

    path: str
    rule: str
    message: str
    value: Any
    known: dict[str, Any]


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, read.

    ``words``: the task, or the last message; ``orders``: lines outside the source that a gullible
    model obeys.
    """

    system: str
    words: str
    words_all: str
    brief: dict[str, str]
    outline: tuple[Heading, ...]
    passages: tuple[Passage, ...]
    problems: tuple[Problem, ...]
    task: str
    sizes: dict[str, int]
    schema: dict[str, Any] | None
    orders: tuple[str, ...]

    @property
    def language(self) -> str:
        """The primary language asked for."""
        return re.split(r"[-_]", self.brief.get("language", "en").strip().lower() or "en")[0]

    @property
    def topic(self) -> str:
        """What it is all about, in the brief's words or else the last message's first ones."""
        named = self.brief.get("topic") or self.brief.get("title") or ""
        return named or " ".join(re.findall(r"[^\W\d_]{3,}", self.words)[:4]) or "the subject"


def read_prompt(messages: Sequence[Message]) -> Prompt:
    """Read the sections of all messages but the system's; without any, the last message is the task."""
    system = "\n".join(message.text for message in messages if message.role in ("system", "developer"))
    others = [message.text for message in messages if message.role not in ("system", "developer")]
    lines = list(_sectioned("\n".join(others)))
    by_name: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    for section, _, line in lines:
        if section in by_name:
            by_name[section].append(line)
    last = others[-1] if others else system
    return Prompt(
        system=system,
        words_all="\n".join(others),
        words="\n".join(by_name["task"]) if by_name["task"] else last,
        brief=_brief(by_name["brief"]),
        outline=tuple(_outline(by_name["outline"])),
        passages=tuple(_passages(line for name, is_source, line in lines if is_source and name == "passages"))
        or tuple(_passages(line for _, is_source, line in lines if is_source)),
        problems=tuple(_problems(by_name["problems"])),
        task="\n".join(by_name["task"]).strip(),
        sizes=_sizes(by_name["sizes"]),
        schema=_schema(by_name["schema"]),
        orders=tuple(_orders(line for _, is_source, line in lines if not is_source)),
    )


def _sectioned(text: str) -> Iterator[tuple[str, bool, str]]:
    """Section, whether it is source, and line; a heading inside the source or a fence is just a line."""
    section, in_source, in_fence = "", False, False
    for line in text.splitlines():
        if in_source:
            closing = _SOURCE_CLOSE.search(line)
            if not closing:
                yield section, True, line
                continue
            if line[: closing.start()].strip():
                yield section, True, line[: closing.start()]
            in_source, line = False, line[closing.end() :]
            if line.strip():
                yield section, False, line
            continue
        if line.lstrip().startswith("```"):
            in_fence = not in_fence
            continue
        opening = None if in_fence else _SOURCE_OPEN.match(line.strip())
        heading = None if in_fence else _HEADING.match(line)
        if opening:
            in_source = True
        elif heading:
            section = heading[1].lower()
        else:
            yield section, False, line


def _passages(lines: Iterator[str]) -> Iterator[Passage]:
    """Labelled lines; a line without a label goes on with the one before it."""
    label, parts = "", [""]
    for line in lines:
        match = _PASSAGE.match(line)
        if match:
            if label and parts[0]:
                yield Passage(label=label, text=" ".join(parts))
            label, parts = match[1], [match[2].strip()]
        elif line.strip() and label:
            parts.append(line.strip())
    if label:
        yield Passage(label=label, text=" ".join(parts))


def _brief(lines: list[str]) -> dict[str, str]:
    matches = (_FIELD.match(line) for line in lines)
    return {match[1].strip().lower(): match[2].strip() for match in matches if match}


def _outline(lines: list[str]) -> Iterator[Heading]:
    for line in lines:
        match = _OUTLINE.match(line)
        if match:
            yield Heading(key=match[2], title=match[3].strip(), depth=len(match[1].expandtabs(2)) // 2)


def _problems(lines: list[str]) -> Iterator[Problem]:
    for line in lines:
        text = line.strip().removeprefix("- ")
        if not text.startswith("{"):
            continue
        try:
            known = msgspec.json.decode(text)
        except msgspec.DecodeError:
            continue
        if isinstance(known.get("path"), str):
            yield Problem(
                path=known["path"],
                rule=str(known.get("rule", "")),
                message=str(known.get("message", "")),
                value=known.get("value"),
                known=known,
            )


def _sizes(lines: list[str]) -> dict[str, int]:
    matches = (_SIZE.match(line) for line in lines)
    return {match[1].removesuffix("[]"): int(match[2]) for match in matches if match}


def _schema(lines: list[str]) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode("\n".join(lines))
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _orders(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        match = _ORDER.search(line) if "SYSTEM" in line else _ORDER.search(line.lower())
        if match:
            yield (match["said"] or line).strip()
