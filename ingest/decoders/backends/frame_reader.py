"""What a library must do that gives frames by their place: the contract, and what all of them refuse.

Such a library decodes and converts by itself. So that nothing is guessed, it is asked for few things,
each of which can be checked: which library reads which stream, how many frames it finds, and frame k with
the time that the library believes it has. Scaling, turning and cropping are ours, as for every decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from ingest.recording import Track

PLAIN_FORMATS = {
    *("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"),
}
"""Pixel formats that become RGB of 8 bits without a choice: no alpha, no palette, no depth to lose."""
PLAIN_MATRICES = {"bt601", "bt709"}


class PlacedFrame(NamedTuple):
    """One frame as a library gives it."""

    seconds: float
    """When it is shown, on the file's timeline, as the library says."""
    rgb: np.ndarray
    """uint8 [H, W, 3], RGB, as stored: not turned."""


@dataclass(frozen=True)
class Abilities:
    """What a library was seen to do right, beside plain streams; see the contract's tests."""

    chooses_stream: bool
    """Whether it can be told which video stream to read; else it takes one that it likes."""
    keeps_orientation: bool
    """Whether it gives turned and mirrored pictures as they are stored."""
    obeys_edit_lists: bool
    """Whether it leaves out what an edit list hides."""
    seeks: bool
    """Whether it jumps to a keyframe, which then must be one."""


class FrameReader(Protocol):
    """One video stream, opened with one library: one thread, nothing kept of earlier readings.

    Args:
        path: the file.
        stream: index of the video stream in its container.
        first_seconds: when the first picture is shown, for libraries that count from there.
    """

    abilities: ClassVar[Abilities]

    count: int | None
    """How many frames the library finds; None where it can't say without decoding everything."""

    def __init__(self, path: Path, stream: int, first_seconds: float) -> None: ...

    def read(self, places: Sequence[int]) -> Iterator[PlacedFrame]:
        """Yield the frames at these places in display order; places ascend.

        Raises:
            Exception: whatever the library raises for what it can't open or decode.
        """
        ...


def why_not(track: Track, abilities: Abilities, hidden: int, video_streams: int) -> str:
    """Say why a library with these abilities can't give a track exactly; "" if nothing speaks against it.

    Args:
        track: the track, as probed.
        abilities: of the library.
        hidden: how many pictures an edit list hides.
        video_streams: how many video streams the file has.
    """
    details, colour = track.details, track.details["colour"]
    if details["interlaced"]:
        return "interlaced pictures may be stored as two fields, each with a stamp of its own"
    if track.pixel_format not in PLAIN_FORMATS:
        return f"it makes 8-bit RGB of {track.pixel_format} in its own way"
    if colour["matrix"] not in PLAIN_MATRICES or colour["transfer"] != "sdr":
        return f"it converts {colour['matrix']} colours ({colour['transfer']}) in its own way"
    if colour["matrix"] == "bt709" and not colour["declared"]:
        return "the stream does not declare its colours, and it takes BT.601 where players take BT.709"
    if (track.rotation or track.mirrored) and not abilities.keeps_orientation:
        return "it turns pictures by itself"
    if hidden and not abilities.obeys_edit_lists:
        return f"it shows the {hidden} pictures that an edit list hides"
    if video_streams > 1 and not abilities.chooses_stream:
        return f"it chooses one of the {video_streams} video streams by itself"
    if abilities.seeks and not details["keyframes_hold"]:
        return "it seeks to keyframes, and decoding can't begin at every picture marked as one"
    return ""
