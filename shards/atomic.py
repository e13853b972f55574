"""Write files whole: under a temporary name, forced to the disk, then renamed.

    NAME.3f9a1c07.partial   while it is written; a killed run leaves it behind, and nothing reads it
    NAME                    complete, or as it was before

The eight hex digits are random, so that a writer that outlives its killed run can't mix its bytes
with those of the run that came after.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TEMPORARY = re.compile(r".+\.[0-9a-f]{8}\.partial")


@dataclass(frozen=True)
class FileFacts:
    """Size and hash of a file that was written whole."""

    size_bytes: int
    sha256: str


def temporary_path(path: Path) -> Path:
    """Return a new name beside `path` under which it can be written."""
    return path.with_name(f"{path.name}.{os.urandom(4).hex()}.partial")


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one that `temporary_path` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk: a rename is only lasting after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def measure(path: Path, pieces: Iterable[bytes | bytearray]) -> FileFacts:
    """Return size and hash of what `write_whole` would write; nothing is touched."""
    digest = hashlib.sha256()
    size_bytes = 0
    for piece in pieces:
        digest.update(piece)
        size_bytes += len(piece)
    return FileFacts(size_bytes, digest.hexdigest())


def write_whole(path: Path, pieces: Iterable[bytes | bytearray], only: str = "") -> FileFacts:
    """Write a file so that it is there complete or, whatever happens, as it was before.

    Args:
        path: where; its folder exists. A file of this name is replaced.
        pieces: the content; may be a generator, nothing is kept.
        only: a sha256; where the content has another, the file stays as it was.

    Raises:
        OSError: it can't be written (a full disk). What was written of it is removed.
    """
    temporary = temporary_path(path)
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size_bytes += len(piece)
            file.flush()
            os.fsync(file.fileno())
        facts = FileFacts(size_bytes, digest.hexdigest())
        if only and facts.sha256 != only:
            temporary.unlink()
            return facts
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return facts
