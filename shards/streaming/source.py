"""From what a user names a dataset by to an opened dataset and its files."""

from __future__ import annotations

from pathlib import Path

from shards.dataset_files import Files
from shards.reader import Dataset
from shards.remote.options import RemoteOptions


def open_source(path: Path | str, remote: RemoteOptions | None = None) -> tuple[Dataset, Files]:
    """Open a dataset for streaming, by its folder or address.

    Raises:
        FileNotFoundError, NotADataset, DamagedDataset, CannotFetch: as `Dataset` does.
    """
    dataset = Dataset(path, remote)
    return dataset, dataset.files
