"""The contract of every encoder, and the checks that they share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.errors import NotFitted, WrongInput
from encoders.spec import INVALID_AS_NAN, TokenSpec
from encoders.tokens import TokenArray


class Encoder(Protocol):
    """Media to tokens and back. Passive: no threads, no files, no printing, no global state.

    Whoever implements it promises:

    - `encode` takes exactly `spec.input.launch_shape`, and each row of its result depends on that row of
      the batch alone: not on its place, its neighbours, or what pads the launch.
    - The same spec gives the same tokens: always on the same kind of device, and on every device where
      `spec.exact_across_devices`.
    - A frame, sample or row never changes tokens of an earlier chunk.

    Clips of any length become launches in `ClipEncoder`, which is what most callers want.
    """

    @property
    def spec(self) -> TokenSpec:
        """What it is, takes and gives."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes, and where `encode` wants its batch."""
        ...

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn one launch into tokens.

        Args:
            batch: pictures uint8 [B, T, 3, H, W] RGB; depth float32 [B, T, H, W] in metres and signals
                float32 [B, T, D], NaN where invalid; sound float32 [B, C, N] in [-1, 1]. T or N is
                `context + chunk`.

        Returns:
            Codes [B, steps_per_chunk, ...], or the bytes of B * steps_per_chunk steps.

        Raises:
            WrongInput: shape or dtype is not that of a launch.
            NotFitted: `spec.needs_fit`, and it was not.
        """
        ...

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn tokens back into media.

        Args:
            tokens: of any number of rows B, as `encode` returns them. With a context, the chunks of a clip
                hang together on the way back, too: then a row is all of a clip's, [B, n * steps, ...].

        Returns:
            Media of B rows, without context, in the layout and dtype of the input, on this device.

        Raises:
            WrongInput: a shape, dtype or code that this encoder does not make, or an encoder whose tokens
                lead nowhere (`spec.reconstructs`).
        """
        ...

    def fit(self, samples: Iterable[np.ndarray]) -> Encoder:
        """Return a new encoder that is fitted to these samples; itself where nothing needs fitting.

        The result depends on the samples and their order alone. Memory is bounded: of many rows, evenly
        spaced ones are kept.

        Args:
            samples: media of the same layout as a clip, as float32 arrays: [T, D] for signals.

        Raises:
            WrongInput: samples whose columns differ in number, or no samples at all.
        """
        ...


def check_launch(encoder: Encoder, batch: Tensor) -> None:
    """Raise unless the batch is exactly one launch of a fitted encoder."""
    spec = encoder.spec
    if not spec.is_fitted:
        raise NotFitted(f"{spec.encoder} must be fitted before it encodes: call .fit(samples) first")
    dtype = str(batch.dtype).removeprefix("torch.")
    if tuple(batch.shape) != spec.input.launch_shape or dtype != spec.input.dtype:
        raise WrongInput(
            f"{spec.encoder} takes launches of {spec.input.dtype} {list(spec.input.launch_shape)} "
            f"({spec.input.axes}), got {dtype} {list(batch.shape)}; ClipEncoder makes launches from clips"
        )


def check_codes(encoder: Encoder, tokens: TokenArray) -> None:
    """Raise unless these are codes of this encoder: shape [B, steps, ...] and every code in its range.

    Of features: unless they have its shape and are finite.
    """
    spec = encoder.spec
    if not spec.is_fitted:
        raise NotFitted(f"{spec.encoder} must be fitted before it reconstructs: use encoder_for(stored spec)")
    shape = tuple(tokens.data.shape)
    whole = len(shape) > 1 and shape[1] % spec.steps_per_chunk == 0
    fits = whole if spec.input.context else shape[1:2] == (spec.steps_per_chunk,)
    if not fits or shape[2:] != spec.shape:
        steps = f"{'n * ' if spec.input.context else ''}{spec.steps_per_chunk}"
        wanted = ", ".join(["B", steps, *(str(edge) for edge in spec.shape)])
        raise WrongInput(f"{spec.encoder} reconstructs {spec.kind} [{wanted}], got {list(shape)}")
    if tokens.data.numel() == 0:
        return
    if spec.kind == "features":
        if not tokens.data.is_floating_point() or not bool(torch.isfinite(tokens.data).all()):
            raise WrongInput(f"{spec.encoder} reconstructs finite numbers, got {tokens.data.dtype}")
        return
    codes = tokens.data.to(torch.int64)
    sizes = torch.tensor(spec.codebook_sizes, device=codes.device)
    lowest = 0 if spec.input.medium in INVALID_AS_NAN else spec.lowest_code
    if bool((codes < lowest).any()) or bool((codes >= sizes).any()):
        found = f"{int(codes.min())} to {int(codes.max())}"
        raise WrongInput(
            f"{spec.encoder} has codes from {lowest} to below {list(spec.codebook_sizes)}, got {found}"
        )
