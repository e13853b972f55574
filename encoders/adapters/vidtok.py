"""VidTok (arXiv 2412.13061) by diffusers, its discrete models: 4 or 8 frames, 8 or 16 pixels to a code.

Rule, causal models: chunks of 17 frames (1 + 16), before which the first frame is repeated as often as
the model drops frames when it decodes; `encode` does not do that by itself. Others: chunks of 16 frames.
What does not come out as the rule says is refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import SIGNED, from_signed, pictures_input, signed
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize

GROUPED_FRAMES = 16


class VidTok(Adapter):
    """Codes [T, H, W]; of a causal model, the first step of each chunk is its first frame."""

    def __init__(self, device: torch.device, model: PretrainedModel, size: PictureSize = 256) -> None:
        self.device = device
        self._model = load_with("diffusers", "AutoencoderVidTok", model, device)
        config = self._model.config
        if config.regularizer != "fsq":
            raise WrongSetting(
                f"{model.name} is a VidTok model without codes (regularizer {config.regularizer})"
            )
        frames = self._model.temporal_compression_ratio
        stride = 2 ** len(self._model.encoder.spatial_ds)
        self._repeated = frames - 1 if config.is_causal else 0
        chunk = GROUPED_FRAMES + (1 if config.is_causal else 0)
        takes = pictures_input(model.name, size, stride, 1, chunk)
        height, width = takes.size or (0, 0)
        self.spec = spec_of(
            VidTok,
            model,
            takes,
            axes="THW",
            shape=(height // stride, width // stride),
            strides=(frames, stride, stride),
            steps=(chunk + self._repeated) // frames,
            codebook_sizes=(config.codebook_size,),
            settings={"size": [height, width], **SIGNED},
        )

    def _encode(self, media: Tensor) -> Tensor:
        pictures = signed(media).transpose(1, 2)
        first = pictures[:, :, :1].expand(-1, -1, self._repeated, -1, -1)
        codes: Tensor = self._model.encode(torch.cat([first, pictures], dim=2))[1]
        return codes.to(torch.int64).reshape(len(media), -1, *self.spec.shape)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        pictures = self._model.decode(codes.to(torch.int32), decode_from_indices=True)
        return from_signed(pictures[:, :, -self.spec.input.chunk :].transpose(1, 2))
