"""What tests of whole runs share: small settings, an ear, and all that must not depend on how a run went."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

from ingest.configuration import Settings
from ingest.listening import Listener

SOUND_ONLY = Settings(
    clip_seconds=Fraction(1),
    video="none",
    depth="none",
    signals="none",
    audio="mulaw-256",
    device="cpu",
    shard_seconds=1,
)
"""A run that costs next to nothing, with a task per second."""


class Ear(Listener):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def hashes(dataset: Path, without: str = "") -> dict[str, str]:
    """Return the sha256 of every file but the events and the lock, and those in folders of one name."""
    files = (path.relative_to(dataset) for path in sorted(dataset.rglob("*")) if path.is_file())
    return {
        path.as_posix(): hashlib.sha256((dataset / path).read_bytes()).hexdigest()
        for path in files
        if path.name not in ("run.jsonl", ".lock") and without not in path.parts
    }
