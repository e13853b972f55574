"""What one launch costs: arithmetic and memory traffic, counted while it runs.

Against what a device can do at most, measured on the same device, the counts say how well it is used, and
which of the two keeps it from being faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from encoders.encoder import Encoder


@dataclass(frozen=True)
class Cost:
    """Of one launch."""

    flops: int
    """Additions and multiplications of convolutions and matrix products; other arithmetic is not counted."""
    traffic_bytes: int
    """Bytes of all tensors that operations read and write, as if nothing stayed in a cache or was fused."""
    input_bytes: int
    """Bytes of the batch: what must at least cross to the device."""
    seconds_of_media: float
    """Media of the launch, at the encoder's own rate; 0 where it takes any rate."""


def cost(encoder: Encoder) -> Cost:
    """Count one launch of a fitted encoder, of zeros."""
    spec = encoder.spec.input
    batch = torch.zeros(spec.launch_shape, dtype=getattr(torch, spec.dtype), device=encoder.device)
    traffic = _Traffic()
    with FlopCounterMode(display=False) as flops, traffic:
        encoder.encode(batch)
    media = spec.launch_batch * spec.chunk
    return Cost(
        flops.get_total_flops(),
        traffic.total_bytes,
        batch.numel() * batch.element_size(),
        float(media / spec.rate) if spec.rate else 0.0,
    )


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of what operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.total_bytes += sum(_bytes(value) for value in (args, kwargs, result))
        return result


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return _bytes(list(value.values()))
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return sum(_bytes(part) for part in value)
    return 0
