"""What a run is told, and what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_TOLD = 20
"""Tasks that are not done, in the event of a run's end."""


@dataclass
class Run:
    """What one run did; the dataset itself is described by `shards.dataset_info`."""

    tasks_run: int = 0
    tasks_before: int = 0
    recordings_new: int = 0
    failures: int = 0
    """Of the tasks that this run did."""
    unfinished: list[str] = field(default_factory=list)
    """Tasks that could not be done, with their cause; running again tries them again."""
    media_ns: int = 0
    seconds: float = 0.0
    asked_again: int = 0
    """How often the tasks had to ask a store again for something."""
    peak_rss_bytes: int = 0
    """The largest resident memory of any worker."""
    stopped_by: str = ""
    """Why the run ended itself: the first failure (`strict`), or too many (`max_failure_share`)."""
    encoder_processes: list[dict[str, Any]] = field(default_factory=list)
    """What each process that encoded for the workers did; see `EncoderProcess.figures`."""

    def figures(self) -> dict[str, Any]:
        """Return what the event of the run's end tells."""
        return {
            "tasks_run": self.tasks_run,
            "recordings_new": self.recordings_new,
            "seconds": round(self.seconds, 3),
            "media_seconds": round(self.media_ns / 1e9, 3),
            "peak_rss_bytes": self.peak_rss_bytes,
            "asked_again": self.asked_again,
            "encoder_processes": self.encoder_processes,
            "unfinished": self.unfinished[:MOST_TOLD],
            "unfinished_tasks": len(self.unfinished),
        }


@dataclass(frozen=True)
class Choice:
    """Which recordings a run takes, and how it treats what is there already."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    retry_failed: bool = False
    replace: bool = False
    strict: bool = False
    max_failure_share: float = 1.0
    """Of 20 recordings or more: what share of them may have failures before the run ends itself."""
