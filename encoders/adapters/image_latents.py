"""Image autoencoders by diffusers, to continuous latents: TAESD (`AutoencoderTiny`) and DC-AE.

Rule: frames one by one; sizes are multiples of the stride. Latents are stored as they come out; what
diffusion models multiply them by stands in the settings as `scaling_factor`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import SIGNED, from_signed, pictures_input, signed
from encoders.adapters.model_files import PretrainedModel
from encoders.picture_size import PictureSize

LAUNCH_FRAMES = 8


class ImageLatents(Adapter):
    """Latents [T, C, H, W] in float16; axes `TCHW`."""

    library_class: ClassVar[str]

    def __init__(self, device: torch.device, model: PretrainedModel, size: PictureSize = 256) -> None:
        self.device = device
        self._model = load_with("diffusers", self.library_class, model, device)
        config = self._model.config
        stride = self._stride(config)
        takes = pictures_input(model.name, size, stride, LAUNCH_FRAMES)
        height, width = takes.size or (0, 0)
        scale = {"scaling_factor": config.scaling_factor} if config.get("scaling_factor") else {}
        self.spec = spec_of(
            type(self),
            model,
            takes,
            axes="TCHW",
            shape=(config.latent_channels, height // stride, width // stride),
            strides=(1, 1, stride, stride),
            steps=1,
            settings={"size": [height, width], **SIGNED, **scale},
        )

    def _stride(self, config: Any) -> int:
        return int(2 ** (len(config.encoder_block_out_channels) - 1))

    def _encode(self, media: Tensor) -> Tensor:
        latents: Tensor = self._model.encode(signed(media[:, 0]), return_dict=False)[0]
        return latents.unsqueeze(1)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        return from_signed(self._model.decode(codes[:, 0]).sample).unsqueeze(1)


class Tiny(ImageLatents):
    """TAESD: a tiny autoencoder with the latents of a large one."""

    library_class = "AutoencoderTiny"


class DeepCompression(ImageLatents):
    """DC-AE (arXiv 2410.10733): 32 or 64 pixels to a place."""

    library_class = "AutoencoderDC"
