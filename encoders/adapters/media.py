"""What models take and give, to and from what Fifth hands over: uint8 pictures, float32 sound."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import torch
from torch import Tensor

from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize, picture_size
from encoders.spec import InputSpec

SIGNED = {"normalisation": "x / 127.5 - 1"}
"""What is said of models that take pictures in [-1, 1]."""
UNIT = {"normalisation": "x / 255"}
"""What is said of models that take pictures in [0, 1]."""


def pictures_input(
    name: str, size: PictureSize, multiple: int, launch_batch: int, chunk: int = 1
) -> InputSpec:
    """Return the input of a picture model, its size checked.

    Raises:
        WrongInput: the size is no multiple; the message gives the nearest that are.
    """
    height, width = picture_size(name, size, multiple)
    return InputSpec(
        medium="pictures",
        dtype="uint8",
        value_range=(0, 255),
        axes="BTCHW",
        channels=3,
        launch_batch=launch_batch,
        chunk=chunk,
        size=(height, width),
        size_multiple=multiple,
    )


def sound_input(rate: int, chunk: int, launch_batch: int, channels: int = 1, context: int = 0) -> InputSpec:
    """Return the input of a sound model; chunk and context in samples."""
    return InputSpec(
        medium="sound",
        dtype="float32",
        value_range=(-1.0, 1.0),
        axes="BCN",
        channels=channels,
        launch_batch=launch_batch,
        chunk=chunk,
        context=context,
        rate=Fraction(rate),
    )


def whole_steps(name: str, seconds: float, rate: int, hop: int) -> int:
    """Return the steps of a chunk of so many seconds, rounded up to whole ones.

    Raises:
        WrongSetting: not between 0 and 60 seconds.
    """
    if not 0 < seconds <= 60:
        raise WrongSetting(f"{name}: seconds must be more than 0 and at most 60, got {seconds}")
    return ceil(seconds * rate / hop)


def signed(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as float32 in [-1, 1]."""
    return pictures.to(torch.float32).div_(127.5).sub_(1)


def from_signed(pictures: Tensor) -> Tensor:
    """Return pictures in [-1, 1] as uint8, rounded; what lies outside is cut off."""
    return pictures.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def unit(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as float32 in [0, 1]."""
    return pictures.to(torch.float32).div_(255)


def from_unit(pictures: Tensor) -> Tensor:
    """Return pictures in [0, 1] as uint8, rounded; what lies outside is cut off."""
    return pictures.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def standardised(pictures: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return uint8 pictures [..., 3, H, W] as (x / 255 - mean) / std, per channel."""
    numbers = [torch.tensor(row, device=pictures.device).reshape(3, 1, 1) for row in (mean, std)]
    return unit(pictures).sub_(numbers[0]).div_(numbers[1])


def cut_or_filled(sound: Tensor, length: int) -> Tensor:
    """Return sound [B, C, N] of exactly this length: the rest cut off, or silence added, kept in [-1, 1]."""
    sound = sound[..., :length].clamp(-1, 1)
    return torch.nn.functional.pad(sound, (0, length - sound.shape[-1]))
