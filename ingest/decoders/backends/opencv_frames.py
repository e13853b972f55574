"""OpenCV's VideoCapture: frames one after the other, through FFmpeg.

Its seek by number is a guess from the rate, so it is never used: frames before the first wanted one are
decoded and not converted (`grab`). The time of each frame comes with it, counted from the stream's start.
With its own turning switched off it gives pictures as stored. A matrix that is declared is honoured; else
it is BT.601.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ingest.decoders.backends.frame_reader import Abilities, PlacedFrame


class OpencvFrames:
    """See `FrameReader`."""

    abilities: ClassVar[Abilities] = Abilities(
        chooses_stream=False, keeps_orientation=True, obeys_edit_lists=True, seeks=False
    )

    def __init__(self, path: Path, stream: int, first_seconds: float) -> None:
        self._path = path
        self._first_seconds = first_seconds
        self._capture: Any = None
        self._next = 0
        self.count: int | None = None
        """What it calls the frame count is the duration times the rate."""
        self._begin()

    def read(self, places: Sequence[int]) -> Iterator[PlacedFrame]:
        """See `FrameReader.read`."""
        import cv2

        for place in places:
            if place < self._next:
                self._begin()
            while self._next <= place:
                if not self._capture.grab():
                    raise RuntimeError(f"there is no frame after {self._next}")
                self._next += 1
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            given, bgr = self._capture.retrieve()
            if not given:
                raise RuntimeError(f"frame {place} can't be converted")
            yield PlacedFrame(seconds + self._first_seconds, np.ascontiguousarray(bgr[..., ::-1]))

    def _begin(self) -> None:
        import cv2

        one_thread = [cv2.CAP_PROP_N_THREADS, 1]
        self._capture = cv2.VideoCapture(str(self._path.absolute()), cv2.CAP_FFMPEG, one_thread)
        self._next = 0
        if not self._capture.isOpened():
            raise RuntimeError("it can't open the file")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)


READER = OpencvFrames
