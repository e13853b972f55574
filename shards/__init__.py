"""Samples and bytes: write, verify, read. Knows neither media nor models, and imports only numpy."""

from shards.errors import (
    CannotCreate,
    DamagedDataset,
    DatasetLocked,
    MissingPackage,
    NotADataset,
    NotFinished,
    ShardsError,
    UnknownName,
    WrongLayout,
    WrongPlan,
    WrongSample,
)
from shards.folder import DatasetFolder, shard_name
from shards.info import dataset_info
from shards.keys import parse_key, recording_number, sample_key
from shards.problem import Problem
from shards.reader import Dataset, Sample, Shard, open_dataset
from shards.verify import verify_dataset
from shards.webdataset_pipeline import as_webdataset
from shards.writer import ShardFigures, ShardWriter

__all__ = [
    "CannotCreate",
    "DamagedDataset",
    "Dataset",
    "DatasetFolder",
    "DatasetLocked",
    "MissingPackage",
    "NotADataset",
    "NotFinished",
    "Problem",
    "Sample",
    "Shard",
    "ShardFigures",
    "ShardWriter",
    "ShardsError",
    "UnknownName",
    "WrongLayout",
    "WrongPlan",
    "WrongSample",
    "as_webdataset",
    "dataset_info",
    "open_dataset",
    "parse_key",
    "recording_number",
    "sample_key",
    "shard_name",
    "verify_dataset",
]
