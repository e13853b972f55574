"""Memory that a worker and the encoder process share: batches one way, tokens the other, nothing copied.

A slot is room for some rows of one encoder's input, and for what they become:

    | rows: [row, row, row ...] | tokens: [row, row, row ...] | saturated: int64 per row |

The memory has no name, only a descriptor that is handed over: when both processes are gone, so is it.
"""

from __future__ import annotations

import mmap
import os
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders import TokenSpec

ALIGNED_BYTES = 64


class SlotRing:
    """Some slots of one encoder, in memory that two processes have mapped.

    Args:
        spec: of an encoder whose rows all become equally many tokens.
        rows: rows of a slot.
        count: slots.
        descriptor: of the other process' memory; None: new memory.
    """

    def __init__(self, spec: TokenSpec, rows: int, count: int, descriptor: int | None = None) -> None:
        if not has_fixed_rows(spec):
            raise ValueError(f"{spec.encoder} makes {spec.kind} of any length: there are no slots for them")
        self.spec, self.rows, self.count = spec, rows, count
        self._batch = (rows, *spec.input.launch_shape[1:])
        self._tokens = (rows, spec.steps_per_chunk, *spec.shape)
        sizes = [
            _aligned(prod(self._batch) * np.dtype(spec.input.dtype).itemsize),
            _aligned(prod(self._tokens) * np.dtype(spec.dtype).itemsize),
            _aligned(rows * 8),
        ]
        self._edges = [0, sizes[0], sizes[0] + sizes[1]]
        self._slot_bytes = sum(sizes)
        self.descriptor = os.memfd_create("fifth-slots") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, self._slot_bytes * count)
        elif os.fstat(descriptor).st_size != self._slot_bytes * count:
            raise ValueError(f"shared memory of {os.fstat(descriptor).st_size} bytes: not {self!r}")
        self._memory = mmap.mmap(self.descriptor, self._slot_bytes * count)

    def batch(self, slot: int) -> Tensor:
        """Return the rows of a slot [rows, ...], as a view."""
        return torch.from_numpy(self._view(slot, 0, self.spec.input.dtype, self._batch))

    def tokens(self, slot: int) -> np.ndarray:
        """Return the tokens of a slot [rows, steps, ...], as a view."""
        return self._view(slot, 1, self.spec.dtype, self._tokens)

    def saturated(self, slot: int) -> np.ndarray:
        """Return how many values of each row were saturated, int64 [rows], as a view."""
        return self._view(slot, 2, "int64", (self.rows,))

    def close_descriptor(self) -> None:
        """Close the descriptor, once it was handed over; the memory stays while it is mapped."""
        os.close(self.descriptor)

    def _view(self, slot: int, part: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        offset = slot * self._slot_bytes + self._edges[part]
        flat = np.frombuffer(self._memory, np.dtype(dtype), prod(shape), offset)
        return flat.reshape(shape)

    def __repr__(self) -> str:
        return f"{self.count} slots of {self.rows} rows of {self.spec.encoder}, {self._slot_bytes} bytes each"


def has_fixed_rows(spec: TokenSpec) -> bool:
    """Say whether every row of an encoder becomes equally many tokens."""
    return spec.tokens_per_step > 0


def slot_rows(spec: TokenSpec, budget_bytes: int, count: int) -> int:
    """Return how many rows a slot may have, so that `count` of them stay within the budget; at least 1."""
    row_bytes = prod(spec.input.launch_shape[1:]) * np.dtype(spec.input.dtype).itemsize
    return max(1, min(spec.input.launch_batch, budget_bytes // (row_bytes * count)))


def slots_from_json(data: dict[str, Any], descriptor: int) -> SlotRing:
    """Map the slots that another process described."""
    return SlotRing(TokenSpec.from_json(data["spec"]), int(data["rows"]), int(data["count"]), descriptor)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNED_BYTES) * ALIGNED_BYTES
