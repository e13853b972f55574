"""How long a media file says it is, where something in it says so: to notice a file that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.timing import NS

WRITTEN = {"mov", "matroska", "flv", "asf", "flac", "mxf", "aiff", "caf", "w64", "nut"}
"""Containers (libavformat's first names) whose header holds the duration. Elsewhere FFmpeg guesses it
from the bit rate or from the last page."""
_FROM_ZERO = {"matroska", "flv"}
"""Containers whose duration is written as the last time stamp, wherever the first one is."""
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
    if kind == "wav":  # FFmpeg counts what is there
        return wave_length_ns(path)
    if container.duration is None or not (kind in WRITTEN or (kind == "mp3" and counts_frames(path))):
        return None
    return (0 if kind in _FROM_ZERO else start_ns) + int(container.duration) * 1000


def wave_length_ns(path: Path) -> int | None:
    """Return how long the sound of a WAVE file is by its header; None where it does not say.

    Chunks of a name, a length and data, padded to an even length; `fmt ` has the bytes per second at 8.
    Recorders that could not go back leave a data length of 0 or of all ones.
    """
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return None
        bytes_a_second = 0
        while len(header := file.read(8)) == 8:
            name, length = header[:4], int.from_bytes(header[4:], "little")
            if name == b"data":
                known = bytes_a_second and 0 < length < 2**32 - 1
                return length * NS // bytes_a_second if known else None
            if name == b"fmt ":
                bytes_a_second = int.from_bytes(file.read(12)[8:], "little")
                length -= 12
            file.seek(length + length % 2, 1)
    return None


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
