"""VQGAN (arXiv 2012.09841) by diffusers' `VQModel`: each frame to one code per place."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import SIGNED, from_signed, pictures_input, signed
from encoders.adapters.model_files import PretrainedModel
from encoders.picture_size import PictureSize

LAUNCH_FRAMES = 8


class Vq(Adapter):
    """Codes [T, H, W]. Rule: frames one by one."""

    def __init__(self, device: torch.device, model: PretrainedModel, size: PictureSize = 256) -> None:
        self.device = device
        self._model = load_with("diffusers", "VQModel", model, device)
        config = self._model.config
        stride = 2 ** (len(config.block_out_channels) - 1)
        takes = pictures_input(model.name, size, stride, LAUNCH_FRAMES)
        height, width = takes.size or (0, 0)
        self.spec = spec_of(
            Vq,
            model,
            takes,
            axes="THW",
            shape=(height // stride, width // stride),
            strides=(1, stride, stride),
            steps=1,
            codebook_sizes=(config.num_vq_embeddings,),
            settings={"size": [height, width], **SIGNED},
        )

    def _encode(self, media: Tensor) -> Tensor:
        latents = self._model.encode(signed(media[:, 0])).latents
        codes: Tensor = self._model.quantize(latents)[2][2]  # flat, whatever the batch
        return codes.reshape(len(media), 1, *self.spec.shape)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        channels = self._model.quantize.vq_embed_dim
        shape = (len(codes), *self.spec.shape, channels)
        latents = self._model.quantize.get_codebook_entry(codes.reshape(-1), shape)
        return from_signed(self._model.decode(latents, force_not_quantize=True).sample).unsqueeze(1)
