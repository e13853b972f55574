"""Fetch files ahead of their use, a few at a time, in threads that end when there is nothing to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from shards.errors import ShardsError


class Prefetcher:
    """Fetches what is expected. Belongs to one process: a fork has no threads."""

    def __init__(self, fetch: Callable[[str], None], threads: int) -> None:
        """Start nothing as yet.

        Args:
            fetch: brings one file; its errors are left to the one who asks for the file.
            threads: how many files at a time.
        """
        self._fetch = fetch
        self._limit = threads
        self._queue: list[str] = []
        self._running: set[str] = set()
        self._threads = 0
        self._changed = threading.Condition()

    def expect(self, names: Sequence[str]) -> None:
        """Fetch these next, most urgent first, instead of what was expected before."""
        with self._changed:
            self._queue = [name for name in names if name not in self._running]
            while self._threads < min(self._limit, len(self._queue)):
                self._threads += 1
                # A daemon: the end of a program does not wait for what nobody will read.
                threading.Thread(target=self._work, name="fifth-prefetch", daemon=True).start()

    def take(self, name: str) -> None:
        """Wait until a file is no longer being fetched; one that waits for its turn loses it."""
        with self._changed:
            if name in self._queue:
                self._queue.remove(name)
            while name in self._running:
                self._changed.wait()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    self._threads -= 1
                    return
                name = self._queue.pop(0)
                self._running.add(name)
            try:
                with suppress(ShardsError, OSError):
                    self._fetch(name)
            finally:
                with self._changed:
                    self._running.discard(name)
                    self._changed.notify_all()
