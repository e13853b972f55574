"""From what a user names a dataset by to an opened dataset and its files."""

from __future__ import annotations

from pathlib import Path

from shards.reader import Dataset
from shards.streaming.shard_access import Files, LocalFiles


def open_source(path: Path | str) -> tuple[Dataset, Files]:
    """Open a dataset for streaming.

    Raises:
        FileNotFoundError, NotADataset, DamagedDataset: as `Dataset` does.
    """
    dataset = Dataset(path)
    return dataset, LocalFiles(dataset.path)
