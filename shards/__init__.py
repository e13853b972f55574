"""Samples and bytes: write, verify, read. Knows neither media nor models, and imports only numpy."""

from shards.condition import Condition
from shards.errors import (
    CannotCreate,
    CannotFetch,
    CannotReshard,
    DamagedDataset,
    DatasetLocked,
    MissingPackage,
    NotADataset,
    NotFinished,
    ShardsError,
    UnknownName,
    WrongCondition,
    WrongLayout,
    WrongPlan,
    WrongSample,
)
from shards.folder import DatasetFolder, shard_name
from shards.info import dataset_info
from shards.keys import parse_key, recording_number, sample_key
from shards.mds import export_mds
from shards.problem import Problem
from shards.reader import Dataset, Sample, Shard, open_dataset
from shards.remote.options import RemoteOptions
from shards.reshard import Reshaping, reshard
from shards.splits import parse_shares, split_of
from shards.verify import verify_dataset
from shards.webdataset_pipeline import as_webdataset
from shards.writer import ShardFigures, ShardWriter

__all__ = [
    "CannotCreate",
    "CannotFetch",
    "CannotReshard",
    "Condition",
    "DamagedDataset",
    "Dataset",
    "DatasetFolder",
    "DatasetLocked",
    "MissingPackage",
    "NotADataset",
    "NotFinished",
    "Problem",
    "RemoteOptions",
    "Reshaping",
    "Sample",
    "Shard",
    "ShardFigures",
    "ShardWriter",
    "ShardsError",
    "UnknownName",
    "WrongCondition",
    "WrongLayout",
    "WrongPlan",
    "WrongSample",
    "as_webdataset",
    "dataset_info",
    "export_mds",
    "open_dataset",
    "parse_key",
    "parse_shares",
    "recording_number",
    "reshard",
    "sample_key",
    "shard_name",
    "split_of",
    "verify_dataset",
]
