"""From a picture that is shown to a frame of a clip: squares of colours, squares and images of distances."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from ingest.errors import CannotDecode
from ingest.geometry import Fit, Geometry, arrange, fit
from ingest.recording import DepthCounts, DepthPicture, Incident, Picture, Report, Track
from ingest.sampling.clip import DepthClip, PictureClip


class Frames(Protocol):
    """Makes frames of one track's pictures, and clips of frames."""

    def frame_of(self, picture: Any) -> Any:
        """Return a picture as a frame; None, reported, if it can't be had."""
        ...

    def room(self, count: int, like: Any = None) -> Any:
        """Return room for frames: an array, or a tensor where `like` is one."""
        ...

    def clip(self, frames: Any, stamps_ns: np.ndarray, start_ns: int) -> PictureClip | DepthClip:
        """Return the clip of these frames that begins at a time; clips come in order.

        Args:
            frames: made by this.
            stamps_ns: int64 [T], their times, ascending, on the recording's timeline.
            start_ns: the clip's start.
        """
        ...


class Squares:
    """Colours: upright squares, uint8 [size, size, 3].

    Args:
        track: the track.
        size: edge of the squares, in pixels.
        how: crop, pad or stretch.
        report: told of pictures that could not be converted.
    """

    def __init__(self, track: Track, size: int, how: Fit, report: Report) -> None:
        self._track = track
        self._size = size
        self._how = how
        self._report = report

    def frame_of(self, picture: Picture) -> Any:
        """See `Frames`. It is an array, or a tensor on the GPU that decoded it."""
        try:
            geometry = geometry_of(self._track, picture.width, picture.height, self._size, self._how)
            scaled = picture.rgb(geometry.scaled_width, geometry.scaled_height, geometry.region)
            return _arranged(scaled, geometry)
        except CannotDecode as error:
            _lose(self._report, self._track, picture, error)
            return None

    def room(self, count: int, like: Any = None) -> Any:
        """See `Frames`: uint8 [count, size, size, 3]."""
        shape = (count, self._size, self._size, 3)
        return np.empty(shape, np.uint8) if like is None or is_array(like) else like.new_empty(shape)

    def clip(self, frames: Any, stamps_ns: np.ndarray, start_ns: int) -> PictureClip:
        """See `Frames`."""
        return PictureClip(frames, stamps_ns - start_ns)


class Distances:
    """Distances: upright squares of depth pictures, float32 [size, size], NaN around them where they are
    padded; range images as they are planned, float32 [H, W].

    Args:
        track: the track.
        size: edge of the squares, in pixels.
        how: crop, pad or stretch.
        report: told of pictures that could not be converted.
    """

    def __init__(self, track: Track, size: int, how: Fit, report: Report) -> None:
        self._track = track
        self._shape = depth_shape(track, size)
        self._how = how
        self._report = report
        self._counts: dict[int, DepthCounts] = {}
        """By the picture's time."""

    def frame_of(self, picture: DepthPicture) -> np.ndarray | None:
        """See `Frames`."""
        try:
            if is_range_image(self._track):
                frame, counts = picture.metres(picture.width, picture.height)
            else:
                size = self._shape[0]
                geometry = geometry_of(self._track, picture.width, picture.height, size, self._how)
                pixels, counts = picture.metres(
                    geometry.scaled_width, geometry.scaled_height, geometry.region
                )
                frame = np.full(self._shape, np.nan, np.float32)
                height, width = pixels.shape
                frame[geometry.top : geometry.top + height, geometry.left : geometry.left + width] = pixels
        except CannotDecode as error:
            _lose(self._report, self._track, picture, error)
            return None
        self._counts[picture.time_ns] = counts
        return frame

    def room(self, count: int, like: Any = None) -> np.ndarray:
        """See `Frames`: float32 [count, H, W]."""
        return np.empty((count, *self._shape), np.float32)

    def clip(self, frames: Any, stamps_ns: np.ndarray, start_ns: int) -> DepthClip:
        """See `Frames`. A picture that is shown at several times counts once."""
        counts = DepthCounts()
        for stamp_ns in np.unique(stamps_ns).tolist():
            counts = counts.plus(self._counts[stamp_ns])
        # the last one may be shown in the next clip as well
        kept = max(self._counts, default=0)
        self._counts = {stamp_ns: one for stamp_ns, one in self._counts.items() if stamp_ns == kept}
        return DepthClip(frames, stamps_ns - start_ns, counts)


def is_range_image(track: Track) -> bool:
    """Return whether a depth track is made of points, and has the one size that was planned."""
    return "projection" in track.details


def depth_shape(track: Track, size: int) -> tuple[int, int]:
    """Return height and width of a depth track's frames, `size` being the edge of squares."""
    return (track.height, track.width) if is_range_image(track) else (size, size)


def geometry_of(track: Track, width: int, height: int, size: int, how: Fit) -> Geometry:
    """Return how a picture of a track becomes a square."""
    return fit(
        width,
        height,
        size,
        how,
        aspect=Fraction(track.sample_aspect),
        rotation=track.rotation,
        mirrored=track.mirrored,
    )


def _lose(report: Report, track: Track, picture: Picture | DepthPicture, error: CannotDecode) -> None:
    stop_ns = picture.stop_ns or picture.time_ns + max(1, track.period_ns)
    report(Incident("failure", str(error), track.name, picture.time_ns, stop_ns))


def is_array(pixels: Any) -> bool:
    """Say whether pixels lie in the machine's memory, and not in a GPU's as a tensor."""
    return isinstance(pixels, np.ndarray)


def _arranged(scaled: Any, geometry: Geometry) -> Any:
    if is_array(scaled):
        return arrange(scaled, geometry)
    from ingest.decoders.backends.device_conversion import arranged

    return arranged(scaled, geometry)
