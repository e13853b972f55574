"""Files that are elsewhere, read by ranges: what stands in for a path and for an open file.

Readers of containers jump: to an index at the end, to a chunk, between pictures and sound that lie far
apart. Each stretch that is read on grows what is asked for next, from 64 KiB to 4 MiB; a jump begins small.
So an index costs little, and a film is a few large requests.
"""

from __future__ import annotations

import io
import os
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import Any

FIRST_BYTES = 1 << 16
LARGEST_BYTES = 4 << 20
KEPT = 8
"""So many stretches are kept: a file takes at most 32 MiB of memory."""

Fetch = Callable[[int, int], bytes]
"""Returns bytes [start, stop)."""


class RangeReader(io.RawIOBase):
    """A file that is read by ranges. `bytes_at` may be called by several threads.

    Args:
        fetch: brings a range that the file has; what it raises is passed on.
        size_bytes: of the file.
        name: of the file, without folders: FFmpeg looks at its ending.
    """

    def __init__(self, fetch: Fetch, size_bytes: int, name: str) -> None:
        self.name = name
        self._fetch, self._size_bytes, self._at = fetch, size_bytes, 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next `read` begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose where the next `read` begins."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise OSError(f"{self.name}: can't go to {base + offset}, before the file's first byte")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes: as many as asked for, or all that are left."""
        left = max(0, self._size_bytes - self._at)
        data = self.bytes_at(self._at, left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there is something left."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def bytes_at(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes [offset, offset + size), which the file must have."""
        pieces = []
        with self._lock:
            while size_bytes > 0:
                piece = self._piece(offset, size_bytes)
                pieces.append(piece)
                offset, size_bytes = offset + len(piece), size_bytes - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, offset: int, most: int) -> bytes:
        """Return some bytes from `offset` on: from what is kept, or newly fetched."""
        grown = FIRST_BYTES
        for start, data in self._kept.items():
            if start <= offset < start + len(data):
                self._kept.move_to_end(start)
                return data[offset - start : offset - start + most]
            if start + len(data) == offset:
                grown = min(2 * len(data), LARGEST_BYTES)
        stop = min(offset + max(grown, min(most, LARGEST_BYTES)), self._size_bytes)
        data = self._fetch(offset, stop)
        self._kept[offset] = data
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return data[:most]


class DistantFile(PosixPath):
    """Stands where code expects the path of a file, which is elsewhere: it opens, and tells its size.

    As a path it only knows its own name and neighbours. A library that opens files by itself finds nothing
    under it: it gets `at_hand`.
    """

    @abstractmethod
    def local(self) -> Path:
        """Return the path of a copy on this machine, which stays as long as this object."""


def at_hand(path: Path) -> Path:
    """Return a path that any library can open."""
    return path.local() if isinstance(path, DistantFile) else path
