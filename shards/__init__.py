"""Samples and bytes: write, verify, read. Knows neither media nor models, and imports only numpy."""

from shards.errors import (
    CannotCreate,
    DamagedDataset,
    DatasetLocked,
    MissingPackage,
    NotADataset,
    NotFinished,
    NothingToStream,
    ShardsError,
    UnknownName,
    WrongLayout,
    WrongPlan,
    WrongSample,
    WrongState,
)
from shards.folder import DatasetFolder, shard_name
from shards.info import dataset_info
from shards.keys import parse_key, recording_number, sample_key
from shards.problem import Problem
from shards.reader import Dataset, Sample, Shard, open_dataset
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
    "DamagedDataset",
    "Dataset",
    "DatasetFolder",
    "DatasetLocked",
    "MissingPackage",
    "NotADataset",
    "NotFinished",
    "NothingToStream",
    "Problem",
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
    "WrongLayout",
    "WrongPlan",
    "WrongSample",
    "WrongState",
    "as_webdataset",
    "dataset_info",
    "open_dataset",
    "parse_key",
    "recording_number",
    "sample_key",
    "shard_name",
    "verify_dataset",
]
