"""The lines of a dataset's tables, checked: what names a file names one of the dataset's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.canonical_json import read_json_lines
from shards.errors import DamagedDataset
from shards.folder import is_shard_name, shard_name
from shards.shapes import INCIDENT_LINE, RECORDING_LINE, SHARD_LINE, misfit

Json = dict[str, Any]


def shard_lines(table: Path) -> Iterator[Json]:
    """Yield the lines of `tables/shards.jsonl`.

    Raises:
        DamagedDataset: a line is not what must stand there.
    """
    for line in _lines(table, SHARD_LINE):
        if line["name"] != shard_name(line["layout"], line["task"]) or not is_shard_name(line["name"]):
            raise DamagedDataset(f"{table}: no shard of ours is called {line['name']!r:.100}")
        yield line


def recording_lines(table: Path) -> Iterator[Json]:
    """Yield the lines of `tables/recordings.jsonl`. Raises as above."""
    for line in _lines(table, RECORDING_LINE):
        if line["samples"] and not line["id"]:
            raise DamagedDataset(f"{table}: {line['recording']!r:.100} has samples, and no content id")
        yield line


def incident_lines(table: Path) -> Iterator[Json]:
    """Yield the lines of `tables/failures.jsonl`. Raises as above."""
    for line in _lines(table, INCIDENT_LINE):
        if line["kind"] not in ("failure", "note"):
            raise DamagedDataset(f"{table}: a line is neither failure nor note: {line['kind']!r:.100}")
        yield line


def _lines(table: Path, shape: Json) -> Iterator[Json]:
    for number, line in enumerate(read_json_lines(table), 1):
        if what := misfit(line, shape):
            raise DamagedDataset(f"{table}: line {number}: {what}")
        yield line
