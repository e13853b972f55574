"""What a stream of batches yields: a dict of arrays.

What costs time at the border between processes is the number of things. Therefore all small arrays of a
batch cross it as one block of bytes; only large tensors take the way through shared memory, which torch
looks after.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from shards.streaming.shard_access import Array

_ALIGNMENT = 64
_SHARED_BYTES = 256 << 10
Head = tuple[str, str, tuple[int, ...], int]
"""Name, dtype, shape and offset of an array in a block."""


class Batch(dict[str, Any]):
    """Arrays by name: numpy's, or torch tensors once a `DataLoader` has made them so."""

    def __copy__(self) -> Batch:
        return type(self)(self)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        tensors = not all(isinstance(value, np.ndarray) for value in self.values())
        arrays = {name: as_numpy(value) for name, value in self.items()}
        large = {name: self[name] for name in self if tensors and arrays[name].nbytes >= _SHARED_BYTES}
        order = tuple(self)
        for name in large:
            del arrays[name]
        heads: list[Head] = []
        size_bytes = 0
        for name, array in arrays.items():
            heads.append((name, array.dtype.str, array.shape, size_bytes))
            size_bytes += array.nbytes + -array.nbytes % _ALIGNMENT
        block = np.empty(size_bytes, np.uint8)
        for (_, dtype, shape, offset), array in zip(heads, arrays.values(), strict=True):
            np.ndarray(shape, dtype, block, offset)[...] = array
        return _unpack, (block.tobytes(), heads, order, tensors, large)


def as_numpy(value: Any) -> Array:
    """Return an array or CPU tensor as an array over the same memory."""
    array: Array = value if isinstance(value, np.ndarray) else value.numpy()
    return array


def as_tensors(arrays: Array | list[Array]) -> Any:
    """Return arrays, or the rows of one, as tensors over the same memory."""
    import torch

    if isinstance(arrays, np.ndarray):
        return torch.from_numpy(arrays).unbind(0)
    return [torch.from_numpy(array) for array in arrays]


def _unpack(
    block: bytes, heads: list[Head], order: tuple[str, ...], tensors: bool, large: dict[str, Any]
) -> Batch:
    data = bytearray(block)  # what came may not be written to
    arrays = [
        np.frombuffer(data, dtype, prod(shape), offset).reshape(shape) for _, dtype, shape, offset in heads
    ]
    names = [name for name, *_ in heads]
    found = dict(zip(names, as_tensors(arrays) if tensors else arrays, strict=True)) | large
    return Batch({name: found[name] for name in order})
