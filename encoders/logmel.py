"""`logmel`: sound to a log-mel spectrogram, 100 frames a second; no weights, nothing to download."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_launch
from encoders.errors import WrongInput, WrongSetting
from encoders.mel import HOP, QUIETEST, RATE, WINDOW, mel_power
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

CHUNK = RATE
LAUNCH_CHUNKS = 8
BANDS = (40, 64, 80, 128)


class LogMel:
    """Features [T, bands], float16: (log10(max(power, 1e-10)) + 4) / 4 of Whisper's mel bands.

    A frame's window ends with its own 10 ms: it begins 240 samples before them, and nothing later is
    heard. That is Whisper's frame, shifted by 40 samples; the cut 8 below the loudest, which needs the
    whole window of 30 s, is not applied. No sound comes back.
    """

    def __init__(self, device: torch.device, bands: int = 80) -> None:
        if bands not in BANDS:
            raise WrongSetting(f"logmel bands must be one of {', '.join(map(str, BANDS))}, got {bands!r}")
        self.device, self._bands = device, bands
        self.spec = TokenSpec(
            encoder="logmel",
            revision=1,
            kind="features",
            dtype="float16",
            axes="TD",
            shape=(bands,),
            strides=(HOP, 1),
            steps_per_chunk=CHUNK // HOP,
            codebook_sizes=(),
            reconstructs=False,
            settings={"bands": bands},
            input=InputSpec(
                medium="sound",
                dtype="float32",
                value_range=(-1.0, 1.0),
                axes="BCN",
                channels=1,
                launch_batch=LAUNCH_CHUNKS,
                chunk=CHUNK,
                context=WINDOW - HOP,
                rate=Fraction(RATE),
            ),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> LogMel:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, 240 + 16000] samples into features [B, 100, bands]; NaN is silence."""
        check_launch(self, batch)
        broken = ~torch.isfinite(batch[:, 0])
        windows = batch[:, 0].masked_fill(broken, 0.0).clamp(-1, 1).unfold(1, WINDOW, HOP)
        rows = [mel_power(row, self._bands) for row in windows]  # one by one: none depends on another
        logs = torch.stack(rows).clamp_(min=QUIETEST).log10_().add_(4).div_(4)
        return TokenArray(logs.to(torch.float16), saturated=broken.sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Raise: no sound comes back."""
        raise WrongInput("logmel makes embeddings: no media come back from them")
