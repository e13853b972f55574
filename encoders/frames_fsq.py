"""`frames-dct`: pictures to codes by an integer block transform and finite scalar quantisation.

Per 16x16 block: exact integer coefficients (`block_transform`), the most likely of 32 kinds of block
(`block_classes`), then each coefficient to one of 2^b levels, where the class says how many and how far
apart (`allotment`). All bits of a block stand in 4, 8 or 16 tokens of 16 bits; the highest 5 bits of the
first are the class.

Sources: classified transform coding, W. H. Chen and C. H. Smith, IEEE Trans. Commun. 25 (1977), 1285;
finite scalar quantization, arXiv 2309.15505.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from encoders.allotment import CENTRES, OPEN_CENTRE, STEPS, Field, lay_out
from encoders.block_classes import AC_PLACES, CLASS_BITS, CLASS_COUNT, DC_PLACES, class_exponents
from encoders.block_transform import BLOCK, UNIT_BITS, BlockTransform, dc_ranges, zone
from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize, picture_size
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

TOKEN_COUNTS = (4, 8, 16)
TOKEN_BITS = 16
LAUNCH_PIXELS = 32 * 256 * 256
CACHED_PIXELS = 2 * 256 * 256
CACHED_BLOCKS = 1024

CLASS_SHIFT = UNIT_BITS - 1
"""Coefficients enter the choice of a class in halves of a unit."""
WEIGHT_BITS = 22
LOG_WEIGHT = 1_453_635
"""ln(2) / 2 * 2^22, rounded: what one step of an exponent adds to a class's cost."""

SCALE_BITS = 36
"""A coefficient times its multiplier is 2^36 per level. |coefficient| < 2^27 and multiplier < 2^25, so the
product is exact in float64."""


class FramesDct:
    """Bit-exact tokens of single frames: [T, H/16, W/16, K], K = `tokens` codes of 16 bits per block.

    The same frame gives the same codes on every device. Reconstructed values may differ by a rounding.
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
        self._classifier = _Classifier(device)
        self._quantisers = [_Quantiser.of(index, tokens, device) for index in range(CLASS_COUNT)]

    def fit(self, samples: Iterable[np.ndarray]) -> FramesDct:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn frames [B, 1, 3, H, W] into codes [B, 1, H/16, W/16, K]."""
        check_launch(self, batch)
        frames = batch.flatten(0, 1)
        at_once = self._frames_at_once(len(frames))
        coefficients = torch.cat([self._transform.coefficients(some) for some in frames.split(at_once)])
        classes = torch.cat([self._classifier.classes(some) for some in coefficients.split(CACHED_BLOCKS)])
        # Blocks of one class stand together, so that each class's tables are used once.
        order = torch.argsort(classes, stable=True)
        counts = torch.bincount(classes, minlength=CLASS_COUNT).tolist()
        groups = coefficients[order].split(counts)
        tokens = [quantiser.tokens(group) for quantiser, group in zip(self._quantisers, groups, strict=True)]
        codes = torch.empty((len(classes), self.spec.shape[-1]), dtype=torch.int32, device=self.device)
        codes[order] = torch.cat(tokens)
        return TokenArray(codes.to(torch.uint16).reshape(len(batch), 1, *self.spec.shape))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes into frames [B, 1, 3, H, W]."""
        check_codes(self, tokens)
        codes = tokens.data.to(self.device).to(torch.int64).reshape(-1, self.spec.shape[-1])
        classes = codes[:, 0] >> (TOKEN_BITS - CLASS_BITS)
        order = torch.argsort(classes, stable=True)
        groups = codes[order].split(torch.bincount(classes, minlength=CLASS_COUNT).tolist())
        values = torch.empty((len(codes), len(zone())), dtype=torch.float64, device=self.device)
        parts = [quantiser.values(group) for quantiser, group in zip(self._quantisers, groups, strict=True)]
        values[order] = torch.cat(parts)
        height, width = self.spec.settings["size"]
        blocks_a_frame = self.spec.shape[0] * self.spec.shape[1]
        at_once = blocks_a_frame * self._frames_at_once(len(tokens.data))
        frames = [self._transform.frames(some, height, width) for some in values.split(at_once)]
        return torch.cat(frames).unsqueeze(1)

    def _frames_at_once(self, most: int) -> int:
        """On a CPU, a few frames at a time stay in its caches: that is more than twice as fast."""
        if self.device.type != "cpu":
            return max(1, most)
        height, width = self.spec.settings["size"]
        return max(1, CACHED_PIXELS // (height * width))


class _Classifier:
    """Gives each block the class under which its coefficients are most likely, in exact integers.

    The cost of a class is the sum of x² / variance + ln(variance); the sum of all x² of a block is below
    2^28 (Parseval), the smallest variance is 2^2, so that costs stay below 2^48, and below 2^53 with the
    class's number as their last digits, which decides ties.
    """

    def __init__(self, device: torch.device) -> None:
        exponents = class_exponents()
        if exponents.min() < 4:
            raise ValueError("a class with a variance below 4 would overflow the exact sums")
        weights = np.zeros((len(zone()), CLASS_COUNT))
        weights[list(AC_PLACES)] = [[isqrt(1 << (2 * WEIGHT_BITS - 4 - int(e))) for e in row] for row in exponents.T]
        biases = exponents.sum(1) * LOG_WEIGHT * CLASS_COUNT + np.arange(CLASS_COUNT)
        self._weights = torch.from_numpy(weights * CLASS_COUNT).to(device)
        self._biases = torch.tensor(biases, dtype=torch.float64, device=device)

    def classes(self, coefficients: Tensor) -> Tensor:
        """Return int64 [blocks]."""
        halves = (coefficients * 2.0**-CLASS_SHIFT).add_(0.5).floor_()
        return (halves.square_() @ self._weights).add_(self._biases).argmin(1)


@dataclass(frozen=True, eq=False)
class _Quantiser:
    """One class's way from coefficients to tokens and back."""

    number: int
    places: Tensor
    """int64 [fields]: which coefficients."""
    multipliers: Tensor
    offsets: Tensor
    """float64 [fields]: 1/2 where zero is in the middle of a level (DC), 0 where it parts two."""
    halves: Tensor
    """float64 [fields]: half of the number of levels."""
    packing: Tensor
    """float64 [fields, tokens]: 2^shift in the field's token."""
    tokens_of: Tensor
    shifts: Tensor
    """int64 [fields]: the way back from tokens."""
    levels: Tensor
    """float64 [fields, 256]: the value of each level, in orthonormal units."""

    @classmethod
    def of(cls, number: int, token_count: int, device: torch.device) -> _Quantiser:
        fields = class_fields(token_count)[number]
        packing = np.zeros((len(fields), token_count))
        for row, field in enumerate(fields):
            packing[row, field.token] = 1 << field.shift
        levels = np.zeros((len(fields), 256))
        for row, field in enumerate(fields):
            levels[row, : 1 << field.bits] = _level_values(number, field)
        return cls(
            number,
            torch.tensor([field.place for field in fields], device=device),
            torch.tensor([_multiplier(number, field) for field in fields], dtype=torch.float64, device=device),
            torch.tensor([(field.place in DC_PLACES) / 2 for field in fields], dtype=torch.float64, device=device),
            torch.tensor([1 << field.bits >> 1 for field in fields], dtype=torch.float64, device=device),
            torch.from_numpy(packing).to(device),
            torch.tensor([field.token for field in fields], device=device),
            torch.tensor([field.shift for field in fields], device=device),
            torch.from_numpy(levels).to(device),
        )

    def tokens(self, coefficients: Tensor) -> Tensor:
        """Turn float64 integers [blocks, coefficients] into int32 tokens [blocks, tokens]."""
        scaled = (coefficients[:, self.places] * self.multipliers).mul_(2.0**-SCALE_BITS).add_(self.offsets)
        levels = torch.minimum(torch.maximum(scaled.floor_(), -self.halves), self.halves - 1) + self.halves
        tokens = (levels @ self.packing).to(torch.int32)
        tokens[:, 0] += self.number << (TOKEN_BITS - CLASS_BITS)
        return tokens

    def values(self, tokens: Tensor) -> Tensor:
        """Turn int64 tokens [blocks, tokens] into float64 coefficients [blocks, coefficients]."""
        levels = (tokens[:, self.tokens_of] >> self.shifts) & (2 * self.halves - 1).to(torch.int64)
        values = torch.zeros((len(tokens), len(zone())), dtype=torch.float64, device=tokens.device)
        values[:, self.places] = self.levels.gather(1, levels.t()).t()
        return values


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


def _multiplier(number: int, field: Field) -> int:
    """Return the whole number by which a coefficient becomes 2^36 per level."""
    if field.place in DC_PLACES:
        span = 2 * dc_ranges()[DC_PLACES.index(field.place)]
        return (((1 << field.bits) - 1) << SCALE_BITS) // span
    step = STEPS[field.bits] * _deviation(number, field.place)
    return (1 << (SCALE_BITS - UNIT_BITS + 10 + 20)) // step


def _deviation(number: int, place: int) -> int:
    """Return 2^(e/4) * 2^20: the standard deviation, in exact integers."""
    exponent = int(class_exponents()[number, AC_PLACES.index(place)])
    return isqrt(isqrt(1 << (exponent + 80)))


def _level_values(number: int, field: Field) -> np.ndarray:
    """Return the value of each of a field's levels, rising: the centre of mass of its cell."""
    count = 1 << field.bits
    if field.place in DC_PLACES:
        span = 2 * dc_ranges()[DC_PLACES.index(field.place)] / (1 << UNIT_BITS)
        return (np.arange(count) - count // 2) * (span / (count - 1))
    inside = np.arange(count // 2 - 1) * STEPS[field.bits] + CENTRES[field.bits]
    outermost = (count // 2 - 1) * STEPS[field.bits] + OPEN_CENTRE
    positive = np.append(inside, outermost) * (_deviation(number, field.place) / (1 << 30))
    return np.concatenate([-positive[::-1], positive])
