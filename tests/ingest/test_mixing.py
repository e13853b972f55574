"""Channels mixed to one or two: standard shares, nothing louder than it can be, nothing lost."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoders.mixing import HALF_POWER, mixed, mixing_matrix

LAYOUTS = ["mono", "stereo", "2.1", "3.0", "4.0", "quad", "5.0", "5.1", "5.1(side)", "6.1", "7.1", "22.2"]


def names_of(layout: str) -> list[str]:
    return [channel.name for channel in av.AudioLayout(layout).channels]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("to_channels", [1, 2])
def test_nothing_can_clip(layout: str, to_channels: int) -> None:
    """The shares of an output channel add up to 1 at most, and to exactly 1 for the loudest."""
    matrix = mixing_matrix(names_of(layout), to_channels)
    assert matrix.shape == (to_channels, len(names_of(layout)))
    assert matrix.min() >= 0
    assert matrix.sum(axis=1).max() == pytest.approx(1)


def test_common_layouts_have_the_standard_shares() -> None:
    """ITU-R BS.775: centre to both sides at -3 dB, surround at -3 dB, no bass channel."""
    assert mixing_matrix(["FL", "FR"], 1).tolist() == [[0.5, 0.5]]
    assert mixing_matrix(["FC"], 2).tolist() == [[1], [1]]
    assert mixing_matrix(["FC"], 1).tolist() == [[1]]
    assert mixing_matrix(["FL", "FR"], 2).tolist() == [[1, 0], [0, 1]]
    left = np.array([1, 0, HALF_POWER, 0, HALF_POWER, 0])
    right = np.array([0, 1, HALF_POWER, 0, 0, HALF_POWER])
    surround = mixing_matrix(names_of("5.1"), 2)
    assert np.allclose(surround, np.array([left, right]) / left.sum())
    assert np.allclose(mixing_matrix(names_of("5.1"), 1), (left + right) / (left + right).sum())


def test_channels_without_names_count_alike() -> None:
    """A microphone array has no left and right, and none of its channels is a bass channel to drop."""
    assert np.allclose(mixing_matrix(["NONE"] * 9, 1), 1 / 9)
    assert mixing_matrix(["NONE"] * 4, 2).tolist() == [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]
    assert mixing_matrix(["LFE"], 1).tolist() == [[1]]


def test_a_sound_field_is_its_omnidirectional_part() -> None:
    """First-order ambisonics: W alone holds the pressure."""
    assert mixing_matrix([f"AMBI{k}" for k in range(4)], 1).tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("layout", "to_channels"),
    [
        *((name, 2) for name in LAYOUTS if name not in ("mono", "22.2")),
        # of a channel behind the listener, mono gets what both sides get of it; they take 3 dB less
        *((name, 1) for name in LAYOUTS if name not in ("4.0", "6.1", "22.2")),
    ],
)
def test_libswresample_mixes_alike(layout: str, to_channels: int) -> None:
    """Another implementation of the same shares, told to keep sums below 1."""
    names = names_of(layout)
    samples = np.random.default_rng(3).uniform(-1, 1, (len(names), 500)).astype(np.float32)
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = 48_000
    target, options = ("mono" if to_channels == 1 else "stereo"), {"rematrix_maxval": "1.0"}
    resampler = av.AudioResampler(format="flt", layout=target, rate=48_000, options=options)
    theirs = np.concatenate([out.to_ndarray() for out in resampler.resample(frame)], axis=1)
    ours = mixed(samples, mixing_matrix(names, to_channels))
    assert np.allclose(ours, theirs.reshape(-1, to_channels).T, atol=1e-5)


@given(st.integers(1, 12), st.integers(1, 2), st.integers(0, 40))
def test_a_cut_anywhere_changes_no_bit(channels: int, to_channels: int, cut: int) -> None:
    """Sound comes in chunks of any length."""
    samples = np.random.default_rng(channels).standard_normal((channels, 40)).astype(np.float32)
    matrix = mixing_matrix(["NONE"] * channels, to_channels)
    parts = [mixed(samples[:, :cut], matrix), mixed(samples[:, cut:], matrix)]
    assert np.array_equal(np.concatenate(parts, axis=1), mixed(samples, matrix))
