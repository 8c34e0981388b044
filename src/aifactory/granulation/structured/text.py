"""Finding, cleaning and completing the one JSON object in a model's text, each in one pass. Pure."""

import re
from typing import Any

import msgspec

from aifactory.granulation.structured.codec import AnswerError, pointer_part

# More than any model's output; what is longer is not looked at.
MAX_CHARACTERS = 1_000_000
# Far more than any answer's type; keeps the cost of a place to end small.
MAX_DEPTH = 64

_ODD = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([0-9a-fA-F]{4})|[^u]|u)", re.DOTALL
)
# Possessive, so that an unclosed string fails at once and not after trying every shorter one.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# To the end of the text if unclosed, so that its inner quotes are not tried one by one.
_STRING_OR_TAIL = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_STRING_BREAK = re.compile(r"[\t\n\r]")
_OBJECT = re.compile(r'\{\s*+["}]')
_MARK = re.compile(r'["{}\[\],:]')
_GAP = re.compile(r"[\s,:]*+")
_SCALAR = re.compile(r'[^\s"{}\[\],:]++')
_BREAKS = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_DECODER = msgspec.json.Decoder()


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """A cut document closed again: ``path`` is the JSON Pointer of the list that was open ("" if none) and
    ``survived`` its closed elements.
    """

    text: str
    path: str
    survived: int


def parse(text: str) -> Any:
    """Strict JSON as plain data; raises `AnswerError`."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise AnswerError("", "nested too deeply") from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise AnswerError("", str(error)) from None


def clean(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without what PostgreSQL or UTF-8 cannot hold, raw or escaped: control characters other than
    tab and line ends, and halves of surrogate pairs.
    """
    bare, raw_count = _ODD.subn("", text)
    escaped_count = 0

    def keep(found: re.Match[str]) -> str:
        nonlocal escaped_count
        if found[0] == "\\u":  # half an escape: must not become whole by what is removed behind it
            return "\\ux"
        if found[1] is None or not _ODD.match(chr(int(found[1], 16))):
            return found[0]
        escaped_count += 1
        return ""

    if "\\u" in bare:
        bare = _ESCAPE.sub(keep, bare)
    removed = raw_count + escaped_count
    return bare, ((f"{removed} unusable characters removed",) if removed else ())


def escape_breaks(text: str) -> str:
    """Line ends and tabs that stand bare inside strings, as JSON wants them written."""
    return _STRING_OR_TAIL.sub(lambda found: _STRING_BREAK.sub(lambda each: _BREAKS[each[0]], found[0]), text)


def cut_out(text: str) -> tuple[str, bool]:
    """The one object in a text with prose or code fences around it, and whether it is closed.

    Empty if there is none, or more than one: which was meant would be a guess.
    """
    found = _OBJECT.search(text)
    if found is None or not _is_balanced(text[: found.start()]):
        return "", False
    end = _end(text, found.start())
    if end < 0:
        return text[found.start() :], False
    return ("", False) if _OBJECT.search(text, end) else (text[found.start() : end], True)


def _is_balanced(prose: str) -> bool:
    """Whether no bracket is left open, in which case what follows would be a part and not the whole."""
    return prose.count("{") == prose.count("}") and prose.count("[") == prose.count("]")


def _end(text: str, start: int) -> int:
    """Where the bracket at ``start`` is closed, or -1."""
    depth, at = 0, start
    while found := _MARK.search(text, at):
        at = found.end()
        match found[0]:
            case '"':
                string = _STRING.match(text, found.start())
                if string is None:
                    return -1
                at = string.end()
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
                if depth == 0:
                    return at
    return -1


class _Frame(msgspec.Struct):
    """An open object or list while scanning; ``closers`` end the document from inside it."""

    is_list: bool
    closers: str
    path: str
    key: str | None = None
    elements: int = 0


def complete(text: str) -> Cut | None:
    """Close a document that was cut in its tail, keeping only what was finished.

    Kept: the closed elements of the outermost list that is open at the cut and what stands before it; with
    no such list, the finished members of the root object. Never half a string, number, literal or element.
    """
    return _Scan(text).kept()


class _Scan:
    """One pass over a document, remembering the last place where it could end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stack: list[_Frame] = []
        self.end, self.survived = 0, 0
        self.frame: _Frame | None = None  # the innermost one at the last safe place

    def kept(self) -> Cut | None:
        at: int | None = 0
        while at is not None and len(self.stack) <= MAX_DEPTH:
            at = self.step(_GAP.match(self.text, at).end())  # type: ignore[union-attr]  # matches always
        if self.frame is None or at is not None:
            return None
        path = self.frame.path if self.frame.is_list else ""
        return Cut(text=self.text[: self.end] + self.frame.closers, path=path, survived=self.survived)

    def step(self, at: int) -> int | None:
        """Take the token at a place; where the next one may start, or None at the cut."""
        character = self.text[at : at + 1]
        above = self.stack[-1] if self.stack else None
        if character in ("{", "[") and (above is None or not above.is_list):
            return self.open(at + 1, is_list=character == "[")
        if character in ("}", "]"):
            if above is not None:
                self.stack.pop()
            return self.finished(at + 1)
        if character in ("{", "["):
            end = _end(self.text, at)
        else:
            found = (_STRING if character == '"' else _SCALAR).match(self.text, at)
            end = -1 if found is None else found.end()
            if found is not None and character == '"' and above is not None and above.key is None:
                if not above.is_list:
                    above.key = found[0][1:-1]
                    return end
            elif end == len(self.text) and character != '"':
                return None  # perhaps half of a number or literal
        return None if end < 0 else self.finished(end)

    def open(self, end: int, *, is_list: bool) -> int:
        above = self.stack[-1] if self.stack else None
        path = f"{above.path}/{pointer_part(above.key or '')}" if above is not None else ""
        closers = ("]" if is_list else "}") + (above.closers if above is not None else "")
        self.stack.append(_Frame(is_list=is_list, closers=closers, path=path))
        if is_list:
            self.mark(end)
        return end

    def finished(self, end: int) -> int | None:
        """A value is complete: count it, and see whether the document could end here."""
        if not self.stack:
            return None
        frame = self.stack[-1]
        frame.key = None
        frame.elements += 1
        if frame.is_list or len(self.stack) == 1:
            self.mark(end)
        return end

    def mark(self, end: int) -> None:
        self.frame = self.stack[-1]
        self.end = end
        self.survived = self.frame.elements if self.frame.is_list else 0
