"""Stretches of a file as memory, without a copy."""

from __future__ import annotations

import mmap
from typing import BinaryIO

from ingest.sources.ranges import RangeReader

LEAST_BYTES = 1 << 16
"""What is smaller is copied: a map costs more."""


def mapped(file: BinaryIO | RangeReader, offset: int, size_bytes: int) -> memoryview:
    """Return bytes [offset, offset + size) of a file, which must hold them, read-only.

    The pages are the system's own copy of the file: they come when they are looked at, and the map goes
    with the last view of it. Of a file that another program cuts short meanwhile, what is missing can't be
    looked at: the system ends the process then. A file from elsewhere is copied.

    Raises:
        OSError: the file is shorter than that by now, or can't be mapped.
    """
    if isinstance(file, RangeReader):
        return memoryview(file.bytes_at(offset, size_bytes))
    begin = offset - offset % mmap.ALLOCATIONGRANULARITY
    try:
        whole = mmap.mmap(file.fileno(), offset + size_bytes - begin, access=mmap.ACCESS_READ, offset=begin)
    except ValueError as error:
        raise OSError(f"the file has no {size_bytes} bytes at {offset} any more") from error
    return memoryview(whole)[offset - begin :]
