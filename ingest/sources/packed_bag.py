"""Bags that are packed as a whole file: `.mcap.zstd`, `.db3.zstd`, `.bag.gz`, `.bag.bz2` …

They are unpacked to a temporary file that has no name any more once it is open: it is gone when the bag is
closed, however that happens. What comes before damage is kept.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ingest.errors import CannotOpen
from ingest.recording import Incident
from ingest.sources.bag_storage import Storage

BLOCK_BYTES = 1 << 20
LARGEST_RATIO = 1000
LEAST_BYTES = 1 << 30
"""A file that unpacks to more than `LARGEST_RATIO` times its size, and to more than this, is refused."""


def _zstd(path: Path) -> IO[bytes]:
    from backports import zstd

    opened: Any = zstd.open(path, "rb")
    return opened  # type: ignore[no-any-return]


def _lz4(path: Path) -> IO[bytes]:
    import lz4.frame

    opened: Any = lz4.frame.open(path, "rb")
    return opened  # type: ignore[no-any-return]


PACKINGS: dict[bytes, tuple[str, Callable[[Path], Any]]] = {
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
    b"\x1f\x8b": ("gzip", lambda path: gzip.open(path)),  # noqa: SIM115
    b"BZh": ("bzip2", lambda path: bz2.open(path)),  # noqa: SIM115
    b"\xfd7zXZ\x00": ("xz", lambda path: lzma.open(path)),  # noqa: SIM115
    b"\x04\x22\x4d\x18": ("lz4", _lz4),
}
"""By the bytes that a packed file begins with."""


def is_packed(head: bytes) -> bool:
    """Return whether a file that begins so is packed."""
    return any(head.startswith(magic) for magic in PACKINGS)


def open_packed(path: Path, open_plain: Callable[[Path], Storage]) -> Storage:
    """Unpack a bag and open it.

    Args:
        path: the packed file.
        open_plain: opens what is in it.

    Raises:
        CannotOpen: what is in it is no bag, or it unpacks to far more than it can hold.
        OSError: there is no room for it.
    """
    with path.open("rb") as file:
        head = file.read(16)
    name, opened = next(found for magic, found in PACKINGS.items() if head.startswith(magic))
    most = max(LEAST_BYTES, LARGEST_RATIO * path.stat().st_size)
    with tempfile.NamedTemporaryFile(suffix=".bag") as unpacked:
        damage, size_bytes = "", 0
        packed = opened(path)
        with packed:
            while True:
                try:
                    block = (
                        packed.read1(BLOCK_BYTES) if hasattr(packed, "read1") else packed.read(BLOCK_BYTES)
                    )
                except Exception as error:  # each library has its own; all mean the same
                    damage = f"the {name} file is damaged or cut short ({error})"
                    break
                if not block:
                    break
                unpacked.write(block)
                size_bytes += len(block)
                if size_bytes > most:
                    raise CannotOpen(f"the {name} file unpacks to more than {most} bytes: taken for damage")
        unpacked.flush()
        if not size_bytes:
            raise CannotOpen(damage or f"the {name} file is empty")
        storage = open_plain(Path(unpacked.name))
    if damage:
        last_ns = storage.stop_ns
        return _Remarked(storage, Incident("failure", damage, "", last_ns, last_ns + 1))
    return storage


class _Remarked:
    """A storage of which there is more to be said."""

    def __init__(self, storage: Storage, incident: Incident) -> None:
        self._storage = storage
        self.container = storage.container
        self.channels = storage.channels
        self.start_ns, self.stop_ns = storage.start_ns, storage.stop_ns
        self.details = storage.details
        self.incidents = [*storage.incidents, incident]
        self.messages = storage.messages
        self.mixed = storage.mixed
        self.last_before = storage.last_before
        self.first_from = storage.first_from

    def close(self) -> None:
        """See `Storage`."""
        self._storage.close()
