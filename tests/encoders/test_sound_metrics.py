"""Figures for sound whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.sound_metrics import (
    log_spectral_distance_db,
    magnitudes,
    mel_bank,
    mel_distance,
    resampled,
    si_sdr_db,
)

RATE = 16_000


def tone(hertz: float = 1000, size: float = 0.5, rate: int = RATE, seconds: float = 1) -> torch.Tensor:
    n = np.arange(int(rate * seconds))
    return torch.from_numpy((size * np.sin(2 * np.pi * hertz * n / rate)).astype(np.float32))


def noise(seed: int = 0, size: float = 0.1) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(seed).standard_normal(RATE) * size).astype(np.float32))


def test_nothing_differs_from_itself() -> None:
    """Distances are 0 and the ratio is at its end."""
    assert log_spectral_distance_db(noise(), noise()) == 0
    assert mel_distance(noise(), noise(), RATE) == 0
    assert si_sdr_db(noise(), noise()) == 100


def test_half_as_loud_is_6_db() -> None:
    """Each bin of noise that stands far above the floor is 6.02 dB lower; the scale-free ratio is unmoved."""
    loud, soft = noise(size=0.3), noise(size=0.3) / 2
    assert log_spectral_distance_db(soft, loud) == pytest.approx(6.02, abs=0.5)
    assert mel_distance(soft, loud, RATE) == pytest.approx(np.log(2), abs=0.03)
    assert si_sdr_db(soft, loud) > 60


@pytest.mark.parametrize("decibels", [0, 10, 20])
def test_noise_of_known_power(decibels: float) -> None:
    """Noise that has nothing of the tone in it, so many dB below, gives that ratio at any loudness."""
    wanted = tone()
    other = tone(2000, 0.5 * 10 ** (-decibels / 20))
    assert si_sdr_db(0.3 * (wanted + other), wanted) == pytest.approx(decibels, abs=0.01)


def test_silence_has_an_answer() -> None:
    """Neither silence wanted nor silence made divides by zero."""
    assert si_sdr_db(noise(), torch.zeros(RATE)) == 0
    assert si_sdr_db(torch.zeros(RATE), noise()) == -50


def test_a_sine_of_full_scale_is_one_half() -> None:
    """The scale that floors and thresholds are given in."""
    assert float(magnitudes(tone(size=1)).max()) == pytest.approx(0.5, abs=1e-3)


def test_mel_bands_are_whole() -> None:
    """Every band sums to 1 and sees something, the lowest and narrowest included."""
    bank = mel_bank(24_000, 1024, 80)
    assert bank.shape == (513, 80)
    assert torch.allclose(bank.sum(0), torch.ones(80))
    assert bool((bank >= 0).all())


@pytest.mark.parametrize(
    ("rate", "to"), [(48_000, 16_000), (16_000, 24_000), (24_000, 16_000), (48_000, 8_000)]
)
def test_a_tone_keeps_its_pitch_and_size(rate: int, to: int) -> None:
    """A tone at another rate is the same tone there."""
    made = resampled(tone(rate=rate).numpy(), rate, to)
    assert np.abs(made - tone(rate=to).numpy()).max() < 1e-4
