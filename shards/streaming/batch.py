"""What a stream of batches yields: a dict of arrays.

From a worker process it arrives as one block of memory, however many arrays there are: what costs time at
the border between processes is the number of things. Large blocks of tensors cross in shared memory, which
torch looks after; small ones are faster through the pipe.
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
        arrays = {name: as_numpy(value) for name, value in self.items()}
        heads: list[Head] = []
        size_bytes = 0
        for name, array in arrays.items():
            heads.append((name, array.dtype.str, array.shape, size_bytes))
            size_bytes += array.nbytes + -array.nbytes % _ALIGNMENT
        block = np.empty(size_bytes, np.uint8)
        for (_, dtype, shape, offset), array in zip(heads, arrays.values(), strict=True):
            np.ndarray(shape, dtype, block, offset)[...] = array
        if all(isinstance(value, np.ndarray) for value in self.values()):
            return _unpack, (block.tobytes(), heads)
        import torch

        if size_bytes < _SHARED_BYTES:
            return _unpack_tensors, (block.tobytes(), heads)
        return _unpack_tensors, (torch.from_numpy(block), heads)


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


def _unpack(block: Any, heads: list[Head]) -> Batch:
    """Return the arrays in a block of bytes, or of a tensor of them."""
    data = bytearray(block) if isinstance(block, bytes) else block.numpy()
    return Batch(
        {
            name: np.frombuffer(data, dtype, prod(shape), offset).reshape(shape)
            for name, dtype, shape, offset in heads
        }
    )


def _unpack_tensors(block: Any, heads: list[Head]) -> Batch:
    arrays = _unpack(block, heads)
    return Batch(zip(arrays, as_tensors(list(arrays.values())), strict=True))
