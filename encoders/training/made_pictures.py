"""Made pictures to train on beside recordings: flat and sloping grounds of any colour, with plain shapes.

Screens, drawings and test cards have what cameras hardly see: black, white, pure colours, hard edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_SHAPES = 6
FASTEST = 6.0
"""Pixels from frame to frame."""


def made_chunk(frames: int, edge: int, random: torch.Generator) -> Tensor:
    """Return float32 [frames, 3, edge, edge] in [-1, 1]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, edge), torch.linspace(-1, 1, edge), indexing="ij")
    ground = _colour(random)
    if _share(random) < 0.5:  # a slope
        direction = torch.rand(2, generator=random) * 2 - 1
        ground = ground + (_colour(random) - ground) * (direction[0] * x + direction[1] * y) * _share(random)
    pictures = ground.expand(3, edge, edge).repeat(frames, 1, 1, 1)
    moves = _share(random) < 0.5
    for _ in range(int(torch.randint(MOST_SHAPES + 1, (), generator=random))):
        colour = _colour(random)
        top, left, height, width = (torch.rand(4, generator=random) * edge).tolist()
        height, width = 1 + height * _share(random), 1 + width * _share(random)
        speed = ((torch.rand(2, generator=random) * 2 - 1) * FASTEST * moves).tolist()
        for index, picture in enumerate(pictures):
            rows = _span(top + speed[0] * index, height)
            columns = _span(left + speed[1] * index, width)
            picture[:, rows, columns] = colour
    return pictures.clamp(-1, 1)


def _colour(random: torch.Generator) -> Tensor:
    """Return a colour [3, 1, 1]: any, a grey, or one whose parts are full or nothing."""
    kind = _share(random)
    if kind < 0.4:
        return torch.rand(3, 1, 1, generator=random) * 2 - 1
    if kind < 0.7:
        return (torch.rand(1, 1, 1, generator=random) * 2 - 1).expand(3, 1, 1)
    return torch.randint(2, (3, 1, 1), generator=random) * 2.0 - 1


def _span(start: float, length: float) -> slice:
    return slice(max(0, round(start)), max(0, round(start + length)))


def _share(random: torch.Generator) -> float:
    return float(torch.rand((), generator=random))
