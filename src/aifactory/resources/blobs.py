"""How bytes are stored: compressed where that pays, and never given back changed. Pure."""

import hashlib
import io

import msgspec
import zstandard

COMPRESSED_FROM = 10 * 1024
LARGEST_WINDOW = 8 * 1024 * 1024

IDENTITY, ZSTD = "identity", "zstd"


class Damaged(Exception):
    """What is stored is not what was stored once."""


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes as they are stored; ``size_bytes`` and ``sha256`` are those of the original."""

    encoding: str
    content: bytes
    size_bytes: int
    sha256: bytes


def pack(content: bytes) -> Blob:
    """Return bytes as they are to be stored: zstd if they are over 10 KB and it makes them smaller."""
    encoding, stored = IDENTITY, content
    if len(content) > COMPRESSED_FROM:
        compressed = zstandard.ZstdCompressor().compress(content)
        if len(compressed) < len(content):
            encoding, stored = ZSTD, compressed
    return Blob(
        encoding=encoding,
        content=stored,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).digest(),
    )


def unpack(blob: Blob) -> bytes:
    """Return the original, never more than its size. Raises Damaged unless it is that to the last bit."""
    content = _expand(blob) if blob.encoding == ZSTD else blob.content
    if len(content) != blob.size_bytes or hashlib.sha256(content).digest() != blob.sha256:
        raise Damaged("its checksum differs")
    return content


def _expand(blob: Blob) -> bytes:
    """Expand at most one byte more than there should be: what is stored may say anything of itself."""
    reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).stream_reader(
        io.BytesIO(blob.content), read_across_frames=False
    )
    try:
        return reader.read(blob.size_bytes + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damaged("it can't be decompressed") from error
