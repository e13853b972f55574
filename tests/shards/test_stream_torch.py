"""Streams inside the loaders that people train with."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from made_streams import mixed_dataset, video_dataset
from torch.utils.data import DataLoader, IterableDataset

from shards import Batch, StreamSample, TokenDataset, TokenStream
from shards.streaming import ring
from shards.streaming.ring import Ring, receive, slot_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video_dataset(tmp_path_factory.mktemp("torch") / "data", [5, 4, 9, 3])


def stream_of(data: Path, **options: Any) -> TokenStream:
    return TokenStream(data, **{"global_batch": 4, "epochs": 1, "seed": 2} | options)


def rows(batch: Any) -> Any:
    return {name: np.asarray(value).tolist() for name, value in batch.items()}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["batches", "packed", "tensors", "packed tensors"])
def test_a_data_loader_gives_the_same_batches_as_tensors(kind: str, workers: int, data: Path) -> None:
    """With any workers: the plain stream's batches in its order, as tensors, each with the state after it."""
    stream = stream_of(data)
    if kind.startswith("packed"):
        stream = stream.packed(40)
    plain = list(stream)
    if kind == "tensors":
        stream = stream.batches(tensors=True)
    if kind == "packed tensors":
        stream = stream.packed(40, tensors=True)
    assert all(isinstance(value, torch.Tensor) for value in next(iter(stream)).values()) == (
        "tensors" in kind
    )
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    assert len(loader) == len(plain)
    for number, (batch, twin) in enumerate(zip(loader, plain, strict=True)):
        assert rows(batch) == rows(twin)
        assert isinstance(batch, Batch)
        assert all(isinstance(value, torch.Tensor) for value in batch.values())
        assert {name: value.numpy().dtype for name, value in batch.items()} == {
            name: value.dtype for name, value in twin.items()
        }
        assert stream.state_after(batch) == stream.state_after(twin) == stream.state_at(number + 1)


@pytest.mark.parametrize("kept", [0, 2, 100])
def test_shared_memory_is_used_again_only_when_it_is_free(kept: int, tmp_path: Path) -> None:
    """Batches in shared memory stay as they came however many are kept, and may be written to."""
    path = video_dataset(tmp_path / "data", [9] * 24)
    stream = TokenStream(path, window=9, epochs=1, seed=4).batches(dtype="int64", tensors=True)
    plain = list(stream)
    held: list[Any] = []
    ring._received.clear()
    with mock.patch("shards.streaming.batch._SHARED_BYTES", 1):
        for number, batch in enumerate(DataLoader(stream, batch_size=None, num_workers=1)):
            held = [*held, (number, batch)][-kept - 1 :]
            for place, one in held:
                assert rows(one) == rows(plain[place])
            if number % 3 == 0 and kept == 0:
                batch["video.tokens"].fill_(7)
                assert (batch["video.tokens"] == 7).all()
            assert len(ring._received) > 0
    assert number + 1 == len(plain) > 12


def test_a_ring_gives_each_slot_once_until_it_is_free() -> None:
    """No slot is given twice; one that is too large, or one too many, is not given at all."""
    ring = Ring(5000)
    receive(ring.key, ring.memory)
    buffers = []
    for slot in range(ring.slots):
        taken = ring.take(5000)
        assert taken is not None
        taken[1][:] = slot
        buffers.append(slot_of(ring.key, taken[0], 5000, slot))
    assert ring.take(1) is None
    assert [set(bytes(buffer)) for buffer in buffers] == [{slot} for slot in range(ring.slots)]
    view = np.frombuffer(buffers[3], np.uint8)[10:20]
    buffers[3] = None
    assert ring.take(1) is None, "a view of it is still there"
    del view
    again = ring.take(1)
    assert again is not None
    assert again[0] == ring.first + 3 * ring.slot_bytes
    buffers.clear()
    assert ring.take(ring.slot_bytes + 1) is None


def test_a_data_loader_gives_samples(data: Path) -> None:
    """Samples come out of workers in order, with arrays of their own."""
    stream = stream_of(data).samples()
    plain = list(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = list(DataLoader(stream, batch_size=None, num_workers=2))
    for sample, twin in zip(loaded, plain, strict=True):
        assert isinstance(sample, StreamSample)
        assert (sample.key, sample.text, sample.provenance) == (twin.key, twin.text, twin.provenance)
        assert all(np.array_equal(sample.arrays[name], twin.arrays[name]) for name in twin.arrays)
        assert pickle.loads(pickle.dumps(sample)).key == twin.key


@pytest.mark.slow
def test_spawned_workers(data: Path) -> None:
    """A stream travels to a new interpreter: maps are opened there, the rank is the parent's."""
    stream = stream_of(data, rank=1, world_size=2)
    loader = DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert [rows(batch) for batch in loader] == [rows(batch) for batch in stream]


def test_a_stateful_loader_goes_on(data: Path) -> None:
    """Torchdata's loader saves and restores workers one by one; the rest is exact."""
    stateful: Any = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")
    warnings.simplefilter("ignore")  # pytest puts the filters back

    for workers in (0, 2):

        def make(workers: int = workers) -> Any:
            return stateful.StatefulDataLoader(stream_of(data), batch_size=None, num_workers=workers)

        whole = [batch["item"].tolist() for batch in make()]
        assert len(whole) == 6
        for cut in range(1, 6):
            loader = make()
            iterator = iter(loader)
            for _ in range(cut):
                next(iterator)
            state = loader.state_dict()
            again = make()
            again.load_state_dict(state)
            assert [batch["item"].tolist() for batch in again] == whole[cut:]


@pytest.mark.slow
def test_lightning_trains_on_it(data: Path) -> None:
    """Lightning takes the loader as it is, and moves batches; the state after a batch is still known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning: Any = pytest.importorskip("lightning", reason="lightning is not installed")
        stream = stream_of(data)
        seen: list[Any] = []

        class Model(lightning.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(1))

            def training_step(self, batch: Any, _: int) -> Any:
                seen.append((batch["item"].tolist(), stream.state_after(batch)["step"]))
                return self.weight.sum()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), 0.1)

        trainer = lightning.Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu",
        )  # fmt: skip
        trainer.fit(Model(), DataLoader(stream, batch_size=None, num_workers=0))
    assert seen == [(batch["item"].tolist(), step) for step, batch in enumerate(stream, 1)]


@pytest.mark.slow
def test_accelerate_trains_on_it(data: Path) -> None:
    """Accelerate prepares model and optimizer; the loader stays as it is, for it deals to ranks by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accelerate: Any = pytest.importorskip("accelerate", reason="accelerate is not installed")
        stream = stream_of(data)
        model = torch.nn.Linear(16, 1)
        model, optimizer = accelerate.Accelerator(cpu=True).prepare(
            model, torch.optim.SGD(model.parameters())
        )
        losses = []
        for batch in DataLoader(stream, batch_size=None):
            loss = model(batch["video.tokens"].flatten(2).float()).square().sum()
            loss.backward()
            optimizer.step()
            losses.append((batch["item"].tolist(), stream.state_after(batch)["step"]))
    assert losses == [(batch["item"].tolist(), step) for step, batch in enumerate(stream, 1)]


def test_a_map_style_dataset(tmp_path: Path) -> None:
    """TokenDataset goes into a loader with a sampler and workers, forked or spawned."""
    dataset = TokenDataset(mixed_dataset(tmp_path / "data"), tracks=["video"])
    loader: Any = DataLoader(dataset, batch_size=None, sampler=[4, 0, 3], num_workers=1)
    assert [arrays["video.tokens"].tolist() for arrays in loader] == [
        dataset[item]["video.tokens"].tolist() for item in (4, 0, 3)
    ]
    assert len(pickle.loads(pickle.dumps(dataset))) == len(dataset)


def test_a_stream_is_an_iterable_dataset_whenever_torch_came(data: Path) -> None:
    """It counts as one whether torch was loaded before or after it was made; making it loads no torch."""
    assert isinstance(stream_of(data), IterableDataset)
    code = (
        f"import sys; from shards import TokenStream; s = TokenStream({str(data)!r}, epochs=1).packed(9)\n"
        "n = len(list(s)); assert 'torch' not in sys.modules\n"
        "from torch.utils.data import DataLoader, IterableDataset\n"
        "assert isinstance(s, IterableDataset) and issubclass(type(s), IterableDataset)\n"
        "assert len(list(DataLoader(s, batch_size=None))) == n; print('ok')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.strip() == "ok", done.stderr


def test_torchrun_tells_the_rank(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RANK and WORLD_SIZE say which rows are ours, until a process group does."""
    whole = next(iter(stream_of(data)))["item"].tolist()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    stream = stream_of(data)
    assert next(iter(stream))["item"].tolist() == whole[2:]
    assert stream.state_dict()["ranks"] == 2
    assert json.dumps(stream.state_dict())
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="take a multiple of 3"):
        next(iter(stream))
