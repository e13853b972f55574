"""Each loader, set up as its own documentation says, giving batches of 32 rows of tokens as a tensor.

A variant is built in a process of its own. It has
    batches()        an iterable over batches; `tokens_of(batch)` is the tensor [32, codes]
    state(n)         what is saved after n batches; None where the package has no such thing
    restore(state)   an iterable that goes on from there, built anew
"""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32


def stand_in_for_torchvision() -> None:
    """Let packages import that ask for torchvision and don't need it here."""
    for name in ("", ".datasets", ".transforms", ".transforms.functional"):
        module: Any = types.ModuleType(f"torchvision{name}")
        module.__spec__ = ModuleSpec(module.__name__, None)
        module.__version__ = "0.0"
        module.VisionDataset = module.CIFAR10 = module.to_tensor = object
        sys.modules[module.__name__] = module
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]


def loader_options(workers: int) -> dict[str, Any]:
    return {"num_workers": workers, "prefetch_factor": 4 if workers else None}


def from_npy(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


def stacked(arrays: Iterable[Any]) -> Any:
    import torch

    return torch.from_numpy(np.stack(list(arrays)))


class Variant:
    """A loader over one form of the samples."""

    form = "fifth"
    package = ""

    def __init__(self, folder: Path, codes: int, samples: int, workers: int) -> None:
        self.folder, self.codes, self.samples, self.workers = folder, codes, samples, workers
        self.last: Any = None
        self.set_up()

    def set_up(self) -> None: ...

    def tars(self) -> list[str]:
        return [str(path) for path in sorted((self.folder / "shards").glob("*.tar"))]

    def batches(self) -> Iterable[Any]:
        raise NotImplementedError

    def tokens_of(self, batch: Any) -> Any:
        return batch

    def state(self, steps: int) -> Any:
        return None

    def restore(self, state: Any) -> Iterable[Any]:
        raise NotImplementedError


class Fifth(Variant):
    """`TokenStream` in a `DataLoader`."""

    package = "fifth"

    def set_up(self) -> None:
        from shards import TokenStream

        self.stream_type = TokenStream

    def make(self) -> Any:
        return self.stream_type(self.folder, global_batch=BATCH, epochs=1, seed=1).batches(tensors=True)

    def load(self, stream: Any) -> Iterable[Any]:
        from torch.utils.data import DataLoader

        return DataLoader(stream, batch_size=None, **loader_options(self.workers))

    def batches(self) -> Iterable[Any]:
        self.stream = self.make()
        return self.load(self.stream)

    def tokens_of(self, batch: Any) -> Any:
        self.last = batch
        return batch["video.tokens"]

    def state(self, steps: int) -> Any:
        return self.stream.state_after(self.last)

    def restore(self, state: Any) -> Iterable[Any]:
        stream = self.make()
        stream.load_state_dict(state)
        return self.load(stream)


class Memmap(Variant):
    """The limit: rows of one `np.memmap` in shuffled order, in a `DataLoader` that gets whole batches."""

    form, package = "memmap", "numpy"

    def load(self, step: int) -> Iterable[Any]:
        import torch
        from torch.utils.data import DataLoader

        tokens = np.memmap(self.folder / "tokens.bin", np.uint16, "r").reshape(-1, self.codes)
        order = np.random.default_rng(1).permutation(self.samples)

        class Rows(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return -(-len(order) // BATCH)

            def __getitem__(self, number: int) -> Any:
                return torch.from_numpy(tokens[order[number * BATCH : (number + 1) * BATCH]])

        steps = range(step, -(-self.samples // BATCH))
        return DataLoader(Rows(), batch_size=None, sampler=steps, **loader_options(self.workers))

    def batches(self) -> Iterable[Any]:
        return self.load(0)

    def state(self, steps: int) -> Any:
        return steps

    def restore(self, state: Any) -> Iterable[Any]:
        return self.load(state)


class WebDataset(Variant):
    """`webdataset`, shards and a buffer of samples shuffled. It has no state."""

    package = "webdataset"

    def set_up(self) -> None:
        import webdataset  # noqa: F401

    def batches(self) -> Iterable[Any]:
        import webdataset as wds

        data = wds.WebDataset(self.tars(), shardshuffle=100, seed=0, empty_check=False)
        data = data.shuffle(1000).decode().to_tuple("video.tokens.npy", "json")
        data = data.batched(BATCH, collation_fn=collate_pairs)
        loader: Iterable[Any] = wds.WebLoader(data, batch_size=None, **loader_options(self.workers))
        return loader


def collate_pairs(pairs: Any) -> Any:
    return stacked(tokens for tokens, _ in pairs)


class HuggingFace(Variant):
    """`datasets`, streaming, with its shuffle buffer; its state covers one process."""

    package = "datasets"

    def set_up(self) -> None:
        import datasets

        datasets.disable_progress_bars()

    def load(self, state: Any = None) -> Iterable[Any]:
        from datasets import load_dataset
        from torch.utils.data import DataLoader

        cache = str(self.folder.parent / "hf-cache")
        self.data = load_dataset(
            "webdataset", data_files=self.tars(), split="train", streaming=True, cache_dir=cache
        )
        self.data = self.data.shuffle(seed=0, buffer_size=1000)
        if state is not None:
            self.data.load_state_dict(state)
        return DataLoader(self.data, batch_size=BATCH, collate_fn=collate_hf, **loader_options(self.workers))

    def batches(self) -> Iterable[Any]:
        return self.load()

    def state(self, steps: int) -> Any:
        return None if self.workers else self.data.state_dict()

    def restore(self, state: Any) -> Iterable[Any]:
        return self.load(state)


def collate_hf(samples: Any) -> Any:
    tokens = [sample["video.tokens.npy"] for sample in samples]
    return stacked(from_npy(one) if isinstance(one, bytes) else np.asarray(one) for one in tokens)


class LitData(Variant):
    """`litdata` on its own chunks, shuffled."""

    form, package = "litdata", "litdata"

    def set_up(self) -> None:
        import litdata  # noqa: F401

    def load(self) -> Any:
        from litdata import StreamingDataLoader, StreamingDataset

        options = {name: value for name, value in loader_options(self.workers).items() if value is not None}
        data = StreamingDataset(str(self.folder), shuffle=True, seed=0)
        return StreamingDataLoader(data, batch_size=BATCH, collate_fn=collate_tokens, **options)

    def batches(self) -> Iterable[Any]:
        self.loader: Any = self.load()
        found: Iterable[Any] = self.loader
        return found

    def state(self, steps: int) -> Any:
        return self.loader.state_dict()

    def restore(self, state: Any) -> Iterable[Any]:
        loader: Any = self.load()
        loader.load_state_dict(state)
        found: Iterable[Any] = loader
        return found


def collate_tokens(samples: Any) -> Any:
    return stacked(np.asarray(sample["tokens"]) for sample in samples)


class MosaicML(Variant):
    """`mosaicml-streaming` on MDS, shuffled."""

    form, package = "mosaicml", "mosaicml-streaming"

    def set_up(self) -> None:
        stand_in_for_torchvision()
        import streaming.base.util

        streaming.base.util.clean_stale_shared_memory()

    def load(self) -> Any:
        from streaming import StreamingDataLoader, StreamingDataset

        data = StreamingDataset(
            local=str(self.folder), shuffle=True, shuffle_seed=0, batch_size=BATCH, num_canonical_nodes=1
        )
        return StreamingDataLoader(
            data, batch_size=BATCH, collate_fn=collate_tokens, **loader_options(self.workers)
        )

    batches, state, restore = LitData.batches, LitData.state, LitData.restore


class Energon(Variant):
    """`megatron-energon` on our dataset as it is, with a cooker."""

    package = "megatron-energon"

    def set_up(self) -> None:
        import load_energon

        self.make_loader = load_energon.loader

    def load(self) -> Any:
        return self.make_loader(self.folder, self.workers, BATCH)

    def batches(self) -> Iterable[Any]:
        self.loader: Any = self.load()
        found: Iterable[Any] = self.loader
        return found

    def tokens_of(self, batch: Any) -> Any:
        return batch.tokens

    def state(self, steps: int) -> Any:
        return self.loader.save_state_rank()

    def restore(self, state: Any) -> Iterable[Any]:
        loader: Any = self.load()
        loader.restore_state_rank(state)
        found: Iterable[Any] = loader
        return found


VARIANTS: dict[str, type[Variant]] = {
    "memmap": Memmap,
    "fifth": Fifth,
    "webdataset": WebDataset,
    "huggingface": HuggingFace,
    "energon": Energon,
    "litdata": LitData,
    "mosaicml": MosaicML,
}
OURS = ("memmap", "fifth")
"""What runs in the environment of the benchmark itself; the rest in that of the peers."""
