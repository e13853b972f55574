"""What a dataset's table of recordings says of a recording beside its samples: container, clocks, cameras."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ingest.recording import Clock, Recording


def about(recording: Recording) -> dict[str, Any]:
    """Return JSON: `container`; `clocks`, by the name of each track that has two stamps to choose from, the
    choice, its reason, and what was measured of both; `cameras`, by topic the calibration.
    """
    clocks = {track.name: _clock(track.clock) for track in recording.tracks if track.clock is not None}
    return {
        "container": recording.container,
        "clocks": clocks,
        "cameras": dict(recording.details.get("cameras", {})),
    }


def _clock(clock: Clock) -> dict[str, Any]:
    """Return a clock and its report as one object."""
    found = asdict(clock)
    report = found.pop("report") or {}
    return {**found, **report}
