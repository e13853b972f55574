"""NVIDIA Cosmos tokenizers as TorchScript, `encoder.jit` and `decoder.jit`: codes (DV) or latents (CV).

Rule: chunks of 1 + n * k frames (17); a model of single pictures (DI, CI) is refused. What a step is, is
learnt by running the encoder once on a black chunk. Which codes are possible is not written in the files:
`codebook` says how many there are (64,000 for all released models). TorchScript runs the file's own code,
in torch's sandbox of operators: take files of people you trust.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, exact, spec_of
from encoders.adapters.media import SIGNED, from_signed, pictures_input, signed
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import ModelNotFound, WrongSetting
from encoders.picture_size import PictureSize

USUAL_FRAMES = 17
SMALLEST_MULTIPLE = 16


class CosmosJit(Adapter):
    """Codes [T, H, W], or latents [T, C, H, W] in float16."""

    def __init__(
        self,
        device: torch.device,
        model: PretrainedModel,
        size: PictureSize = 256,
        frames: int = USUAL_FRAMES,
        codebook: int = 64_000,
    ) -> None:
        self.device = device
        paths = {path.stem: path for path in model.files}
        if "encoder" not in paths:
            raise ModelNotFound(f"{model.name}: there is no encoder.jit")
        self._encoder = _script(paths["encoder"], device)
        self._decoder = _script(paths["decoder"], device) if "decoder" in paths else None
        takes = pictures_input(model.name, size, SMALLEST_MULTIPLE, 1, frames)
        height, width = takes.size or (0, 0)
        black = torch.zeros(1, frames, 3, height, width, dtype=torch.uint8, device=device)
        with exact():
            made = self._encode(black)
        self._discrete = not made.is_floating_point()
        step = _frames_per_step(model.name, frames, made.shape[1])
        stride = height // made.shape[-2]
        self.spec = spec_of(
            CosmosJit,
            model,
            takes,
            axes="THW" if self._discrete else "TCHW",
            shape=tuple(made.shape[2:]),
            strides=(step, stride, stride) if self._discrete else (step, 1, stride, stride),
            steps=made.shape[1],
            codebook_sizes=(codebook,) if self._discrete else (),
            reconstructs=self._decoder is not None,
            settings={"size": [height, width], "frames": frames, "codebook": codebook, **SIGNED},
        )

    def _encode(self, media: Tensor) -> Tensor:
        made = self._encoder(signed(media).transpose(1, 2))
        first = made[0] if isinstance(made, (tuple, list)) else made
        if not first.is_floating_point():
            codes: Tensor = first
            return codes.to(torch.int64)
        latents: Tensor = first
        return latents.to(torch.float32).transpose(1, 2)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        assert self._decoder is not None
        given = codes if self._discrete else codes.transpose(1, 2)
        made = self._decoder(given)
        pictures: Tensor = made[0] if isinstance(made, (tuple, list)) else made
        return from_signed(pictures.to(torch.float32).transpose(1, 2))


def _script(path: Any, device: torch.device) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # torch.jit is; these files exist in no other form
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise ModelNotFound(f"{path.name} is no TorchScript file: {first}") from error


def _frames_per_step(name: str, frames: int, steps: int) -> int:
    """Return k of 1 + n * k frames.

    Raises:
        WrongSetting: the model drops or makes up frames of this number.
    """
    if steps < 2 or (frames - 1) % (steps - 1):
        raise WrongSetting(
            f"{name} makes {steps} steps of {frames} frames, which is no 1 + n * k: give other frames="
        )
    return (frames - 1) // (steps - 1)
