"""Decompressing the chunks of bags: bz2, lz4, zstd; what comes before damage is kept."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from typing import NamedTuple

LARGEST_CLAIM_BYTES = 2**31
"""A chunk that claims to be larger is damaged, compressed or not."""
LARGEST_CHUNK_BYTES = 2**28
"""A compressed chunk that claims to be larger when unpacked is taken for damage, not for data. Recorders cut
chunks at a few mebibytes, or behind a message that is larger."""
LARGE_CHUNK_BYTES, LARGEST_RATIO = 2**26, 256
"""The same holds for one that is larger than this and so many times as large as it is packed."""


class Unpacked(NamedTuple):
    """The bytes inside a chunk, as far as they can be had."""

    data: bytes | memoryview
    """A view where it is as it lies in the file."""
    damage: str = ""
    """Why it is not everything; empty when it is."""
    whole_bytes: int = 0
    """How many bytes it should have, where it has not."""
    distrusted: bytes | memoryview = b""
    """Bytes of which some are wrong, and nobody knows which: good for counting only."""


def unpack(packed: bytes | memoryview, compression: str, size_bytes: int) -> Unpacked:
    """Decompress a chunk; what comes before damage is kept.

    Args:
        packed: the chunk's bytes, perhaps cut short.
        compression: `none` or empty, `bz2`, `lz4` (frame format), `zstd`.
        size_bytes: how many bytes the chunk should have when unpacked.
    """
    if size_bytes > LARGEST_CLAIM_BYTES:
        return Unpacked(b"", f"a chunk claims to be {size_bytes} bytes large")
    if compression in ("", "none"):
        missing = size_bytes - len(packed)
        damage = f"a chunk is cut short: {missing} bytes are missing" if missing > 0 else ""
        return Unpacked(packed, damage, size_bytes)
    step = _decompressor(compression)
    if step is None:
        return Unpacked(b"", f"chunk compression {compression!r} is not supported")
    believable = max(LARGE_CHUNK_BYTES, LARGEST_RATIO * len(packed))
    if size_bytes > min(LARGEST_CHUNK_BYTES, believable):
        return Unpacked(b"", f"a chunk claims to be {size_bytes} bytes large")
    try:
        whole = step(packed, size_bytes)
        if len(whole) == size_bytes:
            return Unpacked(whole)
    except Exception:  # noqa: S110 (each library has its own; what can be had is had below)
        pass
    step = _decompressor(compression)
    assert step is not None
    data, damage = bytearray(), ""
    # in pieces, so that what comes before a damaged block is not lost with it
    for begin in range(0, len(packed), 1 << 16):
        try:
            data += step(packed[begin : begin + (1 << 16)], size_bytes - len(data))
        except EOFError:
            break
        except Exception as error:  # each library has its own; all mean the same
            damage = f"a {compression} chunk is damaged ({error})"
            break
    if not damage and len(data) < size_bytes:
        damage = f"a {compression} chunk ends after {len(data)} of {size_bytes} bytes"
    return Unpacked(bytes(data), damage, size_bytes)


def _decompressor(compression: str) -> Callable[[bytes | memoryview, int], bytes] | None:
    """Return what takes packed bytes and the most bytes wanted, and gives unpacked bytes."""
    if compression == "bz2":
        return bz2.BZ2Decompressor().decompress
    if compression == "lz4":
        import lz4.frame

        # one call gives at most what is wanted, and keeps the rest: nothing more is needed then
        return lz4.frame.LZ4FrameDecompressor().decompress  # type: ignore[no-any-return]
    if compression == "zstd":
        from backports import zstd

        return zstd.ZstdDecompressor().decompress
    return None
