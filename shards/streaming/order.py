"""The order of an epoch: a pure function of the number of items per shard, a seed and the epoch.

    shards in a shuffled order         │ 2      │ 0          │ 3    │ 1        │
    their items, one behind the other  0 1 2 3 4 5 6 7 8 9 …
    blocks of `window` items           └────────┴────────┴────────┴────────┘  each shuffled in itself

Any place of the order is found without what comes before it, so that going on in the middle of an epoch
costs nothing. Neither numpy's nor Python's random numbers are used: their streams may change between
versions, and the order must not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

_BLOCKS_KEPT = 1024
_MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """Return 64 bits that depend on every bit of `value`: SplitMix64's step (Steele et al., 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mix_all(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return `mix` of each value."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def permutation(count: int, *seeds: int) -> IntArray:
    """Return the numbers from 0 to `count` in an order that depends on the seeds alone.

    Each number is sorted by 64 bits of hash, the lowest of which are replaced by the number itself: no
    two are equal, so every way of sorting gives the same.
    """
    state = 0
    for seed in seeds:
        state = mix(state ^ (seed & _MASK))
    numbers = np.arange(count, dtype=np.uint64)
    low = np.uint64((1 << max(count - 1, 0).bit_length()) - 1)
    keys = (mix_all(numbers ^ np.uint64(state)) & ~low) | numbers
    keys.sort()
    return (keys & low).astype(np.int64)


def distinct(values: IntArray) -> list[int]:
    """Return the different values, ascending. (`np.unique` loads `numpy.ma` first, which takes its time.)"""
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    found: list[int] = ordered[first].tolist()
    return found


class EpochOrder:
    """In which order the items of some shards come, epoch after epoch."""

    def __init__(self, counts: Sequence[int] | IntArray, seed: int, window: int) -> None:
        """Say what is to be ordered.

        Args:
            counts: items per shard. Items are numbered through all shards.
            seed: another one gives another order.
            window: how many items are shuffled together; 0 leaves everything in its own order.
        """
        self.counts = np.asarray(counts, dtype=np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.counts)])
        """int64 [shards + 1]: number of each shard's first item; then of all items."""
        self.count = int(self.first[-1])
        self.window = window
        self.upcoming: Callable[[IntArray], None] = lambda shards: None
        """Told, when a block is made, which shards it and the next one are of."""
        self._seed = seed
        self._shards = lru_cache(4)(self._make_shards)
        self.block = lru_cache(_BLOCKS_KEPT)(self._make_block)
        """`block(epoch, number)`: the items of a block, in order (int64)."""

    @property
    def block_size(self) -> int:
        """Items per block; the last may have fewer."""
        return self.window or 65_536

    def items(self, epoch: int, positions: IntArray) -> IntArray:
        """Return which items stand at these positions of an epoch's order; positions are below `count`."""
        blocks = positions // self.block_size
        offsets = positions - blocks * self.block_size
        found = np.empty(len(positions), np.int64)
        for number in distinct(blocks):
            here = blocks == number
            found[here] = self.block(epoch, number)[offsets[here]]
        return found

    def all_items(self, epoch: int) -> IntArray:
        """Return all items in the order of an epoch."""
        blocks = [self._make_block(epoch, number) for number in range(-(-self.count // self.block_size))]
        return np.concatenate([np.empty(0, np.int64), *blocks])

    def in_shard_order(self, epoch: int, start: int, stop: int) -> IntArray:
        """Return the items from `start` to `stop` of an epoch before blocks are shuffled."""
        shards, starts = self._shards(epoch)
        places = np.arange(start, stop, dtype=np.int64)
        slots = np.searchsorted(starts, places, side="right") - 1
        items: IntArray = self.first[shards[slots]] + (places - starts[slots])
        return items

    def _make_shards(self, epoch: int) -> tuple[IntArray, IntArray]:
        """Return the shards that hold something, in an epoch's order, and where the items of each start."""
        shards = np.flatnonzero(self.counts)
        if self.window:
            shards = shards[permutation(len(shards), self._seed, epoch)]
        return shards, np.cumsum(self.counts[shards]) - self.counts[shards]

    def _shards_between(self, epoch: int, start: int, stop: int) -> IntArray:
        shards, starts = self._shards(epoch)
        first = int(np.searchsorted(starts, start, side="right")) - 1
        return shards[max(first, 0) : int(np.searchsorted(starts, stop, side="left"))]

    def _make_block(self, epoch: int, number: int) -> IntArray:
        start = number * self.block_size
        self.upcoming(self._shards_between(epoch, start, start + 2 * self.block_size))
        items = self.in_shard_order(epoch, start, min(start + self.block_size, self.count))
        if self.window:
            items = items[permutation(len(items), self._seed, epoch, number + 1)]
        return items
