"""The parts of `fifth-video`, and the file that holds them: blocks, a book for each stage, what mends seams.

frames -> coefficients of blocks -> book 1 -> codes 1 -> what is left -> book 2 -> codes 2
codes -> coefficients -> pictures -> seams mended -> frames
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from encoders.class_book import NAMES, UNIT, ClassBook, book_from, whole_book
from encoders.errors import WrongSetting
from encoders.moving_blocks import BLOCK, MovingBlocks
from encoders.seams import Seams
from encoders.weight_files import Weights

MODES = {"video": 8, "image": 1}
"""Frames of a chunk."""
REVISION = 2
GROUP_FRAMES, CELL = 4, 8
"""Frames and edge of the cell that each code stands for; a still's has one frame."""
CELLS_OF_EDGE = BLOCK // CELL


@dataclass(frozen=True, eq=False)
class BlockCoder:
    """The blocks of one mode, and the books of its stages: each says what those before it left."""

    blocks: MovingBlocks
    books: tuple[ClassBook, ...]
    seams: tuple[Seams, ...] = ()
    """For each number of stages."""
    _whole: tuple[ClassBook, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_whole", tuple(whole_book(book) for book in self.books))

    @property
    def groups(self) -> int:
        """Groups of 4 frames in a chunk; a still is one."""
        return groups_of(self.blocks.frames)

    def codes(self, frames: Tensor, stages: int) -> Tensor:
        """Turn bytes [B, F, 3, H, W] into int64 [B, groups, H/8, W/8, stages], the same on every device."""
        coefficients = self.blocks.whole_coefficients(frames, UNIT)
        said = torch.stack([self._said(chunk.flatten(0, 1), stages) for chunk in coefficients])
        return self._dealt(said.reshape(*coefficients.shape[:3], -1, stages))

    def _said(self, blocks: Tensor, stages: int) -> Tensor:
        """Turn coefficients [N, n] into codes [N, J, stages]."""
        said = []
        for book in self._whole[:stages]:
            said.append(book.encode(blocks))
            if len(said) < stages:
                blocks = blocks - book.decode(said[-1])
        return torch.stack(said, dim=-1)

    def frames(self, codes: Tensor) -> Tensor:
        """Turn codes [B, groups, H/8, W/8, stages] into frames [B, F, 3, H, W], float32, about 0 to 255."""
        return self.seams[codes.shape[-1] - 1].mended(self.pictures(codes), self.classes(codes))

    def pictures(self, codes: Tensor) -> Tensor:
        """Return the same without mended seams."""
        gathered = self._gathered(codes)
        batch, height, width, _, stages = gathered.shape
        flat = gathered.flatten(0, 2)
        said = sum(book.decode(flat[..., place]) for place, book in enumerate(self._whole[:stages]))
        assert isinstance(said, Tensor)
        return self.blocks.pictures((said / UNIT).to(torch.float32).reshape(batch, height, width, -1))

    def classes(self, codes: Tensor) -> Tensor:
        """Return the first stage's classes [B, H/16, W/16]."""
        return (
            self.books[0]
            .classes_of(self._gathered(codes)[..., 0].flatten(0, 2))
            .reshape(len(codes), codes.shape[2] // CELLS_OF_EDGE, -1)
        )

    def to(self, device: torch.device) -> BlockCoder:
        """Return the coder on a device."""
        return BlockCoder(
            MovingBlocks(self.blocks.frames, self.blocks.zone.to(device)),
            tuple(book.to(device) for book in self.books),
            tuple(seams.to(device) for seams in self.seams),
        )

    def _dealt(self, codes: Tensor) -> Tensor:
        """Deal a block's codes [B, h, w, J, stages] to its cells."""
        batch, height, width, _, stages = codes.shape
        edge = CELLS_OF_EDGE
        cells = codes.reshape(batch, height, width, self.groups, edge, edge, stages)
        return cells.permute(0, 3, 1, 4, 2, 5, 6).reshape(
            batch, self.groups, edge * height, edge * width, stages
        )

    def _gathered(self, codes: Tensor) -> Tensor:
        """Undo `_dealt`."""
        batch, groups, height, width, stages = codes.shape
        edge = CELLS_OF_EDGE
        cells = codes.reshape(batch, groups, height // edge, edge, width // edge, edge, stages)
        return cells.permute(0, 2, 4, 1, 3, 5, 6).reshape(batch, height // edge, width // edge, -1, stages)


@dataclass(frozen=True, eq=False)
class VideoModel:
    """Everything that turns frames into codes and back."""

    coders: Mapping[str, BlockCoder]
    """By mode."""

    @property
    def stages(self) -> int:
        """The most codes of a cell."""
        return min(len(coder.seams) for coder in self.coders.values())

    def codes(self, mode: str, frames: Tensor, stages: int) -> Tensor:
        """Turn bytes [B, F, 3, H, W] into int64 [B, groups, H/8, W/8, stages], the same on every device."""
        return self.coders[mode].codes(frames, stages)

    def frames(self, mode: str, codes: Tensor) -> Tensor:
        """Turn codes into frames [B, F, 3, H, W], bytes."""
        return self.coders[mode].frames(codes).round().clamp(0, 255).to(torch.uint8)

    def to(self, device: torch.device) -> VideoModel:
        """Return the model on a device."""
        return VideoModel({mode: coder.to(device) for mode, coder in self.coders.items()})


def groups_of(frames: int) -> int:
    """Return how many groups a chunk of so many frames has."""
    return max(1, frames // GROUP_FRAMES)


def codes_of_block(frames: int) -> int:
    """Return how many codes say a block in one stage: one for each of its cells."""
    return groups_of(frames) * CELLS_OF_EDGE**2


def model_tensors(model: VideoModel) -> dict[str, Tensor]:
    """Return what a weights file holds of a model."""
    tensors = {}
    for mode, coder in model.coders.items():
        tensors[f"{mode}.zone"] = coder.blocks.zone.to(torch.int32)
        for stage, book in enumerate(coder.books):
            tensors |= {f"{mode}.{stage}.{name}": value for name, value in book.tensors().items()}
        for stage, seams in enumerate(coder.seams):
            tensors[f"{mode}.{stage}.seams"] = seams.weights
            tensors[f"{mode}.{stage}.noise"] = seams.noise
    return tensors


def coder_from(tensors: Mapping[str, Tensor], mode: str) -> BlockCoder:
    """Build the coder of a mode, as far as it is there.

    Raises:
        KeyError, ValueError, RuntimeError: tensors are missing, or don't fit together.
    """
    books: list[ClassBook] = []
    while f"{mode}.{len(books)}.bases" in tensors:
        parts = {name: tensors[f"{mode}.{len(books)}.{name}"] for name in NAMES}
        books.append(book_from(parts, codes_of_block(MODES[mode])))
    seams: list[Seams] = []
    while f"{mode}.{len(seams)}.seams" in tensors:
        where = f"{mode}.{len(seams)}"
        seams.append(Seams(tensors[f"{where}.seams"], tensors[f"{where}.noise"]))
    blocks = MovingBlocks(MODES[mode], tensors[f"{mode}.zone"].to(torch.int64))
    return BlockCoder(blocks, tuple(books), tuple(seams))


def about_model() -> dict[str, str]:
    """Return what a weights file says of itself."""
    return {"encoder": "fifth-video", "revision": str(REVISION)}


def model_from(weights: Weights) -> VideoModel:
    """Build the model that a weights file describes.

    Raises:
        WrongSetting: the file is for another encoder or another version, or damaged.
    """
    found = weights.about.get("encoder", "something else")
    if found != "fifth-video":
        raise WrongSetting(f"these weights are for {found}, not for fifth-video: give another file")
    revision = weights.about.get("revision", "1")
    if revision != str(REVISION):
        raise WrongSetting(
            f"these weights are for revision {revision} of fifth-video, this version has {REVISION}: "
            "train them again with `fifth train video`"
        )
    try:
        model = VideoModel({mode: coder_from(weights.tensors, mode) for mode in MODES})
        for mode, coder in model.coders.items():
            if not 1 <= len(coder.seams) <= len(coder.books):
                raise ValueError(
                    f"{mode} has {len(coder.books)} books and {len(coder.seams)} tables of seams"
                )
    except (IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WrongSetting(f"the weights do not fit fifth-video: {error}") from error
    return model
