"""Decoded pictures as RGB: colour matrices and ranges, grey, alpha, scaling, turning, and their times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from made_cards import CORNERS, read_card
from made_video import Pictures, write_video
from video_made import read_window

from ingest.decoders.av_conversion import Converter
from ingest.decoders.av_pictures import AvPicture, counted_ns, display_rotation
from ingest.decoders.colour import colour_of
from ingest.errors import CannotDecode
from ingest.recording import Packet
from ingest.sampling.clip import Window
from ingest.sampling.frames import Squares
from ingest.sampling.pictures import PictureSampler
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

COLOURS = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 50, 120),
    (30, 180, 210),
)  # fmt: skip
WEIGHTS = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593), "240": (0.212, 0.087)}
"""Kr and Kb of ITU-R BT.601, BT.709, BT.2020 and SMPTE 240M."""
NUMBERS = {"601": 5, "709": 1, "2020": 9, "240": 7}
"""Matrix coefficients in ITU-T H.273, table 4."""
LIMITED, FULL, UNSAID = 1, 2, 0
SIZES = ((64, 48), (32, 24), (100, 80), (63, 47), (32, 80))


def yuv_of(colour: tuple[int, int, int], weights: str, full: bool, bits: int = 8) -> list[int]:
    """Return Y, Cb, Cr by the definition in BT.601 and its successors, rounded."""
    kr, kb = WEIGHTS[weights]
    red, green, blue = (level / 255 for level in colour)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    if full:
        top = 2**bits - 1
        return [
            min(top, max(0, round(v)))
            for v in (y * top, cb * top + 2 ** (bits - 1), cr * top + 2 ** (bits - 1))
        ]
    scale = 2 ** (bits - 8)
    return [round((16 + 219 * y) * scale), round((128 + 224 * cb) * scale), round((128 + 224 * cr) * scale)]


def solid(pixel_format: str, levels: list[int], width: int = 64, height: int = 48) -> av.VideoFrame:
    """Make a planar frame of one colour, one level per plane."""
    frame = av.VideoFrame(width, height, pixel_format)
    kind = "<u2" if frame.format.components[0].bits > 8 else "u1"
    for plane, level in zip(frame.planes, levels, strict=True):
        plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, level, kind).tobytes())
    return frame


def rgb_of(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    return AvPicture(0, frame, Converter()).rgb(width, height)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p12le"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("full", [False, True])
def test_every_matrix_and_range_gives_the_colour_back(pixel_format: str, weights: str, full: bool) -> None:
    """Within two levels, at the same size, smaller, larger, odd, and narrower but higher."""
    bits = av.VideoFormat(pixel_format).components[0].bits
    for colour in COLOURS:
        frame = solid(pixel_format, yuv_of(colour, weights, full, bits))
        frame.colorspace, frame.color_range = NUMBERS[weights], FULL if full else LIMITED
        for width, height in SIZES:
            rgb = rgb_of(frame, width, height)
            assert rgb.shape == (height, width, 3)
            assert rgb.dtype == np.uint8
            assert np.abs(rgb.astype(int) - colour).max() <= 2


@pytest.mark.parametrize(("lines", "weights"), [(480, "601"), (718, "601"), (720, "709"), (1080, "709")])
def test_an_unsaid_matrix_is_709_from_720_lines_up(lines: int, weights: str) -> None:
    """And 601 below, limited in range: as players do."""
    for colour in COLOURS:
        frame = solid("yuv420p", yuv_of(colour, weights, full=False), 32, lines)
        assert int(frame.colorspace) == 2
        assert np.abs(rgb_of(frame, 16, lines // 2).astype(int) - colour).max() <= 2


def test_yuvj_is_full_range_whatever_it_says() -> None:
    """Motion JPEG's formats have the range in their name."""
    frame = solid("yuvj420p", yuv_of((200, 50, 120), "601", full=True))
    frame.color_range = UNSAID
    assert colour_of(frame).full_range
    assert np.abs(rgb_of(frame, 32, 24).astype(int) - (200, 50, 120)).max() <= 2


@pytest.mark.parametrize(("pixel_format", "level"), [("gray", 100), ("gray10le", 401), ("gray16le", 25_700)])
def test_grey_is_full_range_unless_it_says_limited(pixel_format: str, level: int) -> None:
    """Mono cameras use every level; AV1 and H.264 can declare a monochrome stream limited."""
    frame = solid(pixel_format, [level])
    for said in (UNSAID, FULL):
        frame.color_range = said
        assert np.abs(rgb_of(frame, 32, 24).astype(int) - 100).max() <= 1
    frame.color_range = LIMITED
    assert np.abs(rgb_of(frame, 32, 24).astype(int) - (100 - 16) * 255 / 219).max() <= 1.5


@pytest.mark.parametrize(
    "pixel_format", ["rgb24", "bgr24", "gbrp", "rgb48le", "bgra", "nv12", "yuyv422", "p010le"]
)
def test_other_pixel_formats_keep_the_colour(pixel_format: str) -> None:
    """Whatever a decoder may give."""
    colour = (30, 180, 210)
    source = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
    frame = source.reformat(format=pixel_format)
    for width, height in SIZES:
        assert np.abs(rgb_of(frame, width, height).astype(int) - colour).max() <= 2


def test_a_palette_is_looked_up() -> None:
    """Old screen recordings have 256 colours, stored as 32-bit ARGB: here red, green and blue stripes."""
    colours = np.array([(220, 20, 60), (20, 200, 40), (30, 60, 250)])
    frame = av.VideoFrame(96, 48, "pal8")
    stripes = np.zeros((48, frame.planes[0].line_size), np.uint8)
    stripes[:, :96] = np.arange(96) // 32
    palette = np.zeros(256, "<u4")
    palette[:3] = (255 << 24) + (colours << (16, 8, 0)).sum(axis=1)
    frame.planes[0].update(stripes.tobytes())
    frame.planes[1].update(palette.tobytes())
    for width in (96, 24):
        seen = rgb_of(frame, width, 24)[:, width // 6 :: width // 3].astype(int)
        assert np.abs(seen - colours).max() <= 1


def test_what_is_transparent_is_black() -> None:
    """Colours under alpha 0 are garbage; half transparent is half as bright."""
    levels = np.zeros((48, 64, 4), np.uint8)
    levels[:, :32] = (200, 100, 50, 128)
    levels[:, 32:] = (255, 255, 255, 0)
    rgb = rgb_of(av.VideoFrame.from_ndarray(levels, format="rgba"), 64, 48).astype(int)
    assert np.abs(rgb[:, :32] - (100, 50, 25)).max() <= 1
    assert rgb[:, 33:].max() == 0


def test_a_format_that_cannot_be_converted_is_an_error_of_ours() -> None:
    """Not a traceback of FFmpeg's."""

    class Refusing:
        """Swscale that takes nothing."""

        def reformat(self, *_: Any, **__: Any) -> None:
            raise ValueError("no")

    converter = Converter()
    converter._scaler = Refusing()  # type: ignore[assignment]
    with pytest.raises(CannotDecode, match=r"pixel format yuv420p cannot be converted \(no\)"):
        AvPicture(0, av.VideoFrame(64, 48, "yuv420p"), converter).rgb(32, 24)


# scaling


def area_average(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The slow twin: every pixel the exact mean of the part of the picture that it covers."""

    def weights(before: int, after: int) -> np.ndarray:
        edges = np.arange(after + 1) * before / after
        pixels = np.arange(before)
        covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        covered = np.clip(covered, 0, None)
        return np.asarray(covered / covered.sum(axis=1, keepdims=True))

    rows, columns = weights(picture.shape[0], height), weights(picture.shape[1], width)
    return np.asarray(np.einsum("ij,jkc,lk->ilc", rows, picture.astype(np.float64), columns, optimize=True))


def decibels(ours: np.ndarray, twin: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((ours.astype(np.float64) - twin) ** 2)))


def natural(width: int, height: int) -> np.ndarray:
    """Noise with the spectrum of photographs (amplitude falls with frequency), the same each time."""
    rng = np.random.default_rng(7)
    falling = 1 / np.hypot(*np.meshgrid(np.fft.fftfreq(width), np.fft.fftfreq(height), indexing="xy")).clip(
        1e-3
    )
    waves = rng.standard_normal((3, height, width)) * falling
    picture = np.fft.ifft2(np.fft.fft2(waves) * falling).real
    picture = (picture - picture.mean()) / picture.std() * 50 + 128
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0))


@pytest.mark.parametrize(("width", "height"), [(456, 256), (256, 144), (256, 256), (640, 360), (30, 200)])
def test_shrinking_is_an_area_average(width: int, height: int) -> None:
    """At least 45 dB from the exact one on pictures with the spectrum of photographs."""
    picture = natural(1280, 720)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
    twin = area_average(rgb_of(frame, 1280, 720), width, height)
    assert decibels(rgb_of(frame, width, height), twin) >= 45


def test_growing_is_smooth() -> None:
    """A ramp stays one: it never falls, and keeps to its line."""
    ramp = np.broadcast_to(np.linspace(20, 230, 32).round().astype(np.uint8)[None, :, None], (24, 32, 3))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp), format="rgb24")
    grown = rgb_of(frame, 128, 96)[48, 8:-8, 0].astype(int)
    assert (np.diff(grown) >= 0).all()
    line = np.interp((np.arange(128) + 0.5) / 4 - 0.5, np.arange(32), ramp[0, :, 0].astype(float))[8:-8]
    assert np.abs(grown - line).max() <= 2


@pytest.mark.media
def test_real_frames_shrink_like_an_area_average(media: Path) -> None:
    """On footage: at least 50 dB, where bilinear scaling has 41 to 48."""
    for name in ("video/bigbuckbunny.mp4", "driving/solidWhiteRight.mp4"):
        with VideoFile(media / name) as source:
            track = source.probe().track("video")
            window = read_window(source, [track], 2 * NS, 2 * NS + 1)
        picture = window["video"].pictures[-1]
        whole = picture.rgb(picture.width, picture.height)
        for width, height in ((456, 256), (256, 144), (256, 256)):
            assert decibels(picture.rgb(width, height), area_average(whole, width, height)) >= 50


# turning


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_and_mirrored_video_comes_out_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    """The display matrix of an mp4, as a phone writes it; the card can only be read upright."""
    pictures = Pictures(frames=3, fps=Fraction(8), width=160, height=96, rotation=rotation, mirrored=mirrored)
    path = write_video(tmp_path / "turned.mp4", pictures)
    frames = sampled(path, 64)
    assert [read_card(frame) for frame in frames] == [0, 1, 2]
    with VideoFile(path) as source:
        track = source.probe().track("video")
    assert (track.width, track.height) == (160, 96)
    square = sampled(path, 96, "stretch")[0].astype(int)
    corners = [square[y : y + 3, x : x + 3].mean(axis=(0, 1)) for y in (1, 92) for x in (1, 92)]
    assert np.abs(np.array(corners) - CORNERS).max() < 8


def sampled(path: Path, size: int, how: Any = "crop") -> np.ndarray:
    """Return what the pipeline makes of the first 3/8 of a second at 8 frames per second."""
    told: list[Any] = []
    with VideoFile(path) as source:
        track = source.probe().track("video")
        window = Window(0, 0, 3 * NS // 8)
        sampler = PictureSampler(
            track, [window], Fraction(8), Squares(track, size, how, told.append), told.append
        )
        clips = [
            clip
            for picture in read_window(source, [track], 0, 3 * NS // 8)["video"].pictures
            for clip in sampler.push(picture)
        ]
        clips += sampler.finish()
    assert told == []
    return np.asarray(clips[0][1].frames)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 0, 0, 1), (0, False)),
        ((0, 1, -1, 0), (90, False)),
        ((-1, 0, 0, -1), (180, False)),
        ((0, -1, 1, 0), (270, False)),
        ((-1, 0, 0, 1), (0, True)),
        ((1, 0, 0, -1), (180, True)),
        ((0, 1, 1, 0), (270, True)),
        ((0, -1, -1, 0), (90, True)),
    ],
)
def test_a_display_matrix_is_a_turn_after_a_mirror(
    values: tuple[int, int, int, int], expected: tuple[int, bool]
) -> None:
    """All eight ways a picture can lie; checked against moving the corners of a square by the matrix."""
    a, b, c, d = values
    rotation, mirrored, odd = display_rotation(FrameWith(matrix(a, b, c, d)))
    assert (rotation, mirrored, odd) == (*expected, "")
    square = np.array([[0, 1], [2, 3]])
    moved = np.empty((2, 2), int)
    for y in (0, 1):
        for x in (0, 1):
            right, down = a * (x - 0.5) + c * (y - 0.5), b * (x - 0.5) + d * (y - 0.5)
            moved[int(down + 0.5), int(right + 0.5)] = square[y, x]
    turned = np.rot90(square[:, ::-1] if mirrored else square, -rotation // 90)
    assert np.array_equal(turned, moved)


def test_an_odd_display_matrix_is_ignored_with_its_reason() -> None:
    """A turn by 45 degrees, and one that makes everything vanish."""
    assert "turns by 45 degrees" in display_rotation(FrameWith(matrix(0.7071, 0.7071, -0.7071, 0.7071)))[2]
    assert "cannot be inverted" in display_rotation(FrameWith(matrix(0, 0, 0, 0)))[2]
    assert display_rotation(FrameWith(matrix(0.9998, 0.0175, -0.0175, 0.9998))) == (0, False, "")


def matrix(a: float, b: float, c: float, d: float) -> bytes:
    """Return a display matrix: rows a b u, c d v, x y w in 16.16 fixed point, u v w in 2.30."""
    fixed = [round(v * 65536) for v in (a, b, 0, c, d, 0, 0, 0, 16384)]
    return np.array(fixed, "<i4").tobytes()


class FrameWith:
    """A frame with a display matrix, as PyAV shows it."""

    def __init__(self, data: bytes) -> None:
        class Side(bytes):
            """The matrix itself."""

            type: SimpleNamespace

        side = Side(data)
        side.type = SimpleNamespace(name="DISPLAYMATRIX")
        self.side_data = {side: None}


def test_a_sample_aspect_ratio_is_honoured(tmp_path: Path) -> None:
    """Stored 64 wide, shown 128: the ball of a card drawn for 128 is round, its number readable."""

    def squeezed(_: int, width: int, height: int) -> np.ndarray:
        rows, columns = np.ogrid[:height, : width * 2]
        disc = (rows - height / 2) ** 2 + (columns - width) ** 2 < (height / 3) ** 2
        wide = np.where(disc, 235, 20).astype(np.uint8)
        return np.ascontiguousarray(
            wide.reshape(height, width, 2).mean(2).astype(np.uint8)[..., None].repeat(3, 2)
        )

    pictures = Pictures(frames=4, width=64, height=96, sample_aspect=Fraction(2), draw=squeezed)
    path = write_video(tmp_path / "wide.mp4", pictures)
    disc = sampled(path, 96, "pad")[0][..., 1] > 128
    height, width = np.ptp(np.flatnonzero(disc.any(1))), np.ptp(np.flatnonzero(disc.any(0)))
    assert abs(int(height) - int(width)) <= 2


# times


def test_frames_without_a_stamp_follow_the_last_one_that_had_one(tmp_path: Path) -> None:
    """At the declared rate, rounded down once: not from the beginning of the track again."""
    path = write_video(tmp_path / "x.mkv", Pictures(frames=4, fps=Fraction(30000, 1001), width=64, height=64))
    with VideoFile(path) as source:
        track = source.probe().track("video")
        decoder: Any = source.decoder(track)
    stamps = [None, None, 100, None, None, None]
    times = [decoder._picture(FakeFrame(stamp)).time_ns for stamp in stamps]
    step = Fraction(1001 * NS, 30000)
    expected = [0, int(step), NS // 10, *(int(NS // 10 + k * step) for k in (1, 2, 3))]
    assert times == expected


class FakeFrame:
    """A frame of which only the stamp counts."""

    width = height = 64
    dts = None
    time_base = Fraction(1, 1000)

    def __init__(self, pts: int | None) -> None:
        self.pts = pts


def test_counting_does_not_drift() -> None:
    """Ten hours at 30000/1001 end where they should, to the nanosecond."""
    rate = Fraction(30000, 1001)
    frames = 10 * 3600 * 30
    assert counted_ns(frames, rate) == frames * 1001 * NS // 30000


def test_a_decoder_says_which_packet_it_cannot_decode(tmp_path: Path) -> None:
    """And goes on with the next one."""
    path = write_video(
        tmp_path / "x.mkv", Pictures(frames=12, width=64, height=64, b_frames=0, keyframe_every=1)
    )
    with VideoFile(path) as source:
        recording = source.probe()
        decoder = source.decoder(recording.tracks[0])
        packets = list(source.read(recording.tracks, 0, recording.stop_ns, print))
        with pytest.raises(CannotDecode, match=r"a h264 packet does not decode \(the data is damaged\)"):
            decoder.decode(Packet("video", 0, av.Packet(b"\x00\x00\x00\x04\x65\xff\xff\xff" + bytes(60))))
        seen = [picture for packet in packets[1:] for picture in decoder.decode(packet)]
    assert len(seen) + len(list(decoder.flush())) == 11
