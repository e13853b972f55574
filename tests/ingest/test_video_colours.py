"""Colours from file to clip: what a stream declares is honoured, what was taken is recorded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ingest.clips import Sampling, Wish, read_clips
from ingest.recording import Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sources.video_file import VideoFile

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr and Kb by matrix coefficients' number (ITU-T H.273, table 4)."""
NAMES = {1: "bt709", 2: "", 6: "bt601", 9: "bt2020"}
LEVELS = (100, 110, 165)
"""Y', Cb, Cr of 8 bits: a dull red, inside of every gamut."""


def rgb_of(matrix: int, full: bool) -> np.ndarray:
    """Return what `LEVELS` mean, by the definition in ITU-T H.273: float64 [3]."""
    kr, kb = WEIGHTS[matrix]
    y, cb, cr = LEVELS
    luma = y / 255 if full else (y - 16) / 219
    blue_difference, red_difference = ((c - 128) / (255 if full else 224) for c in (cb, cr))
    red = luma + 2 * (1 - kr) * red_difference
    blue = luma + 2 * (1 - kb) * blue_difference
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.array([red, green, blue]) * 255


def write_flat(path: Path, codec: str, form: str, levels: tuple[int, ...], **said: Any) -> Path:
    """Write three frames of one colour, without loss; `said` is what the stream declares."""
    with av.open(str(path), "w") as container:
        options = {"libx264": {"qp": "0"}, "libx265": {"x265-params": "lossless=1:log-level=none"}}
        stream: Any = container.add_stream(codec, rate=25, options=options.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = said.pop("width", 64), said.pop("height", 64), form
        for name, value in said.items():
            setattr(stream.codec_context, name, value)
        for number in range(3):
            frame = av.VideoFrame(stream.width, stream.height, form)
            for level, plane, component in zip(levels, frame.planes, frame.format.components, strict=True):
                values: Any = np.frombuffer(memoryview(plane), np.uint16 if component.bits > 8 else np.uint8)
                values[:] = level << (component.bits - 8)
            frame.pts = number
            for name, value in said.items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def clip_of(path: Path) -> tuple[Track, np.ndarray]:
    """Return a file's picture track, and its first frame as the pipeline makes it."""
    with VideoFile(path) as source:
        track = source.probe().track("video")
        window, told = Window(0, track.start_ns, track.start_ns + 40_000_000), list[Any]()
        sampling = Sampling(fps=Fraction(25), size=32)
        ((_, _, clip),) = read_clips(source, [Wish("video", track)], [window], sampling, told.append)
    assert not told
    assert isinstance(clip, PictureClip)
    return track, clip.frames[0]


@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p12le"])
@pytest.mark.parametrize("matrix", [1, 2, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_declared_colours_are_honoured(tmp_path: Path, form: str, matrix: int, full: bool) -> None:
    """BT.709, BT.601, BT.2020 and nothing said, full and limited, 8 to 12 bits: within two levels."""
    codec = "libx265" if "12" in form else "libx264"
    said = {"colorspace": matrix, "color_range": 2 if full else 1}
    track, frame = clip_of(write_flat(tmp_path / "flat.mp4", codec, form, LEVELS, **said))
    expected = rgb_of(6 if matrix == 2 else matrix, full)
    assert np.abs(frame.astype(float) - expected).max() <= 2
    assert track.details["colour"] == {
        "matrix": NAMES[matrix] or "bt601",
        "range": "full" if full else "limited",
        "transfer": "sdr",
        "declared": matrix != 2,
    }


def test_undeclared_high_definition_is_709(tmp_path: Path) -> None:
    """From 720 lines up, as players take it; and that it was not declared is recorded."""
    track, frame = clip_of(write_flat(tmp_path / "hd.mp4", "libx264", "yuv420p", LEVELS, height=720))
    assert np.abs(frame.astype(float) - rgb_of(1, False)).max() <= 2
    colour = track.details["colour"]
    assert (colour["matrix"], colour["range"], colour["declared"]) == ("bt709", "limited", False)


@pytest.mark.parametrize(("transfer", "name"), [(16, "pq"), (18, "hlg"), (1, "sdr")])
def test_the_transfer_is_recorded(tmp_path: Path, transfer: int, name: str) -> None:
    """PQ and HLG by name; every other one is shown as it is."""
    said = {"colorspace": 9, "color_range": 1, "color_trc": transfer, "color_primaries": 9}
    track, _ = clip_of(write_flat(tmp_path / "hdr.mp4", "libx265", "yuv420p10le", LEVELS, **said))
    assert track.details["colour"]["transfer"] == name


@pytest.mark.parametrize(("declared", "level"), [(0, 100), (2, 100), (1, 98)])
def test_grey_files_are_full_range_unless_they_say_limited(tmp_path: Path, declared: int, level: int) -> None:
    """Mono cameras use every level."""
    said = {"color_range": declared} if declared else {}
    _, frame = clip_of(write_flat(tmp_path / "grey.mkv", "ffv1", "gray", (100,), **said))
    assert np.abs(frame.astype(int) - level).max() <= 1


def test_transparent_files_are_shown_on_black(tmp_path: Path) -> None:
    """Half transparent is half as bright."""
    path = write_flat(tmp_path / "alpha.mkv", "ffv1", "yuva444p", (*LEVELS, 128), colorspace=6, color_range=2)
    track, frame = clip_of(path)
    assert track.pixel_format == "yuva444p"
    assert np.abs(frame - rgb_of(6, True) * 128 / 255).max() <= 2


def test_palettes_are_looked_up_in_files(tmp_path: Path) -> None:
    """Screen recordings in 256 colours: red on the left, blue on the right."""
    path = tmp_path / "screen.mov"
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32, 0] = picture[:, 32:, 2] = 255
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "pal8"
        indices, palette = np.zeros((64, 64), np.uint8), np.zeros((256, 4), np.uint8)
        indices[:, 32:] = 1
        palette[:, 0], palette[0, 1], palette[1, 3] = 255, 255, 255  # alpha, red, green, blue
        frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")  # type: ignore[arg-type]
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    track, shown = clip_of(path)
    assert track.pixel_format == "pal8"
    assert track.details["colour"]["matrix"] == "rgb"
    expected = np.repeat(np.array([[255, 0, 0], [0, 0, 255]]), 16, axis=0)
    assert np.abs(shown[16].astype(int) - expected).max() <= 1
