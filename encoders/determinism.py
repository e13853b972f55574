"""Does this encoder, here, give the tokens that it should? Asked once, before anything is written.

Made media go through it twice, in other rows and among other neighbours. Tokens that change with that break
the promise that a token depends on its own row alone; the hash of the tokens tells whether another machine
computes the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import Encoder
from encoders.errors import NotRepeatable
from encoders.registry import kept_encoder_for
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray


def probe(encoder: Encoder) -> str:
    """Return the hash of the tokens of made media: equal wherever the tokens are.

    Two launches are encoded. In the second every row has another place, and every other row another
    neighbour that was not in the first.

    Raises:
        NotRepeatable: a row's tokens depend on its place or on other rows.
    """
    takes = encoder.spec.input
    batch = takes.launch_batch
    rows = made_rows(takes, batch + batch // 2)
    first = _codes(encoder, rows[:batch].contiguous())
    numbers = np.arange(batch)
    order = np.where(numbers % 2 == 0, numbers, batch + numbers // 2)[::-1]
    second = _codes(encoder, rows[torch.from_numpy(order.copy())])
    stayed = [(place, number) for place, number in enumerate(order.tolist()) if number < batch]
    moved = [number for place, number in stayed if second[place] != first[number]]
    if moved:
        raise NotRepeatable(
            f"{encoder.spec.encoder} on {encoder.device}: {len(moved)} of {len(stayed)} rows have other "
            "tokens in another place of the launch; it can't be used for a dataset on this machine"
        )
    return hashlib.sha256(b"".join(first)).hexdigest()


@lru_cache(maxsize=32)
def _kept(spec: str, device: str) -> str:
    return probe(kept_encoder_for(json.loads(spec), device))


def kept_probe(spec: TokenSpec | Mapping[str, Any], device: str | torch.device = "cpu") -> str:
    """Return the probe of the encoder that a spec describes, computed once in a process."""
    data = spec.to_json() if isinstance(spec, TokenSpec) else dict(spec)
    return _kept(json.dumps(data, sort_keys=True), str(device))


def made_rows(takes: InputSpec, count: int) -> Tensor:
    """Return rows of made media: waves with noise on them, by whole-number arithmetic alone.

    Signals lack a value now and then.
    """
    shape = takes.launch_shape[1:]
    numbers = np.arange(count, dtype=np.uint64)[:, None]
    place = np.arange(prod(shape), dtype=np.uint64)[None] + np.uint64(1_000_003) * (numbers + np.uint64(1))
    noise = (place * np.uint64(2654435761) >> np.uint64(13)) % np.uint64(61)
    wave = (place * (numbers % np.uint64(7) + np.uint64(3))) % np.uint64(195)
    values = (wave + noise).astype(np.uint8).reshape(count, *shape)  # 0 … 254
    if takes.dtype == "uint8":
        return torch.from_numpy(values)
    media = (values.astype(np.float32) - 127) / 256
    if takes.medium == "signal":
        media.reshape(-1)[::17] = np.nan
    return torch.from_numpy(media)


def _codes(encoder: Encoder, batch: Tensor) -> list[bytes]:
    """Return the tokens of each row of a launch, as bytes."""
    made: TokenArray = encoder.encode(batch.to(encoder.device))
    data = made.data.cpu().numpy()
    if made.offsets is None:
        return [row.tobytes() for row in data]
    edges = made.offsets.tolist()[:: encoder.spec.steps_per_chunk]
    return [data[start:stop].tobytes() for start, stop in pairwise(edges)]
