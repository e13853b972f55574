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
    NothingToStream,
    ShardsError,
    UnknownName,
    WrongCondition,
    WrongLayout,
    WrongPlan,
    WrongSample,
    WrongState,
)
from shards.folder import DatasetFolder, shard_name
from shards.info import dataset_info
from shards.keys import parse_key, recording_number, sample_key
from shards.mds import export_mds
from shards.problem import Problem
from shards.reader import Dataset, Sample, Shard, open_dataset
from shards.remote.options import RemoteOptions
from shards.repair import Repair, repair_dataset
from shards.reshard import Reshaping, reshard
from shards.splits import parse_shares, split_of
from shards.streaming.batch import Batch
from shards.streaming.item import StreamSample
from shards.streaming.token_dataset import TokenDataset
from shards.streaming.token_stream import TokenStream
from shards.streaming.vocabulary import Vocabulary
from shards.verify import verify_dataset
from shards.webdataset_pipeline import as_webdataset
from shards.writer import ShardFigures, ShardWriter

__all__ = [
    "Batch",
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
    "NothingToStream",
    "Problem",
    "RemoteOptions",
    "Repair",
    "Reshaping",
    "Sample",
    "Shard",
    "ShardFigures",
    "ShardWriter",
    "ShardsError",
    "StreamSample",
    "TokenDataset",
    "TokenStream",
    "UnknownName",
    "Vocabulary",
    "WrongCondition",
    "WrongLayout",
    "WrongPlan",
    "WrongSample",
    "WrongState",
    "as_webdataset",
    "dataset_info",
    "export_mds",
    "open_dataset",
    "parse_key",
    "parse_shares",
    "recording_number",
    "repair_dataset",
    "reshard",
    "sample_key",
    "shard_name",
    "split_of",
    "verify_dataset",
]
