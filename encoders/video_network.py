"""The network of `fifth-video`: pictures to numbers of levels, and back.

Work is done on groups of 4 frames, in cells of 8x8 pixels. Two groups are a chunk; a still is one group of
the same frame. 2x2 cells are a block, whose latents are found together, since neighbouring cells have most
of their light in common; they are dealt to the four cells afterwards.

    RGB [8, H, W] -> orthonormal Haar -> cells [2, H/8, W/8, 768] -> residual blocks [.., C]
                                            |                              |
                                            +--- linear, from the start ---+--> latents of a block -> levels

    levels -> values -+-> residual blocks [.., C] -------+--> cells [2, H/8, W/8, 768] -> inverse Haar -> RGB
                      +-> linear, also from all around --+

What has been said already is not said again: the latents of the second group know the codes of the first
one, and those of stage 2 the codes of stage 1. The linear paths alone are a transform coder
(`encoders.training.transform_start`), from which training starts; what is learned on top begins at zero.
No normalisation over rows, space or time, so a chunk depends on itself alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.fsq import Fsq
from encoders.haar import CELL, GROUP_FRAMES, forward_haar, inverse_haar

CHUNK_FRAMES = 8
GROUPS = CHUNK_FRAMES // GROUP_FRAMES
BLOCK = 16
CELLS = (BLOCK // CELL) ** 2
"""Cells of a block."""
CELL_VALUES = 3 * GROUP_FRAMES * CELL * CELL
BLOCK_VALUES = CELLS * CELL_VALUES


@dataclass(frozen=True)
class VideoShape:
    """How large a network is. Stands in the weights' file."""

    levels: tuple[int, ...] = (37, 13, 9, 5, 3)
    """Of each dimension. Odd ones have a level at zero; 64,935 codes fill 16 bits. A block's first components
    vary so much more than the others that even levels lose almost 2 dB."""
    stages: int = 2
    encoder_width: int = 192
    encoder_blocks: int = 4
    decoder_width: int = 192
    decoder_blocks: int = 6
    expansion: int = 2
    around: int = 128
    """Numbers by which a block hears of the blocks around it, in the linear path."""

    @property
    def fsq(self) -> Fsq:
        """The quantiser of every cell and stage."""
        return Fsq(self.levels)

    @property
    def latents(self) -> int:
        """Latents of a block and stage."""
        return CELLS * len(self.levels)

    @property
    def spoken(self) -> int:
        """Numbers that say the latents of a block and stage."""
        return 2 * self.latents


class ResidualBlock(nn.Module):
    """Mixing over neighbouring cells and the chunk's other group, then over channels; added to its input.

    After ConvNeXt (arXiv 2201.03545), without its normalisation.
    """

    def __init__(self, width: int, expansion: int, mixes_groups: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.other_group = nn.Parameter(torch.zeros(GROUPS, width)) if mixes_groups else None
        nn.init.normal_(self.narrow.weight, std=0.1 / (expansion * width) ** 0.5)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, cells: Tensor) -> Tensor:
        """Take and return channels-last cells [B, groups, h, w, C]."""
        batch, groups, height, width, channels = cells.shape
        mixed = cells
        if self.other_group is not None:
            # a still has no other group, and is its own: the frames that would follow are the same
            mixed = cells + cells.flip(1) * self.other_group[:groups, None, None]
        planes = mixed.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        mixed = self.space(planes).permute(0, 2, 3, 1).reshape(batch, groups, height, width, channels)
        added: Tensor = self.narrow(functional.gelu(self.widen(mixed)))
        return cells + added


class VideoEncoder(nn.Module):
    """Frames to what the latents are, before they know what has been said already."""

    def __init__(self, shape: VideoShape) -> None:
        super().__init__()
        self.into = nn.Linear(CELL_VALUES, shape.encoder_width)
        self.blocks = nn.ModuleList(
            ResidualBlock(shape.encoder_width, shape.expansion, index % 2 == 1)
            for index in range(shape.encoder_blocks)
        )
        outputs = shape.stages * shape.latents
        self.linear = nn.ModuleList(nn.Linear(BLOCK_VALUES, outputs) for _ in range(GROUPS))
        self.learned = nn.ModuleList(
            nn.Linear(CELLS * shape.encoder_width, outputs, bias=False) for _ in range(GROUPS)
        )
        self.said = nn.ModuleDict(
            {
                f"{group}-{stage}": nn.Linear(
                    known_codes(group, stage) * shape.spoken, shape.latents, bias=False
                )
                for group in range(GROUPS)
                for stage in range(shape.stages)
                if known_codes(group, stage)
            }
        )
        for learned in self.learned:
            nn.init.zeros_(_weight(learned))

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Return per group [B, H/16, W/16, stages * latents].

        Args:
            frames: float32 [B, T, 3, H, W] in [-1, 1]; T is 8, or 4 for stills.
        """
        cells = forward_haar(frames)
        features = self.into(cells)
        for block in self.blocks:
            features = block(features)
        return [
            linear(blocks_of(own)) + learned(blocks_of(found))
            for linear, learned, own, found in zip(
                self.linear, self.learned, cells.unbind(1), features.unbind(1), strict=False
            )
        ]


class VideoDecoder(nn.Module):
    """What was said to frames."""

    def __init__(self, shape: VideoShape) -> None:
        super().__init__()
        self.shape = shape
        stages = range(1, shape.stages + 1)
        chunk = GROUPS * shape.spoken
        self.linear = nn.ModuleList(nn.Linear(s * chunk, GROUPS * BLOCK_VALUES) for s in stages)
        self.hear_around = nn.ModuleList(nn.Conv2d(s * chunk, shape.around, 3, bias=False) for s in stages)
        self.from_around = nn.ModuleList(
            nn.Linear(shape.around, GROUPS * BLOCK_VALUES, bias=False) for _ in stages
        )
        self.still = nn.ModuleList(nn.Linear(s * shape.spoken, BLOCK_VALUES) for s in stages)
        self.into = nn.Linear(shape.stages * shape.spoken, CELLS * shape.decoder_width)
        self.blocks = nn.ModuleList(
            ResidualBlock(shape.decoder_width, shape.expansion, index % 2 == 1)
            for index in range(shape.decoder_blocks)
        )
        self.out = nn.Linear(shape.decoder_width, CELL_VALUES)
        for weight in (self.out.weight, self.out.bias, *(_weight(layer) for layer in self.from_around)):
            nn.init.zeros_(weight)

    def forward(self, said: list[list[Tensor]]) -> Tensor:
        """Return frames float32 [B, T, 3, H, W], about [-1, 1].

        Args:
            said: per group and stage [B, H/16, W/16, spoken]; one group for stills.
        """
        features = cells_of(self.into(torch.stack([self._padded(stages) for stages in said], dim=1)))
        for block in self.blocks:
            features = block(features)
        return inverse_haar(cells_of(self.straight(said)) + self.out(features))

    def straight(self, said: list[list[Tensor]]) -> Tensor:
        """Return the linear path's blocks [B, groups, H/16, W/16, 3072]."""
        count = len(said[0]) - 1
        if len(said) < GROUPS:
            blocks: Tensor = self.still[count](torch.cat(said[0], dim=-1)).unsqueeze(1)
            return blocks
        heard = torch.cat([part for stages in said for part in stages], dim=-1)
        planes = functional.pad(heard.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
        around = self.hear_around[count](planes).permute(0, 2, 3, 1)
        both = self.linear[count](heard) + self.from_around[count](around)
        return torch.stack(both.chunk(GROUPS, dim=-1), dim=1)

    def _padded(self, stages: list[Tensor]) -> Tensor:
        missing = self.shape.stages - len(stages)
        return torch.cat([*stages, *([torch.zeros_like(stages[0])] * missing)], dim=-1)


class VideoNetwork(nn.Module):
    """Both, with the quantiser between them."""

    def __init__(self, shape: VideoShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = VideoEncoder(shape)
        self.decoder = VideoDecoder(shape)

    def places(self, frames: Tensor, stages: int) -> Tensor:
        """Return float32 [B, T/4, H/8, W/8, stages, D] numbers of levels; later stages change none before.

        Args:
            frames: float32 [B, T, 3, H, W] in [-1, 1]; T is 8, or 4 for stills.
            stages: how many.
        """
        latents = self.encoder(frames)
        said: list[list[Tensor]] = [[] for _ in latents]
        found: list[list[Tensor]] = [[] for _ in latents]
        for group, _ in enumerate(latents):
            for stage in range(stages):
                places = self.shape.fsq.places(self.latents_of(latents, said, group, stage))
                said[group].append(self.spoken(places))
                found[group].append(cells_of(places.flatten(-2)[:, None])[:, 0])
        return torch.stack([torch.stack(stages, dim=-2) for stages in found], dim=1)

    def frames(self, places: Tensor) -> Tensor:
        """Return frames of the numbers of levels [B, T/4, H/8, W/8, stages, D]."""
        said = [
            [self.spoken(_split_cells(blocks_of(part))) for part in group.unbind(-2)]
            for group in places.unbind(1)
        ]
        frames: Tensor = self.decoder(said)
        return frames

    def forward(self, frames: Tensor, stages: int) -> Tensor:
        """Return what comes back after so many stages, with gradients through the quantiser."""
        latents = self.encoder(frames)
        said: list[list[Tensor]] = [[] for _ in latents]
        for group, _ in enumerate(latents):
            for stage in range(stages):
                own = self.latents_of(latents, said, group, stage)
                said[group].append(self._numbers(self.shape.fsq.straight_through(own)))
        back: Tensor = self.decoder(said)
        return back

    def latents_of(self, latents: list[Tensor], said: list[list[Tensor]], group: int, stage: int) -> Tensor:
        """Return latents [B, h, w, 4, D] of a group and stage, less what is known, dealt to cells.

        The first four latents are dimension 0 of the four cells, and so on: dimension 0 has most levels.
        """
        size = self.shape.latents
        own = latents[group][..., stage * size : (stage + 1) * size].to(torch.float32)
        known = known_of(said, group, stage)
        if known:
            own = own + self.encoder.said[f"{group}-{stage}"](torch.cat(known, dim=-1))
        return own.reshape(*own.shape[:-1], len(self.shape.levels), CELLS).transpose(-1, -2)

    def spoken(self, places: Tensor) -> Tensor:
        """Return the numbers that say places [..., 4, D]: [..., spoken]."""
        return self._numbers(self.shape.fsq.values(places))

    def _numbers(self, values: Tensor) -> Tensor:
        # tanh is undone, but for what lies beyond the outermost levels, so that a linear step suffices
        top = torch.tensor(self.shape.levels, dtype=torch.float32, device=values.device)
        return torch.cat([values, torch.atanh(values * (1 - 0.5 / top))], dim=-1).flatten(-2)


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def _split_cells(blocks: Tensor) -> Tensor:
    """Turn blocks [..., 4 D] into [..., 4, D]."""
    return blocks.reshape(*blocks.shape[:-1], CELLS, -1)


def known_codes(group: int, stage: int) -> int:
    """Return how many codes of a cell are known when this one is found."""
    return stage + group * (stage + 1)


def known_of(said: list[list[Tensor]], group: int, stage: int) -> list[Tensor]:
    """Return what is known there: of the group before up to the same stage, then of the group itself."""
    before = [part for earlier in said[:group] for part in earlier[: stage + 1]]
    return [*before, *said[group][:stage]]


def blocks_of(cells: Tensor) -> Tensor:
    """Turn cells [..., h, w, C] into blocks [..., h/2, w/2, 4 C]."""
    *first, height, width, channels = cells.shape
    split = cells.reshape(-1, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
    return split.reshape(*first, height // 2, width // 2, CELLS * channels)


def cells_of(blocks: Tensor) -> Tensor:
    """Undo `blocks_of`."""
    *first, height, width, channels = blocks.shape
    split = blocks.reshape(-1, height, width, 2, 2, channels // CELLS).permute(0, 1, 3, 2, 4, 5)
    return split.reshape(*first, 2 * height, 2 * width, channels // CELLS)
