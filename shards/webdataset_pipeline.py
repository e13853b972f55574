"""A dataset as a `webdataset` pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shards.dataset_files import LocalFiles
from shards.errors import MissingPackage, ShardsError
from shards.npy import npy_view
from shards.reader import open_dataset


def as_webdataset(path: Path | str, layout: str | None = None, **options: Any) -> Any:
    """Return a `webdataset.WebDataset` over a dataset's shards, its fields decoded.

    Each sample is a dict of `__key__`, `__url__` and the members by their names: `.npy` as arrays of
    their own, `json` as a dict, `.txt` as text.

    Args:
        path: the dataset's folder.
        layout: read the shards of this one only.
        options: for `webdataset.WebDataset`; as they are here, shards come in the dataset's order.

    Raises:
        MissingPackage: `webdataset` is not installed.
        NotADataset: no finished dataset is there.
        UnknownName: there is no such layout.
        ShardsError: the folder's path holds a `?` or `#`, or is an address.
    """
    try:
        import webdataset
    except ImportError as error:
        raise MissingPackage("webdataset is not installed; pip install webdataset") from error

    dataset = open_dataset(path)
    if not isinstance(dataset.files, LocalFiles):
        raise ShardsError(f"{path}: webdataset reads remote shards by itself; give it their addresses")
    shards = [str(shard.path) for shard in dataset.shards(layout)]
    if set("?#") & set(str(path)):
        raise ShardsError(f"{path}: webdataset cuts a path at ? and #; rename the folder, or link to it")
    defaults = {"shardshuffle": False, "empty_check": False}
    return webdataset.WebDataset(shards, **defaults | options).map(decode_fields)


def decode_fields(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample of bytes with its fields decoded."""
    return {name: _decode(name, value) for name, value in sample.items()}


def _decode(name: str, value: Any) -> Any:
    if name.startswith("__") or not isinstance(value, bytes):
        return value
    if name.endswith(".npy"):
        return npy_view(value).copy()  # one that may be written to
    if name == "json":
        return json.loads(value)
    return value.decode() if name.endswith(".txt") else value
