"""torchcodec: frames by number with their stamps, through the FFmpeg that is installed on the machine.

Opened in its exact mode, which reads all packets first. It turns and mirrors pictures by itself. Where a
stream's first group is open it gives later frames under earlier numbers, but with their own stamps, so
that they are found out. A matrix that is declared is honoured; else it is BT.601.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ingest.decoders.backends.frame_reader import Abilities, PlacedFrame


class TorchcodecFrames:
    """See `FrameReader`."""

    abilities: ClassVar[Abilities] = Abilities(
        chooses_stream=True, keeps_orientation=False, obeys_edit_lists=True, seeks=True
    )

    def __init__(self, path: Path, stream: int, first_seconds: float) -> None:
        from torchcodec import decoders

        self._decoder: Any = decoders.VideoDecoder(
            path.absolute(), stream_index=stream, dimension_order="NHWC", num_ffmpeg_threads=1
        )
        self.count: int | None = len(self._decoder)

    def read(self, places: Sequence[int]) -> Iterator[PlacedFrame]:
        """See `FrameReader.read`."""
        for place in places:
            frame = self._decoder.get_frame_at(int(place))
            yield PlacedFrame(float(frame.pts_seconds), np.asarray(frame.data.numpy()))


READER = TorchcodecFrames
