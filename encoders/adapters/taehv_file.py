"""TAEHV from its own weight file (`taew2_1.pth`, `taehv.pth`, `taew2_2.pth` …): tiny video autoencoders.

Rule: chunks of 1 + n * k frames (17), k of which are one step. As the authors' `taehv.py` (MIT) does, the
last frame is repeated until whole steps are full, and the first k - 1 decoded frames are left out. Pictures
in [0, 1]. Every block hears the frame before it; at the start of a chunk that is zero. What the file holds
decides on strides, patches and channels; the CogVideoX, H3 and "super" versions are of another make, and
refused.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.adapters.adapter import Adapter, spec_of
from encoders.adapters.media import UNIT, from_unit, pictures_input, unit
from encoders.adapters.model_files import PretrainedModel
from encoders.adapters.taesd_file import Clamp, conv, filled
from encoders.adapters.weights import load_tensors
from encoders.errors import ModelNotFound, WrongSetting
from encoders.picture_size import PictureSize

USUAL_FRAMES = 17
WIDTH = 64
DECODER_WIDTHS = (256, 128, 64, 64)
POOLS, GROWS = (2, 7, 12), (7, 13, 19)
"""Where in the authors' sequences time is folded and unfolded."""
OF_ANOTHER_MAKE = ("taecvx", "taeh3", "_super")


class TaehvFile(Adapter):
    """Latents [T, C, H, W] in float16."""

    def __init__(
        self,
        device: torch.device,
        model: PretrainedModel,
        size: PictureSize = 256,
        frames: int = USUAL_FRAMES,
    ) -> None:
        self.device = device
        if any(part in model.name for part in OF_ANOTHER_MAKE):
            raise ModelNotFound(f"{model.name}: this version of TAEHV is of another make, and not known")
        tensors = load_tensors(model.path)
        try:
            pools = [_ratio(tensors[f"encoder.{place}.conv.weight"], 1, 0) for place in POOLS]
            grows = _grows(tensors, pools)
            patch = round((tensors["encoder.0.weight"].shape[1] / 3) ** 0.5)
            channels = len(tensors["encoder.17.weight"])
        except (KeyError, IndexError) as error:
            raise ModelNotFound(f"{model.name}: not the weights of TAEHV: {error} is missing") from error
        network = Network(patch, channels, pools, grows)
        filled(network, tensors, model.name, device)
        self._encoder, self._decoder = network.encoder, network.decoder
        self._patch, self._step = patch, pools[0] * pools[1] * pools[2]
        if frames < 1 or (frames - 1) % self._step:
            raise WrongSetting(f"{model.name}: frames must be 1 + a multiple of {self._step}, got {frames}")
        stride = 8 * patch
        takes = pictures_input(model.name, size, stride, 1, frames)
        height, width = takes.size or (0, 0)
        self.spec = spec_of(
            TaehvFile,
            model,
            takes,
            axes="TCHW",
            shape=(channels, height // stride, width // stride),
            strides=(self._step, 1, stride, stride),
            steps=-(-frames // self._step),
            settings={"size": [height, width], "frames": frames, **UNIT},
        )

    def _encode(self, media: Tensor) -> Tensor:
        missing = -media.shape[1] % self._step
        pictures = torch.cat([media, media[:, -1:].expand(-1, missing, -1, -1, -1)], 1)
        folded = nn.functional.pixel_unshuffle(unit(pictures), self._patch)
        return run(self._encoder, folded)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        made = nn.functional.pixel_shuffle(run(self._decoder, codes), self._patch)
        return from_unit(made[:, self._step - 1 :][:, : self.spec.input.chunk])


class Memory(nn.Module):
    """Three convolutions over a frame and the one before it, beside the frame itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv(2 * width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return what the block makes of [B, T, C, H, W]."""
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        made: Tensor = self.conv(torch.cat([x, before], 2).flatten(0, 1))
        return (made.reshape(x.shape) + x).relu()


class Pool(nn.Module):
    """Fold neighbouring frames into one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T / stride, C, H, W]."""
        batch, frames, channels, *size = x.shape
        made: Tensor = self.conv(x.reshape(-1, self.stride * channels, *size))
        return made.reshape(batch, frames // self.stride, -1, *size)


class Grow(nn.Module):
    """Unfold one frame into several."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T * stride, C, H, W]."""
        batch, frames, channels, *size = x.shape
        made: Tensor = self.conv(x.flatten(0, 1))
        return made.reshape(batch, frames * self.stride, channels, *size)


class Network(nn.Module):
    """The encoder and the decoder, with the authors' numbering of layers."""

    def __init__(self, patch: int, channels: int, pools: list[int], grows: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(3 * patch**2, WIDTH), nn.ReLU()]
        for stride in pools:
            layers += [Pool(WIDTH, stride), conv(WIDTH, WIDTH, stride=2, bias=False)]
            layers += [Memory(WIDTH) for _ in range(3)]
        self.encoder = nn.Sequential(*layers, conv(WIDTH, channels))
        layers = [Clamp(), conv(channels, DECODER_WIDTHS[0]), nn.ReLU()]
        for stage, stride in enumerate(grows):
            width, narrower = DECODER_WIDTHS[stage : stage + 2]
            layers += [Memory(width) for _ in range(3)]
            layers += [nn.Upsample(scale_factor=2), Grow(width, stride), conv(width, narrower, bias=False)]
        self.decoder = nn.Sequential(*layers, nn.ReLU(), conv(DECODER_WIDTHS[-1], 3 * patch**2))


def run(layers: nn.Module, x: Tensor) -> Tensor:
    """Run layers over [B, T, C, H, W]: those that know of time on all of it, others frame by frame."""
    for layer in layers.children():
        if isinstance(layer, (Memory, Pool, Grow)):
            x = layer(x)
        else:
            made: Tensor = layer(x.flatten(0, 1))
            x = made.reshape(*x.shape[:2], *made.shape[1:])
    return x


def _ratio(weight: Tensor, more: int, fewer: int) -> int:
    return weight.shape[more] // weight.shape[fewer]


def _grows(tensors: dict[str, Tensor], pools: list[int]) -> list[int]:
    """Return how time unfolds: as it was folded. Where the file could do more, the last frame counts."""
    grows = [_ratio(tensors[f"decoder.{place}.conv.weight"], 0, 1) for place in GROWS]
    for stage, place in enumerate(GROWS):
        if grows[0] * grows[1] * grows[2] > pools[0] * pools[1] * pools[2] and grows[stage] > 1:
            key = f"decoder.{place}.conv.weight"
            tensors[key] = tensors[key][-tensors[key].shape[1] :]
            grows[stage] = 1
    return grows
