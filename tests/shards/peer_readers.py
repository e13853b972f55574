"""Read a dataset with another package, in that package's own Python, and print what came out.

    python peer_readers.py READER FOLDER [...]

Prints one JSON line per sample: its key, and per member either dtype, shape and sha256, or the value.
It imports nothing of ours: the environment of the peers need not hold Fifth.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import json
import sys
import types
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Fields = dict[str, Any]


def fingerprint(value: Any) -> Any:
    """Return what is compared of a member."""
    value = value.numpy() if hasattr(value, "numpy") else value  # Energon makes tensors
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value).tobytes()
        return [value.dtype.str, list(value.shape), hashlib.sha256(data).hexdigest()]
    return value


def told(samples: Iterable[Fields]) -> Iterator[str]:
    """Yield a line per sample."""
    for sample in samples:
        members = {name: fingerprint(value) for name, value in sample.items() if not name.startswith("__")}
        yield json.dumps({"key": sample["__key__"], "members": members}, sort_keys=True)


def read_mds(folder: Path) -> Iterator[Fields]:
    """Read all MDS folders in a folder, with hashes checked."""
    _without_torchvision()
    import streaming

    for layout in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from streaming.StreamingDataset(
            local=str(layout), shuffle=False, batch_size=1, validate_hash="sha256"
        )


def _without_torchvision() -> None:
    """`streaming` imports torchvision for its picture data sets, which are not read here."""
    parts: dict[str, dict[str, Any]] = {
        "torchvision": {"__spec__": importlib.machinery.ModuleSpec("torchvision", None)},
        "torchvision.datasets": {"VisionDataset": object},
        "torchvision.transforms": {},
        "torchvision.transforms.functional": {"to_tensor": None},
    }
    try:
        import torchvision  # noqa: F401
    except ImportError:
        for name, values in parts.items():
            module = types.ModuleType(name)
            vars(module).update(values)
            sys.modules[name] = module


def read_ray(folder: Path) -> Iterator[Fields]:
    """Read with Ray Data, its own decoding; the order of shards is Ray's."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", object_store_memory=200_000_000)
    ray.data.DataContext.get_current().enable_progress_bars = False
    paths = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    for layout in sorted({Path(path).name.rpartition("-")[0] for path in paths}):
        mine = [path for path in paths if Path(path).name.rpartition("-")[0] == layout]
        for row in ray.data.read_webdataset(mine).iter_rows():
            yield dict(row)
    ray.shutdown()


def _energon(folder: Path, batches_before: int) -> Iterator[Fields]:
    import megatron.energon as energon

    @energon.stateless  # type: ignore[untyped-decorator]
    def cook(sample: Fields) -> Fields:
        fields = {name: value for name, value in sample.items() if not name.startswith("__")}
        return {**energon.basic_sample_keys(sample), "fields": fields}

    class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc]
        cookers = [energon.Cooker(cook)]  # noqa: RUF012  # energon's own form

        def batch(self, samples: list[Fields]) -> list[Fields]:
            return samples

    def loader() -> Any:
        loaded = energon.get_train_dataset(
            str(folder),
            worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=0),
            batch_size=1,
            shuffle_buffer_size=None,
            max_samples_per_sequence=None,
            repeat=False,
            task_encoder=Encoder(),
        )
        return energon.get_savable_loader(loaded)

    first = loader()
    batches = first
    if batches_before:
        one = iter(first)
        for _ in range(batches_before):
            next(one)
        state = first.save_state_rank()
        batches = loader()
        batches.restore_state_rank(state)
    for batch in batches:
        yield {"__key__": batch[0]["__key__"], **batch[0]["fields"]}


def read_energon(folder: Path) -> Iterator[Fields]:
    """Read with Energon's loader."""
    yield from _energon(folder, 0)


def read_energon_restored(folder: Path) -> Iterator[Fields]:
    """Read seven batches with Energon, save, and read the rest with another loader that is restored."""
    yield from _energon(folder, 7)


READERS = {
    "mds": read_mds,
    "ray": read_ray,
    "energon": read_energon,
    "energon_restored": read_energon_restored,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in told(READERS[sys.argv[1]](Path(sys.argv[2]))):
        sys.stdout.write(f"{line}\n")
