"""Bags that are packed as a whole file: `.mcap.zstd`, `.db3.zstd`, `.bag.gz`, `.bag.bz2` …

A process keeps the one that it unpacked last in a temporary file without a name: it is gone when another one
is unpacked or the process ends, however that happens. What comes before damage is kept.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from ingest.errors import CannotOpen
from ingest.recording import Incident
from ingest.sources.bag_storage import Storage

SQLITE = b"SQLite format 3\0"
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
    facts = path.stat()
    unpacked = _unpacked(path.resolve(), facts.st_size, facts.st_mtime_ns)
    unpacked.file.seek(0)
    if unpacked.file.read(len(SQLITE)) == SQLITE:  # SQLite opens by name only
        with tempfile.NamedTemporaryFile(suffix=".db3") as named:
            unpacked.file.seek(0)
            shutil.copyfileobj(unpacked.file, named, BLOCK_BYTES)
            named.flush()
            storage = open_plain(Path(named.name))
    else:
        storage = open_plain(Path(f"/proc/self/fd/{unpacked.file.fileno()}"))
    if unpacked.damage:
        last_ns = storage.stop_ns
        return _Remarked(storage, Incident("failure", unpacked.damage, "", last_ns, last_ns + 1))
    return storage


class _Unpacked:
    """A bag in a temporary file without a name, and why it is not everything."""

    def __init__(self, file: IO[bytes], damage: str) -> None:
        self.file = file
        self.damage = damage

    def __del__(self) -> None:
        with suppress(OSError):  # a disk that was full is still full
            self.file.close()


@lru_cache(maxsize=1)
def _unpacked(path: Path, packed_bytes: int, changed_ns: int) -> _Unpacked:
    """Unpack a file, unless it is the one that was unpacked last.

    Args:
        path: the packed file.
        packed_bytes: its size, and
        changed_ns: when it was changed: another one under the same name is another one.
    """
    with path.open("rb") as file:
        head = file.read(16)
    name, opened = next(found for magic, found in PACKINGS.items() if head.startswith(magic))
    most = max(LEAST_BYTES, LARGEST_RATIO * packed_bytes)
    kept = _Unpacked(tempfile.TemporaryFile(), "")  # noqa: SIM115 (it closes it)
    try:
        with opened(path) as packed:
            kept.damage = _copy(packed, kept.file, name, most)
        if not kept.file.tell():
            raise CannotOpen(kept.damage or f"the {name} file is empty")
        kept.file.flush()
    except BaseException:
        kept.file.close()
        raise
    return kept


def _copy(packed: Any, out: IO[bytes], name: str, most: int) -> str:
    """Unpack a file; return why what came is not everything, empty where it is.

    Raises:
        CannotOpen: it unpacks to more than `most` bytes.
    """
    while True:
        try:
            block = packed.read1(BLOCK_BYTES) if hasattr(packed, "read1") else packed.read(BLOCK_BYTES)
        except Exception as error:  # each library has its own; all mean the same
            return f"the {name} file is damaged or cut short ({error})"
        if not block:
            return ""
        out.write(block)
        if out.tell() > most:
            raise CannotOpen(f"the {name} file unpacks to more than {most} bytes: taken for damage")


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
