"""What a stream of batches yields: a dict of arrays.

What costs time at the border between processes is the number of things, and making memory. Therefore a
batch from a worker crosses it as one block: small ones as bytes, larger ones in shared memory that is used
again (`shards.streaming.ring`).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from shards.streaming.ring import Ring, RingKey, receive, slot_of
from shards.streaming.shard_access import Array

_ALIGNMENT = 64
_SHARED_BYTES = 32 << 10
_sending = 0
"""The process that sends its batches as blocks; a process forked from it is another."""
Head = tuple[str, str, tuple[int, ...], int]
"""Name, dtype, shape and offset of an array in a block."""


class Batch(dict[str, Any]):
    """Arrays by name: numpy's, or torch tensors once a `DataLoader` has made them so."""


def as_tensors(arrays: Array | list[Array]) -> Any:
    """Return arrays, or the rows of one, as tensors over the same memory."""
    import torch

    if isinstance(arrays, np.ndarray):
        return torch.from_numpy(arrays).unbind(0)
    return [torch.from_numpy(array) for array in arrays]


def settle_in_worker() -> None:
    """Let this worker process of a `DataLoader` send its batches as blocks; pickling elsewhere is as ever.

    What it was forked with is put out of the garbage collector's sight: the first collection would write to
    all of it, and so make this process its own copy (0.2 s and 35 MiB where torch is loaded).
    """
    global _sending
    if _sending != os.getpid():  # else it was done for an epoch before
        from multiprocessing.reduction import ForkingPickler

        gc.freeze()
        ForkingPickler.register(Batch, BlockSender().reduce)
        _sending = os.getpid()


class BlockSender:
    """Turns batches into what is sent."""

    def __init__(self) -> None:
        self._ring: Ring | None = None

    def reduce(self, batch: Batch) -> tuple[Callable[..., Batch], tuple[Any, ...]]:
        """Return how the other side makes the batch again, and of what."""
        tensors = not all(isinstance(value, np.ndarray) for value in batch.values())
        arrays = {n: v if isinstance(v, np.ndarray) else v.detach().numpy() for n, v in batch.items()}
        heads: list[Head] = []
        size_bytes = 0
        for name, array in arrays.items():
            heads.append((name, array.dtype.str, array.shape, size_bytes))
            size_bytes += array.nbytes + -array.nbytes % _ALIGNMENT
        if tensors and size_bytes >= _SHARED_BYTES:
            if self._ring is None:
                self._ring = Ring(size_bytes)
            taken = self._ring.take(size_bytes)
            if taken is not None:
                start, block = taken
                _fill(block, heads, arrays)
                memory = None if self._ring.sent else self._ring.memory
                self._ring.sent = True
                slot = (start - self._ring.first) // self._ring.slot_bytes
                return from_ring, (self._ring.key, memory, start, size_bytes, slot, heads)
        block = np.empty(size_bytes, np.uint8)
        _fill(block, heads, arrays)
        return from_bytes, (block.tobytes(), heads, tensors)


def _fill(block: Array, heads: list[Head], arrays: dict[str, Array]) -> None:
    for (_, dtype, shape, offset), array in zip(heads, arrays.values(), strict=True):
        np.ndarray(shape, dtype, block, offset)[...] = array


def from_ring(key: RingKey, memory: Any, start: int, size_bytes: int, slot: int, heads: list[Head]) -> Batch:
    """Return the batch in a slot of a worker's ring; with `memory` comes the ring itself."""
    if memory is not None:
        receive(key, memory)
    return _over(slot_of(key, start, size_bytes, slot), heads, True)


def from_bytes(block: bytes, heads: list[Head], tensors: bool) -> Batch:
    """Return the batch in a block."""
    return _over(bytearray(block), heads, tensors)  # what came may not be written to


def _over(data: Any, heads: list[Head], tensors: bool) -> Batch:
    arrays = [
        np.frombuffer(data, dtype, prod(shape), offset).reshape(shape) for _, dtype, shape, offset in heads
    ]
    names = [name for name, *_ in heads]
    return Batch(zip(names, as_tensors(arrays) if tensors else arrays, strict=True))
