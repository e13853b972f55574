"""Byte pair encoding over whole numbers: the pair that is met most often becomes a symbol of its own.

Merges are applied in the order in which they were learned, each to the whole sequence, from left to right.
That is what the usual rule (always the earliest learned pair that is there) does, too: a pair that holds a
symbol can only have been learned after it.

Source: R. Sennrich, B. Haddow and A. Birch, arXiv 1508.07909, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BORDER = -1
"""Stands between sequences; no pair reaches over it."""
LEAST_COUNT = 3
"""A pair that is rarer is not worth a symbol."""

Merges = Sequence[tuple[int, int]]
"""Pairs; the i-th becomes the symbol `base + i`."""


def learn_merges(symbols: np.ndarray, base: int, vocabulary: int) -> list[tuple[int, int]]:
    """Return up to `vocabulary - base` merges; of pairs met equally often, the smaller comes first.

    Args:
        symbols: int64 [N] in [0, base), with `BORDER` between sequences.
        base: how many symbols there are before any merge.
        vocabulary: how many there may be after the last.
    """
    merges: list[tuple[int, int]] = []
    for new in range(base, vocabulary):
        left, right = symbols[:-1], symbols[1:]
        inside = (left != BORDER) & (right != BORDER)
        counts = np.bincount(left[inside] * vocabulary + right[inside], minlength=1)
        best = int(counts.argmax())
        if counts[best] < LEAST_COUNT:
            break
        pair = divmod(best, vocabulary)
        merges.append(pair)
        symbols = _merged(symbols, pair, new)
    return merges


def apply_merges(symbols: np.ndarray, merges: Merges, base: int) -> np.ndarray:
    """Return the sequence with every merge applied; borders stay."""
    there = set(np.unique(symbols).tolist())
    for new, pair in enumerate(merges, start=base):
        if pair[0] in there and pair[1] in there:
            merged = _merged(symbols, pair, new)
            if len(merged) != len(symbols):
                symbols = merged
                there.add(new)
    return symbols


def expansions(merges: Merges, base: int) -> list[np.ndarray]:
    """Return the base symbols that each symbol stands for, int64 [n] each.

    Raises:
        ValueError: a merge names a symbol that is not there yet.
    """
    known = [np.array([symbol]) for symbol in range(base)]
    for new, (left, right) in enumerate(merges, start=base):
        if not (0 <= left < new and 0 <= right < new):
            raise ValueError(f"merge {new - base} is of {left} and {right}, which must both be below {new}")
        known.append(np.concatenate([known[left], known[right]]))
    return known


def _merged(symbols: np.ndarray, pair: tuple[int, int], new: int) -> np.ndarray:
    places = np.flatnonzero((symbols[:-1] == pair[0]) & (symbols[1:] == pair[1]))
    if pair[0] == pair[1]:
        places = _every_other(places)
    if not len(places):
        return symbols
    out = symbols.copy()
    out[places] = new
    return np.delete(out, places + 1)


def _every_other(places: np.ndarray) -> np.ndarray:
    """Return the 1st, 3rd, 5th … of each unbroken run: `aaa` holds the pair `aa` twice, but gives one."""
    if not len(places):
        return places
    starts = np.concatenate([[True], np.diff(places) > 1])
    first = np.maximum.accumulate(np.where(starts, np.arange(len(places)), 0))
    kept: np.ndarray = places[(np.arange(len(places)) - first) % 2 == 0]
    return kept
