"""Measuring, on media whose error is known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from math import log10

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import InputSpec, TokenArray, TokenSpec, load_encoder, measure


class Off:
    """An encoder in memory that brings media back off by a constant: its only code says nothing."""

    def __init__(self, spec: InputSpec, media: Tensor, error: float) -> None:
        self.device = torch.device("cpu")
        self.spec = TokenSpec("off", 1, "codes", "uint8", "T", (), (1,), 1, (16,), spec)
        self._media, self._error, self._next = media, error, 0

    def encode(self, batch: Tensor) -> TokenArray:
        return TokenArray(torch.zeros((len(batch), 1), dtype=torch.uint8))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        rows = self._media[self._next : self._next + len(tokens.data)]
        self._next += len(rows)
        return (rows.to(torch.float64) + self._error).to(rows.dtype)

    def fit(self, samples: Iterable[np.ndarray]) -> Off:
        return self


def test_pictures_that_are_off_by_five() -> None:
    """Off by 5 everywhere is 20 log10(255 / 5) dB; 4 bits for 6 pixels; 8 frames a second."""
    spec = InputSpec("pictures", "uint8", (0, 255), "BTCHW", 3, 2, size=(2, 3))
    media = torch.full((6, 1, 3, 2, 3), 100, dtype=torch.uint8)
    quality = measure(Off(spec, media, 5), [media[:4, 0], media[4:, 0]], Fraction(8))
    wanted = 20 * log10(255 / 5)
    assert quality.figures == pytest.approx(
        {"psnr_db": wanted, "global_psnr_db": wanted, "bits_per_pixel": 4 / 6}
    )
    assert (quality.clips, quality.items, quality.tokens, quality.bits) == (2, 6, 6, 24.0)
    assert (quality.seconds, quality.bits_per_second) == (0.75, 32.0)
    assert json.loads(json.dumps(quality.to_json()))["bits_per_second"] == 32.0


def test_exact_frames_count_as_100_db() -> None:
    """A frame without an error has a finite figure, so that a mean over frames stays one."""
    spec = InputSpec("pictures", "uint8", (0, 255), "BTCHW", 3, 2, size=(2, 3))
    media = torch.full((2, 1, 3, 2, 3), 100, dtype=torch.uint8)
    assert measure(Off(spec, media, 0), [media[:, 0]]).figures["psnr_db"] == 100.0


def test_sound_that_is_off_by_a_hundredth() -> None:
    """A wave of 0.5, off by 0.01, has 20 log10(50) dB by segments, silence left out; 3 dB less in all."""
    spec = InputSpec("sound", "float32", (-1.0, 1.0), "BCN", 1, 400, rate=Fraction(8000))
    wave = torch.where(torch.arange(1600) % 20 < 10, 0.5, -0.5)
    media = torch.cat([wave, torch.zeros(1600)])
    encoder = Off(spec, media[:, None, None], 0.01)
    quality = measure(encoder, [media[None]])
    assert quality.figures["segmental_snr_db"] == pytest.approx(20 * log10(50), abs=1e-4)
    assert quality.figures["snr_db"] == pytest.approx(20 * log10(50) - 10 * log10(2), abs=1e-4)
    assert quality.seconds == 0.4


def test_segments_are_limited() -> None:
    """One perfect segment can't outweigh the others: it counts as 35 dB."""
    spec = InputSpec("sound", "float32", (-1.0, 1.0), "BCN", 1, 400, rate=Fraction(8000))
    media = torch.full((320,), 0.5)
    quality = measure(Off(spec, media[:, None, None], 0), [media[None]])
    assert quality.figures == {"snr_db": 100.0, "segmental_snr_db": 35.0}


def test_signals_are_measured_by_column() -> None:
    """Off by 2: RMSE 2 in every column's unit; normalised by each one's variance, constants left out."""
    spec = InputSpec("signal", "float32", None, "BTD", 3, 4)
    rows = torch.tensor([[1.0, 7.0, float("nan")], [-1.0, 7.0, float("nan")]]).repeat(4, 1)
    quality = measure(Off(spec, rows[:, None], 2), [rows], Fraction(50))
    columns = {f"{figure}.{column}": 2.0 for figure in ("rmse", "largest_error") for column in (0, 1)}
    assert quality.figures == pytest.approx({**columns, "normalised_rmse": 2.0})


def test_nothing_to_measure_has_no_figures() -> None:
    """No clips, or empty ones, give zeros and no figures, not an error."""
    for name, clips in (("mulaw-256", []), ("mulaw-256", [torch.zeros(1, 0)]), ("sound-mdct", [])):
        quality = measure(load_encoder(name), clips)
        assert (quality.items, quality.tokens, quality.figures) == (0, 0, {})
        assert quality.bits_per_second == 0.0


def test_what_saturated_is_told() -> None:
    """Clipped sound is counted in the result."""
    assert measure(load_encoder("mulaw-256"), [torch.tensor([[2.0, 0.5]])]).saturated == 1
