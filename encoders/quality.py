"""How much of the media survives an encoder, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import log2, log10
from typing import Any, Protocol

import torch
from torch import Tensor

from encoders.encoder import Encoder
from encoders.launch import clip_length, encode_clip, reconstruct_clip
from encoders.spec import Medium, TokenSpec
from encoders.tokens import ClipTokens

BEST_DB = 100.0
"""What a frame or sound that comes back exactly counts as."""

SEGMENT_SECONDS = Fraction(1, 50)
SEGMENT_DB = (-10.0, 35.0)
"""Segments of 20 ms, each between these limits, as is usual for the segmental SNR."""
SILENCE = 1e-6
"""Mean square (-60 dB) below which a segment is silence, and left out."""


@dataclass(frozen=True)
class Quality:
    """What was measured over some clips."""

    encoder: str
    medium: Medium
    clips: int
    items: int
    """Frames, samples or rows, without padding."""
    seconds: float
    """Their duration; 0 where no rate is known."""
    tokens: int
    """Codes or bytes, padding included."""
    bits: float
    """log2 of the codebook's size for each code, 8 for each byte."""
    saturated: int
    """Values that lay outside what the codes can say."""
    figures: dict[str, float] = field(default_factory=dict)
    """Pictures: `psnr_db` (mean over frames), `global_psnr_db` (of the mean squared error),
    `bits_per_pixel`. Depth: `mean_relative_error`, `largest_relative_error`, `bits_per_pixel`. Sound:
    `snr_db`, `segmental_snr_db`. Signals: `rmse.0` and `largest_error.0` … in each column's
    unit, and `normalised_rmse`, the root of the mean over columns of squared error by variance."""

    @property
    def bits_per_second(self) -> float:
        """Bits of tokens per second of media; 0 where no rate is known."""
        return self.bits / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**asdict(self), "bits_per_second": self.bits_per_second}


def measure(encoder: Encoder, media: Iterable[Tensor], rate: Fraction | None = None) -> Quality:
    """Encode clips, reconstruct them, and compare.

    Args:
        encoder: fitted, where it needs to be. It is honest to fit it to other media than these.
        media: clips as `ClipEncoder.add` takes them; taken one by one, so that memory is bounded.
        rate: frames or rows per second, for encoders that take any rate.
    """
    spec = encoder.spec
    tally = _TALLIES[spec.input.medium](spec)
    clips, items, tokens, bits, saturated = 0, 0, 0, 0.0, 0
    for clip in media:
        made = encode_clip(encoder, clip)
        tally.add(clip.cpu(), reconstruct_clip(encoder, made.tokens, made.valid, made.offsets))
        clips, items = clips + 1, items + clip_length(clip, spec.input)
        tokens, bits, saturated = (
            tokens + made.tokens.size,
            bits + bits_of(spec, made),
            saturated + made.saturated,
        )
    per_second = spec.input.rate or rate
    seconds = float(items / per_second) if per_second else 0.0
    figures = tally.figures(bits)
    return Quality(spec.encoder, spec.input.medium, clips, items, seconds, tokens, bits, saturated, figures)


def bits_of(spec: TokenSpec, clip: ClipTokens) -> float:
    """Return the bits of a clip's tokens: log2 of the codebook's size for each code or byte."""
    if spec.is_ragged:
        return log2(spec.codebook_sizes[0]) * clip.tokens.size
    return clip.steps * spec.bits_per_step


class _Tally(Protocol):
    def add(self, clip: Tensor, back: Tensor) -> None: ...

    def figures(self, bits: float) -> dict[str, float]: ...


class _Pictures:
    def __init__(self, spec: TokenSpec) -> None:
        self._frames, self._pixels, self._db, self._squares = 0, 0, 0.0, 0.0

    def add(self, clip: Tensor, back: Tensor) -> None:
        for frame, copy in zip(clip, back, strict=True):
            error = float((frame.to(torch.float64) - copy.to(torch.float64)).square().mean())
            self._db += _decibels(255.0**2, error)
            self._squares += error
            self._frames, self._pixels = self._frames + 1, self._pixels + frame[0].numel()

    def figures(self, bits: float) -> dict[str, float]:
        if not self._frames:
            return {}
        return {
            "psnr_db": self._db / self._frames,
            "global_psnr_db": _decibels(255.0**2, self._squares / self._frames),
            "bits_per_pixel": bits / self._pixels,
        }


class _Depth:
    """Pixels that are invalid in either are left out of the errors."""

    def __init__(self, spec: TokenSpec) -> None:
        self._pixels, self._valid, self._errors, self._worst = 0, 0, 0.0, 0.0

    def add(self, clip: Tensor, back: Tensor) -> None:
        valid = torch.isfinite(clip) & (clip > 0) & torch.isfinite(back)
        metres = clip[valid].to(torch.float64)
        errors = (back[valid].to(torch.float64) - metres).abs() / metres
        self._pixels += clip.numel()
        self._valid += errors.numel()
        self._errors += float(errors.sum())
        self._worst = max(self._worst, float(errors.max()) if errors.numel() else 0.0)

    def figures(self, bits: float) -> dict[str, float]:
        if not self._valid:
            return {}
        return {
            "mean_relative_error": self._errors / self._valid,
            "largest_relative_error": self._worst,
            "bits_per_pixel": bits / self._pixels,
        }


class _Sound:
    def __init__(self, spec: TokenSpec) -> None:
        self._power, self._error = 0.0, 0.0
        self._segments, self._segment_db = 0, 0.0
        self._segment = max(1, int((spec.input.rate or 0) * SEGMENT_SECONDS))

    def add(self, clip: Tensor, back: Tensor) -> None:
        original = clip.to(torch.float64)
        error = original - back.to(torch.float64)
        self._power += float(original.square().sum())
        self._error += float(error.square().sum())
        whole = original.shape[1] // self._segment * self._segment
        power, noise = (
            part[:, :whole].reshape(-1, self._segment).square().mean(1).tolist() for part in (original, error)
        )
        for signal_power, noise_power in zip(power, noise, strict=True):
            if signal_power > SILENCE:
                decibels = _decibels(signal_power, noise_power)
                self._segment_db += min(max(decibels, SEGMENT_DB[0]), SEGMENT_DB[1])
                self._segments += 1

    def figures(self, bits: float) -> dict[str, float]:
        figures = {"snr_db": _decibels(self._power, self._error)} if self._power else {}
        if self._segments:
            figures["segmental_snr_db"] = self._segment_db / self._segments
        return figures


class _Signal:
    """Values that are invalid in either are left out."""

    def __init__(self, spec: TokenSpec) -> None:
        self._count, self._sum, self._squares, self._errors = (
            torch.zeros(spec.input.channels, dtype=torch.float64) for _ in range(4)
        )
        self._largest = torch.zeros(spec.input.channels, dtype=torch.float64)

    def add(self, clip: Tensor, back: Tensor) -> None:
        valid = torch.isfinite(clip) & torch.isfinite(back)
        values = clip.to(torch.float64).where(valid, 0.0)
        errors = (clip.to(torch.float64) - back.to(torch.float64)).where(valid, 0.0)
        self._count += valid.sum(0)
        self._sum += values.sum(0)
        self._squares += values.square().sum(0)
        self._errors += errors.square().sum(0)
        if len(errors):
            self._largest = torch.maximum(self._largest, errors.abs().amax(0))

    def figures(self, bits: float) -> dict[str, float]:
        seen = self._count > 0
        count = self._count.clamp(min=1)
        errors = self._errors / count
        variances = (self._squares / count - (self._sum / count).square()).clamp(min=0)
        figures = {
            f"rmse.{column}": float(errors[column].sqrt()) for column in range(len(errors)) if seen[column]
        }
        figures |= {
            f"largest_error.{column}": float(self._largest[column])
            for column in range(len(errors))
            if seen[column]
        }
        varied = seen & (variances > 0)
        if bool(varied.any()):
            figures["normalised_rmse"] = float((errors[varied] / variances[varied]).mean().sqrt())
        return figures


_TALLIES: dict[Medium, Callable[[TokenSpec], _Tally]] = {
    "pictures": _Pictures,
    "depth": _Depth,
    "sound": _Sound,
    "signal": _Signal,
}


def _decibels(power: float, error: float) -> float:
    if error <= 0:
        return BEST_DB
    return min(BEST_DB, 10 * log10(power / error)) if power > 0 else 0.0
