"""`depth-log`: distances in metres to logarithmic steps, one code per pixel."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize, picture_size
from encoders.spec import InputSpec, TokenSpec
from encoders.staircase import Staircase
from encoders.tokens import TokenArray

LAUNCH_FRAMES = 8
MOST_STEPS = 65_535


@cache
def log_table(near_m: float, far_m: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 edges [steps - 1] and distances [steps], rising from near to far.

    Distance k is near * (far / near) ** (k / (steps - 1)), an edge the geometric mean of its neighbours:
    what lies between near and far comes back to within a factor of (far / near) ** (1 / (2 * (steps - 1))).
    """
    with localcontext() as context:  # correctly rounded: every machine has the same table
        context.prec = 40
        near, span = Decimal(near_m), (Decimal(far_m) / Decimal(near_m)).ln()
        half_steps = [near * (span * k / (2 * (steps - 1))).exp() for k in range(2 * steps - 1)]
    points = np.array([float(point) for point in half_steps])
    return points[1::2], points[::2]


class DepthLog:
    """Codes 1 … 1023 per pixel, each 0.8 % farther than the one before, from 0.05 m to 200 m; 0: no distance.

    A distance comes back to within 0.41 % of itself with the default settings: 4 mm at 1 m, 8 cm at 20 m.
    Nothing is averaged and no pixel knows its neighbours. What is not a distance (NaN, infinite, zero or
    less) is code 0 and comes back as NaN; nearer or farther ones become the nearest or farthest and are
    counted.
    """

    def __init__(
        self,
        device: torch.device,
        size: PictureSize = 128,
        near_m: float = 0.05,
        far_m: float = 200.0,
        steps: int = 1023,
    ) -> None:
        if not 0 < near_m < far_m < float("inf"):
            raise WrongSetting(f"depth-log: near_m must be above 0 and below far_m, got {near_m} and {far_m}")
        if not 2 <= steps <= MOST_STEPS or steps != int(steps):
            raise WrongSetting(f"depth-log: steps must be a whole number from 2 to {MOST_STEPS}, got {steps}")
        self.device = device
        height, width = picture_size("depth-log", size, 1)
        near_m, far_m, steps = float(near_m), float(far_m), int(steps)
        self.spec = TokenSpec(
            encoder="depth-log",
            revision=1,
            kind="codes",
            dtype="uint8" if steps < 256 else "uint16",
            axes="THW",
            shape=(height, width),
            strides=(1, 1, 1),
            steps_per_chunk=1,
            codebook_sizes=(steps + 1,),
            lowest_code=1,
            exact_across_devices=True,
            settings={"size": [height, width], "near_m": near_m, "far_m": far_m, "steps": steps},
            input=InputSpec(
                "depth", "float32", (near_m, far_m), "BTHW", 1, LAUNCH_FRAMES, size=(height, width)
            ),
        )
        edges, distances = log_table(near_m, far_m, steps)
        self._stairs = Staircase.of([edges], [distances], [(near_m, far_m)], device)

    def fit(self, samples: Iterable[np.ndarray]) -> DepthLog:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn metres [B, 1, H, W] into codes [B, 1, H, W]."""
        check_launch(self, batch)
        metres = batch.reshape(-1, 1)
        nothing = ~(torch.isfinite(metres) & (metres > 0))
        steps, outside = self._stairs.steps(metres.masked_fill(nothing, float("nan")))
        codes = (steps + 1).to(getattr(torch, self.spec.dtype)).reshape(batch.shape)
        return TokenArray(codes, saturated=outside.reshape(len(batch), -1).sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes [B, 1, H, W] into metres, NaN where there is no distance."""
        check_codes(self, tokens)
        steps = tokens.data.to(self.device, torch.int64).reshape(-1, 1) - 1
        return self._stairs.stand_ins(steps).reshape(tokens.data.shape)
