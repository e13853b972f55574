"""The files of a remote dataset, by their names in it; each is checked against the hash it must have.

What must be is known from the dataset itself: `fifth.json.sha256` names the manifest, the manifest its
tables, the table of shards each shard's tar, index and rows. A dataset that changes has another manifest,
and so another folder in the cache: nothing old is ever taken for new.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from shards.canonical_json import parse_json
from shards.errors import CannotFetch, DamagedDataset, NotADataset
from shards.folder import MANIFEST
from shards.remote.cache import Cache
from shards.remote.options import RemoteOptions
from shards.remote.prefetch import Prefetcher
from shards.remote.transfer import Expected, Transfer
from shards.shapes import MANIFEST as MANIFEST_SHAPE
from shards.shapes import misfit
from shards.tables import shard_lines

_HASH_LINE = re.compile(rb"([0-9a-f]{64})  fifth\.json\n")
_FETCHES = 3
_SHARDS = "tables/shards.jsonl"


class RemoteFiles:
    """The files of one remote dataset. Fits `Files` of `shards.streaming`; may be sent to other processes."""

    def __init__(self, url: str, options: RemoteOptions | None = None) -> None:
        """Fetch the manifest.

        Raises:
            NotADataset: no finished dataset is there.
            DamagedDataset: the manifest is not the one whose hash stands beside it.
            CannotFetch: it can't be had.
            MissingPackage: what reads such addresses is not installed.
        """
        self.options = options or RemoteOptions()
        self.url = url.rstrip("/")
        self._transfer = Transfer(url, self.options)
        hash_file = self._manifest_hash()
        self._sha256 = hash_file[:64].decode()
        self._cache = Cache(self.options.cache_folder, self.options.cache_bytes)
        self.folder = self.options.cache_folder / self._sha256[:32]
        """Where the files lie once they are here."""
        manifest = self._manifest()
        self._small = {f"{MANIFEST}.sha256": hash_file, MANIFEST: manifest}
        said = parse_json(manifest, self.folder / MANIFEST)
        if what := misfit(said, MANIFEST_SHAPE):
            raise DamagedDataset(f"{self.url}/{MANIFEST}: {what}")
        tables = {name: said["tables"][name] for name in MANIFEST_SHAPE["tables"]}  # type: ignore[attr-defined]
        self._tables = {name: Expected(facts["bytes"], facts["sha256"]) for name, facts in tables.items()}
        self._shard_files: dict[str, Expected] = {}
        self._held: dict[str, mmap.mmap] = {}
        self._prefetch: tuple[int, Prefetcher] | None = None

    def _manifest_hash(self) -> bytes:
        try:
            data = self._transfer.whole(f"{MANIFEST}.sha256")
        except FileNotFoundError as error:
            raise NotADataset(f"{self.url}: no finished dataset (it has no {MANIFEST}.sha256)") from error
        if not _HASH_LINE.fullmatch(data):
            raise DamagedDataset(f"{self.url}/{MANIFEST}.sha256: not what was written; copy it there again")
        return data

    def path(self, name: str) -> Path:
        """Return where a file is, after it was brought there. A shard's may be removed when room is needed.

        Raises:
            FileNotFoundError: the dataset names no such file, or it is not there.
            DamagedDataset: it comes damaged again and again.
            CannotFetch: it can't be had.
        """
        with self.open(name) as file:
            if not name.startswith("shards/") and name not in self._held and os.fstat(file.fileno()).st_size:
                # The few files that say what the others are stay as long as this object.
                self._held[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self.folder / name

    def open(self, name: str) -> BinaryIO:
        """Return a file, opened for reading; it stays while it is open or mapped. Raises what `path` does."""
        if self._prefetch is not None:
            self._prefetcher().take(name)
        size_bytes, write = self._recipe(name)
        return self._cache.open(f"{self.folder.name}/{name}", size_bytes, write)

    def expect(self, names: Sequence[str]) -> None:
        """Begin to fetch what will be asked for next, most urgent first, `prefetch` files at a time.

        Errors are kept for the one who asks for the file.
        """
        if self.options.prefetch and names:
            self._in_shards(names[0])  # before there are threads that would all read it
            here = self.folder.name
            self._prefetcher().expect([n for n in names if not self._cache.has(f"{here}/{n}")])

    def _fetch(self, name: str) -> None:
        size_bytes, write = self._recipe(name)
        self._cache.open(f"{self.folder.name}/{name}", size_bytes, write).close()

    def _prefetcher(self) -> Prefetcher:
        """Return this process's prefetcher: a fork has none of its parent's threads."""
        if self._prefetch is None or self._prefetch[0] != os.getpid():
            self._prefetch = (os.getpid(), Prefetcher(self._fetch, self.options.prefetch))
        return self._prefetch[1]

    def _recipe(self, name: str) -> tuple[int, Any]:
        """Return a file's size, and what writes it."""
        if name in self._small:
            data = self._small[name]
            return len(data), lambda file: file.write(data)
        expected = self._tables.get(name) or self._in_shards(name)
        if expected is None:
            raise FileNotFoundError(f"{self.url}: the dataset names no file {name}")

        def write(file: BinaryIO) -> None:
            try:
                self._transfer.copy(name, expected, file)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"{self.url}/{name}: is missing, though the dataset names it; copy it there again"
                ) from error
            except PermissionError as error:
                raise CannotFetch(
                    f"{self.url}/{name}: may not be read ({error}); check credentials"
                ) from error

        return expected.size_bytes, write

    def _manifest(self) -> bytes:
        for _ in range(_FETCHES):
            data = self._transfer.whole(MANIFEST)
            if hashlib.sha256(data).hexdigest() == self._sha256:
                return data
        raise DamagedDataset(
            f"{self.url}/{MANIFEST}: not the file whose hash stands in {MANIFEST}.sha256; "
            "copy both there again"
        )

    def _in_shards(self, name: str) -> Expected | None:
        # Read when first asked for, without a lock that a fork could find taken.
        if not self._shard_files:
            self._shard_files = dict(_expected_of(shard_lines(self.path(_SHARDS))))
        return self._shard_files.get(name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_prefetch": None, "_held": {}}


def _expected_of(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Expected]]:
    """Yield each file of the shards in the table of shards, and what it must be."""
    for line in lines:
        base = f"shards/{line['name']}"
        yield f"{base}.tar", Expected(line["bytes"], line["sha256"])
        yield f"{base}.tar.idx", Expected(8 * (line["samples"] + 1), line["idx_sha256"])
        yield f"{base}.samples.npy", Expected(line["samples_bytes"], line["samples_sha256"])
