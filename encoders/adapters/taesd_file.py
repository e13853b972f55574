"""TAESD from its own weight files, `tae*_encoder.pth` and `tae*_decoder.pth` (or .safetensors).

Rule: frames one by one, sizes multiples of 8. Pictures in [0, 1]; latents are stored as the encoder gives
them, near unit variance. The network is that of the authors' `taesd.py` (MIT): convolutions of 64 channels in
blocks of three, and, in the FLUX.2 version, a normalisation over the whole frame in the smallest blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.adapters.adapter import Adapter, spec_of
from encoders.adapters.media import UNIT, from_unit, pictures_input, unit
from encoders.adapters.model_files import PretrainedModel
from encoders.adapters.weights import load_tensors
from encoders.errors import ModelNotFound
from encoders.picture_size import PictureSize

STRIDE, WIDTH = 8, 64
LAUNCH_FRAMES = 8
STATISTICS_GROUPS = 4


class TaesdFile(Adapter):
    """Latents [T, C, H / 8, W / 8] in float16; without the decoder's file, no pictures come back."""

    def __init__(self, device: torch.device, model: PretrainedModel, size: PictureSize = 256) -> None:
        self.device = device
        paths = {path.stem.lower().rpartition("_")[2]: path for path in model.files}
        if "encoder" not in paths:
            raise ModelNotFound(f"{model.name}: there is a decoder's file, but no {model.path.name}")
        tensors = load_tensors(paths["encoder"])
        channels = len(tensors.get("14.weight", ()))
        pooled = "12.pool.0.weight" in tensors
        self._encoder = filled(encoder_of(channels, pooled=pooled), tensors, model.name, device)
        self._decoder = None
        if "decoder" in paths:
            network = decoder_of(channels, pooled=pooled)
            self._decoder = filled(network, load_tensors(paths["decoder"]), model.name, device)
        takes = pictures_input(model.name, size, STRIDE, LAUNCH_FRAMES)
        height, width = takes.size or (0, 0)
        self.spec = spec_of(
            TaesdFile,
            model,
            takes,
            axes="TCHW",
            shape=(channels, height // STRIDE, width // STRIDE),
            strides=(1, 1, STRIDE, STRIDE),
            steps=1,
            reconstructs=self._decoder is not None,
            settings={"size": [height, width], **UNIT},
        )

    def _encode(self, media: Tensor) -> Tensor:
        latents: Tensor = self._encoder(unit(media[:, 0]))
        return latents.unsqueeze(1)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        assert self._decoder is not None
        return from_unit(self._decoder(codes[:, 0])).unsqueeze(1)


class Clamp(nn.Module):
    """Keep latents within -3 … 3, softly."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the latents."""
        return (x / 3).tanh() * 3


class Block(nn.Module):
    """Three convolutions beside the identity."""

    def __init__(self, width: int, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv(width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width)
        )
        self.pool: nn.Module | None = None
        if pooled:
            wide = 4 * width
            self.pool = nn.Sequential(
                nn.Conv2d(width, wide, 1, bias=False),
                nn.GroupNorm(STATISTICS_GROUPS, wide),
                nn.ReLU(),
                nn.Conv2d(wide, width, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return what the block makes of [B, C, H, W]."""
        if self.pool is not None:
            x = x + self.pool(x)
        made: Tensor = self.conv(x)
        return (made + x).relu()


def conv(channels: int, out: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """Return a convolution of 3 x 3."""
    return nn.Conv2d(channels, out, 3, stride, 1, bias=bias)


def encoder_of(channels: int, *, pooled: bool) -> nn.Sequential:
    """Return the encoder's network, without weights."""
    layers: list[nn.Module] = [conv(3, WIDTH), Block(WIDTH)]
    for stage in range(3):
        layers.append(conv(WIDTH, WIDTH, stride=2, bias=False))
        layers += [Block(WIDTH, pooled=pooled and stage == 2) for _ in range(3)]
    return nn.Sequential(*layers, conv(WIDTH, channels))


def decoder_of(channels: int, *, pooled: bool) -> nn.Sequential:
    """Return the decoder's network, without weights."""
    layers: list[nn.Module] = [Clamp(), conv(channels, WIDTH), nn.ReLU()]
    for stage in range(3):
        layers += [Block(WIDTH, pooled=pooled and stage == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), conv(WIDTH, WIDTH, bias=False)]
    return nn.Sequential(*layers, Block(WIDTH), conv(WIDTH, 3))


def filled(network: nn.Module, tensors: dict[str, Tensor], name: str, device: torch.device) -> nn.Module:
    """Return a network with exactly these weights, in float32.

    Raises:
        ModelNotFound: weights are missing, left over, or of another shape.
    """
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        found = str(error).splitlines()
        raise ModelNotFound(
            f"{name}: not the weights of this network: {' '.join(found[1:2]).strip()}"
        ) from error
    return network.to(device, torch.float32).eval().requires_grad_(requires_grad=False)
