"""`sound-mdct` on sounds whose answer is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from encoders import load_encoder, sound_class_fit
from encoders.class_coder import SCALE_BITS
from encoders.lapped_transform import STEP, UNIT_BITS, LappedTransform
from encoders.launch import encode_clip, reconstruct_clip
from encoders.quality import measure
from encoders.sound_classes import BAND_EDGES, CLASS_COUNT, TABLE, class_exponents, exponent_lines
from encoders.sound_transform import (
    COARSE_BITS,
    FINE_BITS,
    FINE_SHIFT,
    GAIN_COUNT,
    class_costs,
    class_fields,
    field_levels,
    gain_tables,
)

RATE = 16_000


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products on a machine that others use, too, are many times faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tone(pitch_hz: float, level: float, seconds: float = 1.0) -> torch.Tensor:
    n = np.arange(int(RATE * seconds))
    return torch.from_numpy((level * np.sin(2 * np.pi * pitch_hz * n / RATE)).astype(np.float32)[None])


def twin_tokens(row: list[int], tokens: int, gain: int) -> list[int]:
    """The slow twin: one step's coefficients to tokens at a given gain, in Python's integers."""
    scale = int(gain_tables()[1][gain])
    fine = [(c * scale + (1 << FINE_SHIFT - 1)) >> FINE_SHIFT for c in row]
    shift = FINE_BITS - COARSE_BITS
    coarse = [(f + (1 << shift - 1)) >> shift for f in fine]
    weights, biases = (table.numpy() for table in class_costs())
    costs = [
        sum(c * c * int(w) for c, w in zip(coarse, weights[:, k], strict=True)) + int(biases[k])
        for k in range(CLASS_COUNT)
    ]
    number = costs.index(min(costs))
    result = [(gain << 7 | number) << 4] + [0] * (tokens - 1)
    for field in class_fields(tokens)[number]:
        level = (fine[field.place] * field_levels(number, field).multiplier >> SCALE_BITS) + (
            1 << field.bits >> 1
        )
        result[field.token] += min(max(level, 0), (1 << field.bits) - 1) << field.shift
    return result


def test_tokens_are_those_of_exact_arithmetic() -> None:
    """At the gain that the tokens name, they are those of whole-number arithmetic."""
    random = np.random.default_rng(1)
    loudness = np.repeat(2.0 ** random.integers(0, 15, 50), STEP)
    samples = np.clip(np.rint(random.standard_normal(RATE) * loudness), -32767, 32767)
    encoder = load_encoder("sound-mdct", tokens=8)
    clip = torch.from_numpy((samples / 32768).astype(np.float32)[None])
    coded = encode_clip(encoder, clip).tokens
    spectra = LappedTransform(torch.device("cpu")).coefficients(torch.from_numpy(samples[None]))[0]
    for step in range(0, 50, 7):
        gain = int(coded[step, 0]) >> 11
        assert coded[step].tolist() == twin_tokens(spectra[step].to(torch.int64).tolist(), 8, gain)


def test_the_gain_is_the_nearest_or_a_few_above() -> None:
    """A step's gain is that of its energy, or 6 or 12 dB above where that lost too much."""
    clip = tone(440, 0.25)
    coded = encode_clip(load_encoder("sound-mdct"), clip).tokens
    spectra = LappedTransform(torch.device("cpu")).coefficients((clip.double() * 32768 + 0.5).floor())[0]
    levels = 2 * np.log2((spectra / (1 << UNIT_BITS)).square().mean(1).sqrt().numpy())
    raised = (coded[:, 0] >> 11) - np.rint(levels)
    assert set(raised.tolist()) <= {0.0, 2.0, 4.0}


@pytest.mark.parametrize("tokens", [8, 16, 32])
def test_silence_stays_silent(tokens: int) -> None:
    """Digital silence comes back as exact zeros."""
    encoder = load_encoder("sound-mdct", tokens=tokens)
    made = encode_clip(encoder, torch.zeros(1, 20_000))
    assert not reconstruct_clip(encoder, made.tokens, made.valid).any()


@pytest.mark.parametrize(
    ("pitch_hz", "level"), [(100, 0.5), (440, 0.9), (997, 0.01), (3000, 0.3), (6500, 0.3)]
)
def test_a_tone_stays_a_tone(pitch_hz: float, level: float) -> None:
    """A sine comes back with an error at least 15 dB below it, loud or soft, low or high."""
    quality = measure(load_encoder("sound-mdct"), [tone(pitch_hz, level)])
    assert quality.figures["snr_db"] > 15
    assert quality.bits_per_second == 25_600


def test_softer_is_coarser_only_by_the_16_bits() -> None:
    """40 dB softer, speech-like sound comes back as well as before: the gain follows."""
    random = np.random.default_rng(4)
    noise = np.convolve(random.standard_normal(2 * RATE), np.ones(12) / 12, mode="same")
    loud = torch.from_numpy((0.5 * noise / np.abs(noise).max()).astype(np.float32)[None])
    encoder = load_encoder("sound-mdct")
    figures = [measure(encoder, [loud * scale]).figures["snr_db"] for scale in (1.0, 0.01)]
    assert figures[1] > figures[0] - 1.0


def test_more_tokens_are_better() -> None:
    """8, 16 and 32 tokens a step: each at least 3 dB better than the one before."""
    clip = sum((tone(220 * n, 0.3 / n) for n in range(1, 12)), torch.zeros(1, RATE))
    figures = [measure(load_encoder("sound-mdct", tokens=n), [clip]).figures["snr_db"] for n in (8, 16, 32)]
    assert figures[0] + 3 < figures[1]
    assert figures[1] + 3 < figures[2]


def test_what_lies_outside_is_counted() -> None:
    """Samples beyond [-1, 1], infinite or not a number saturate, are counted, and hurt no other step."""
    encoder = load_encoder("sound-mdct")
    clip = tone(300, 0.5)
    wild = clip.clone()
    wild[0, 8000:8003] = torch.tensor([1.5, float("nan"), -float("inf")])
    made, plain = encode_clip(encoder, wild), encode_clip(encoder, clip)
    assert (made.saturated, plain.saturated) == (3, 0)
    assert np.array_equal(made.tokens[:23], plain.tokens[:23])
    assert np.array_equal(made.tokens[28:], plain.tokens[28:])
    assert bool(torch.isfinite(reconstruct_clip(encoder, made.tokens, made.valid)).all())
    assert encode_clip(encoder, torch.tensor([[1.0, -1.0]])).saturated == 0


def test_the_table_of_classes_is_whole() -> None:
    """128 classes of 50 bands over all 320 coefficients; writing them gives the table again."""
    exponents = class_exponents()
    assert exponents.shape == (CLASS_COUNT, 50) == (128, len(BAND_EDGES) - 1)
    assert (BAND_EDGES[0], BAND_EDGES[-1]) == (0, STEP)
    assert 4 <= exponents.min() <= exponents.max() <= 48
    assert exponent_lines(exponents) == list(TABLE)


def test_costs_stay_exact() -> None:
    """No step's cost passes 2^53: at the nearest gain or above, squares sum to less than 2^29."""
    weights, biases = class_costs()
    assert float(weights.max()) * 2**29 + float(biases.abs().max()) < 2**53
    energies, scales, gains = gain_tables()
    assert bool((energies.diff() > 0).all())
    assert torch.allclose(
        scales * gains.clamp(min=1.0), torch.full((GAIN_COUNT,), 2.0**31, dtype=torch.float64), rtol=1e-4
    )


def test_fitting_classes_finds_kinds_of_spectra() -> None:
    """From low and from high tones, some classes expect the one and some the other."""
    lines = sound_class_fit.fit_sound_classes([tone(hz, 0.3)[0].numpy() for hz in (200, 5000)])
    assert len(lines) == CLASS_COUNT
    assert {len(line) for line in lines} == {50}
    peaks = {max(range(50), key=line.__getitem__) for line in lines}
    assert any(BAND_EDGES[band] < 12 for band in peaks)
    assert any(BAND_EDGES[band] > 150 for band in peaks)
