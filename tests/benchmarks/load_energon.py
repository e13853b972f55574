"""Megatron-Energon's loader with the task encoder that a crude dataset needs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    WorkerConfig,
    basic_sample_keys,
    edataclass,
    get_savable_loader,
    get_train_dataset,
    stateless,
)


@edataclass
class Tokens(Sample):  # type: ignore[misc]
    tokens: Any
    provenance: Any


@edataclass
class TokenBatch(Sample):  # type: ignore[misc]
    tokens: Any


@stateless  # type: ignore[untyped-decorator]
def cook(sample: dict[str, Any]) -> Tokens:
    tokens, provenance = sample["video.tokens.npy"], sample["json"]
    if isinstance(tokens, bytes):
        tokens = np.load(io.BytesIO(tokens), allow_pickle=False)
    if isinstance(provenance, bytes):
        provenance = json.loads(provenance)
    return Tokens(**basic_sample_keys(sample), tokens=tokens, provenance=provenance)


class Encoder(DefaultTaskEncoder):  # type: ignore[misc]
    cookers = [Cooker(cook)]  # noqa: RUF012  # as its base class has it

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[Tokens]) -> TokenBatch:
        stacked = torch.from_numpy(np.stack([np.asarray(sample.tokens) for sample in samples]))
        return TokenBatch(__key__="batch", __restore_key__=(), tokens=stacked)


def loader(folder: Path, workers: int, batch: int) -> Any:
    """Return a savable loader over one pass."""
    data = get_train_dataset(
        folder,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers, seed_offset=0),
        batch_size=batch,
        shuffle_buffer_size=1000,
        max_samples_per_sequence=100,
        task_encoder=Encoder(),
        repeat=False,
    )
    return get_savable_loader(data, checkpoint_every_sec=5)
