"""The parts of `fifth-video`, each fitted to crops: the zone of a mode, a book for each stage, the seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.class_book import MEANS, ClassBook, book_from
from encoders.moving_blocks import GREY, MovingBlocks, block_values, mean_ranges, means_of
from encoders.seams import Seams
from encoders.training.class_book_fit import BookShape, fit_class_book
from encoders.training.crops import Crops
from encoders.training.seams_fit import fit_seams
from encoders.video_model import MODES, BlockCoder, codes_of_block

ZONE_CROPS = 400
FAINT = 4.0
"""Squared error per value, under which energy hardly counts when zones are chosen."""


@dataclass(frozen=True)
class BooksShape:
    """How large the books are, and how long they are fitted."""

    classes: tuple[int, ...] = (64, 32)
    """Of each stage."""
    components: int = 56
    zone: int = 640
    """Coefficients of a block that are kept."""
    image_classes: tuple[int, ...] = (32, 32)
    image_components: int = 32
    image_zone: int = 256
    crops: int = 1400
    """That blocks are drawn from."""
    rounds: int = 5
    """Of the first stage of `video`; the others make do with half as many."""
    seam_crops: int = 200
    """That seams are looked at in."""


def fit_zone(shape: BooksShape, crops: Crops, mode: str) -> MovingBlocks:
    """Return the blocks of a mode, with the coefficients that matter most in crops."""
    size = shape.zone if mode == "video" else shape.image_zone
    return MovingBlocks(MODES[mode], _zone(crops, MODES[mode], size, shape.crops))


def fit_book(
    shape: BooksShape, crops: Crops, mode: str, coder: BlockCoder, seed: int, say: Callable[[str], None]
) -> ClassBook:
    """Fit the book of a coder's next stage, to what the books that it has leave.

    Args:
        shape: of the books.
        crops: where blocks are drawn from. All blocks are held: 2.5 KiB each.
        mode: the coder's.
        coder: with the books of the stages before.
        seed: of what is drawn.
        say: hears of progress.
    """
    stage, frames = len(coder.books), MODES[mode]
    counts = shape.classes if mode == "video" else shape.image_classes
    components = shape.components if mode == "video" else shape.image_components
    left = _samples(crops, coder.blocks, shape.crops if mode == "video" else shape.crops // 2)
    for book in coder.books:
        left = torch.cat([part - book.decode(book.encode(part)) for part in torch.split(left, 4096)])

    def tell(number: int, error: float) -> None:
        per_value = error / block_values(frames)
        say(f"book of {mode}, stage {stage + 1}, round {number + 1}: squared error {per_value:.2f}")

    wanted = BookShape(counts[stage], components, codes_of_block(frames))
    rounds = shape.rounds if mode == "video" and stage == 0 else -(-shape.rounds // 2)
    book = fit_class_book(left, mean_ranges(frames) / (1 + 7 * stage), wanted, rounds, seed, tell)
    return book_from(book.tensors(), wanted.codes)  # with as few digits as are stored


def fit_mode_seams(shape: BooksShape, crops: Crops, mode: str, coder: BlockCoder, stages: int) -> Seams:
    """Fit what mends the seams of so many stages, to crops that no book was fitted to."""

    def examples() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for index in range(shape.seam_crops):
            wanted = ((crops.at(index)[:, : MODES[mode]] + 1) * GREY).round().clamp(0, 255).to(torch.uint8)
            codes = coder.codes(wanted, stages)
            yield coder.pictures(codes), wanted.to(torch.float32), coder.classes(codes)

    return fit_seams(examples(), coder.books[0].classes)


def _drawn(crops: Crops, index: int, frames: int) -> Tensor:
    """Return chunks [N, F, 3, H, W], 0 to 255, of a step that no run comes to."""
    drawn = (crops.at(-1 - index) + 1) * 127.5
    return drawn if frames > 1 else drawn[:, ::4].flatten(0, 1).unsqueeze(1)


def _zone(crops: Crops, frames: int, size: int, count: int) -> Tensor:
    """Return the indices of the coefficients that matter most, the means first.

    Half of what counts is energy, half each block's share of it, so that faint blocks have a say.
    """
    whole = MovingBlocks(frames, torch.arange(block_values(frames)))
    means = means_of(frames)
    energy, share = torch.zeros(whole.whole), torch.zeros(whole.whole)
    for index in range(min(ZONE_CROPS, count)):
        squares = whole.all_coefficients(_drawn(crops, index, frames)).flatten(0, 2).square()
        squares[:, means] = 0
        energy += squares.sum(0)
        share += (squares / (squares.sum(1, keepdim=True) + FAINT * whole.whole)).sum(0)
    score = energy / energy.sum() + share / share.sum()
    score[means] = -1
    others = score.argsort(descending=True)[: min(size, whole.whole) - MEANS]
    return torch.cat([torch.tensor(means), others.sort().values])


def _samples(crops: Crops, blocks: MovingBlocks, count: int) -> Tensor:
    return torch.cat(
        [blocks.coefficients(_drawn(crops, index, blocks.frames)).flatten(0, 2) for index in range(count)]
    )
