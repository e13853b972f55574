"""What an encoder takes and gives, as plain values that survive JSON.

A `TokenSpec` travels with the tokens: whoever finds them can rebuild the encoder that made them
(`encoder_for`), know the range of every code, and turn them back into media. Nothing here needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from math import log2, prod
from typing import Any, Literal

from encoders.errors import WrongSpec

Medium = Literal["pictures", "depth", "sound", "signal"]
Kind = Literal["codes", "bytes", "features"]

MEDIA: tuple[Medium, ...] = ("pictures", "depth", "sound", "signal")
SIZED: tuple[Medium, ...] = ("pictures", "depth")
"""Media that have a height and a width."""
INVALID_AS_NAN: tuple[Medium, ...] = ("depth", "signal")
"""Media of which a value may be missing: NaN, and code 0."""

AXES: Mapping[Medium, str] = {"pictures": "BTCHW", "depth": "BTHW", "sound": "BCN", "signal": "BTD"}
"""The axes of a batch. The axis of time is T (frames, rows) or N (samples)."""

_FRACTION = re.compile(r"-?\d{1,100}(/[1-9]\d{0,99})?")
RAGGED_AXES = "N"
"""The axes of a clip's tokens where time steps have any number of them."""


@dataclass(frozen=True)
class InputSpec:
    """What one launch of an encoder takes."""

    medium: Medium
    dtype: str
    """`uint8` for pictures, `float32` for depth, sound and signals."""
    value_range: tuple[float, float] | None
    """Smallest and largest value; what lies outside saturates. None: any finite value, NaN is invalid."""
    axes: str
    """`BTCHW`, `BTHW`, `BCN` or `BTD`."""
    channels: int
    """3 for RGB, 1 for depth, channels of sound, columns of a signal. 0: found when the encoder is fitted."""
    launch_batch: int
    """Rows of one launch. Every launch has exactly this many, so a token can't depend on how many came."""
    chunk: int = 1
    """Items (frames, samples, rows) of a launch row that become tokens; clips are padded to a multiple."""
    context: int = 0
    """Items of the same clip before the chunk that a launch row begins with; zeros at the clip's start."""
    size: tuple[int, int] | None = None
    """Height and width of pictures and depth, in pixels."""
    size_multiple: int = 1
    """Height and width must be multiples of this."""
    rate: Fraction | None = None
    """Samples per second that the media must have. None: any rate (pictures, signals)."""

    def __post_init__(self) -> None:
        if self.medium not in MEDIA or self.axes != AXES[self.medium]:
            raise ValueError(f"medium {self.medium!r} with axes {self.axes!r}: must be one of {dict(AXES)}")
        if min(self.launch_batch, self.chunk) < 1 or min(self.context, self.channels) < 0:
            raise ValueError(
                f"launch batch and chunk must be at least 1, context and channels at least 0: {self}"
            )
        if (self.size is not None) != (self.medium in SIZED):
            raise ValueError(
                f"pictures and depth, and only they, have a size: got {self.size} for {self.medium}"
            )

    @property
    def launch_shape(self) -> tuple[int, ...]:
        """The exact shape of the batch that `encode` takes."""
        length = self.context + self.chunk
        if self.medium == "sound":
            return (self.launch_batch, self.channels, length)
        if self.medium == "depth":
            return (self.launch_batch, length, *(self.size or ()))
        return (self.launch_batch, length, self.channels, *(self.size or ()))

    @property
    def clip_axes(self) -> str:
        """The axes of one clip: those of a batch without `B`."""
        return self.axes[1:]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` makes an equal value."""
        data = asdict(self)
        data["value_range"] = None if self.value_range is None else list(self.value_range)
        data["size"] = None if self.size is None else list(self.size)
        data["rate"] = fraction_text(self.rate)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputSpec:
        """Make a value from what `to_json` returned."""
        values = dict(data)
        if values["value_range"] is not None:
            values["value_range"] = tuple(values["value_range"])
        if values["size"] is not None:
            values["size"] = tuple(values["size"])
        values["rate"] = fraction_from(values["rate"])
        return cls(**values)


@dataclass(frozen=True)
class TokenSpec:
    """What an encoder is, and what its tokens mean."""

    encoder: str
    """The name by which `load_encoder` knows it."""
    revision: int
    """Raised whenever our code changes a token."""
    kind: Kind
    dtype: str
    """The smallest of `uint8`, `uint16`, `uint32` that holds every code; `float16` for features."""
    axes: str
    """The axes of a clip's tokens, time first: `THWK`, `TK`, `TD`; `N` where steps differ in length."""
    shape: tuple[int, ...]
    """Tokens of one time step, without the axis of time; empty where ragged, and for one code a step."""
    strides: tuple[int, ...]
    """Media items (frames, samples, rows; pixels for H and W) per index of each axis; 0 where ragged."""
    steps_per_chunk: int
    """Time steps that one chunk of the input gives."""
    codebook_sizes: tuple[int, ...]
    """Codes of index k of the last axis lie below entry k; a single entry holds for all of them."""
    input: InputSpec
    lowest_code: int = 0
    """The smallest code that a valid token has. Signals: 1, and code 0 means invalid."""
    reconstructs: bool = True
    """Whether media come back from the tokens; embeddings lead nowhere."""
    exact_across_devices: bool = False
    """Whether every device gives the same tokens, bit for bit."""
    weights_sha256: str = ""
    """sha256 of the weights; empty where there are none."""
    needs_fit: bool = False
    """Whether something must be fitted to samples first."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything that `load_encoder` was told or chose itself; JSON."""
    fitted: Mapping[str, Any] = field(default_factory=dict)
    """What was fitted; JSON. Empty until then."""

    def __post_init__(self) -> None:
        if self.kind == "bytes" and not self.is_ragged:
            raise ValueError(f"bytes have the axes 'N', got {self.axes!r}")
        if len(self.axes) != 1 + len(self.shape):
            raise ValueError(
                f"axes {self.axes!r} do not name T and the {len(self.shape)} axes of {self.shape}"
            )
        if (self.kind == "features") != (self.dtype == "float16") or (
            self.kind == "features" and self.codebook_sizes
        ):
            raise ValueError(
                f"features, and only they, are float16 without codebooks: got {self.kind} of {self.dtype} "
                f"with {self.codebook_sizes}"
            )
        if len(self.strides) != len(self.axes):
            raise ValueError(f"strides {self.strides} do not belong to axes {self.axes!r}")

    @property
    def is_fitted(self) -> bool:
        """Whether the encoder can encode."""
        return not self.needs_fit or bool(self.fitted)

    @property
    def is_ragged(self) -> bool:
        """Whether time steps have any number of tokens, so that offsets say where each begins."""
        return self.axes == RAGGED_AXES

    @property
    def tokens_per_step(self) -> int:
        """Codes, or numbers of features, of one time step; 0 where that is ragged."""
        return 0 if self.is_ragged else prod(self.shape)

    @property
    def bits_per_step(self) -> float:
        """Bits that one time step takes if every code is equally likely; 0 where that is ragged."""
        if self.kind != "codes" or self.is_ragged:
            return 0.0
        last = self.shape[-1] if self.shape else 1
        sizes = self.codebook_sizes if len(self.codebook_sizes) > 1 else self.codebook_sizes * last
        return sum(log2(size) for size in sizes) * self.tokens_per_step / max(1, last)

    def tokens_per_second(self, rate: Fraction | None = None) -> Fraction | None:
        """Return how many tokens a second of media gives, or None where that is ragged or has no rate.

        Args:
            rate: frames or rows per second, for encoders that take any rate.
        """
        rate = self.input.rate or rate
        if rate is None or self.is_ragged:
            return None
        return rate * self.steps_per_chunk * self.tokens_per_step / self.input.chunk

    def layout_identity(self) -> TokenSpec:
        """Return the spec without what was fitted: equal for tokens that can share a layout."""
        return replace(self, fitted={})

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` makes an equal spec.

        `tokens_per_second` is added for readers (a fraction, or empty) and ignored on the way back.
        """
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("shape", "strides", "codebook_sizes"):
            data[name] = list(data[name])
        data["settings"], data["fitted"] = dict(self.settings), dict(self.fitted)
        data["input"] = self.input.to_json()
        data["tokens_per_second"] = fraction_text(self.tokens_per_second())
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TokenSpec:
        """Make a spec from what `to_json` returned.

        Raises:
            WrongSpec: it is damaged, or of another version.
        """
        try:
            values = {name: value for name, value in data.items() if name != "tokens_per_second"}
            for name in ("shape", "strides", "codebook_sizes"):
                values[name] = tuple(values[name])
            values["input"] = InputSpec.from_json(values["input"])
            return cls(**values)
        except (AttributeError, ArithmeticError, KeyError, TypeError, ValueError) as error:
            words = f"{type(error).__name__}: {error}"
            raise WrongSpec(f"this is no token spec of this version: {words}") from error


def fraction_text(value: Fraction | None) -> str:
    """Return `24000/1` for a fraction and nothing for None.

    >>> fraction_text(Fraction(30000, 1001))
    '30000/1001'
    """
    return "" if value is None else f"{value.numerator}/{value.denominator}"


def fraction_from(text: str) -> Fraction | None:
    """Return the fraction that `fraction_text` wrote.

    Raises:
        ValueError: it wrote no such thing.
    """
    if text and not _FRACTION.fullmatch(text):
        raise ValueError(f"no fraction: {text[:40]!r}")
    return Fraction(text) if text else None


def dtype_for(codebook_sizes: tuple[int, ...]) -> str:
    """Return the smallest unsigned dtype that holds every code.

    >>> dtype_for((256,)), dtype_for((256, 65536)), dtype_for((65537,))
    ('uint8', 'uint16', 'uint32')
    """
    largest = max(codebook_sizes) - 1
    for name, bits in (("uint8", 8), ("uint16", 16), ("uint32", 32)):
        if largest < 1 << bits:
            return name
    raise ValueError(f"a codebook of {largest + 1} entries does not fit 32 bits")
