"""Unpacking the chunks that come next in threads, while the one before them is used.

The decompressors (bz2, lz4, zstd) let other threads run while they work. Order and results are those of
one thread; what is unpacked ahead is bounded in number and in bytes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

AHEAD_BYTES = 64 << 20
"""So much may be unpacked, or being unpacked, ahead of what is asked for."""
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReadAhead(Generic[K, V]):
    """Answers for keys in the order in which they were announced. Close it, or use it as a context manager.

    Args:
        keys: in the order in which they will be asked for; some may be left out.
        read: gives the value of a key; called from several threads.
        size_of: the bytes of a value that took work; 0 where it took none, and no threads are wanted for the
            rest.
        threads: how many work at once; 1: none beside the caller's, nothing is read ahead.
    """

    def __init__(
        self, keys: Iterable[K], read: Callable[[K], V], size_of: Callable[[V], int], threads: int
    ) -> None:
        self._todo = deque(keys) if threads > 1 else deque()
        self._read = read
        self._size_of = size_of
        self._threads = threads
        self._running: OrderedDict[K, Future[V]] = OrderedDict()
        self._largest_bytes = 0
        """Of a value so far; 0: none was worth the threads."""
        self._pool: ThreadPoolExecutor | None = None

    def take(self, key: K) -> V:
        """Return the value of a key; those announced before it are no longer asked for."""
        value = self._come(key)
        self._largest_bytes = max(self._largest_bytes, self._size_of(value))
        self._start()
        return value

    def _come(self, key: K) -> V:
        while key in self._running:
            first, future = self._running.popitem(last=False)
            if first == key:
                return future.result()
        while key in self._todo and self._todo.popleft() != key:
            pass
        return self._read(key)

    def _start(self) -> None:
        """Begin with as many of the next ones as there is room for."""
        most = min(self._threads, AHEAD_BYTES // self._largest_bytes) if self._largest_bytes else 0
        while self._todo and len(self._running) < most:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "unpack")
            key = self._todo.popleft()
            self._running[key] = self._pool.submit(self._read, key)

    def close(self) -> None:
        """Wait for what is being read, and drop it."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._todo.clear()
        self._running.clear()

    def __enter__(self) -> ReadAhead[K, V]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
