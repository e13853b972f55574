"""The shortest training loop: `python examples/train_plain_pytorch.py DATASET [STEPS]`.

Any dataset whose tracks have tokens: rows of 256 ids, all tracks in one vocabulary, two processes that
make the batches. `state_after` is all that a checkpoint needs to go on with the next batch.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from small_gpt import SmallGpt
from torch.utils.data import DataLoader

from shards import TokenStream


def main() -> None:
    """Train a few steps and print the loss."""
    dataset, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50
    stream = TokenStream(dataset, global_batch=8, seed=1, steps=steps).packed(256)
    loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=2)
    model = SmallGpt(stream.vocabulary.size, width=64, depth=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for batch in loader:
        nats, count = model(batch["tokens"].long(), batch["position_ids"].long())
        optimizer.zero_grad()
        (nats / count).backward()
        optimizer.step()
        if batch["step"] % 10 == 0:
            print(f"step {int(batch['step']):4d}  loss {float(nats.detach() / count):.3f}", flush=True)
    state = json.dumps(stream.state_after(batch))
    print(f"drawn {stream.drawn(json.loads(state))}; the state has {len(state)} bytes")


if __name__ == "__main__":
    main()
