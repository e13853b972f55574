"""Folders of recordings as clips for training: a few seconds here and there of each, held in memory.

Single pictures (JPEG, PNG) below the folder become clips too: the view moves over them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.discovery import Candidate, Walk, find_recordings
from ingest.errors import CannotOpen, WrongUse
from ingest.geometry import Fit
from ingest.opening import open_recording
from ingest.sampling.clip import PictureClip
from ingest.timing import NS, clip_count

STILL_ENDINGS = frozenset({".jpg", ".jpeg", ".png"})
PANS_OF_A_STILL = 3
LARGEST_PAN = 0.02
"""Share of a picture's edge by which the view moves from one frame to the next, at most."""


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """A stretch of one camera."""

    source: str
    """Name of the recording or picture."""
    frames: np.ndarray
    """uint8 [T, 3, size, size], RGB."""


def picture_clips(
    folder: Path,
    size: int = 256,
    fps: Fraction = Fraction(8),
    frames: int = 16,
    most_of_each: int = 12,
    fit: Fit = "crop",
) -> Iterator[TrainingClip]:
    """Yield clips of every camera of every recording below a folder, in the order of their names.

    Args:
        folder: or a single recording.
        size: edge of the square frames.
        fps: frames per second.
        frames: of a clip. A recording's last clip may be shorter.
        most_of_each: clips of one recording, spread evenly over it.
        fit: how pictures become square.

    Raises:
        WrongUse: there is nothing in it to see.
    """
    found = False
    for candidate in find_recordings([folder], Walk()):
        for clip in _clips_of(candidate, Sampling(fps=fps, size=size, fit=fit), frames, most_of_each):
            found = True
            yield clip
    for path in stills(folder):
        found = True
        yield from pans(path, size, frames)
    if not found:
        raise WrongUse(f"{folder}: no recording with pictures in it")


def _clips_of(
    candidate: Candidate, sampling: Sampling, frames: int, most_of_each: int
) -> Iterator[TrainingClip]:
    clip_ns = int(frames / sampling.fps * NS)
    try:
        with open_recording(candidate.paths, episode=candidate.episode) as source:
            recording = source.probe()
            wishes = [Wish(track.name, track) for track in recording.tracks if track.medium == "pictures"]
            count = clip_count(recording.origin_ns, recording.stop_ns, clip_ns)
            for index in sorted({i * count // most_of_each for i in range(most_of_each)} if wishes else ()):
                windows = windows_of(recording, clip_ns, index, 1)
                for _, track, media in read_clips(source, wishes, windows, sampling, lambda _: None):
                    assert isinstance(media, PictureClip)
                    if media.valid:
                        yield TrainingClip(f"{candidate.name}:{track}", planes(media.frames))
    except CannotOpen:
        return


def stills(folder: Path) -> list[Path]:
    """Return the pictures below a folder, in the order of their names."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in STILL_ENDINGS)


def pans(path: Path, size: int, frames: int) -> Iterator[TrainingClip]:
    """Yield clips in which the view moves over a picture, slowly and evenly, drawn by its name.

    Raises:
        WrongUse: it is no picture.
    """
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise WrongUse(f"{path} is no picture that OpenCV reads: remove it from the folder")
    picture = np.ascontiguousarray(picture[..., ::-1])
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8], "little"))
    for _ in range(PANS_OF_A_STILL):
        edge = min(picture.shape[:2]) * random.uniform(0.5, 0.95)
        start = np.array([random.uniform(0, side - edge) for side in picture.shape[:2]])
        speed = random.uniform(-1, 1, 2) * LARGEST_PAN * edge
        zoom = 1 + random.uniform(-0.01, 0.01)
        clip = np.empty((frames, size, size, 3), np.uint8)
        for index in range(frames):
            scale = edge * zoom**index / size
            top, left = start + speed * index
            place = np.array([[scale, 0, left], [0, scale, top]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            clip[index] = cv2.warpAffine(
                _softened(picture, scale), place, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT
            )
        yield TrainingClip(path.name, planes(clip))


def _softened(picture: np.ndarray, scale: float) -> np.ndarray:
    """Return the picture without what would alias when every `scale`-th pixel is taken."""
    import cv2

    return cv2.GaussianBlur(picture, (0, 0), 0.4 * scale) if scale > 1 else picture


def planes(frames: Any) -> np.ndarray:
    """Turn frames [T, H, W, 3], on whatever device, into an array [T, 3, H, W]."""
    array = frames.cpu().numpy() if hasattr(frames, "cpu") else np.asarray(frames)
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))
