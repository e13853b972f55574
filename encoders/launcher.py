"""Launches on their way to an encoder's device and back, two of them at once on a GPU.

    pinned host memory   [launch 2 is filled]
    copy stream              --launch 1 goes up-->
    compute stream       --launch 0 is encoded--><--its tokens come back into pinned memory--

While one launch is encoded the next goes up, and the caller fills a third; nobody waits for the tokens of
a launch before the one after the next is ready. On a CPU a launch is encoded when it is started.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import Encoder
from encoders.spec import TokenSpec
from encoders.tokens import TokenArray


@dataclass(frozen=True, eq=False)
class Launched:
    """What came of one launch, on the host."""

    data: np.ndarray
    """As `TokenArray.data`."""
    offsets: np.ndarray | None
    saturated: np.ndarray | None


@runtime_checkable
class Launches(Protocol):
    """A way from rows to tokens: of an encoder in this process (`Launcher`), or somewhere else."""

    spec: TokenSpec
    most_rows: int
    """Rows that one launch takes."""
    most_under_way: int
    """Launches that may be under way when the next is started; `finished` must take the others."""

    def takes_directly(self, batch: Tensor) -> bool:
        """Say whether `start` may be given this batch as it is; else it belongs in a `buffer`."""
        ...

    def buffer(self, device: torch.device) -> Tensor:
        """Return a batch to fill with media that are on this device; it is of no launch under way."""
        ...

    def start(self, batch: Tensor, row_count: int) -> None:
        """Encode the first rows of a batch, which must not change until they are taken back."""
        ...

    def finished(self, wait: bool = False) -> Launched | None:
        """Take back the oldest launch if it is done, or `wait` until it is; None where there is none."""
        ...


class Launcher:
    """Starts launches of one encoder and gives back what they made, in order.

    Args:
        encoder: fitted, if it must be.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.spec = encoder.spec
        self.most_rows = encoder.spec.input.launch_batch
        self._gpu = _Gpu(encoder.device) if encoder.device.type == "cuda" else None
        self.most_under_way = 2 if self._gpu else 0
        self._flights: deque[_Flight] = deque()
        self._buffers: dict[torch.device, _Ring] = {}

    @property
    def under_way(self) -> int:
        """Launches that were started and not yet taken."""
        return len(self._flights)

    def takes_directly(self, batch: Tensor) -> bool:
        """Say whether a whole launch may be started as it is: a CPU encodes it before anyone goes on."""
        return self._gpu is None and batch.device == self.encoder.device

    def buffer(self, device: torch.device) -> Tensor:
        """Return a batch to fill: zeros, or an old one.

        Media of the host are gathered in pinned memory if a GPU encodes them, media of a GPU on it.
        """
        if device not in self._buffers:
            spec, pinned = self.spec.input, self._gpu is not None and device.type == "cpu"
            self._buffers[device] = _Ring(
                spec.launch_shape, getattr(torch, spec.dtype), device, pinned, self.most_under_way + 1
            )
        return self._buffers[device].next()

    def start(self, batch: Tensor, row_count: int) -> None:
        """Encode a launch of the one shape; what its last rows hold does not matter."""
        batch[row_count:] = 0
        if self._gpu is None:
            self._flights.append(_Flight(self.encoder.encode(batch.to(self.encoder.device)), None))
        else:
            self._flights.append(self._gpu.encode(self.encoder, batch))

    def finished(self, wait: bool = False) -> Launched | None:
        """Take back the oldest launch if it is done, or `wait` until it is."""
        if not self._flights or not (wait or self._flights[0].is_done):
            return None
        return self._flights.popleft().landed()


class _Ring:
    """So many launches that the one handed out is not under way any more."""

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, pinned: bool, count: int
    ) -> None:
        self._settings = shape, dtype, device, pinned
        self._count = count
        self._ring: deque[Tensor] = deque()

    def next(self) -> Tensor:
        self._ring.append(self._ring.popleft() if len(self._ring) == self._count else self._made())
        return self._ring[-1]

    def _made(self) -> Tensor:
        shape, dtype, device, pinned = self._settings
        return torch.zeros(shape, dtype=dtype, device=device, pin_memory=pinned)


@dataclass(frozen=True, eq=False)
class _Flight:
    tokens: TokenArray
    done: torch.cuda.Event | None

    @property
    def is_done(self) -> bool:
        return self.done is None or bool(self.done.query())  # type: ignore[no-untyped-call]

    def landed(self) -> Launched:
        if self.done is not None:
            self.done.synchronize()
        offsets, saturated = self.tokens.offsets, self.tokens.saturated
        return Launched(
            self.tokens.data.cpu().numpy(),
            None if offsets is None else offsets.cpu().numpy(),
            None if saturated is None else saturated.cpu().numpy(),
        )


class _Gpu:
    """Two streams of one GPU: copies up go beside the encoding."""

    def __init__(self, device: torch.device) -> None:
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._compute = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def encode(self, encoder: Encoder, batch: Tensor) -> _Flight:
        self._copies.wait_stream(torch.cuda.current_stream(encoder.device))  # media that a GPU decoded
        with torch.cuda.stream(self._copies):
            batch = batch.to(encoder.device, non_blocking=True)
        self._compute.wait_stream(self._copies)
        batch.record_stream(self._compute)
        with torch.cuda.stream(self._compute):
            made = encoder.encode(batch)
            tokens = TokenArray(*(_to_host(part) for part in (made.data, made.offsets, made.saturated)))  # type: ignore[arg-type]
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
        return _Flight(tokens, done)


def _to_host(values: Tensor | None) -> Tensor | None:
    """Copy back without waiting: whoever reads it waits for the flight's event."""
    if values is None or values.device.type == "cpu":
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)
