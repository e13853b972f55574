"""The files in `.nv-meta/` with which Megatron-Energon streams a dataset as it is, without `prepare`.

    .info.json      the version of Energon's format, and how many samples each shard has
    split.yaml      which shards are for training: all (what to hold out is for the user to say)
    dataset.yaml    crude samples: the user's task encoder brings a cooker for them

The `.tar.idx` beside each tar is Energon's too. Seen to work with megatron-energon 7.4.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ENERGON_VERSION = "7.4.1"


def info_json(shards: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield `.info.json`, shard by shard: nothing here grows with the dataset."""
    yield b'{\n "energon_version": %b,\n "shard_counts": {' % json.dumps(ENERGON_VERSION).encode()
    separator = b"\n"
    for shard in shards:
        yield b'%b  "shards/%b.tar": %d' % (separator, shard["name"].encode(), shard["samples"])
        separator = b",\n"
    yield b"\n }\n}\n"


def split_yaml(shards: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield `split.yaml`: all shards train, none validate or test."""
    yield b"exclude: []\nsplit_parts:\n  train:"
    empty = b" []"
    for shard in shards:
        yield b"\n  - shards/%b.tar" % shard["name"].encode()
        empty = b""
    yield empty + b"\n  val: []\n  test: []\n"


def dataset_yaml() -> Iterator[bytes]:
    """Yield `dataset.yaml`."""
    yield b"__module__: megatron.energon\n__class__: CrudeWebdataset\nsubflavors:\n  format: fifth-1\n"
