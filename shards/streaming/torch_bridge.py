"""What a stream asks torch, where torch is loaded already. Nothing here loads it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One of several equal processes."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ValueError(f"rank {self.number} of {self.count}: must be from 0 to {self.count - 1}")


def rank_of_process() -> Place:
    """Return rank and world size: from `torch.distributed` where it is set up, else as `torchrun` tells."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return Place(distributed.get_rank(), distributed.get_world_size())
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    return Place(0, 1)


def worker_of_process() -> Place | None:
    """Return which worker of a `DataLoader` this process is; None in any other process."""
    data = sys.modules.get("torch.utils.data")
    info = None if data is None else data.get_worker_info()
    return None if info is None else Place(info.id, info.num_workers)


def register_as_iterable(stream: type) -> None:
    """Make a class count as a torch `IterableDataset`, where torch is loaded."""
    data = sys.modules.get("torch.utils.data")
    if data is not None and hasattr(data, "IterableDataset"):
        data.IterableDataset.register(stream)
