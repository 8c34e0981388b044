import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.client.sse import MOST_BYTES, Frame, FrameReader, Garbage

TEXT = (
    "\ufeffretry: 1000\n\n: ping\n\nid: 1\nevent: a\ndata: één\ndata:zwei\n\n"
    "data\n\nevent: x\n\nid: 2\r\ndata: crlf\r\n\r\nid:3\rdata: cr\r\rfield: ?\ndata: 4\n\ndata: cut"
)
FRAMES = [
    Frame(event="a", data="één\nzwei", id="1"),
    Frame(event="message", data=""),
    Frame(event="message", data="crlf", id="2"),
    Frame(event="message", data="cr", id="3"),
    Frame(event="message", data="4"),
]


@given(st.lists(st.integers(0, len(TEXT.encode())), max_size=12))
def test_frames_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    reader, body = FrameReader(), TEXT.encode()
    places = [0, *sorted(cuts), len(body)]
    found = [frame for at, to in itertools.pairwise(places) for frame in reader.feed(body[at:to])]
    assert found == FRAMES
    assert (reader.retry_seconds, reader.comments) == (1.0, 1)


@pytest.mark.parametrize(
    "chunk", [b"x" * 2**20, b"data: " + b"x" * 2**20 + b"\n"], ids=["one line", "many lines"]
)
def test_an_endless_event_is_refused(chunk: bytes) -> None:
    reader = FrameReader()
    for _ in range(MOST_BYTES // 2**20 - 1):
        assert reader.feed(chunk) == []
    with pytest.raises(Garbage):
        reader.feed(3 * chunk)


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_garbage(chunk: bytes) -> None:
    with contextlib.suppress(Garbage):
        assert all(isinstance(frame, Frame) for frame in FrameReader().feed(chunk))
