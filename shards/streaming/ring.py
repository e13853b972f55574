"""A few slots of shared memory through which one worker process hands its batches to the training process.

A fresh piece of shared memory per batch would be simpler, but every page of it has to be made by the system,
twice: that takes longer than copying the batch. The slots are used again and again.

    worker                                  training process
    takes a slot whose flag is 0,
    sets it to 1, copies the batch  ──────► arrays that view the slot; when the last of them is gone,
                                            a finalizer sets the flag to 0
    finds no slot free: sends bytes ──────►

Only the worker sets a flag, and only the other side clears it, so no lock is needed.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from itertools import count
from typing import Any

import numpy as np

from shards.streaming.shard_access import Array

_SLOTS = 6
_RING_BYTES = 128 << 20
_PAGE = 4096
RingKey = tuple[int, int]
"""Process id of the worker, and a number of its own."""

_numbers = count()
_received: dict[RingKey, Array] = {}


class Ring:
    """The worker's side."""

    def __init__(self, batch_bytes: int) -> None:
        import torch

        self.slot_bytes = -(-batch_bytes * 5 // 4 // _PAGE) * _PAGE
        self.slots = min(_SLOTS, _RING_BYTES // self.slot_bytes)
        self.key: RingKey = (os.getpid(), next(_numbers))
        # as torch's own `default_collate` makes it: zeros, and pages only when they are written to
        size_bytes = _PAGE + self.slots * self.slot_bytes
        storage = torch.UntypedStorage._new_shared(size_bytes)  # type: ignore[no-untyped-call]
        self.memory = torch.empty(0, dtype=torch.uint8).set_(storage)
        self.first = _PAGE
        """Where the first slot begins; flags stand before it."""
        self.sent = False
        """Whether the other side has it."""
        self._bytes: Array = self.memory.numpy()

    def take(self, size_bytes: int) -> tuple[int, Array] | None:
        """Return where a free slot begins, and the slot, marked as taken; None if there is none so large."""
        if size_bytes > self.slot_bytes:
            return None
        free = np.flatnonzero(self._bytes[: self.slots] == 0)
        if not len(free):
            return None
        slot = int(free[0])
        self._bytes[slot] = 1
        start = self.first + slot * self.slot_bytes
        return start, self._bytes[start : start + size_bytes]


def receive(key: RingKey, memory: Any) -> None:
    """Keep the memory of a worker's ring, and forget those of workers that are gone."""
    for process, number in list(_received):
        if not _is_alive(process):
            del _received[process, number]  # batches that view it keep it
    _received[key] = memory.numpy()


def slot_of(key: RingKey, start: int, size_bytes: int, slot: int) -> Any:
    """Return a slot as a buffer. The slot is free again when the last array over the buffer is gone."""
    ring = _received[key]
    buffer = (ctypes.c_uint8 * size_bytes).from_buffer(ring.data, start)
    weakref.finalize(buffer, _free, ring, slot, os.getpid()).atexit = False
    return buffer


def _free(ring: Array, slot: int, receiver: int) -> None:
    if os.getpid() == receiver:  # a process forked from it has no say
        ring[slot] = 0


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
