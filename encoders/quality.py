"""How much of the media survives an encoder, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from encoders.encoder import Encoder
from encoders.launch import clip_length, encode_clip, reconstruct_clip
from encoders.tokens import ClipTokens


@dataclass(frozen=True)
class Quality:
    """What was measured over some clips. Decibels that are infinite are None in JSON."""

    encoder: str
    medium: str
    clips: int
    items: int
    """Frames, samples or rows."""
    seconds: float
    """Duration of the media; 0 where no rate is known."""
    tokens: int
    bits: float
    """Codes: log2 of the codebook sizes; bytes: 8 each."""
    figures: dict[str, float]
    """Pictures: `psnr_db` (mean over frames), `global_psnr_db`, `bits_per_pixel`. Sound: `snr_db`,
    `segmental_snr_db`. Signals: `normalised_rmse`, and `rmse.<column>` in the column's unit."""

    @property
    def bits_per_second(self) -> float:
        """Bits of tokens per second of media; 0 where no rate is known."""
        return self.bits / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def measure(encoder: Encoder, media: Iterable[Tensor], rate: Fraction | None = None) -> Quality:
    """Encode and reconstruct clips, and compare."""
    raise NotImplementedError
