"""A picture of what encoders make of pictures: originals in the first column, copies beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.training_media import TrainingClip

MOST_ROWS = 4
LABEL_HEIGHT = 18


def draw_copies(
    path: Path, clips: Sequence[TrainingClip], copies: Sequence[tuple[str, Sequence[np.ndarray]]]
) -> None:
    """Write a PNG with a row per source and a column per encoder, its name above.

    Args:
        path: the file.
        clips: the originals.
        copies: label and, for each clip, its frames uint8 [T, 3, H, W] as they come back.
    """
    import cv2

    firsts = list({clip.source: index for index, clip in reversed(list(enumerate(clips)))}.values())[::-1]
    rows = firsts[:: -(-len(firsts) // MOST_ROWS)]
    columns = [("original", [clip.frames for clip in clips]), *copies]
    pieces = []
    for label, frames in columns:
        shown = [_middle(frames[index]) for index in rows]
        sign = np.full((LABEL_HEIGHT, shown[0].shape[1], 3), 255, np.uint8)
        cv2.putText(sign, label, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        pieces.append(np.concatenate([sign, *shown]))
    picture = np.concatenate(pieces, axis=1)
    if not cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1])):
        raise OSError(f"{path} can't be written as a picture: give a name that ends in .png")


def _middle(frames: np.ndarray) -> np.ndarray:
    frame: np.ndarray = frames[len(frames) // 2]
    return frame.transpose(1, 2, 0)
