"""The files of a remote dataset: fetched again where they come damaged, checked when they are here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from shards.errors import CannotFetch, DamagedDataset
from shards.remote.options import RemoteOptions
from shards.remote.store import Store

_FETCHES = 3
"""How often a file is fetched that arrives damaged."""


@dataclass(frozen=True)
class Expected:
    """What a file must be."""

    size_bytes: int
    sha256: str


class Transfer:
    """Reads the files of one remote folder. May be used by several threads, and by a forked process."""

    def __init__(self, url: str, options: RemoteOptions) -> None:
        """Touch nothing as yet.

        Raises:
            CannotFetch: the address has a query, to which no name can be added.
        """
        if url.startswith(("http://", "https://")) and "?" in url:
            raise CannotFetch(f"{url.partition('?')[0]}: a dataset's address must have no query (?...)")
        self.url = url.rstrip("/")
        self._options = options
        self._store = Store(url, options)

    def whole(self, name: str) -> bytes:
        """Return a small file.

        Raises:
            FileNotFoundError: there is none.
            CannotFetch: it can't be had.
            MissingPackage: what reads such addresses is not installed.
        """
        return self._store.whole(name)

    def copy(self, name: str, expected: Expected, file: BinaryIO) -> None:
        """Write a file's bytes to `file`, from its first byte on; fetch it anew where it comes damaged.

        Raises:
            DamagedDataset: it comes damaged again and again; the message says what to do.
            FileNotFoundError, CannotFetch, MissingPackage: as in `whole`.
        """
        for _ in range(_FETCHES):
            file.seek(0)
            got = hashlib.sha256()
            for start in range(0, expected.size_bytes, self._options.part_bytes):
                stop = min(start + self._options.part_bytes, expected.size_bytes)
                part = self._store.part(name, start, stop)
                got.update(part)
                file.write(part)
            if got.hexdigest() == expected.sha256:
                return
        raise DamagedDataset(
            f"{self.url}/{name}: came {_FETCHES} times, and is not the file that the dataset's tables name "
            f"(sha256 {got.hexdigest()}, not {expected.sha256}); run `fifth verify` where the dataset is, "
            "and copy the file there again, or make it again"
        )
