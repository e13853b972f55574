"""The content id of a recording: what it is, whatever it is called.

Up to 16 MiB: sha256 of the whole file. Above: sha256 of the size and of 64 blocks spread over the file,
both ends included. Several files (a bag folder) are hashed in order, each with its own id; an episode is the
id of its files and its index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

WHOLE_BYTES = 16 * 2**20
BLOCKS = 64
BLOCK_BYTES = 64 * 1024


def content_id(paths: Sequence[Path], episode: int | None = None) -> str:
    """Return the content id of a recording's files in their order: 64 hex digits.

    Args:
        paths: the files.
        episode: its index where the files may hold several recordings.
    """
    ids = [_file_id(path) for path in paths]
    if episode is not None:
        ids.append(f"episode {episode}")
    if len(ids) == 1:
        return ids[0]
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def full_hash(paths: Sequence[Path]) -> str:
    """Return the sha256 of the files' whole content, to tell equal ids from equal content."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _file_id(path: Path) -> str:
    size_bytes = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size_bytes <= WHOLE_BYTES:
            while block := file.read(2**20):
                digest.update(block)
            return digest.hexdigest()
        digest.update(size_bytes.to_bytes(8, "little"))
        for offset in block_offsets(size_bytes):
            file.seek(offset)
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


def block_offsets(size_bytes: int) -> list[int]:
    """Return where the 64 hashed blocks of a large file begin: evenly spread, both ends included."""
    last = size_bytes - BLOCK_BYTES
    return [last * i // (BLOCKS - 1) for i in range(BLOCKS)]
