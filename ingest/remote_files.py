"""Recordings on object stores and web servers: `s3://`, `gs://`, `https://`.

Containers that PyAV reads, MCAP and ROS 1 bags are read by ranges. What a library must open by name (SQLite,
packed bags, other decoders), and what a server gives only as a whole, is copied to the local cache.

What goes wrong on the way is never the recording's fault. An object that could not be read to its end, or
that is another one by now, is told by `unharmed` before a result counts: the work is not done, and tried
again by the next run.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from ingest.errors import WrongUse
from ingest.sources.ranges import DistantFile, RangeReader
from shards import RemoteOptions, ShardsError
from shards.remote.cache import Cache
from shards.remote.store import Facts, Store

READABLE = ("s3", "s3a", "gs", "gcs", "http", "https")
_WEB = ("http", "https")

_stores: dict[str, Store] = {}


class ChangedMeanwhile(ShardsError):
    """An object is another one than when it was first looked at: nothing that was read of it counts."""


def place_of(given: Path | str) -> Path:
    """Return the path of a local file or folder, or what stands for one on a store.

    Raises:
        WrongUse: an address of a kind that is not read.
    """
    if isinstance(given, Path) or "://" not in given:
        return Path(given) if isinstance(given, str) else given
    if given.startswith("file://"):
        return Path(given.removeprefix("file://"))
    if given.partition("://")[0] not in READABLE:
        raise WrongUse(f"{given}: recordings are read from {', '.join(f'{name}://' for name in READABLE)}")
    return RemoteFile(given)


class RemoteFile(DistantFile):
    """One object, or the folder of some. Making it touches nothing."""

    url: str
    key: str
    """Its name below the bucket or host."""
    store: Store
    is_web: bool
    failure: Exception | None
    """Why some of it could not be had."""
    alive: Callable[[], None]
    """Called for every part that came."""
    _known: Facts | None
    _held: BinaryIO | None

    def __new__(cls, url: str) -> RemoteFile:  # before 3.12, a path takes its arguments here
        """Take an address; what follows the host is the object's name, as it is."""
        self = super().__new__(cls, url)
        self.url = url
        protocol, _, rest = url.partition("://")
        root, _, self.key = rest.partition("/")
        self.is_web = protocol in _WEB
        self.store = store_at(f"{protocol}://{root}")
        self.failure = self._known = self._held = None
        self.alive = _nothing
        return self

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return self.url

    def __truediv__(self, name: Any) -> RemoteFile:
        return RemoteFile(f"{self.url.rstrip('/')}/{name}")

    @cached_property
    def name(self) -> str:
        """The last part of the address, without a query."""
        last = self.url.rstrip("/").rpartition("/")[2]
        return unquote(last.partition("?")[0]) if self.is_web else last

    def with_name(self, name: str) -> RemoteFile:
        """Return what lies beside it."""
        return RemoteFile(f"{self.url.rstrip('/').rpartition('/')[0]}/{name}")

    def resolve(self, strict: bool = False) -> RemoteFile:
        """Return itself."""
        return self

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Ask whether there is such an object."""
        try:
            return self._facts() is not None
        except FileNotFoundError:
            return False

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Ask whether there is such an object."""
        return self.exists()

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Say no: a folder of a store is nothing by itself."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return its size; nothing else is known.

        Raises:
            FileNotFoundError: there is no such object.
            shards.CannotFetch: no answer came.
        """
        seen = (stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self._facts().size_bytes, 0, 0, 0)
        # without the second part these are None; that an object has changed is told by `unharmed`
        return os.stat_result(seen, {"st_atime_ns": 0, "st_mtime_ns": 0, "st_ctime_ns": 0})

    def open(self, *_: Any, **__: Any) -> Any:
        """Return the file, opened for reading bytes; by ranges where its server has them."""
        facts = self._facts()
        if not facts.has_ranges:
            return self.local().open("rb")
        return RangeReader(self._range, facts.size_bytes, self.name)

    def read_bytes(self) -> bytes:
        """Return all of it."""
        with self.open() as file:
            return bytes(file.read())

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: Any = None) -> str:
        """Return all of it as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def local(self) -> Path:
        """Return a copy in the cache; it stays there while this object is used.

        Raises:
            shards.CannotFetch: it can't be had.
            OSError: there is no room for it.
        """
        facts, options = self._facts(), self.store.options
        mark = hashlib.sha256(f"{self.url} {facts.identity}".encode()).hexdigest()[:32]
        name = f"recordings/{mark}/{self.name}"
        if self._held is None:
            cache = Cache(options.cache_folder, options.cache_bytes)
            self._held = cache.open(name, facts.size_bytes, self._copy)
            weakref.finalize(self, self._held.close)
        return options.cache_folder / name

    def unharmed(self) -> None:
        """Raise if not all that was asked for came, or if the object has changed since.

        Raises:
            ChangedMeanwhile: it has changed, or is gone.
            shards.CannotFetch: some of it could not be had.
        """
        if self.failure is not None:
            raise self.failure
        if self._known is None:
            return
        try:
            now = self.store.facts(self.key).identity
        except FileNotFoundError:
            now = ""
        if now != self._known.identity:
            what = "has changed" if now else "has disappeared"
            raise ChangedMeanwhile(f"{self.url}: the object {what} while it was read")

    def _facts(self) -> Facts:
        if self._known is None:
            self._known = self.store.facts(self.key)
        return self._known

    def _range(self, start: int, stop: int) -> bytes:
        """Fetch a range. A failure stays: readers may swallow it, and take what is there for all there is."""
        if self.failure is not None:
            raise self.failure
        try:
            part = self.store.part(self.key, start, stop)
        except Exception as error:
            self.failure = error
            raise
        if threading.current_thread() is threading.main_thread():  # others must not write to its pipe
            self.alive()
        return part

    def _copy(self, file: BinaryIO) -> None:
        facts, step = self._facts(), self.store.options.part_bytes
        if not facts.has_ranges:
            file.write(self.store.whole(self.key))
            return
        for start in range(0, facts.size_bytes, step):
            file.write(self._range(start, min(start + step, facts.size_bytes)))
        self.unharmed()  # before others find it in the cache


def store_at(root: str) -> Store:
    """Return this process's way to a bucket or host."""
    if root not in _stores:
        _stores[root] = Store(root, RemoteOptions())
    return _stores[root]


def asked_again() -> tuple[int, str]:
    """Return how often this process had to ask again for something, and why the last time."""
    causes = [store.last_cause for store in _stores.values() if store.last_cause]
    return sum(store.asked_again for store in _stores.values()), causes[-1] if causes else ""


def _nothing() -> None:
    """Do nothing."""


@contextmanager
def unharmed(paths: Iterable[Path], alive: Callable[[], None] = _nothing) -> Iterator[None]:
    """Check, when the `with` is left in any way, that what was read of these files is what they hold.

    Args:
        paths: some of which may be elsewhere.
        alive: called for every part that came: what comes by network shows in no count of bytes read, by
            which an engine tells a worker that waits from one that is stuck.

    Raises:
        ChangedMeanwhile, shards.CannotFetch: as `RemoteFile.unharmed`, instead of any other error.
    """
    remote = [path for path in paths if isinstance(path, RemoteFile)]
    for file in remote:
        file.alive = alive
    try:
        yield
    except Exception:  # it may follow from that
        _check(remote)
        raise
    _check(remote)


def _check(files: Iterable[RemoteFile]) -> None:
    for file in files:
        file.unharmed()
