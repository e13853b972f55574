"""Export to MDS, the format of MosaicML Streaming: one folder per layout, each with its `index.json`.

    OUT/LAYOUT/index.json         {"version": 2, "shards": [...]}; written last, so what has it is whole
    OUT/LAYOUT/shard.00000.mds    uint32 N; N+1 uint32: where each sample begins, then the end; a JSON object
                                  that says the columns again; the samples
    OUT/LAYOUT/source.json        the layout with its token specs, and the hash of the dataset's manifest

A sample is a uint32 size per column, then their bytes. Columns, in the order of their names: `__key__`
(str), `json` (json), text tracks (str), arrays by their member's name without `.npy` (ndarray:DTYPE: a byte
`axes << 2 | width`, the sizes in unsigned integers of 2 ** width bytes, the values). All little-endian.

Source: mosaicml-streaming 0.13, `streaming/base/format/mds/`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.atomic import is_temporary, write_whole
from shards.canonical_json import json_bytes, json_page
from shards.errors import CannotCreate
from shards.folder import MANIFEST
from shards.layout import Layout
from shards.manifest import file_facts
from shards.reader import Dataset, Sample, open_dataset

Json = dict[str, Any]
INDEX = "index.json"
SOURCE = "source.json"
_LARGEST_MB = 4095
"""Offsets are uint32."""
_FORMS = ((2**8, "B"), (2**16, "H"), (2**32, "I"))


def export_mds(dataset: Path | str, out: Path | str, shard_mb: int = 64) -> dict[str, int]:
    """Write a dataset's samples as MDS. What an earlier export left in the same folder is replaced.

    Args:
        dataset: a finished one.
        out: gets a folder per layout.
        shard_mb: size of a shard in MiB, about; one is held in memory.

    Returns:
        The number of samples per layout.

    Raises:
        CannotCreate: a layout's folder holds something else, or `shard_mb` can't be used.
        FileNotFoundError, NotADataset, DamagedDataset: the dataset can't be read.
    """
    if not 1 <= shard_mb <= _LARGEST_MB:
        raise CannotCreate(f"an MDS shard has from 1 to {_LARGEST_MB} MiB, got {shard_mb}")
    source = open_dataset(dataset, joined=False)
    layouts = [entry for entry in source.manifest["layouts"] if entry["samples"]]
    folders = {entry["name"]: Path(out) / entry["name"] for entry in layouts}
    for folder in folders.values():
        _refuse_foreign(folder)
    for entry in layouts:
        _export_layout(source, entry, folders[entry["name"]], shard_mb * 2**20)
    return {entry["name"]: entry["samples"] for entry in layouts}


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    names = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in names if name not in (INDEX, SOURCE) and not _is_ours(name)]
    if foreign:
        raise CannotCreate(f"{folder}: not empty, and no MDS export (it holds {foreign[0]}); choose another")


def _is_ours(name: str) -> bool:
    return (name.startswith("shard.") and name.endswith(".mds")) or is_temporary(name)


def _export_layout(source: Dataset, entry: Json, folder: Path, limit_bytes: int) -> None:
    layout = source.layouts[entry["name"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)  # first of all: without it nothing here is read
    for path in folder.iterdir():
        path.unlink()
    head = _head(layout, limit_bytes)
    shards = []
    for number, samples in enumerate(_groups(source.samples(layout.name), layout, limit_bytes)):
        name = f"shard.{number:05d}.mds"
        facts = write_whole(folder / name, _shard_bytes(head, samples))
        raw = {"basename": name, "bytes": facts.size_bytes, "hashes": {"sha256": facts.sha256}}
        shards.append(head | {"raw_data": raw, "samples": len(samples), "zip_data": None})
    origin = {"manifest_sha256": file_facts(source.path / MANIFEST).sha256, "layout": entry}
    write_whole(folder / SOURCE, [json_page(origin)])
    write_whole(folder / INDEX, [json_bytes({"version": 2, "shards": shards})])


def columns_of(layout: Layout) -> dict[str, str]:
    """Return the encoding of each column, in the order of their names."""
    encodings = {"__key__": "str", "json": "json"}
    for member in layout.members[1:]:
        kind = {"array": f"ndarray:{member.dtype}", "text": "str", "bytes": "bytes"}[member.kind]
        encodings[member.field] = kind
    return dict(sorted(encodings.items()))


def _head(layout: Layout, limit_bytes: int) -> Json:
    columns = columns_of(layout)
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": ["sha256"],
        "size_limit": limit_bytes,
        "column_names": list(columns),
        "column_encodings": list(columns.values()),
        "column_sizes": [None] * len(columns),
    }


def _groups(samples: Iterator[Sample], layout: Layout, limit_bytes: int) -> Iterator[list[bytes]]:
    """Yield the samples' bytes, as many together as make a shard."""
    group: list[bytes] = []
    size_bytes = 0
    for sample in samples:
        data = _sample_bytes(sample, layout)
        if group and size_bytes + len(data) + 4 > limit_bytes:
            yield group
            group, size_bytes = [], 0
        group.append(data)
        size_bytes += len(data) + 4
    if group:
        yield group


def _shard_bytes(head: Json, samples: list[bytes]) -> Iterator[bytes]:
    text = json.dumps(head, sort_keys=True).encode()
    sizes = np.array([0, *map(len, samples)], np.uint64)
    offsets = 4 + 4 * len(sizes) + len(text) + np.cumsum(sizes)
    yield struct.pack("<I", len(samples)) + offsets.astype("<u4").tobytes() + text
    yield from samples


def _sample_bytes(sample: Sample, layout: Layout) -> bytes:
    values: dict[str, bytes] = {"__key__": sample.key.encode()}
    for member in layout.members:
        if member.kind == "array":
            values[member.field] = array_bytes(sample.arrays[member.field])
        else:
            values[member.field] = sample.raw(member.name)
    data = [values[name] for name in sorted(values)]
    return b"".join([struct.pack(f"<{len(data)}I", *map(len, data)), *data])


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """Return an array in the encoding `ndarray:DTYPE`."""
    largest = max(array.shape)
    width, form = next((n, form) for n, (end, form) in enumerate(_FORMS) if largest < end)
    head = struct.pack(f"<B{array.ndim}{form}", array.ndim << 2 | width, *array.shape)
    return head + np.ascontiguousarray(array).tobytes()
