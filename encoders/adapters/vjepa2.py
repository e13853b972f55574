"""V-JEPA 2 (arXiv 2506.09985) by transformers: embeddings of short clips; not causal within one.

Rule: chunks of `frames` (the model's own number, at most 16, unless told), of its own size; 2 frames are one
step. `output=pooled` (usual) is the mean over each step's patches, `output=patches` are all. No media come
back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.image_embeddings import IMAGENET, OUTPUTS
from encoders.adapters.media import pictures_input, standardised
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting
from encoders.picture_size import PictureSize

MOST_USUAL_FRAMES = 16


class VJepa2(Adapter):
    """Features [T / 2, D], or of patches [T / 2, H, W, D], in float16."""

    takes_any_size = False

    def __init__(
        self,
        device: torch.device,
        model: PretrainedModel,
        size: PictureSize | None = None,
        frames: int | None = None,
        output: str = "pooled",
    ) -> None:
        if output not in OUTPUTS:
            raise WrongSetting(f"{model.name}: output must be pooled or patches, got {output!r}")
        self.device, self._output = device, output
        self._model = load_with("transformers", "VJEPA2Model", model, device)
        config = self._model.config
        patch, tube, depth = int(config.patch_size), int(config.tubelet_size), int(config.hidden_size)
        chunk = min(MOST_USUAL_FRAMES, int(config.frames_per_clip)) if frames is None else frames
        if chunk < tube or chunk % tube:
            raise WrongSetting(f"{model.name}: frames must be a multiple of {tube}, got {frames}")
        takes = pictures_input(model.name, config.crop_size if size is None else size, patch, 1, chunk)
        height, width = takes.size or (0, 0)
        self._grid = (chunk // tube, height // patch, width // patch)
        patches = output == "patches"
        self.spec = spec_of(
            VJepa2,
            model,
            takes,
            axes="THWD" if patches else "TD",
            shape=(*self._grid[1:], depth) if patches else (depth,),
            strides=(tube, patch, patch, 1) if patches else (tube, 1),
            steps=self._grid[0],
            reconstructs=False,
            settings={
                "size": [height, width], "frames": chunk, "output": output,
                "mean": IMAGENET[0], "std": IMAGENET[1],
            },
        )  # fmt: skip

    def _encode(self, media: Tensor) -> Tensor:
        seen: Tensor = self._model.get_vision_features(standardised(media, *IMAGENET))
        patches = seen.reshape(len(media), *self._grid, -1)
        return patches if self._output == "patches" else patches.mean((2, 3))
