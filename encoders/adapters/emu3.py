"""Emu3's vision tokenizer (arXiv 2409.18869) by transformers: 4 frames and 8 x 8 pixels to a code.

Rule: chunks of 4 frames. The library's `encode` cuts its codes to `image_sizes` on the wrong axes (frames
and rows): sizes that cut nothing are given, and the codes have the chunk's own size. Pictures are
standardised by CLIP's mean and deviation, as the model's processor does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import from_unit, pictures_input, standardised
from encoders.adapters.model_files import PretrainedModel
from encoders.picture_size import PictureSize

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LAUNCH_CHUNKS = 2
CUTS_NOTHING = 1 << 20


class Emu3(Adapter):
    """Codes [T / 4, H / 8, W / 8]."""

    def __init__(self, device: torch.device, model: PretrainedModel, size: PictureSize = 256) -> None:
        self.device = device
        self._model = load_with("transformers", "Emu3VQVAE", model, device)
        config = self._model.config
        stride = 2 ** (len(config.channel_multiplier) - 1)
        frames = config.temporal_downsample_factor
        takes = pictures_input(model.name, size, stride, LAUNCH_CHUNKS, frames)
        height, width = takes.size or (0, 0)
        self.spec = spec_of(
            Emu3,
            model,
            takes,
            axes="THW",
            shape=(height // stride, width // stride),
            strides=(frames, stride, stride),
            steps=1,
            codebook_sizes=(config.codebook_size,),
            settings={"size": [height, width], "mean": MEAN, "std": STD},
        )

    def _encode(self, media: Tensor) -> Tensor:
        sizes = torch.full((len(media), 2), CUTS_NOTHING, device=media.device)
        pictures = standardised(media, MEAN, STD)
        codes = self._model.encode(pictures, sizes).image_tokens
        return torch.stack(list(codes))

    def _reconstruct(self, codes: Tensor) -> Tensor:
        pictures: Tensor = self._model.decode(codes)
        mean, std = (torch.tensor(row, device=codes.device).reshape(3, 1, 1) for row in (MEAN, STD))
        return from_unit(pictures * std + mean)
