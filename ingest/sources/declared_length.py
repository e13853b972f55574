"""How long a media file says it is, where something in it says so: to notice a file that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.timing import NS

WRITTEN = {"mov", "matroska", "flv", "asf", "wav", "flac", "mxf", "aiff", "caf", "w64", "nut"}
"""Containers (libavformat's first names) whose header holds the duration. Elsewhere FFmpeg guesses it
from the bit rate or from the last page."""
MAY_MISS_NS = NS // 2
"""Headers count durations that no packet has: by so much they may promise too much."""
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255


def declared_stop_ns(container: Any, kind: str, path: Path) -> int | None:
    """Return when a recording should end by its header, on its own timeline; None if none says so.

    Args:
        container: PyAV's, opened.
        kind: libavformat's first name of the container.
        path: the file.
    """
    start_ns = int((container.start_time or 0) * 1000)
    if kind == "avi":  # the duration is guessed from the bytes that are there, the count is written
        lengths = [int(s.frames * NS / s.average_rate) for s in container.streams.video if s.average_rate]
        return start_ns + max(lengths) if lengths else None
    if container.duration is None or not (kind in WRITTEN or (kind == "mp3" and counts_frames(path))):
        return None
    return start_ns + int(container.duration) * 1000


def counts_frames(path: Path) -> bool:
    """Say whether an MP3 file begins with a frame that counts the others (Xing, Info).

    Skips an ID3v2 tag: ten bytes, the last four of which hold the rest's length, seven bits in each.
    """
    with path.open("rb") as file:
        head = file.read(10)
        tag = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
        file.seek(10 + tag if head.startswith(b"ID3") else 0)
        first = file.read(512)
    return b"Xing" in first or b"Info" in first


def lacks_end_mark(path: Path) -> bool:
    """Say whether the last page of an Ogg file is not marked as the last (RFC 3533, section 6)."""
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(max(0, size_bytes - _LARGEST_OGG_PAGE))
        tail = file.read()
    last = tail.rfind(b"OggS")
    return last < 0 or len(tail) < last + 6 or not tail[last + 5] & 4
