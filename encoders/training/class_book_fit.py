"""Fitting a `ClassBook` to blocks: memberships and classes are improved in turn.

Blocks begin in classes by how their energy is spread (k-means of its logarithm in a few bands). Then, a few
times: each class takes the principal components of its members, levels by how much its components vary, and
words by Lloyd's method; each block goes to the class that says it with the smallest error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from encoders.class_book import MEANS, ClassBook
from encoders.training.levels_fit import CHOICES, SAMPLE, best_words, deal_levels, error_with

BANDS = 24
"""Bands of coefficients of like strength, in which energy is looked at for the start."""
START_ROUNDS = 20
PRIOR = 60
"""Blocks' worth of the overall covariance that a class starts from."""
FEWEST = 200
"""Blocks that a class must have; one with fewer is given half of the blocks of the worst class."""
RANGE_SHARE = 0.1
"""Share of made means, spread evenly over all that is possible: no colour may be out of reach."""
RANGE_EVERY = 4
"""Every so many classes reach all colours; the others say the usual ones more finely."""


@dataclass(frozen=True)
class BookShape:
    """How large a book is."""

    classes: int
    components: int
    codes: int


def fit_class_book(
    blocks: Tensor,
    ranges: Tensor,
    shape: BookShape,
    rounds: int,
    seed: int = 0,
    tell: Callable[[int, float], None] = lambda round_, error: None,
) -> ClassBook:
    """Fit a book.

    Args:
        blocks: float32 [N, n] coefficients, means first.
        ranges: float32 [3]: how far from zero each mean can be.
        shape: of the book.
        rounds: how often memberships are improved.
        seed: of what is drawn.
        tell: hears the mean squared error per block after each round.
    """
    random = torch.Generator().manual_seed(seed)
    energy = blocks.square().sum(1)
    members = _first_members(blocks[:, MEANS:].square(), shape.classes, random)
    for number in range(rounds + 1):
        book = _book(blocks, members, ranges, shape, random)
        if number == rounds:
            break
        members, lowered = _reassigned(book, blocks)
        errors = (energy - lowered).clamp(min=0)
        tell(number, float(errors.mean()))
        _refill(members, errors, shape.classes, random)
    return book


def _reassigned(book: ClassBook, blocks: Tensor) -> tuple[Tensor, Tensor]:
    parts = [book.tried(some) for some in torch.split(blocks, 256)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[2] for part in parts])


def _refill(members: Tensor, errors: Tensor, classes: int, random: torch.Generator) -> None:
    """Give half of the worst class's blocks to each class that has too few."""
    for number in range(classes):
        counts = torch.bincount(members, minlength=classes)
        if int(counts[number]) >= FEWEST:
            continue
        lost = torch.zeros(classes).scatter_add_(0, members, errors)
        lost[counts < 4 * FEWEST] = -1
        worst = int(lost.argmax())
        if lost[worst] <= 0:
            return
        own = torch.nonzero(members == worst)[:, 0]
        members[own[torch.rand(len(own), generator=random) < 0.5]] = number


def _first_members(squares: Tensor, classes: int, random: torch.Generator) -> Tensor:
    """Return class numbers [N] by k-means of how energy is spread over bands."""
    order = squares.mean(0).argsort(descending=True)
    edges = torch.logspace(0, 1, BANDS + 1, base=float(len(order))).long().tolist()
    edges = sorted({0, *edges[1:]})
    bands = [squares[:, order[a:b]].sum(1) for a, b in pairwise(edges)]
    features = torch.log2(torch.stack(bands, dim=1) + 64.0)
    centres = features[torch.randperm(len(features), generator=random)[:classes]]
    for _ in range(START_ROUNDS):
        members = torch.cat([torch.cdist(some, centres).argmin(1) for some in torch.split(features, 4096)])
        sums = torch.zeros_like(centres).index_add_(0, members, features)
        counts = torch.bincount(members, minlength=len(centres)).unsqueeze(1)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return members


def _book(
    blocks: Tensor, members: Tensor, ranges: Tensor, shape: BookShape, random: torch.Generator
) -> ClassBook:
    values = blocks[:, MEANS:]
    overall = values[torch.randperm(len(values), generator=random)[:20000]]
    overall = overall.T @ overall / len(overall)
    made = [
        _one_class(blocks[members == number], overall, ranges * (number % RANGE_EVERY == 0), shape, random)
        for number in range(shape.classes)
    ]
    levels = torch.stack([one[1] for one in made])
    words = torch.full((*levels.shape, int(levels.max())), torch.inf)
    for number, one in enumerate(made):
        for place, word in enumerate(one[3]):
            words[number, place, : len(word)] = word
    return ClassBook(
        torch.stack([one[0] for one in made]),
        levels,
        torch.stack([one[2] for one in made]),
        words,
        shape.codes,
    )


def _one_class(
    blocks: Tensor, overall: Tensor, ranges: Tensor, shape: BookShape, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return a class's basis, levels, holders and words."""
    values = blocks[:, MEANS:]
    own = values.T @ values
    scale = min(1.0, float(own.trace()) / max(1, len(values)) / float(overall.trace()))
    covariance = (own + PRIOR * scale * overall) / (len(values) + PRIOR)
    directions = torch.linalg.eigh(covariance)[1].flip(-1)[:, : shape.components - MEANS]
    few = blocks[torch.randperm(len(blocks), generator=random)[:SAMPLE]]
    few = few if len(few) else torch.zeros(1, blocks.shape[1])
    means = _with_range(few[:, :MEANS].T, ranges, random)
    latents = (few[:, MEANS:] @ directions).T
    tried = [best_words(means, count) for count in CHOICES]
    mean_errors = torch.stack([error_with(means, words) for words in tried], dim=1).tolist()
    variances = latents.square().mean(1).tolist()
    levels, holders = deal_levels(variances, mean_errors, shape.codes, shape.classes)
    words = [tried[CHOICES.index(levels[place])][place] for place in range(MEANS)]
    by_count: dict[int, Tensor] = {}
    told = torch.tensor(levels[MEANS:])
    for count in sorted(set(levels[MEANS:])):
        by_count[count] = best_words(latents[told == count], count) if count > 1 else torch.zeros(0)
    seen = dict.fromkeys(by_count, 0)
    for count in levels[MEANS:]:
        words.append(by_count[count][seen[count]] if count > 1 else torch.zeros(1))
        seen[count] += 1
    return directions.T.contiguous(), torch.tensor(levels), torch.tensor(holders), words


def _with_range(means: Tensor, ranges: Tensor, random: torch.Generator) -> Tensor:
    """Add made means, where there is a range."""
    if not bool(ranges.any()):
        return means
    count = max(8, int(means.shape[1] * RANGE_SHARE))
    spread = (torch.arange(count) + 0.5) / count * 2 - 1
    return torch.cat([means, spread * ranges[:, None]], dim=1)
