"""How well an order mixes: what a batch has in common, beside what it would by a full permutation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def clumping(groups: npt.NDArray[Any], batch: int) -> float:
    """Return how much more often two samples of a batch are of one group than in a full permutation.

    1 is as good as a full permutation, below 1 is more even; `batch` times the number of batches over the
    number of groups, or so, is the worst: whole groups side by side.

    Args:
        groups: per sample, in the order in which they come, what it belongs to (its recording, its shard).
        batch: samples of a batch; the last, where it is not full, is left out.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    whole = len(numbers) // batch * batch
    rows = np.sort(numbers[:whole].reshape(-1, batch), axis=1)
    same = 0
    run = np.ones(len(rows), np.int64)
    for place in range(1, batch):  # each sample pairs with all before it in its run of equals
        run = np.where(rows[:, place] == rows[:, place - 1], run + 1, 1)
        same += int((run - 1).sum())
    sizes = np.bincount(numbers).astype(float)
    by_chance = (sizes * (sizes - 1)).sum() / (len(numbers) * (len(numbers) - 1))
    pairs = len(rows) * batch * (batch - 1) / 2
    return float(same / (pairs * by_chance))
