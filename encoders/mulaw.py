"""`mulaw-256` for sound and `mulaw-1024` for signals: steps that grow with the value.

F(x) = ln(1 + mu |x|) / ln(1 + mu), with the sign of x (ITU-T G.711's curve, continuous form). A value's
step is round(F(x) * half) in -half … half, so that zero is a step of its own and comes back exactly.
Tables are computed with correctly rounded decimals and values are only compared with them, hence every
machine makes the same codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_codes, check_launch
from encoders.samples import evenly_spaced_rows
from encoders.spec import InputSpec, TokenSpec
from encoders.staircase import Staircase
from encoders.tokens import TokenArray

SOUND_MU, SOUND_HALF = 255, 127
SOUND_RATE = 16_000
LAUNCH_SAMPLES = 16_384

SIGNAL_MU, SIGNAL_HALF = 25_600, 511
"""mu 100 on values up to 256 of their unit (Gato, arXiv 2205.06175, section 2.1): 100 * 256."""
ROWS_KEPT = 65_536
LAUNCH_ROWS = 4096


@cache
def mulaw_table(mu: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 edges [2 * half] and values [2 * half + 1] for |x| <= 1, rising."""
    edges = [_inverse(mu, Decimal(2 * step - 1) / (2 * half)) for step in range(1, half + 1)]
    values = [_inverse(mu, Decimal(step) / half) for step in range(1, half + 1)]
    return (
        np.array([-edge for edge in reversed(edges)] + edges),
        np.array([-value for value in reversed(values)] + [0.0] + values),
    )


def _inverse(mu: int, companded: Decimal) -> float:
    with localcontext() as context:
        context.prec = 40
        return float(((companded * Decimal(1 + mu).ln()).exp() - 1) / mu)


class SoundMulaw:
    """One code per sample of 16 kHz mono: 1 … 255, 128 is silence.

    128 kbit/s. Samples outside [-1, 1] saturate and are counted.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spec = TokenSpec(
            encoder="mulaw-256",
            revision=1,
            kind="codes",
            dtype="uint8",
            axes="T",
            shape=(),
            strides=(1,),
            steps_per_chunk=1,
            codebook_sizes=(256,),
            lowest_code=1,
            exact_across_devices=True,
            input=InputSpec(
                "sound", "float32", (-1.0, 1.0), "BCN", 1, LAUNCH_SAMPLES, rate=Fraction(SOUND_RATE)
            ),
        )
        edges, values = mulaw_table(SOUND_MU, SOUND_HALF)
        self._stairs = Staircase.of([edges], [values], [(-1.0, 1.0)], device)

    def fit(self, samples: Iterable[np.ndarray]) -> SoundMulaw:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, 1] into codes [B, 1]. NaN becomes silence and counts as saturated."""
        check_launch(self, batch)
        samples = batch.reshape(-1, 1)
        broken = torch.isnan(samples)
        steps, outside = self._stairs.steps(samples.masked_fill(broken, 0.0))
        return TokenArray((steps + 1).to(torch.uint8), saturated=(outside | broken).sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes [B, 1] into samples [B, 1, 1]."""
        check_codes(self, tokens)
        steps = tokens.data.to(self.device, torch.int64) - 1
        return self._stairs.stand_ins(steps).unsqueeze(1)


class SignalMulaw:
    """Codes 1 … 1023 per value, 512 is zero; 0 where the value is invalid.

    Each column's scale is the largest absolute value that it was fitted to. Up to it, a value comes back
    to within 1 % of itself and 4e-7 of the scale; beyond it, values saturate and are
    counted. A column that never had a value other than zero keeps scale 1.
    """

    def __init__(self, device: torch.device, fitted: Mapping[str, Any] | None = None) -> None:
        self.device = device
        fitted = dict(fitted or {})
        width = len(fitted.get("scales", ()))
        self.spec = TokenSpec(
            encoder="mulaw-1024",
            revision=1,
            kind="codes",
            dtype="uint16",
            axes="TD",
            shape=(width,),
            strides=(1, 1),
            steps_per_chunk=1,
            codebook_sizes=(1024,),
            lowest_code=1,
            exact_across_devices=True,
            needs_fit=True,
            fitted=fitted,
            input=InputSpec("signal", "float32", None, "BTD", width, LAUNCH_ROWS),
        )
        edges, values = mulaw_table(SIGNAL_MU, SIGNAL_HALF)
        scales = fitted.get("scales", ())
        spans = [(-scale, scale) for scale in scales]
        self._stairs = Staircase.of(
            [edges * scale for scale in scales], [values * scale for scale in scales], spans, device
        )

    def fit(self, samples: Iterable[np.ndarray]) -> SignalMulaw:
        """Return the encoder with the scales of these samples' columns, float32 [T, D] each."""
        rows = evenly_spaced_rows(samples, ROWS_KEPT)
        sizes = np.abs(np.where(np.isfinite(rows), rows, 0)).max(axis=0, initial=0)
        return SignalMulaw(self.device, {"scales": [float(size) or 1.0 for size in sizes]})

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, D] into codes [B, 1, D]."""
        check_launch(self, batch)
        steps, outside = self._stairs.steps(batch.flatten(0, 1))
        codes = (steps + 1).to(torch.uint16).reshape(batch.shape)
        return TokenArray(codes, saturated=outside.reshape(len(batch), -1).sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes into values, NaN where invalid."""
        check_codes(self, tokens)
        steps = tokens.data.flatten(0, 1).to(self.device, torch.int64) - 1
        return self._stairs.stand_ins(steps).reshape(tokens.data.shape)
