"""JPEG and H.264 as yardsticks: how many bytes they take, and what comes back."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

JPEG_QUALITIES = (2, 5, 10, 20, 50, 80)
H264_QUALITIES = (51, 45, 38, 32, 26, 20)
"""Rate factors of x264, from the worst to the best."""


def through_jpeg(frames: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
    """Return the bytes of one file per frame (4:2:0, Huffman tables optimised), and what comes back.

    Args:
        frames: uint8 [T, 3, H, W].
        quality: 1 to 100.
    """
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    size, back = 0, np.empty_like(frames)
    for index, frame in enumerate(frames):
        file = cv2.imencode(".jpg", np.ascontiguousarray(frame[::-1].transpose(1, 2, 0)), options)[1]
        size += len(file)
        decoded = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
        back[index] = decoded.transpose(2, 0, 1)[::-1]
    return size, back


def through_h264(frames: np.ndarray, quality: int, group: int) -> tuple[int, np.ndarray]:
    """Return the bytes of the packets of x264 (medium, closed groups of pictures), and what comes back.

    Args:
        frames: uint8 [T, 3, H, W], H and W even.
        quality: the rate factor.
        group: frames from one keyframe to the next.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=Fraction(8))
        stream.height, stream.width = frames.shape[-2:]
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "crf": str(quality),
            "x264-params": f"keyint={group}:min-keyint={group}:scenecut=0:threads=1:log-level=none",
        }
        size = 0
        pictures = [av.VideoFrame.from_ndarray(np.ascontiguousarray(f.transpose(1, 2, 0))) for f in frames]
        for picture in [*pictures, None]:
            for packet in stream.encode(picture):
                size += packet.size
                container.mux(packet)
    file.seek(0)
    with av.open(file, "r") as copy:
        back = [frame.to_ndarray(format="rgb24") for frame in copy.decode(video=0)]
    return size, np.stack(back).transpose(0, 3, 1, 2)
