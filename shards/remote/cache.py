"""Files from elsewhere, kept in a local folder of bounded size that many processes share.

    FOLDER/DATASET/shards/x-000000.tar       whole; renamed to this when all of it was there and right
    FOLDER/DATASET/shards/x-000000.tar.3f9a1c07.partial     on its way; locked while its writer lives
    FOLDER/.locks/…                          one per file on its way, so that it is fetched once

A file is in use while some process holds a shared lock on it. The system keeps such a lock for as long as
the file is open or mapped, and lets go of it when the process ends, however it ends. What is not in use is
removed when room is needed, the one used longest ago first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shards.atomic import is_temporary, temporary_path

Write = Callable[[BinaryIO], None]
"""Writes a file's content, all of it and right, or raises."""

_LOCKS = ".locks"


class Cache:
    """A folder of files from elsewhere."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._told = False

    def has(self, name: str) -> bool:
        """Tell whether a file is here."""
        return (self.folder / name).is_file()

    def open(self, name: str, size_bytes: int, write: Write) -> BinaryIO:
        """Return a file, opened for reading; it is brought here first where it is not.

        It is in use until it is closed, and until the last map of it is gone.

        Args:
            name: path in this folder.
            size_bytes: of the file, for making room.
            write: called if the file is not here, in one process at a time.

        Raises:
            OSError: it can't be written (a full disk), or what `write` raises.
        """
        path = self.folder / name
        while True:
            self._bring(path, size_bytes, write)
            with contextlib.suppress(FileNotFoundError):
                file = path.open("rb")
                fcntl.flock(file, fcntl.LOCK_SH)
                if os.fstat(file.fileno()).st_nlink:
                    os.utime(path)  # used now
                    return file
                file.close()  # it was removed between the two lines above

    def _bring(self, path: Path, size_bytes: int, write: Write) -> None:
        if _is_whole(path, size_bytes):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(hashlib.sha256(str(path).encode()).hexdigest()[:32]):
            if _is_whole(path, size_bytes):  # another process was faster
                return
            temporary = temporary_path(path)
            with self._locked("room"):
                self._make_room(size_bytes)
                file = temporary.open("xb")
                fcntl.flock(file, fcntl.LOCK_EX)
                os.truncate(file.fileno(), size_bytes)  # so that others count it
            try:
                with file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                    temporary.replace(path)
                    fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough: a fork may have it open too
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def _make_room(self, size_bytes: int) -> None:
        """Remove what was used longest ago until so much more fits, and what dead writers left."""
        files = []
        for path, facts in self._files():
            if is_temporary(path.name) and _remove_unused(path):
                continue
            files.append((facts.st_mtime_ns, facts.st_size, path))
        total = sum(size for _, size, _ in files) + size_bytes
        for _, size, path in sorted(files):
            if total <= self._limit_bytes:
                return
            if not is_temporary(path.name) and _remove_unused(path):
                total -= size
        if total > self._limit_bytes and not self._told:
            self._told = True
            warnings.warn(
                f"{self.folder}: files in use have {total} bytes, more than the {self._limit_bytes} of the "
                "cache; raise cache_bytes, or keep fewer shards open",
                stacklevel=2,
            )

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, folders, names in os.walk(self.folder):
            if _LOCKS in folders:
                folders.remove(_LOCKS)
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # removed or renamed meanwhile
                    path = Path(folder) / name
                    yield path, path.stat()

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold a lock that one process or thread can hold at a time."""
        folder = self.folder / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)


def _is_whole(path: Path, size_bytes: int) -> bool:
    """Tell whether a file is here; one that a power failure cut short is fetched anew."""
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def _remove_unused(path: Path) -> bool:
    """Remove a file unless some process holds a lock on it; tell whether it is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True
