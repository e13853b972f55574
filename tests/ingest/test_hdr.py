"""High dynamic range: the curves' published values, and the rule against a slow twin in double precision."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoders.av_conversion import Converter
from ingest.decoders.hdr import hlg_scene, knee, pq_nits, pq_signal, tone_mapped
from ingest.geometry import Region

LEVELS = st.floats(0, 1, width=32)
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
PQ, HLG, BT2020, LIMITED = 16, 18, 9, 1


def slowly_mapped(rgb: np.ndarray, transfer: str) -> np.ndarray:
    """The slow twin: one pixel, float64, no tables; returns levels before rounding."""
    if transfer == "pq":
        light = np.minimum(pq_nits(rgb), 1000)
    else:
        scene = hlg_scene(rgb)
        light = 1000 * scene * (scene @ (0.2627, 0.6780, 0.0593)) ** 0.2
    light = np.maximum(TO_709 @ light, 0)
    brightest = max(1e-9, min(1000.0, light.max()))
    shown = np.clip(light * float(knee(np.asarray(brightest))) / brightest / 203, 0, 1)
    return np.asarray(255 * shown ** (1 / 2.4))


def test_the_curves_have_their_published_values() -> None:
    """PQ: 100, 203, 1000 and 10,000 cd/m2 (ITU-R BT.2408, table 1); HLG at 50 and 75 %."""
    assert pq_signal(np.array([0, 100, 203, 1000, 10_000])).round(3).tolist() == [0, 0.508, 0.581, 0.752, 1]
    assert pq_nits(np.array([0.0, 1.0])).round(6).tolist() == [0, 10_000]
    assert hlg_scene(np.array([0, 0.5, 0.75, 1])).round(3).tolist() == [0, 0.083, 0.265, 1]


@given(st.floats(0, 10_000))
def test_pq_is_undone_by_its_inverse(nits: float) -> None:
    """Within a millionth of the largest light."""
    assert abs(float(pq_nits(pq_signal(np.asarray(nits)))) - nits) <= 0.01


def test_the_knee_leaves_the_dark_alone_and_ends_at_white() -> None:
    """It never falls; 1000 cd/m2 become 203."""
    nits = np.linspace(0, 1000, 2001)
    bent = knee(nits)
    assert np.abs(bent[nits <= 87] - nits[nits <= 87]).max() < 1e-6
    assert (np.diff(bent) >= 0).all()
    assert bent[-1] == pytest.approx(203)


@given(LEVELS, LEVELS, LEVELS, st.sampled_from(["pq", "hlg"]))
def test_tables_give_what_the_formulas_give(red: float, green: float, blue: float, transfer: str) -> None:
    """Within two levels of 255, where a display shows more than black."""
    pixel = np.array([red, green, blue], np.float32)
    ours = tone_mapped(tuple(channel.reshape(1, 1) for channel in pixel), transfer)[0, 0]
    twin = slowly_mapped(pixel.astype(np.float64), transfer)
    assert np.abs(ours - twin)[twin > 32].max(initial=0) <= 2.5
    assert ours[twin <= 32].max(initial=0) <= 40


@pytest.mark.parametrize(("number", "transfer"), [(PQ, "pq"), (HLG, "hlg")])
def test_a_grey_frame_becomes_the_grey_of_the_rule(number: int, transfer: str) -> None:
    """Reference white (203 cd/m2) of PQ, and 75 % of HLG, as 10-bit limited range BT.2020."""
    signal = float(pq_signal(np.asarray(203.0))) if transfer == "pq" else 0.75
    frame = av.VideoFrame(64, 48, "yuv420p10le")
    for plane, level in zip(frame.planes, (round(64 + 876 * signal), 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, level, "<u2").tobytes())
    frame.colorspace, frame.color_range, frame.color_trc = BT2020, LIMITED, number
    rgb = Converter().rgb(frame, 32, 24, Region(0, 0, 64, 48))
    twin = slowly_mapped(np.full(3, signal), transfer)
    assert np.abs(rgb - twin).max() <= 1.5


@pytest.mark.media
def test_real_hdr_footage_is_neither_dark_nor_washed_out(media: Path) -> None:
    """A colour chart filmed in HLG: its white patch is bright, its black border dark, its red one red."""
    with av.open(str(media / "video/hlg10-color-test.mp4")) as container:
        frame = next(container.decode(video=0))
    rgb = Converter().rgb(frame, 192, 108, Region(0, 0, frame.width, frame.height)).astype(int)
    assert rgb.max() >= 235
    assert rgb.max(axis=2).min() <= 60
    assert (rgb[..., 0] - rgb[..., 1:].max(axis=2)).max() >= 100
