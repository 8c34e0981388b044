"""Plain text made safe for Markdown (CommonMark 0.31), escaping only what would change its look. Pure."""

import re

_ANYWHERE = re.compile(r"[\\`*<\[\]]")
# An underscore inside a word is no emphasis; a run of them is a gap to fill in.
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_LINE_START = re.compile(r"^(\s*)(#{1,6}(?=\s)|>|[-+](?=\s)|={3,}|-{3,}|~{3,}|\|)", re.MULTILINE)
_NUMBERED = re.compile(r"^(\s*\d{1,9})([.)])(?=\s)", re.MULTILINE)
_ENTITY = re.compile(r"&(?=#?\w+;)")


def escape(text: str) -> str:
    """One paragraph or line of text that shows in Markdown as it is; line breaks become spaces."""
    line = " ".join(text.split())
    line = _ANYWHERE.sub(lambda match: "\\" + match.group(0), line)
    line = _UNDERSCORE.sub(r"\\_", line)
    line = _ENTITY.sub("&amp;", line)
    line = _LINE_START.sub(r"\1\\\2", line)
    return _NUMBERED.sub(r"\1\\\2", line)


def paragraphs(text: str) -> list[str]:
    """Escaped paragraphs of a longer text, split at blank lines."""
    return [escape(part) for part in re.split(r"\n\s*\n", text) if part.strip()]


def words_of(name: str) -> str:
    """A camelCase or snake_case name as words with a capital: ``objectiveIds`` → ``Objective ids``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").lower().strip()
    return spaced[:1].upper() + spaced[1:]


def duration(minutes: int) -> str:
    """Minutes as people say them: ``45 min``, ``1 h 30 min``."""
    hours, rest = divmod(minutes, 60)
    return (
        " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)
        or "0 min"
    )
