"""Tokens on their way: of one launch (`TokenArray`), and of one clip (`ClipTokens`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenArray:
    """What `encode` makes of one launch, still on the encoder's device."""

    data: Tensor
    """Codes or features [B, steps, ...] in the spec's dtype; where ragged, [N] of all rows in a row."""
    offsets: Tensor | None = None
    """Ragged ones only: int64 [B * steps + 1] on the CPU; step i is `data[offsets[i]:offsets[i + 1]]`."""
    saturated: Tensor | None = None
    """int64 [B]: values of each row that lay outside what the codes can say. None: none of any row."""

    def __repr__(self) -> str:
        return f"TokenArray({tuple(self.data.shape)}, {self.data.dtype})"


@dataclass(frozen=True, eq=False)
class ClipTokens:
    """The tokens of one clip, on the host, ready to be stored."""

    tokens: np.ndarray
    """Codes or features, time first: [T', ...] in the spec's dtype; where ragged, [N]."""
    valid: int
    """Frames, samples or rows that the clip had before it was padded to the encoder's multiple."""
    offsets: np.ndarray | None = None
    """Ragged ones only: int64 [T' + 1]; step i is `tokens[offsets[i]:offsets[i + 1]]`."""
    saturated: int = 0
    """Values that lay outside what the codes can say, and were stored as the nearest they can."""

    @property
    def steps(self) -> int:
        """Time steps, padding included."""
        return len(self.tokens) if self.offsets is None else len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"ClipTokens({self.tokens.shape}, {self.tokens.dtype}, valid={self.valid})"
