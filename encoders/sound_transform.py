"""`sound-mdct`: sound to codes by an integer lapped transform and finite scalar quantisation.

Per step of 20 ms: exact integer coefficients (`lapped_transform`); the gain, in steps of 3 dB; the likeliest
of 128 kinds of spectrum at that gain (`sound_classes`); then each coefficient to one of 2^b levels, where the
class says how many and how far apart (`allotment`, `class_coder`). All bits of a step stand in 8, 16 or 32
tokens of 16 bits; the highest 5 bits of the first are the gain, the next 7 the class. Gain 0 is silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from encoders.allotment import TOKEN_BITS, Field, lay_out
from encoders.class_coder import ClassCoder, Levels, deviation_of, laplace_levels, likeliest_class
from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.lapped_transform import CHUNK, STEP, STEPS_PER_CHUNK, UNIT_BITS, LappedTransform
from encoders.sound_classes import BAND_WIDTHS, CLASS_BITS, CLASS_COUNT, ZERO, band_of, class_exponents
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

RATE = 16_000
FULL_SCALE = 32_768
TOKEN_COUNTS = (8, 16, 32)
LAUNCH_CHUNKS = 32
GAIN_BITS = 5
GAIN_COUNT = 1 << GAIN_BITS
HEAD_BITS = GAIN_BITS + CLASS_BITS
GAIN_RAISES = (2, 4)
"""Steps of 3 dB; even, so that errors at different gains compare by powers of two."""

FINE_BITS = 16
"""A coefficient that equals its step's gain is 2^16 when it is quantised …"""
FINE_SHIFT = UNIT_BITS + 31 - FINE_BITS
LARGEST_FINE = 22 << FINE_BITS
"""The square root of 320 * 2^0.5, and a little more."""
COARSE_BITS = 10
"""… and 2^10 when a class is chosen: squares of a step then sum to less than 2^29."""
WEIGHT_BITS = 9
LOG_WEIGHT = 186_065_279
"""ln(2) / 2 * 2^(2 * COARSE_BITS + WEIGHT_BITS), rounded."""


class SoundMdct:
    """Bit-exact tokens of 16 kHz mono in closed chunks of 1 s: [T', K], 50 steps a second.

    The same samples give the same codes on every device. Samples outside [-1, 1] saturate and are counted;
    NaN becomes silence and is counted, too.

    Measured on 9 recordings of speech, music and film that the tables were not fitted to, means:

    ======  =========  =======  =============
    tokens  kbit/s         SNR  segmental SNR
    ======  =========  =======  =============
    8             6.4   8.5 dB         9.1 dB
    16           12.8  13.6 dB        14.2 dB
    32           25.6  19.2 dB        20.0 dB
    ======  =========  =======  =============
    """

    def __init__(self, device: torch.device, tokens: int = 32) -> None:
        if tokens not in TOKEN_COUNTS:
            raise WrongSetting(f"sound-mdct makes 8, 16 or 32 tokens per step, got tokens={tokens!r}")
        self.device = device
        self.spec = TokenSpec(
            encoder="sound-mdct",
            revision=1,
            kind="codes",
            dtype="uint16",
            axes="TK",
            shape=(tokens,),
            strides=(STEP, 1),
            steps_per_chunk=STEPS_PER_CHUNK,
            codebook_sizes=(1 << TOKEN_BITS,),
            exact_across_devices=True,
            settings={"tokens": tokens},
            input=InputSpec(
                medium="sound",
                dtype="float32",
                value_range=(-1.0, 1.0),
                axes="BCN",
                channels=1,
                launch_batch=LAUNCH_CHUNKS,
                chunk=CHUNK,
                rate=Fraction(RATE),
            ),
        )
        self._transform = LappedTransform(device)
        self._energies, self._scales, self._gains = (row.to(device) for row in gain_tables())
        self._weights, self._biases = (table.to(device) for table in class_costs())
        layouts = [
            [(field, field_levels(number, field)) for field in fields]
            for number, fields in enumerate(class_fields(tokens))
        ]
        self._coder = ClassCoder(layouts, STEP, tokens, LARGEST_FINE, device)

    def fit(self, samples: Iterable[np.ndarray]) -> SoundMdct:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, 16000] samples into codes [B, 50, K]."""
        check_launch(self, batch)
        samples = batch[:, 0].to(torch.float64)
        broken = torch.isnan(samples)
        saturated = (broken | (samples.abs() > 1)).sum(1)
        whole = (
            (samples.masked_fill(broken, 0.0) * FULL_SCALE + 0.5)
            .floor_()
            .clamp_(1 - FULL_SCALE, FULL_SCALE - 1)
        )
        spectra = self._transform.coefficients(whole).flatten(0, 1)
        codes = self._best_codes(spectra)
        return TokenArray(
            codes.to(torch.uint16).reshape(len(batch), STEPS_PER_CHUNK, -1), saturated=saturated
        )

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes [B, 50, K] into samples [B, 1, 16000] in [-1, 1]."""
        check_codes(self, tokens)
        codes = tokens.data.to(self.device).to(torch.int64).flatten(0, 1)
        heads = codes[:, 0] >> (TOKEN_BITS - HEAD_BITS)
        shapes = self._coder.decode(codes, heads & (CLASS_COUNT - 1))
        spectra = (shapes * self._gains[heads >> CLASS_BITS, None]).reshape(-1, STEPS_PER_CHUNK, STEP)
        samples = self._transform.samples(spectra) / FULL_SCALE
        return samples.clamp_(-1, 1).to(torch.float32).unsqueeze(1)

    def _best_codes(self, spectra: Tensor) -> Tensor:
        """Return int32 [R, K] for spectra [R, 320]: at the step's own gain, or where that overloads, above.

        A tone that stands out of its class's spectrum would be cut off; under a higher gain it is not.
        Errors are whole numbers in steps of 6 dB of gain, so that comparing them is exact.
        """
        energies = (spectra * 2.0**-UNIT_BITS).add_(0.5).floor_().square_().sum(1)
        gains = torch.searchsorted(self._energies, energies, right=True)
        best, least = self._codes(spectra, gains)
        for raised in GAIN_RAISES:
            codes, error = self._codes(spectra, (gains + raised).clamp(max=GAIN_COUNT - 1))
            error = torch.where(gains + raised < GAIN_COUNT, error * 2.0**raised, torch.inf)
            best = torch.where((error < least)[:, None], codes, best)
            least = torch.minimum(error, least)
        return best

    def _codes(self, spectra: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes [R, K] at these gains, and the squared error of each row at gain 1, exact."""
        fine = (spectra * self._scales[gains, None]).mul_(2.0**-FINE_SHIFT).add_(0.5).floor_()
        coarse = (fine * 2.0 ** (COARSE_BITS - FINE_BITS)).add_(0.5).floor_()
        classes = likeliest_class(coarse.square_(), self._weights, self._biases)
        codes = self._coder.encode(fine, classes)
        values = self._coder.decode(codes.to(torch.int64), classes).mul_(2.0**FINE_BITS).round_()
        error = values.sub_(fine).square_().sum(1)
        codes[:, 0] += ((gains << CLASS_BITS | classes) << (TOKEN_BITS - HEAD_BITS)).to(torch.int32)
        return codes, error


@cache
def gain_tables() -> tuple[Tensor, Tensor, Tensor]:
    """Return what belongs to each gain g, a root mean square of 2^(g/2), all float64.

    The energies of a step from which on the gains 1 … 31 are taken, [31]; what brings coefficients from
    2^14 per unit to 2^45 per gain, [32]; and the gains themselves, [32], the first being silence.
    """
    energies = [isqrt(STEP * STEP << (2 * gain + 1)) for gain in range(GAIN_COUNT - 1)]
    scales = [isqrt(1 << (62 - gain)) for gain in range(GAIN_COUNT)]
    gains = [0.0] + [isqrt(1 << (gain + 60)) / 2.0**30 for gain in range(1, GAIN_COUNT)]
    return (
        torch.tensor(energies, dtype=torch.float64),
        torch.tensor(scales, dtype=torch.float64),
        torch.tensor(gains, dtype=torch.float64),
    )


@cache
def class_costs() -> tuple[Tensor, Tensor]:
    """Return float64 weights [320, 128] and biases [128] for `likeliest_class`.

    The squares of a step sum to less than 320 * 2^0.5 * 2^20 < 2^29 (the gain is the nearest one), weights
    are at most 2^23, so that costs stay below 2^53.
    """
    exponents = class_exponents()
    # 2^9 / 2^((e - 32) / 2) = sqrt(2^(50 - e))
    weights = [
        [isqrt(1 << (2 * WEIGHT_BITS + ZERO - int(row[band]))) for row in exponents] for band in band_of()
    ]
    biases = ((exponents - ZERO) * BAND_WIDTHS).sum(1) * LOG_WEIGHT
    return torch.tensor(weights, dtype=torch.float64), torch.tensor(biases.tolist(), dtype=torch.float64)


@cache
def class_fields(token_count: int) -> list[list[Field]]:
    """Return, for each class, which coefficients stand where in a step's tokens."""
    return [
        lay_out([int(row[band]) for band in band_of()], [], token_count, HEAD_BITS)
        for row in class_exponents()
    ]


def field_levels(number: int, field: Field) -> Levels:
    """Return the levels of one coefficient in one class, for a gain of 1."""
    exponent = int(class_exponents()[number, band_of()[field.place]])
    return laplace_levels(field.bits, deviation_of(exponent), 20 + ZERO // 4, FINE_BITS)
