"""Opening a dataset's files: regular files only, for an archive from a stranger may hold anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from shards.errors import DamagedDataset


def open_regular(path: Path) -> BinaryIO:
    """Return a file, opened for reading; a pipe would wait for somebody who writes into it.

    Raises:
        DamagedDataset: it is a pipe, socket or device.
        OSError: it can't be opened.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (`Path.open` takes no opener)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise DamagedDataset(f"{path}: a pipe, socket or device, and no file")


def read_regular(path: Path) -> bytes:
    """Return a file's bytes. Raises what `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def bytes_of_regular(path: Path) -> bytes | None:
    """Return a file's bytes; None where there is none, or something else."""
    return path.read_bytes() if path.is_file() else None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
