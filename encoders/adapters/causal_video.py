"""Causal video autoencoders by diffusers, to continuous latents: Cosmos, Wan 2.1 and 2.2, LTX.

Rule, all of them: chunks of 1 + n * k frames (17 by default), where the first frame is a step of its own
and every k further ones are another. `encode` takes other lengths without complaint, and drops (Wan, LTX) or
makes up (Cosmos) frames; here a launch always has the chunk's length. Latents are the mode of the model's
distribution, as they come out: `latents_mean` and `latents_std` of the settings are what diffusion models
subtract and divide by, and are not applied.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import SIGNED, from_signed, pictures_input, signed
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize

USUAL_FRAMES = 17


class CausalVideo(Adapter):
    """Latents [T, C, H, W] in float16; axes `TCHW`."""

    library_class: ClassVar[str]

    def __init__(
        self,
        device: torch.device,
        model: PretrainedModel,
        size: PictureSize = 256,
        frames: int = USUAL_FRAMES,
    ) -> None:
        self.device = device
        self._model = load_with("diffusers", self.library_class, model, device)
        config = self._model.config
        frame_stride, stride, channels = self._strides(config)
        if frames < 1 or (frames - 1) % frame_stride:
            near = max(1, round((frames - 1) / frame_stride)) * frame_stride + 1
            raise WrongSetting(
                f"{model.name}: frames must be 1 + a multiple of {frame_stride}, got {frames} "
                f"(nearest: {near})"
            )
        takes = pictures_input(model.name, size, stride, 1, frames)
        height, width = takes.size or (0, 0)
        self.spec = spec_of(
            type(self),
            model,
            takes,
            axes="TCHW",
            shape=(channels, height // stride, width // stride),
            strides=(frame_stride, 1, stride, stride),
            steps=1 + (frames - 1) // frame_stride,
            settings={"size": [height, width], "frames": frames, **SIGNED, **self._scales(config)},
        )

    def _strides(self, config: Any) -> tuple[int, int, int]:
        """Return frames per step, pixels per place, and channels."""
        raise NotImplementedError

    def _scales(self, config: Any) -> dict[str, Any]:
        """Return what diffusion models do with the latents; empty where nothing is said."""
        names = ("latents_mean", "latents_std", "scaling_factor")
        return {name: config[name] for name in names if config.get(name) is not None}

    def _encode(self, media: Tensor) -> Tensor:
        latents: Tensor = self._model.encode(signed(media).transpose(1, 2)).latent_dist.mode()
        return latents.transpose(1, 2)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        return from_signed(self._model.decode(codes.transpose(1, 2)).sample.transpose(1, 2))


class Cosmos(CausalVideo):
    """NVIDIA Cosmos, continuous (CV), 4 or 8 frames x 8 or 16 pixels."""

    library_class = "AutoencoderKLCosmos"

    def _strides(self, config: Any) -> tuple[int, int, int]:
        return (
            config.temporal_compression_ratio,
            config.spatial_compression_ratio,
            config.latent_channels,
        )


class Wan(CausalVideo):
    """Wan 2.1 (4 frames x 8 pixels, 16 channels) and 2.2 (x 16 pixels, 48 channels)."""

    library_class = "AutoencoderKLWan"

    def _strides(self, config: Any) -> tuple[int, int, int]:
        frames = 2 ** sum(bool(down) for down in config.temperal_downsample)
        pixels = 2 ** len(config.temperal_downsample) * (config.patch_size or 1)
        return frames, pixels, config.z_dim


class Ltx(CausalVideo):
    """LTX-Video, 8 frames x 32 pixels, 128 channels."""

    library_class = "AutoencoderKLLTXVideo"

    def __init__(
        self,
        device: torch.device,
        model: PretrainedModel,
        size: PictureSize = 256,
        frames: int = USUAL_FRAMES,
    ) -> None:
        if model.config.get("timestep_conditioning"):
            raise WrongSetting(
                f"{model.name} decodes at a diffusion step of its own: no media come back without one; take "
                "a version without timestep_conditioning"
            )
        super().__init__(device, model, size, frames)

    def _strides(self, config: Any) -> tuple[int, int, int]:
        return (
            self._model.temporal_compression_ratio,
            self._model.spatial_compression_ratio,
            config.latent_channels,
        )
