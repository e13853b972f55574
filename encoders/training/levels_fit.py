"""How many levels each component of a class gets, where they lie, and which code holds them."""

from __future__ import annotations

from functools import cache
from math import log2

import torch
from torch import Tensor

from encoders.class_book import CODE_SIZE

CHOICES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64, 96, 128)
"""Numbers of levels that are tried."""
ROUNDS = 15
"""Of Lloyd's method: each border goes halfway between two words, each word to the mean of its samples."""
SAMPLE = 2048


def best_words(samples: Tensor, count: int) -> Tensor:
    """Return the words that samples are rounded to with least squared error, near enough.

    Source: S. P. Lloyd, Least squares quantization in PCM, IEEE Trans. Inform. Theory 28 (1982), 129.

    Args:
        samples: float32 [C, m], each row by itself.
        count: how many words.

    Returns:
        float32 [C, count], ascending.
    """
    ordered = samples.sort(1).values.to(torch.float64).contiguous()
    rows, size = ordered.shape
    sums = torch.cat([ordered.new_zeros(rows, 1), ordered.cumsum(1)], dim=1)
    # a start between equally many samples in each cell and equally wide cells
    evenly = (torch.arange(count) + 0.5) / count
    words = ordered[:, (evenly * size).long()] / 2
    words = words + (ordered[:, :1] + (ordered[:, -1:] - ordered[:, :1]) * evenly) / 2
    for _ in range(ROUNDS):
        borders = (words[:, 1:] + words[:, :-1]) / 2
        inner = torch.searchsorted(ordered, borders.contiguous())
        edges = torch.cat([inner.new_zeros(rows, 1), inner, inner.new_full((rows, 1), size)], dim=1)
        counts = edges.diff(dim=1)
        means = sums.gather(1, edges).diff(dim=1) / counts.clamp(min=1)
        words = torch.where(counts > 0, means, words).sort(1).values
    return words.to(torch.float32)


@cache
def usual_errors() -> tuple[float, ...]:
    """Return, for each of `CHOICES`, the mean squared error of a component of variance 1.

    Of a distribution between the normal one and Laplace's, as components of a class have.
    """
    share = (torch.arange(SAMPLE, dtype=torch.float64) + 0.5) / SAMPLE
    normal = 2**0.5 * torch.erfinv(2 * share - 1)
    laplace = -(share - 0.5).sign() * torch.log1p(-2 * (share - 0.5).abs()) / 2**0.5
    mixed = (normal + laplace) / 2
    samples = (mixed / mixed.square().mean().sqrt())[None].to(torch.float32)
    return tuple(float(error_with(samples, best_words(samples, count))) for count in CHOICES)


def error_with(samples: Tensor, words: Tensor) -> Tensor:
    """Return the mean squared errors [C] of samples [C, m] rounded to words [C, count]."""
    places = torch.searchsorted((words[:, 1:] + words[:, :-1]).contiguous() / 2, samples.contiguous())
    return (samples - words.gather(1, places)).square().mean(1)


def deal_levels(
    variances: list[float], mean_errors: list[list[float]], codes: int, classes: int
) -> tuple[list[int], list[int]]:
    """Return how many levels each component gets, and which code holds it.

    Levels go one step at a time to where a bit helps most, as long as a code has room for them; a component
    goes to the code with least room that suffices.

    Args:
        variances: of the components that are no means.
        mean_errors: of each of the means, its squared error with each of `CHOICES`.
        codes: of the block.
        classes: how many classes code 0 names.
    """
    usual = usual_errors()
    errors = [*mean_errors, *([variance * error for error in usual] for variance in variances)]
    chosen, holders = [0] * len(errors), [-1] * len(errors)
    room = [log2(CODE_SIZE)] * codes
    room[0] -= log2(classes)
    open_ = {place: _next_step(errors[place], 0) for place in range(len(errors))}
    while open_:
        place = max(open_, key=lambda key: open_[key][0])
        _, step = open_[place]
        bits = log2(CHOICES[step] / CHOICES[chosen[place]])
        holder = holders[place]
        if holder < 0:
            fitting = [code for code in range(codes) if room[code] >= bits - 1e-9]
            # the most room first: what a component may grow into
            holder = max(fitting, key=lambda code: room[code]) if fitting else -1
        if holder < 0 or room[holder] < bits - 1e-9:
            smaller = _smaller_step(errors[place], chosen[place], step, room[holder] if holder >= 0 else 0.0)
            if smaller is None:
                del open_[place]
            else:
                open_[place] = smaller
            continue
        room[holder] -= bits
        chosen[place], holders[place] = step, holder
        following = _next_step(errors[place], step)
        if following[1] < 0:
            del open_[place]
        else:
            open_[place] = following
    return [CHOICES[step] for step in chosen], [max(0, holder) for holder in holders]


def _next_step(errors: list[float], now: int) -> tuple[float, int]:
    """Return the step up that helps most per bit, and by how much; -1: there is none."""
    gains = [
        ((errors[now] - errors[step]) / log2(CHOICES[step] / CHOICES[now]), step)
        for step in range(now + 1, len(CHOICES))
    ]
    return max(gains, default=(0.0, -1))


def _smaller_step(errors: list[float], now: int, than: int, room: float) -> tuple[float, int] | None:
    gains = [
        ((errors[now] - errors[step]) / log2(CHOICES[step] / CHOICES[now]), step)
        for step in range(now + 1, than)
        if log2(CHOICES[step] / CHOICES[now]) <= room + 1e-9
    ]
    return max(gains, default=None)
