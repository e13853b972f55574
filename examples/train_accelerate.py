"""The same with Hugging Face Accelerate: `accelerate launch examples/train_accelerate.py DATASET [STEPS]`.

The stream deals the rows to the ranks itself, so the loader is not given to `prepare`: Accelerate would deal
them a second time.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from small_gpt import SmallGpt
from torch.utils.data import DataLoader

from shards import TokenStream

try:
    from accelerate import Accelerator
except ImportError:
    sys.exit("this example needs Accelerate: pip install accelerate")


def main() -> None:
    """Train a few steps and print the loss."""
    dataset, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50
    accelerator = Accelerator()
    place = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    stream = TokenStream(dataset, global_batch=8, seed=1, steps=steps, **place).packed(256)
    loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=1)
    model = SmallGpt(stream.vocabulary.size, width=64, depth=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model, optimizer = accelerator.prepare(model, optimizer)
    for batch in loader:
        ids, positions = (batch[name].long().to(accelerator.device) for name in ("tokens", "position_ids"))
        nats, count = model(ids, positions)
        optimizer.zero_grad()
        accelerator.backward(nats / count)
        optimizer.step()
        if batch["step"] % 10 == 0:
            accelerator.print(f"step {int(batch['step']):4d}  loss {float(nats.detach() / count):.3f}")


if __name__ == "__main__":
    main()
