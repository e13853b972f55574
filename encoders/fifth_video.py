"""`fifth-video`: pictures to codes by classes of blocks, each with a basis and levels of its own, all fitted.

A chunk is 8 frames, closed: nothing of other chunks enters it. Each cell of 4 frames x 8 x 8 pixels has one
code of 16 bits: at 256 x 256 and 8 frames a second, 2,048 codes a second. The 2 x 2 x 2 cells of a block are
said together: what stands still spends no codes on time, what is flat none on detail.
`stages=2` gives a second code per cell that says what the first left; the first stays the same.
`mode="image"` takes single frames: one code for each 8 x 8 pixels.

How blocks become codes: `encoders.class_book`; how what comes back is mended: `encoders.seams`.
What it was fitted to, and how good it is: `encoders/weights/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from encoders.class_book import CODE_SIZE
from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.moving_blocks import BLOCK
from encoders.picture_size import PictureSize, picture_size
from encoders.precision import full_precision
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray
from encoders.video_model import CELL, MODES, REVISION, VideoModel, groups_of, model_from
from encoders.weight_files import packaged_weights, weights_from

WEIGHTS = "fifth-video"
WEIGHTS_SHA256 = "77f6fa16e1815e6f32f49db09a109240685cc985db0310ace9b14b7bdff1fb66"
LAUNCH_PIXELS = 64 * 256 * 256


class FifthVideo:
    """Codes [T/4, H/8, W/8], or with several stages [T/4, H/8, W/8, K]; in image mode [T, H/8, W/8].

    The same frames give the same codes on every device: they are found by whole-number arithmetic. What comes
    back may differ by a rounding.
    """

    def __init__(
        self,
        device: torch.device,
        size: PictureSize = 256,
        stages: int = 1,
        mode: str = "video",
        weights: str = "",
    ) -> None:
        """Load the weights.

        Args:
            device: where to compute.
            size: height and width, or one number for both; multiples of 16.
            stages: codes per cell.
            mode: `video` or `image`.
            weights: a file that `fifth train video` wrote; empty: the one in the package.

        Raises:
            WrongSetting: a mode, a number of stages or a weights file that can't be used.
        """
        if mode not in MODES:
            raise WrongSetting(f"fifth-video mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.device = device
        height, width = picture_size("fifth-video", size, BLOCK)
        self._model, sha256 = _model(weights, device)
        most = self._model.stages
        if isinstance(stages, bool) or not isinstance(stages, int) or not 1 <= stages <= most:
            raise WrongSetting(f"fifth-video makes 1 to {most} stages, got stages={stages!r}")
        self._stages, self._mode, self._chunk = stages, mode, MODES[mode]
        self._of_zeros: Tensor | None = None
        steps = groups_of(self._chunk)
        cells = (height // CELL, width // CELL)
        self.spec = TokenSpec(
            encoder="fifth-video",
            revision=REVISION,
            kind="codes",
            dtype="uint16",
            axes="THW" if stages == 1 else "THWK",
            shape=cells if stages == 1 else (*cells, stages),
            strides=(self._chunk // steps, CELL, CELL) + (() if stages == 1 else (1,)),
            steps_per_chunk=steps,
            codebook_sizes=(CODE_SIZE,),
            exact_across_devices=True,
            weights_sha256=sha256,
            settings={"size": [height, width], "stages": stages, "mode": mode, "weights": weights},
            input=InputSpec(
                medium="pictures",
                dtype="uint8",
                value_range=(0, 255),
                axes="BTCHW",
                channels=3,
                launch_batch=max(1, LAUNCH_PIXELS // (max(height * width, 256 * 256) * self._chunk)),
                chunk=self._chunk,
                size=(height, width),
                size_multiple=BLOCK,
            ),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> FifthVideo:
        """Return itself: it was trained before."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn frames [B, T, 3, H, W] into codes [B, steps, H/8, W/8], or [..., K]."""
        check_launch(self, batch)
        if self.device.type != "cpu":
            return TokenArray(self._codes(batch).to(torch.uint16))
        # a chunk at a time stays in the caches; empty ones, which fill up a clip's last launch, come once
        codes = [self._codes(row) if bool(row.any()) else self._empty() for row in torch.split(batch, 1)]
        return TokenArray(torch.cat(codes).to(torch.uint16))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes back into frames [B, T, 3, H, W]."""
        check_codes(self, tokens)
        codes = tokens.data.to(self.device).to(torch.int64)
        codes = codes.unsqueeze(-1) if self._stages == 1 else codes
        frames = [self._frames(rows) for rows in torch.split(codes, 1)]
        height, width = self.spec.settings["size"]
        nothing = torch.zeros(0, self._chunk, 3, height, width, dtype=torch.uint8, device=self.device)
        return torch.cat([nothing, *frames])

    def _empty(self) -> Tensor:
        """Return the codes of a row of zeros."""
        if self._of_zeros is None:
            zeros = torch.zeros((1, *self.spec.input.launch_shape[1:]), dtype=torch.uint8, device=self.device)
            self._of_zeros = self._codes(zeros)
        return self._of_zeros

    def _codes(self, batch: Tensor) -> Tensor:
        with full_precision(self.device):
            codes = self._model.codes(self._mode, batch, self._stages)
        return codes[..., 0] if self._stages == 1 else codes

    def _frames(self, codes: Tensor) -> Tensor:
        with full_precision(self.device):
            return self._model.frames(self._mode, codes)


@lru_cache(maxsize=4)
def _model(path: str, device: torch.device) -> tuple[VideoModel, str]:
    """Return the model, shared by all encoders with these weights, and the weights' sha256."""
    weights = weights_from(path) if path else packaged_weights(WEIGHTS, WEIGHTS_SHA256)
    return model_from(weights).to(device), weights.sha256
