"""`fifth-video`: pictures to codes by a small network of our own, trained for it.

A chunk is 8 frames, closed: nothing of other chunks enters it. Each cell of 4 frames x 8 x 8 pixels becomes
one code of 64,935 (finite scalar quantisation): at 256 x 256 and 8 frames a second, 2,048 codes a second.
`stages=2` gives a second code per cell that says what the first left; the first stays the same.
`mode="image"` takes single frames: one group of the same frame four times.

What the network looks like: `encoders.video_network`. What it was trained on, and how good it is:
`encoders/weights/README.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.haar import CELL, GROUP_FRAMES
from encoders.picture_size import PictureSize, picture_size
from encoders.precision import full_precision
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray
from encoders.video_network import BLOCK, CHUNK_FRAMES, VideoNetwork, VideoShape
from encoders.weight_files import Weights, packaged_weights, weights_from

WEIGHTS = "fifth-video"
WEIGHTS_SHA256 = "851969eab4e3dcbfd8e87be952ea9518a1b574d9f41d4f112c946441e801b0e0"
MODES = {"video": CHUNK_FRAMES, "image": 1}
"""Frames of a chunk."""
LAUNCH_PIXELS = 64 * 256 * 256


class FifthVideo:
    """Codes [T/4, H/8, W/8], or with several stages [T/4, H/8, W/8, K]; in image mode [T, H/8, W/8].

    Tokens are the same on every machine of one kind (processor architecture, or GPU model), whatever the
    launch holds; between kinds a small share differs, since sums are rounded differently.
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
        self._network, sha256 = _network(weights, device)
        shape = self._network.shape
        if isinstance(stages, bool) or not isinstance(stages, int) or not 1 <= stages <= shape.stages:
            raise WrongSetting(f"fifth-video makes 1 to {shape.stages} stages, got stages={stages!r}")
        self._stages, self._chunk = stages, MODES[mode]
        self._of_zeros: Tensor | None = None
        steps = max(1, self._chunk // GROUP_FRAMES)
        cells = (height // CELL, width // CELL)
        self.spec = TokenSpec(
            encoder="fifth-video",
            revision=1,
            kind="codes",
            dtype="uint16",
            axes="THW" if stages == 1 else "THWK",
            shape=cells if stages == 1 else (*cells, stages),
            strides=(self._chunk // steps, CELL, CELL) + (() if stages == 1 else (1,)),
            steps_per_chunk=steps,
            codebook_sizes=(shape.fsq.codebook_size,),
            exact_across_devices=False,
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
        # Products of other shapes may be summed in another order: each row is computed by itself. Empty rows,
        # which fill up the last launch of a clip, are computed once.
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
        frames = batch.expand(-1, GROUP_FRAMES, -1, -1, -1) if self._chunk == 1 else batch
        with full_precision(self.device):
            # exact: bytes are whole numbers, and 1/127.5 is rounded once
            places = self._network.places(frames.to(torch.float32) / 127.5 - 1, self._stages)
            codes = self._network.shape.fsq.codes(places)
        return codes[..., 0] if self._stages == 1 else codes

    def _frames(self, codes: Tensor) -> Tensor:
        with full_precision(self.device):
            frames = self._network.frames(self._network.shape.fsq.places_of(codes))
            frames = frames.mean(1, keepdim=True) if self._chunk == 1 else frames
            return ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=4)
def _network(path: str, device: torch.device) -> tuple[VideoNetwork, str]:
    """Return the network, shared by all encoders with these weights, and the weights' sha256."""
    weights = weights_from(path) if path else packaged_weights(WEIGHTS, WEIGHTS_SHA256)
    return network_of(weights).to(device), weights.sha256


def network_of(weights: Weights) -> VideoNetwork:
    """Build the network that a weights file describes.

    Raises:
        WrongSetting: the file is for another encoder, or damaged.
    """
    if weights.about.get("encoder") != "fifth-video":
        found = weights.about.get("encoder", "something else")
        raise WrongSetting(f"these weights are for {found}, not for fifth-video: give another file")
    try:
        shape = json.loads(weights.about["shape"])
        network = VideoNetwork(VideoShape(**shape | {"levels": tuple(shape["levels"])}))
        network.load_state_dict({name: value.to(torch.float32) for name, value in weights.tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WrongSetting(f"the weights do not fit fifth-video: {error}") from error
    return network.eval().requires_grad_(False)
