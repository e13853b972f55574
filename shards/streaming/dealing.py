"""Who gets what: from the number of a step to the draws that make up its global batch. Pure arithmetic.

An epoch's order is cut into as many *lanes* as a global batch has rows, and row i of a batch is the next of
lane i. Draw number k of an epoch is therefore the item at

    k  ->  start of lane (k mod G)  +  k // G

so that a batch mixes G distant places of the order, and each rank reads its own part of the shards.

A mix gives each dataset its share of every global batch: what is owed to it (its share of all draws so
far) less what it got, rounded by largest remainders. Nothing is left to chance, so the counts never stray
from the weights by more than one draw. Everything is integers, and alike on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shards.streaming.order import IntArray, permutation

_SHARE = 1 << 40
"""Shares are whole numbers of this many parts."""


@dataclass(frozen=True)
class Draws:
    """The draws of some steps; all arrays are int64 [steps, rows]."""

    dataset: IntArray
    """Number of the dataset; -1 in rows that stay empty."""
    epoch: IntArray
    """How often the dataset had been gone through before; -1 in rows that stay empty."""
    position: IntArray
    """Place in that epoch's order; -1 in rows that stay empty."""

    def row_range(self, start: int, stop: int) -> Draws:
        """Return some of the rows."""
        return Draws(self.dataset[:, start:stop], self.epoch[:, start:stop], self.position[:, start:stop])


def lane_position(draws: IntArray, count: int, lanes: int) -> IntArray:
    """Return where in an order of `count` the draws 0 … count-1 lie; each place is met once."""
    lane = draws % lanes
    return lane * (count // lanes) + np.minimum(lane, count % lanes) + draws // lanes


def whole_shares(weights: Sequence[Fraction]) -> list[int]:
    """Return the weights as whole numbers whose sum is fixed; the largest takes what rounding leaves."""
    total = sum(weights, Fraction(0))
    shares = [int(weight * _SHARE / total) for weight in weights]
    shares[shares.index(max(shares))] += _SHARE - sum(shares)
    return shares


class Shares:
    """The share of every dataset in the draws, which may change at given steps."""

    def __init__(self, changes: Sequence[tuple[int, Sequence[Fraction]]], global_batch: int) -> None:
        """Take the weights.

        Args:
            changes: from which step on which weights hold; the first from step 0, steps ascending.
            global_batch: draws of a step.
        """
        self._from = [step for step, _ in changes]
        self._shares = [whole_shares(weights) for _, weights in changes]
        self._global_batch = global_batch

    def owed(self, step: int) -> list[int]:
        """Return what each dataset has to get in all steps before this one, in parts of a draw."""
        owed = [0] * len(self._shares[0])
        for number, (start, shares) in enumerate(zip(self._from, self._shares, strict=True)):
            stop = self._from[number + 1] if number + 1 < len(self._from) else step
            steps = max(min(stop, step) - start, 0)
            owed = [
                sum_ + share * steps * self._global_batch for sum_, share in zip(owed, shares, strict=True)
            ]
        return owed

    def counts(self, step: int, taken: Sequence[int]) -> list[int]:
        """Return how many draws of a step each dataset gets, after it had `taken` in the steps before.

        A dataset whose weight is 0 in this step gets none, whatever it is owed.
        """
        current = self._shares[max(n for n, start in enumerate(self._from) if start <= step)]
        owed = [
            max(sum_ - count * _SHARE, 0) if share else 0
            for sum_, count, share in zip(self.owed(step + 1), taken, current, strict=True)
        ]
        total = sum(owed)
        if not total:  # all that have weight now are ahead of it
            owed, total = current, sum(current)
        counts = [part * self._global_batch // total for part in owed]
        rest = [part * self._global_batch % total for part in owed]
        for number in sorted(range(len(rest)), key=lambda n: (-rest[n], n))[
            : self._global_batch - sum(counts)
        ]:
            counts[number] += 1
        return counts


@dataclass(frozen=True)
class Dealer:
    """Deals the units of one or several datasets to the rows of global batches."""

    counts: tuple[int, ...]
    """Units (samples, or packed rows) in one epoch of each dataset; at least 1."""
    global_batch: int
    seed: int
    shares: Shares | None = None
    """Of a mix; None for a single dataset."""
    by_epoch: bool = True
    """Whether epochs end with a batch of their own; else they follow each other within batches."""
    drop_last: bool = False
    """Whether an epoch's last batch is left out where it would not be full."""

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in one epoch of a single dataset, dealt by epoch."""
        full, more = divmod(self.counts[0], self.global_batch)
        return full + bool(more and not self.drop_last)

    def taken_before(self, step: int) -> list[int]:
        """Return how many units each dataset has given before a step; a mix is counted from step 0."""
        if self.shares is None:
            if not self.by_epoch:
                return [step * self.global_batch]
            epoch, inner = divmod(step, self.steps_per_epoch)
            return [epoch * self._dealt + min(inner * self.global_batch, self._dealt)]
        return self.skip(0, step, [0] * len(self.counts))

    def skip(self, step: int, steps: int, taken: Sequence[int]) -> list[int]:
        """Return what was taken after some steps, without dealing them."""
        if self.shares is None:
            return self.taken_before(step + steps)
        after = list(taken)
        for number in range(step, step + steps):
            after = [sum(pair) for pair in zip(after, self.shares.counts(number, after), strict=True)]
        return after

    def deal(self, step: int, steps: int, every: int, taken: Sequence[int]) -> tuple[Draws, IntArray]:
        """Return the draws of some steps.

        Args:
            step: the first one.
            steps: how many.
            every: from one of them to the next; 1 for all that follow each other.
            taken: units that each dataset gave before the first.

        Returns:
            The draws, [steps, global batch]; and int64 [steps, datasets], what was taken after each step.
        """
        numbers = step + every * np.arange(steps, dtype=np.int64)
        if self.shares is None:
            return self._deal_one(numbers[:, None])
        return self._deal_mix(self.shares, numbers, list(taken))

    @property
    def _dealt(self) -> int:
        """Units that an epoch of a single dataset gives."""
        return self.steps_per_epoch * self.global_batch if self.drop_last else self.counts[0]

    def _deal_one(self, numbers: IntArray) -> tuple[Draws, IntArray]:
        rows = np.arange(self.global_batch, dtype=np.int64)
        if not self.by_epoch:
            count = self.counts[0]
            epoch, draw = np.divmod(numbers * self.global_batch + rows, count)
            position = lane_position(draw, count, self.global_batch)
            return Draws(np.zeros_like(draw), epoch, position), (numbers + 1) * self.global_batch
        count = self._dealt
        epoch, inner = np.divmod(numbers, self.steps_per_epoch)
        draw = inner * self.global_batch + rows
        after = epoch * count + np.minimum((inner + 1) * self.global_batch, count)
        full = (np.zeros_like(draw), np.broadcast_to(epoch, draw.shape))
        empty = draw >= count
        position = lane_position(draw, count, self.global_batch)
        return Draws(*(np.where(empty, -1, values) for values in (*full, position))), after

    def _deal_mix(self, shares: Shares, numbers: IntArray, taken: list[int]) -> tuple[Draws, IntArray]:
        dataset, epoch, position = (np.empty((len(numbers), self.global_batch), np.int64) for _ in range(3))
        after = np.empty((len(numbers), len(self.counts)), np.int64)
        at = int(numbers[0])
        for number, step in enumerate(numbers.tolist()):
            taken = self.skip(at, step - at, taken)
            rows = permutation(self.global_batch, self.seed, step)  # no dataset keeps to some ranks
            start = 0
            for which, count in enumerate(shares.counts(step, taken)):
                mine = np.sort(rows[start : start + count])
                draws = np.arange(taken[which], taken[which] + count, dtype=np.int64)
                epoch[number, mine], inner = np.divmod(draws, self.counts[which])
                dataset[number, mine] = which
                position[number, mine] = lane_position(inner, self.counts[which], self.global_batch)
                taken[which] += count
                start += count
            after[number] = taken
            at = step + 1
        return Draws(dataset, epoch, position), after
