"""Who may write a dataset on an object store: objects that are there while somebody holds it.

    .lock           a run that plans, writes or finishes, alone
    .locks/2-of-8   one part of its work (`shards.locks` holds the same on each machine)
    .locks/plan     for moments: a part that adds to the plan

An object is made only where there is none, which the stores decide. They let go of nothing by themselves:
what a process of this machine left is taken over, what one of another machine left must be removed by hand.
Whoever wants the dataset alone makes the lock first and looks for parts then; a part does it the other way
round: of two that begin at once, at least one sees the other.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from shards.canonical_json import json_line
from shards.errors import DatasetLocked
from shards.locks import FOLDER, LOCK, PLAN, PLAN_SECONDS
from shards.remote.store import Store

_POLL_SECONDS = 1.0


class RemoteLocks:
    """The locks of one dataset."""

    def __init__(self, store: Store) -> None:
        """Touch nothing as yet."""
        self._store = store

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the dataset alone.

        Raises:
            DatasetLocked: another run, or a part, holds it.
        """
        self._take(LOCK)
        try:
            for part in self._parts():
                if not self._let_go_by_dead(f"{FOLDER}/{part}"):
                    raise self._locked(f"{FOLDER}/{part}", f"part {part} is writing this dataset")
            yield
        finally:
            self._release(LOCK)

    @contextmanager
    def as_part(self, name: str, wait_seconds: float, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold one part of the work; see `shards.locks.as_part`."""
        until, told = time.monotonic() + wait_seconds, False
        while True:
            self._take(f"{FOLDER}/{name}")
            if self._let_go_by_dead(LOCK):
                break
            self._release(f"{FOLDER}/{name}")
            locked = self._locked(LOCK, "another run is planning or writing this dataset")
            if time.monotonic() >= until:
                raise locked
            if not told:
                waiting(f"{locked}; waiting for it, {wait_seconds:g} s at most")
                told = True
            time.sleep(_POLL_SECONDS)
        try:
            division = name.partition("-of-")[2]
            for part in self._parts():
                if part.partition("-of-")[2] != division:
                    raise self._locked(
                        f"{FOLDER}/{part}", f"part {part} is at work, and {name} would do some of its tasks"
                    )
            yield
        finally:
            self._release(f"{FOLDER}/{name}")

    @contextmanager
    def plan_turn(self) -> Iterator[None]:
        """Hold the right to add to the plan; wait for it."""
        until = time.monotonic() + PLAN_SECONDS
        while True:
            try:
                self._take(f"{FOLDER}/{PLAN}")
                break
            except DatasetLocked:
                if time.monotonic() >= until:
                    raise
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            self._release(f"{FOLDER}/{PLAN}")

    def _parts(self) -> list[str]:
        names = (name.removeprefix(f"{FOLDER}/") for name in self._store.listed(FOLDER))
        return sorted(name for name in names if "-of-" in name)

    def _take(self, name: str) -> None:
        """Make a lock, unless it is there: one of two who try at once is told no."""
        ours = json_line({"pid": os.getpid(), "host": os.uname().nodename, "hold": os.urandom(8).hex()})

        def make(fs: Any, root: str) -> bytes:
            return _created(fs, f"{root}/{name}", ours)

        held = self._store.ask(name, make)
        if held != ours and _is_dead(held):
            self._release(name)
            held = self._store.ask(name, make)
        if held != ours:
            raise self._locked(name, "another run is writing this dataset", held)

    def _release(self, name: str) -> None:
        self._store.remove(name)

    def _let_go_by_dead(self, name: str) -> bool:
        """Tell whether nobody alive holds a lock."""
        with suppress(FileNotFoundError):
            if not _is_dead(self._store.whole(name)):
                return False
            self._release(name)
        return True

    def _locked(self, name: str, what: str, held: bytes = b"") -> DatasetLocked:
        with suppress(FileNotFoundError):
            held = held or self._store.whole(name)
        return DatasetLocked(
            f"{self._store.url}: {what} ({_holder(held)}); wait until it ends, or stop it. If it was killed "
            f"on another machine, remove {self._store.url}/{name}"
        )


def _created(fs: Any, path: str, data: bytes) -> bytes:
    """Make an object unless there is one; return what is there now."""
    try:
        fs.pipe_file(path, data, mode="create")
    except Exception as error:  # each place has its own way to say that it is there
        fs.invalidate_cache()
        try:
            return bytes(fs.cat_file(path))
        except FileNotFoundError:
            raise OSError(f"it can't be made: {error}") from error
    return data


def _is_dead(held: bytes) -> bool:
    """Tell whether a lock is of a process of this machine that has ended."""
    try:
        who = json.loads(held)
        if who["host"] != os.uname().nodename:
            return False
        os.kill(int(who["pid"]), 0)
    except ProcessLookupError:
        return True
    except (ValueError, KeyError, TypeError, OSError):
        pass
    return False


def _holder(held: bytes) -> str:
    try:
        who = json.loads(held)
        return f"process {who['pid']} on {who['host']}"
    except (ValueError, KeyError, TypeError):
        return "just started"
