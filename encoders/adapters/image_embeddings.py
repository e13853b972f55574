"""Image embeddings by transformers: SigLIP, SigLIP 2, DINOv2, DINOv3; each frame by itself.

`output=pooled` (usual) is the model's own pooler, or where it has none the mean of its patches;
`output=patches` are all of them, hundreds of times as many numbers. Resizing is Fifth's own (`size`, the
model's own by default); mean and deviation are the model's, and stand in the settings. No media come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import pictures_input, standardised
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize

LAUNCH_FRAMES = 8
OUTPUTS = ("pooled", "patches")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


class ImageEmbeddings(Adapter):
    """Features [T, D], or of patches [T, H, W, D], in float16."""

    takes_any_size = False
    library_class: ClassVar[str]
    numbers: ClassVar[tuple[Sequence[float], Sequence[float]]]
    """Mean and deviation by which the pictures were standardised in training."""

    def __init__(
        self,
        device: torch.device,
        model: PretrainedModel,
        size: PictureSize | None = None,
        output: str = "pooled",
    ) -> None:
        if output not in OUTPUTS:
            raise WrongSetting(f"{model.name}: output must be pooled or patches, got {output!r}")
        self.device, self._output = device, output
        self._model = self._loaded(model)
        config = self._model.config
        patch = int(config.patch_size)
        own = self._own_size(config)
        takes = pictures_input(model.name, own if size is None else size, patch, LAUNCH_FRAMES)
        height, width = takes.size or (0, 0)
        self._check_size(model.name, config, (height, width))
        self._grid = (height // patch, width // patch)
        depth = int(config.hidden_size)
        patches = output == "patches"
        self.spec = spec_of(
            type(self),
            model,
            takes,
            axes="THWD" if patches else "TD",
            shape=(*self._grid, depth) if patches else (depth,),
            strides=(1, patch, patch, 1) if patches else (1, 1),
            steps=1,
            reconstructs=False,
            settings={
                "size": [height, width], "output": output, "mean": self.numbers[0], "std": self.numbers[1],
            },
        )  # fmt: skip

    def _loaded(self, model: PretrainedModel) -> Any:
        return load_with("transformers", self.library_class, model, self.device)

    def _own_size(self, config: Any) -> int:
        return int(config.image_size)

    def _check_size(self, name: str, config: Any, size: tuple[int, int]) -> None:
        """Raise where the model would not take this size."""

    def _encode(self, media: Tensor) -> Tensor:
        pooled, patches = self._seen(standardised(media[:, 0], *self.numbers))
        made = pooled if self._output == "pooled" else patches.reshape(len(media), *self._grid, -1)
        return made.unsqueeze(1)

    def _seen(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled vector [B, D] and the patches [B, H * W, D]."""
        seen = self._model(pixel_values=pictures)
        return seen.pooler_output, seen.last_hidden_state


class Siglip(ImageEmbeddings):
    """SigLIP (arXiv 2303.15343), and SigLIP 2 of fixed resolution, which is the same network."""

    library_class = "SiglipVisionModel"
    numbers = HALVES

    def _check_size(self, name: str, config: Any, size: tuple[int, int]) -> None:
        if size != (config.image_size, config.image_size):
            raise WrongSetting(f"{name} takes pictures of {config.image_size} pixels only, got {list(size)}")

    def _seen(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        seen = self._model(pixel_values=pictures)
        pooled = seen.pooler_output
        return seen.last_hidden_state.mean(1) if pooled is None else pooled, seen.last_hidden_state


class Siglip2(ImageEmbeddings):
    """SigLIP 2 (arXiv 2502.14786) of any resolution (NaFlex): sizes up to its number of patches."""

    library_class = "Siglip2VisionModel"
    numbers = HALVES

    def _own_size(self, config: Any) -> int:
        return int(config.num_patches**0.5) * int(config.patch_size)

    def _check_size(self, name: str, config: Any, size: tuple[int, int]) -> None:
        patches = (size[0] // config.patch_size) * (size[1] // config.patch_size)
        if patches > config.num_patches:
            raise WrongSetting(
                f"{name} takes at most {config.num_patches} patches, {list(size)} has {patches}"
            )

    def _seen(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = self._grid
        patch = pictures.shape[-1] // columns
        # [B, 3, H, W] -> [B, rows * columns, patch * patch * 3], as the model's processor cuts them
        cut = pictures.reshape(len(pictures), 3, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
        shapes = torch.tensor([[rows, columns]] * len(pictures), device=pictures.device)
        mask = torch.ones(len(pictures), rows * columns, dtype=torch.int32, device=pictures.device)
        seen = self._model(
            pixel_values=cut.reshape(len(pictures), rows * columns, -1),
            pixel_attention_mask=mask,
            spatial_shapes=shapes,
        )
        return seen.pooler_output, seen.last_hidden_state


class DinoV2(ImageEmbeddings):
    """DINOv2 (arXiv 2304.07193), with or without registers; pooled is its class token, normalised."""

    library_class = "Dinov2Model"
    numbers = IMAGENET

    def _own_size(self, config: Any) -> int:
        return 16 * int(config.patch_size)  # 224 for patches of 14, at which it is used

    def _seen(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        seen = self._model(pixel_values=pictures)
        places = self._grid[0] * self._grid[1]
        return seen.pooler_output, seen.last_hidden_state[:, -places:]


class DinoV3(DinoV2):
    """DINOv3 (arXiv 2508.10104), the vision transformers."""

    library_class = "DINOv3ViTModel"
