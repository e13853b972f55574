"""The network of `fifth-audio`: short-time spectra, causal blocks, residual quantisation, and the way back.

    samples   |  hop 0  |  hop 1  |  hop 2  |  hop 3  |      480 samples each, 20 ms at 24 kHz
    spectrum      [   frame 1   ]
                            [   frame 2   ]                  frame i sees the hops i - 1 and i: nothing later
    code                  1         2         3              one step of K codes a frame
    synthesis     [   step 1    ]                            step i gives a part of the hops i - 1 and i

The encoder never pads: whoever calls it gives `CONTEXT_HOPS` hops before the first step that is wanted, so a
step is the same wherever a clip was cut. The decoder reads a clip from its start, and one step of nothing
after its end, since a hop is complete only with the step after it.

Sources: blocks, A ConvNet for the 2020s, arXiv 2201.03545, without the norm over batch or time; synthesis by
magnitude and phase, Vocos, arXiv 2306.00814; residual quantisation, SoundStream, arXiv 2107.03312.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.fsq import Fsq

RATE = 24_000
HOP = 480
WINDOW = 2 * HOP
BINS = WINDOW // 2 + 1
FRAMES_PER_STEP = 2
"""Spectra that a step synthesises, half a hop apart."""
LEVELS = (8, 5, 5, 5)
SMALLEST = 1e-5
"""Added to magnitudes before the logarithm: -100 dB of a full-scale bin."""
LARGEST_LOG = 3.0
"""No bin of a synthesised spectrum is above e^3."""
ROOT = 0.3
"""Complex spectra go in as |X|^0.3 with X's phase."""


@dataclass(frozen=True)
class SoundShape:
    """The sizes of a network."""

    width: int = 256
    blocks: int = 6
    decoder_width: int = 320
    decoder_blocks: int = 6
    expansion: int = 3
    kernel: int = 5
    latent: int = 32
    stages: int = 8
    """Residual quantisers; a code stream may stop after any of them."""

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 1:
            raise ValueError(f"every size must be at least 1: {self}")

    @property
    def context_hops(self) -> int:
        """Hops before the first step that reach it: those of the blocks, and one of the spectrum's window."""
        return self.blocks * (self.kernel - 1) + 1

    def to_json(self) -> dict[str, int]:
        """Return a JSON object from which `SoundShape(**data)` makes an equal value."""
        return asdict(self)


class Block(nn.Module):
    """Mixing over time for each channel, then over channels for each step; added to what came in."""

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.randn(kernel, width) * kernel**-0.5)
        self.scale = nn.Parameter(torch.ones(width))
        self.widen = nn.Linear(width, width * expansion)
        self.narrow = nn.Linear(width * expansion, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, steps: Tensor) -> Tensor:
        """Turn [B, T, C] into [B, T - kernel + 1, C]; step t depends on the steps up to its own alone."""
        kernel = len(self.taps)
        length = steps.shape[1] - kernel + 1
        mixed = steps[:, :length] * self.taps[0]
        for place in range(1, kernel):
            mixed = mixed + steps[:, place : place + length] * self.taps[place]
        mixed = functional.rms_norm(mixed, mixed.shape[-1:], self.scale, 1e-6)
        out: Tensor = self.narrow(functional.gelu(self.widen(mixed)))
        return steps[:, kernel - 1 :] + out


class Stage(nn.Module):
    """One quantiser: what of the latent it looks at, and what its values stand for."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.look = nn.Linear(latent, len(LEVELS))
        self.mean = nn.Linear(len(LEVELS), latent)


class SoundNetwork(nn.Module):
    """Sound of 24 kHz to codes and back."""

    window: Tensor
    log_mean: Tensor
    """Mean log magnitude of each bin, over what it was trained on."""
    log_deviation: Tensor
    """Standard deviation of all of them, [1]."""

    def __init__(self, shape: SoundShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or SoundShape()
        self.fsq = Fsq(LEVELS)
        self.register_buffer("window", torch.hann_window(WINDOW, dtype=torch.float64), persistent=False)
        self.register_buffer("log_mean", torch.zeros(BINS))
        self.register_buffer("log_deviation", torch.ones(1))
        self.enter = nn.Linear(3 * BINS, shape.width)
        self.encoder = nn.ModuleList(
            Block(shape.width, shape.kernel, shape.expansion) for _ in range(shape.blocks)
        )
        self.squeeze = nn.Linear(shape.width, shape.latent)
        self.stages = nn.ModuleList(Stage(shape.latent) for _ in range(shape.stages))
        self.unfold = nn.Linear(shape.latent, shape.decoder_width)
        self.decoder = nn.ModuleList(
            Block(shape.decoder_width, shape.kernel, shape.expansion) for _ in range(shape.decoder_blocks)
        )
        self.magnitudes = nn.Linear(shape.decoder_width, FRAMES_PER_STEP * BINS)
        self.phases = nn.Linear(shape.decoder_width, FRAMES_PER_STEP * 2 * BINS)

    def features(self, samples: Tensor) -> Tensor:
        """Turn [B, (T + 1) * HOP] samples into [B, T, 3 * BINS]: log magnitudes, and rooted spectra."""
        frames = samples.unfold(1, WINDOW, HOP) * self.window.to(samples.dtype)
        spectra = torch.view_as_real(torch.fft.rfft(frames)) / HOP
        magnitudes = spectra.square().sum(-1).add(SMALLEST**2).sqrt()
        logs = (magnitudes.log() - self.log_mean) / self.log_deviation
        rooted = spectra * magnitudes.pow(ROOT - 1).unsqueeze(-1)
        return torch.cat([logs, rooted.flatten(-2)], dim=-1)

    def latents(self, samples: Tensor) -> Tensor:
        """Turn [B, (context + T) * HOP] samples into [B, T, latent]."""
        steps: Tensor = self.enter(self.features(samples))
        for block in self.encoder:
            steps = block(steps)
        out: Tensor = self.squeeze(steps)
        return out.to(torch.float32)

    def codes(self, latents: Tensor, stages: int) -> Tensor:
        """Turn float32 [B, T, latent] into int64 codes [B, T, stages]."""
        rest, codes = latents, []
        for stage in list(self.stages)[:stages]:
            places = self.fsq.places(stage.look(rest))  # type: ignore[operator]
            codes.append(self.fsq.codes(places))
            rest = rest - stage.mean(self.fsq.values(places))  # type: ignore[operator]
        return torch.stack(codes, dim=-1)

    def means(self, codes: Tensor) -> Tensor:
        """Turn codes [B, T, K] into the float32 latents [B, T, latent] that they stand for."""
        parts = [
            stage.mean(self.fsq.values(self.fsq.places_of(codes[..., place])))  # type: ignore[operator]
            for place, stage in enumerate(list(self.stages)[: codes.shape[-1]])
        ]
        return torch.stack(parts).sum(0)

    def quantised(self, latents: Tensor, stages: Tensor) -> Tensor:
        """Return latents after quantisation, with a gradient; row b by its first `stages[b]` quantisers."""
        rest, total = latents, torch.zeros_like(latents)
        for place, stage in enumerate(self.stages):
            used = (stages > place)[:, None, None]
            mean = stage.mean(self.fsq.straight_through(stage.look(rest))) * used  # type: ignore[operator]
            rest, total = rest - mean, total + mean
        return total

    def samples(self, latents: Tensor) -> Tensor:
        """Turn [B, T, latent] from a clip's start on into samples [B, T * HOP]."""
        start = self.shape.decoder_blocks * (self.shape.kernel - 1)
        steps: Tensor = functional.pad(self.unfold(latents), (0, 0, start, 1))
        for block in self.decoder:
            steps = block(steps)
        logs = self.magnitudes(steps).unflatten(-1, (FRAMES_PER_STEP, BINS))
        sizes = (logs * self.log_deviation + self.log_mean).clamp(max=LARGEST_LOG).exp()
        turns = self.phases(steps).unflatten(-1, (FRAMES_PER_STEP, BINS, 2))
        units = turns * (turns.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
        spectra = torch.view_as_complex((units * sizes.unsqueeze(-1)).contiguous()) * HOP
        window = self.window.to(sizes.dtype)
        frames = torch.fft.irfft(spectra.flatten(1, 2), n=WINDOW) * window
        weights = window.square().expand(1, frames.shape[1], WINDOW)
        wanted = slice(HOP, HOP + latents.shape[1] * HOP)
        return overlap(frames)[:, wanted] / overlap(weights)[:, wanted]

    def forward(self, samples: Tensor, stages: Tensor) -> Tensor:
        """Encode, quantise and decode: [B, (context + T) * HOP] to [B, T * HOP], for training."""
        return self.samples(self.quantised(self.latents(samples), stages))


def overlap(frames: Tensor) -> Tensor:
    """Add frames [B, F, WINDOW], each half a hop after the one before: [B, (F - 1) * HOP / 2 + WINDOW]."""
    parts = frames.reshape(*frames.shape[:2], -1, HOP // FRAMES_PER_STEP)
    count = parts.shape[2]
    out = functional.pad(parts[:, :, 0], (0, 0, 0, count - 1))
    for place in range(1, count):
        out = out + functional.pad(parts[:, :, place], (0, 0, place, count - 1 - place))
    return out.flatten(1)


def shape_from(data: Mapping[str, Any]) -> SoundShape:
    """Return the shape that `SoundShape.to_json` wrote."""
    return SoundShape(**{name: int(value) for name, value in data.items()})
