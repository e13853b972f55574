"""What a stream of batches yields: a dict of arrays.

From a worker process it arrives as one block of memory, however many arrays there are: what costs time at
the border between processes is the number of things, not their size.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from shards.streaming.shard_access import Array

_ALIGNMENT = 64
Head = tuple[str, str, tuple[int, ...], int]
"""Name, dtype, shape and offset of an array in a packed batch."""


class Batch(dict[str, Any]):
    """Arrays by name: numpy's, or torch tensors once a `DataLoader` has made them so."""

    def __copy__(self) -> Batch:
        return type(self)(self)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        tensors = not all(isinstance(value, np.ndarray) for value in self.values())
        parts: list[bytes | memoryview] = []
        heads: list[Head] = []
        offset = 0
        for name, value in self.items():
            array = np.ascontiguousarray(as_numpy(value))
            padding = -array.nbytes % _ALIGNMENT
            heads.append((name, array.dtype.str, value.shape, offset))
            parts += [array.reshape(-1).view(np.uint8).data, bytes(padding)]
            offset += array.nbytes + padding
        return _unpack, (bytearray(b"".join(parts)), heads, tensors)


def as_numpy(value: Any) -> Array:
    """Return an array or CPU tensor as an array over the same memory."""
    array: Array = value if isinstance(value, np.ndarray) else value.numpy()
    return array


def _unpack(data: bytearray, heads: list[Head], tensors: bool) -> Batch:
    arrays: dict[str, Any] = {}
    for name, dtype, shape, offset in heads:
        arrays[name] = np.frombuffer(data, dtype, prod(shape), offset).reshape(shape)
    if tensors:
        import torch

        arrays = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Batch(arrays)
