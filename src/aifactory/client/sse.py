"""Server-sent events from bytes, as they come. Pure."""

import msgspec

MOST_BYTES = 4 * 1024 * 1024


class Garbage(ValueError):
    """These bytes are no stream of events."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What was between two empty lines; ``id`` None: it had none."""

    event: str
    data: str
    id: str | None = None


class FrameReader:
    """Collects bytes, cut anywhere, into frames. ``comments`` counts the comment lines (pings)."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        self.comments = 0
        self._rest = b""
        self._started = False
        self._fresh()

    def _fresh(self) -> None:
        self._event = "message"
        self._id: str | None = None
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take bytes, give the frames that they complete. Raises Garbage."""
        *lines, self._rest = self._lines(self._rest + chunk)
        frames = [frame for line in lines if (frame := self._take(line)) is not None]
        if len(self._rest) + self._size > MOST_BYTES:
            raise Garbage(f"An event is larger than {MOST_BYTES:,} bytes.")
        return frames

    def _lines(self, text: bytes) -> list[bytes]:
        """Split at LF, CRLF or CR; a CR at the very end may be half a CRLF, and stays in the rest."""
        held = text.endswith(b"\r")
        body = text[:-1] if held else text
        lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if held:
            lines[-1] += b"\r"
        return lines

    def _take(self, line: bytes) -> Frame | None:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise Garbage("The events are not UTF-8.") from error
        if not self._started:
            self._started, text = True, text.removeprefix("\ufeff")
        if not text:
            return self._end()
        self._size += len(line)
        name, _, value = text.partition(":")
        self._field(name, value.removeprefix(" "))
        return None

    def _field(self, name: str, value: str) -> None:
        if name == "":
            self.comments += 1
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = min(float(value[:9]) / 1000, 60.0)

    def _end(self) -> Frame | None:
        frame = Frame(event=self._event, data="\n".join(self._data), id=self._id) if self._data else None
        self._fresh()
        return frame
