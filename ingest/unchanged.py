"""Assurance that what was read of a recording is what it was known to be: nobody wrote to it meanwhile.

Before and after reading, the system is asked for each file's identity, size and times. Where these are the
same, nobody wrote to it; where they are not, its content id is made again. Times are coarse (milliseconds): a
file that was written to just before is always looked into again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.content_id import content_id, full_hash
from ingest.engine.local import Progress
from ingest.errors import IngestError, RecordingChanged, RecordingTouched
from ingest.remote_files import place_of

FRESH_NS = 2_000_000_000
"""How long ago a file was written to at least, for its times to tell of every later write."""

Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Content:
    """A recording's files, with the content that they are known to have."""

    name: str
    content: str
    files: tuple[Path, ...]
    episode: int | None = None

    def check(self) -> Reading:
        """Begin to read: see that the content is the known one.

        Raises:
            RecordingChanged: it is another.
            IngestError: a file is gone.
            OSError: the machine's fault.
        """
        stamps = self._stamps()
        if not self._is_known():
            raise RecordingChanged(
                f"{self.name} has changed since it was planned; run the same command again"
            )
        return Reading(self, stamps, time.time_ns())

    def _is_known(self) -> bool:
        known = (content_id(self.files, self.episode), "")
        return self.content in known or full_hash(self.files) == self.content

    def _stamps(self) -> tuple[Stamp, ...]:
        try:
            return stamps_of(self.files)
        except FileNotFoundError as error:
            raise IngestError(f"{self.name} is gone; it was there when it was planned") from error


@dataclass(frozen=True)
class Reading:
    """A recording that is being read."""

    of: Content
    stamps: tuple[Stamp, ...]
    begun_ns: int
    """When, by the clock that gives files their times."""

    def check(self) -> None:
        """Raise where what was read may not be the known content.

        Raises:
            RecordingChanged: it is another now.
            RecordingTouched: somebody wrote to it; it is what it was again.
            IngestError: a file is gone.
        """
        same = self.of._stamps() == self.stamps
        if same and all(modified_ns < self.begun_ns - FRESH_NS for *_, modified_ns, _ in self.stamps):
            return
        if not self.of._is_known():
            raise RecordingChanged(f"{self.of.name} changed while it was read")
        if not same:
            raise RecordingTouched(f"{self.of.name} was touched while it was read, and is what it was again")


def find_changed(argument: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Say which recordings of a task are not what was planned any more: a job for `ingest.engine`.

    Args:
        argument: the task's (`ingest.task.run_task`).
        progress: not told anything.

    Returns:
        `places` in its `entries`.
    """
    places = []
    for place, entry in enumerate(argument["entries"]):
        files = tuple(place_of(path) for path in [*entry["paths"], *entry["sidecars"]])
        try:
            Content(entry["name"], entry["id"], files, entry["episode"]).check()
        except RecordingChanged:
            places.append(place)
        except (IngestError, OSError):  # gone, or not to be read: it may come back as it was
            continue
    return {"places": places}


def stamps_of(files: Sequence[Path]) -> tuple[Stamp, ...]:
    """Return, per file, what changes when somebody writes to it or puts another in its place."""
    found = (path.stat() for path in files)
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in found)
