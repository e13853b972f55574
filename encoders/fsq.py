"""Finite scalar quantisation: a few numbers to one code, each rounded to one of a few levels.

Source: "Finite Scalar Quantization: VQ-VAE Made Simple", arXiv 2309.15505, section 3. Ours differs in how a
number is bounded: `tanh` to (-1, 1), and the levels of a dimension lie evenly over it, both ends included.

The order of codes is part of every encoder that uses this: dimension 0 counts fastest,
`code = k0 + L0 * (k1 + L1 * (k2 + ...))`, and level k of L stands for the value `2 k / (L - 1) - 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fsq:
    """The levels of each dimension."""

    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 2:
            raise ValueError(f"every dimension needs at least 2 levels, got {list(self.levels)}")

    @property
    def codebook_size(self) -> int:
        """How many codes there are."""
        return prod(self.levels)

    def places(self, latents: Tensor) -> Tensor:
        """Return the number of the nearest level of each dimension.

        Args:
            latents: [..., D], unbounded. They are taken as float32: a half-precision latent would fall to
                the other side of a border in percents of all cases.

        Returns:
            float32 [..., D], whole numbers in [0, L).
        """
        top = self._tops(latents)
        bounded = torch.tanh(latents.to(torch.float32))
        return ((bounded + 1) * (top / 2) + 0.5).floor().minimum(top)

    def codes(self, places: Tensor) -> Tensor:
        """Return int64 [...] codes of the places [..., D] of levels."""
        steps = torch.tensor(self._steps(), dtype=torch.int64, device=places.device)
        return (places.to(torch.int64) * steps).sum(-1)

    def places_of(self, codes: Tensor) -> Tensor:
        """Return the float32 places [..., D] of codes [...], which must lie in [0, `codebook_size`)."""
        wide = codes.to(torch.int64)
        parts = [wide // step % size for step, size in zip(self._steps(), self.levels, strict=True)]
        return torch.stack(parts, dim=-1).to(torch.float32)

    def values(self, places: Tensor) -> Tensor:
        """Return what the places stand for: float32 [..., D] in [-1, 1]."""
        return places * (2 / self._tops(places)) - 1

    def straight_through(self, latents: Tensor) -> Tensor:
        """Return the values of the nearest levels, with the gradient of the bounded latents: for training."""
        bounded = torch.tanh(latents.to(torch.float32))
        return bounded + (self.values(self.places(latents)) - bounded).detach()

    def _tops(self, like: Tensor) -> Tensor:
        return torch.tensor([size - 1 for size in self.levels], dtype=torch.float32, device=like.device)

    def _steps(self) -> list[int]:
        return [prod(self.levels[:place]) for place in range(len(self.levels))]
