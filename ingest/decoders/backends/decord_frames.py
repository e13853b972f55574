"""decord 0.6: frames by number, from the FFmpeg that its wheel holds (4.2).

Seen: it turns pictures by their display matrix but does not mirror them; edit lists are ignored; the
"best" of several video streams is taken. Where groups of pictures are open, it gives other frames after a
seek and says they were the ones asked for; so it is never let seek: it reads every frame from the first on.
Its times are 32-bit floats, counted from the first frame, and those of its table, not of what it decoded. A
matrix that is declared is honoured; else it is BT.601.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ingest.decoders.backends.frame_reader import Abilities, PlacedFrame


class DecordFrames:
    """See `FrameReader`."""

    abilities: ClassVar[Abilities] = Abilities(
        chooses_stream=False, keeps_orientation=False, obeys_edit_lists=False, seeks=False
    )

    def __init__(self, path: Path, stream: int, first_seconds: float) -> None:
        decord: Any = import_module("decord")
        decord.logging.set_level(decord.logging.FATAL)
        self._open = partial(decord.VideoReader, str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        self._reader: Any = self._open()
        self._first_seconds = first_seconds
        self._next = 0
        self.count: int | None = len(self._reader)

    def read(self, places: Sequence[int]) -> Iterator[PlacedFrame]:
        """See `FrameReader.read`."""
        for place in places:
            if place < self._next:
                self._reader, self._next = self._open(), 0
            for _ in range(place - self._next):
                self._reader.next()  # `skip_frames` jumps to keyframes, and then gives other frames
            frame = self._reader.next()
            self._next = place + 1
            seconds = float(np.asarray(self._reader.get_frame_timestamp(place)).ravel()[0])
            yield PlacedFrame(seconds + self._first_seconds, frame.asnumpy())


READER = DecordFrames
