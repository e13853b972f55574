"""First form: means of 10 samples (to be replaced by the transform; the spec stays)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_codes, check_launch
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray


class SoundMdct:
    """Means."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spec = TokenSpec(
            encoder="sound-mdct",
            revision=0,
            kind="codes",
            dtype="uint16",
            axes="TK",
            shape=(32,),
            strides=(320, 1),
            steps_per_chunk=50,
            codebook_sizes=(65536,),
            exact_across_devices=True,
            input=InputSpec(
                "sound", "float32", (-1.0, 1.0), "BCN", 1, 16, chunk=16_000, rate=Fraction(16_000)
            ),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> SoundMdct:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn samples into codes."""
        check_launch(self, batch)
        means = (batch.to(torch.float64) * 32767).round().reshape(len(batch), 50, 32, 10).sum(-1)
        return TokenArray((means.div(10).floor() + 32768).clamp(0, 65535).to(torch.uint16))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes into samples."""
        check_codes(self, tokens)
        codes = tokens.data.to(self.device, torch.float32)
        return ((codes - 32768) / 32768).repeat_interleave(10, -1).reshape(len(codes), 1, -1)
