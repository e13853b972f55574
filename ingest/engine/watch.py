"""Notices a process that does nothing any more, or has grown too big. Needs Linux's /proc."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIB = 1 << 30

LONGEST_LOOK_SECONDS = 1.0
"""As much of the time between two looks counts: a machine that slept, or starved us both, blames nobody."""

Verdict = tuple[Literal["hung", "grew"], str]
"""What is wrong, and the words for it."""


@dataclass(frozen=True)
class Limits:
    """What a worker may do before it is ended; 0 is no limit.

    Where the system tells nothing of other processes, only messages are signs of life, and memory is not
    watched.
    """

    stall_seconds: float = 0.0
    """Longest time without a sign of life: a message, or a byte read or written."""
    memory_bytes: int = 0
    """Most memory of its own (not that of mapped files)."""

    def __post_init__(self) -> None:
        if self.stall_seconds < 0 or self.memory_bytes < 0:
            raise ValueError(f"limits must be at least 0, got {self}")


class Watch:
    """Watches one process while it is at a job."""

    def __init__(self, pid: int, limits: Limits) -> None:
        self._folder, self._limits = Path("/proc") / str(pid), limits
        self._moved, self._starved_seconds = -1, 0.0
        self.heard()

    def heard(self) -> None:
        """Take note of a sign of life."""
        self._looked, self._still_seconds = time.monotonic(), 0.0

    def verdict(self) -> Verdict | None:
        """Say what is wrong with the process; None: nothing."""
        used, most = _own_memory(self._folder), self._limits.memory_bytes
        if most and used > most:
            return "grew", f"it took more than the {most / GIB:.2f} GiB of memory that it may use"
        before, self._looked = self._looked, time.monotonic()
        starved_before, self._starved_seconds = self._starved_seconds, _starved_seconds(self._folder)
        step = min(self._looked - before, LONGEST_LOOK_SECONDS)
        self._still_seconds += max(0.0, step - (self._starved_seconds - starved_before))
        moved = _bytes_moved(self._folder)
        if moved != self._moved:
            self._moved = moved
            self.heard()
        still = self._limits.stall_seconds
        if still and self._still_seconds > still:
            return "hung", f"it read nothing, wrote nothing and told of no progress for {still:g} s"
        return None


def default_memory_bytes(workers: int) -> int:
    """Return the memory that one of so many workers may take: its share of four fifths of the machine's.

    At least 1 GiB; 0, no limit, where the system does not tell.
    """
    total = _machine_memory()
    return max(GIB, total * 4 // 5 // max(1, workers)) if total else 0


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 where it is not there, or the system does not tell."""
    return 1024 * sum(_numbers(Path("/proc") / str(pid) / "status", "VmRSS"))


def _machine_memory() -> int:
    """Return the bytes that this machine has, or that its container may use."""
    amounts = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _text(Path(path)).strip()
        amounts += [int(text)] if text.isdigit() else []
    amounts += [kilobytes * 1024 for kilobytes in _numbers(Path("/proc/meminfo"), "MemTotal")]
    return min(amounts, default=0)


def _own_memory(folder: Path) -> int:
    return 1024 * sum(_numbers(folder / "status", "RssAnon"))


def _bytes_moved(folder: Path) -> int:
    # what mapped files make the disk read, such as a library's first use, is in read_bytes alone
    return sum(_numbers(folder / "io", "rchar", "wchar", "read_bytes"))


def _starved_seconds(folder: Path) -> float:
    """Return how long the process has waited for a processor that others had."""
    waited_ns = _text(folder / "schedstat").split()[1:2]
    return int(waited_ns[0]) / 1e9 if waited_ns else 0.0


def _numbers(path: Path, *names: str) -> list[int]:
    """Return the numbers of lines such as `rchar: 12`."""
    parts = [line.split() for line in _text(path).splitlines()]
    return [int(words[1]) for words in parts if len(words) > 1 and words[0].rstrip(":") in names]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended, or the system does not tell
        return ""
