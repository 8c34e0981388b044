"""What is stored comes back to the last bit, or not at all."""

import random
import tracemalloc

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from aifactory.resources.blobs import COMPRESSED_FROM, Blob, Damaged, pack, unpack


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_what_is_packed_comes_back(content: bytes, times: int) -> None:
    assert unpack(pack(content * times)) == content * times


def test_small_content_and_what_would_not_shrink_is_stored_as_it_is() -> None:
    noise = random.Random(1).randbytes(COMPRESSED_FROM * 2)
    assert pack(b"a" * COMPRESSED_FROM).encoding == "identity"
    assert pack(noise).encoding == "identity"
    packed = pack(b"a" * (COMPRESSED_FROM + 1))
    assert packed.encoding == "zstd"
    assert len(packed.content) < 100


def test_any_changed_byte_is_noticed() -> None:
    for blob in (pack(b"some words " * 5), pack(b"some words " * 2000)):
        for place in range(len(blob.content)):
            content = bytearray(blob.content)
            content[place] ^= 0x40
            changed = msgspec.structs.replace(blob, content=bytes(content))
            # A bit of a compressed frame that says nothing may change; the content may not.
            try:
                assert unpack(changed) == unpack(blob)
                assert blob.encoding == "zstd"
            except Damaged:
                pass


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_cut_content_is_noticed(cut: int) -> None:
    blob = pack(b"words and words " * 1000)
    with pytest.raises(Damaged):
        unpack(msgspec.structs.replace(blob, content=blob.content[:cut]))


def test_a_bomb_is_not_expanded_beyond_the_stored_size() -> None:
    tracemalloc.start()
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    tracemalloc.clear_traces()
    tracemalloc.reset_peak()
    blob = Blob(encoding="zstd", content=bomb, size_bytes=1000, sha256=bytes(32))
    with pytest.raises(Damaged):
        unpack(blob)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_frame_that_wants_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    content = random.Random(2).randbytes(3000) * 4000
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(content)
    blob = Blob(encoding="zstd", content=frame, size_bytes=len(content), sha256=bytes(32))
    with pytest.raises(Damaged):
        unpack(blob)
