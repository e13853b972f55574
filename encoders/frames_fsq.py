"""`frames-dct`: pictures to codes by an integer block transform and finite scalar quantisation.

Per 16x16 block: exact integer coefficients (`block_transform`), the likeliest of 32 kinds of block
(`block_classes`), then each coefficient to one of 2^b levels, where the class says how many and how far
apart (`allotment`, `class_coder`). All bits of a block stand in 4, 8 or 16 tokens of 16 bits; the highest
5 bits of the first are the class.

Sources: classified transform coding, W. H. Chen and C. H. Smith, IEEE Trans. Commun. 25 (1977), 1285;
finite scalar quantization, arXiv 2309.15505.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from encoders.allotment import TOKEN_BITS, Field, lay_out
from encoders.block_classes import AC_PLACES, CLASS_BITS, CLASS_COUNT, DC_PLACES, class_exponents
from encoders.block_transform import BLOCK, UNIT_BITS, BlockTransform, dc_ranges, zone
from encoders.class_coder import (
    ClassCoder,
    Levels,
    deviation_of,
    even_levels,
    laplace_levels,
    likeliest_class,
)
from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize, picture_size
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

TOKEN_COUNTS = (4, 8, 16)
LAUNCH_PIXELS = 32 * 256 * 256
CACHED_PIXELS = 2 * 256 * 256
CACHED_BLOCKS = 1024

ZERO_BIAS = 1 << (UNIT_BITS - 4)
"""A coefficient that is zero, or nearly, is rounded up or down by a sixteenth of a unit. If all were rounded
up, their cosines would meet in the first corner of every flat block, and could be seen."""

HALF_SHIFT = UNIT_BITS - 1
"""Coefficients enter the choice of a class in halves of a unit."""
WEIGHT_BITS = 22
LOG_WEIGHT = 1_453_635
"""ln(2) / 2 * 2^22, rounded: what one step of an exponent adds to a class's cost."""


class FramesDct:
    """Bit-exact tokens of single frames: [T, H/16, W/16, K], K = `tokens` codes of 16 bits per block.

    The same frame gives the same codes on every device. Reconstructed values may differ by a rounding.

    Measured on 256x256 frames of 11 clips that the tables were not fitted to, mean PSNR in RGB, against
    JPEG (4:2:0, optimised) of as many bits:

    ======  ==========  ==========  =======
    tokens  bits/pixel  frames-dct     JPEG
    ======  ==========  ==========  =======
    4             0.25     28.2 dB  28.8 dB
    8             0.5      31.6 dB  33.6 dB
    16            1.0      35.3 dB  38.2 dB
    ======  ==========  ==========  =======
    """

    def __init__(self, device: torch.device, size: PictureSize = 256, tokens: int = 8) -> None:
        if tokens not in TOKEN_COUNTS:
            raise WrongSetting(f"frames-dct makes 4, 8 or 16 tokens per 16x16 block, got tokens={tokens!r}")
        self.device = device
        height, width = picture_size("frames-dct", size, BLOCK)
        self.spec = TokenSpec(
            encoder="frames-dct",
            revision=1,
            kind="codes",
            dtype="uint16",
            axes="THWK",
            shape=(height // BLOCK, width // BLOCK, tokens),
            strides=(1, BLOCK, BLOCK, 1),
            steps_per_chunk=1,
            codebook_sizes=(1 << TOKEN_BITS,),
            exact_across_devices=True,
            settings={"size": [height, width], "tokens": tokens},
            input=InputSpec(
                medium="pictures",
                dtype="uint8",
                value_range=(0, 255),
                axes="BTCHW",
                channels=3,
                launch_batch=max(1, LAUNCH_PIXELS // (height * width)),
                size=(height, width),
                size_multiple=BLOCK,
            ),
        )
        self._transform = BlockTransform(device)
        weights, biases = class_costs()
        self._weights, self._biases = (
            torch.from_numpy(weights).to(device),
            torch.from_numpy(biases).to(device),
        )
        layouts = [
            [(field, field_levels(number, field)) for field in fields]
            for number, fields in enumerate(class_fields(tokens))
        ]
        self._coder = ClassCoder(layouts, len(zone()), tokens, 1 << 31, device)

    def fit(self, samples: Iterable[np.ndarray]) -> FramesDct:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn frames [B, 1, 3, H, W] into codes [B, 1, H/16, W/16, K]."""
        check_launch(self, batch)
        frames = batch.flatten(0, 1)
        at_once = self._frames_at_once(len(frames))
        coefficients = torch.cat(
            [self._transform.coefficients(some) for some in torch.split(frames, at_once)]
        )
        classes = torch.cat([self._classes(some) for some in torch.split(coefficients, CACHED_BLOCKS)])
        codes = self._coder.encode(coefficients, classes)
        codes[:, 0] += (classes << (TOKEN_BITS - CLASS_BITS)).to(torch.int32)
        return TokenArray(codes.to(torch.uint16).reshape(len(batch), 1, *self.spec.shape))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes into frames [B, 1, 3, H, W]."""
        check_codes(self, tokens)
        height, width = self.spec.settings["size"]
        codes = tokens.data.to(self.device).to(torch.int64).reshape(-1, self.spec.shape[-1])
        values = self._coder.decode(codes, codes[:, 0] >> (TOKEN_BITS - CLASS_BITS))
        blocks_of_frame = self.spec.shape[0] * self.spec.shape[1]
        at_once = blocks_of_frame * self._frames_at_once(len(tokens.data))
        frames = [self._transform.frames(some, height, width) for some in torch.split(values, at_once)]
        return torch.cat(frames).unsqueeze(1)

    def _classes(self, coefficients: Tensor) -> Tensor:
        halves = (coefficients * 2.0**-HALF_SHIFT).add_(0.5).floor_()
        return likeliest_class(halves.square_(), self._weights, self._biases)

    def _frames_at_once(self, most: int) -> int:
        """On a CPU, a few frames at a time stay in its caches: that is more than twice as fast."""
        if self.device.type != "cpu":
            return max(1, most)
        blocks = self.spec.shape[0] * self.spec.shape[1]
        return max(1, CACHED_PIXELS // (blocks * BLOCK * BLOCK))


@cache
def class_costs() -> tuple[np.ndarray, np.ndarray]:
    """Return float64 weights [coefficients, 32] and biases [32] for `likeliest_class`; DCs weigh nothing.

    The sum of all x² of a block, in halves, is below 2^28 (Parseval). The smallest variance is 2^2, so no
    cost reaches 2^28 * 2^18 + 2^32 < 2^53.
    """
    exponents = class_exponents()
    weights = np.zeros((len(zone()), CLASS_COUNT))
    # 2^22 / (4 * 2^(e/2)) = sqrt(2^(40 - e)); the 4 is for squares of halves.
    weights[list(AC_PLACES)] = [
        [isqrt(1 << (2 * WEIGHT_BITS - 4 - int(e))) for e in row] for row in exponents.T
    ]
    return weights, (exponents.sum(1) * LOG_WEIGHT).astype(np.float64)


@cache
def class_fields(token_count: int) -> list[list[Field]]:
    """Return, for each class, which coefficients stand where in a block's tokens."""
    squares = [(2 * span / (1 << UNIT_BITS)) ** 2 for span in dc_ranges()]
    fields = []
    for row in class_exponents():
        exponents: list[int | None] = [None] * len(zone())
        for place, exponent in zip(AC_PLACES, row, strict=True):
            exponents[place] = int(exponent)
        fields.append(lay_out(exponents, squares, token_count, CLASS_BITS))
    return fields


def field_levels(number: int, field: Field) -> Levels:
    """Return the levels of one coefficient in one class: a DC's cover its whole range evenly."""
    if field.place in DC_PLACES:
        return even_levels(field.bits, dc_ranges()[DC_PLACES.index(field.place)], UNIT_BITS)
    exponent = int(class_exponents()[number, AC_PLACES.index(field.place)])
    # The golden ratio's multiples are spread evenly: neighbouring places go up and down without a pattern.
    up = field.place * 40503 % 65536 < 32768
    return laplace_levels(field.bits, deviation_of(exponent), 20, UNIT_BITS, ZERO_BIAS if up else -ZERO_BIAS)
