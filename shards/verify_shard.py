"""Compare one shard's three files with each other, with their hashes, and with their layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.keys import parse_key
from shards.layout import Layout
from shards.npy import BadNpy, npy_view
from shards.problem import Kind, Problem
from shards.provenance import Types
from shards.sample_rows import row_dtype
from shards.tar import BadTar, TarFile, walk
from shards.verify_sample import check_sample

Array = npt.NDArray[Any]
OriginOf = Callable[[int], int | None]
"""From a recording's number to its origin in ns; None where there is no such recording."""

_MAX_PROBLEMS = 20
_CHUNK_BYTES = 1 << 20


def verify_shard(
    folder: Path, facts: Mapping[str, Any], layout: Layout, types: Types, origin_of: OriginOf
) -> list[Problem]:
    """Return what is wrong with a shard, at most 20 problems and a word that there are more.

    Each file is read once, and one sample is held at a time.

    Args:
        folder: of the shards.
        facts: the shard's line in `tables/shards.jsonl`.
        layout: of its samples.
        types: of their `json` members.
        origin_of: of the recordings in the dataset.
    """
    check = _ShardCheck(folder, facts, layout, types, origin_of)
    check.run()
    check.found.sort(key=lambda problem: problem.kind == "wrong")  # which files changed is not cut off
    if len(check.found) <= _MAX_PROBLEMS:
        return check.found
    more = Problem(f"shards/{facts['name']}.tar", "", f"… and {len(check.found) - _MAX_PROBLEMS} more")
    return [*check.found[:_MAX_PROBLEMS], more]


@dataclass
class _ShardCheck:
    folder: Path
    facts: Mapping[str, Any]
    layout: Layout
    types: Types
    origin_of: OriginOf
    found: list[Problem] = field(default_factory=list)

    def run(self) -> None:
        offsets = self._offsets()
        rows = self._rows()
        path = self._path(".tar")
        if not path.is_file():
            self._say(".tar", "is missing", kind="missing")
            return
        size_bytes = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as file:
            try:
                self._walk(walk(file, size_bytes, digest.update), offsets, rows)
            except BadTar as error:
                self._say(".tar", str(error))
            while chunk := file.read(_CHUNK_BYTES):  # what a damaged header hid: the hash is of all bytes
                digest.update(chunk)
        self._compare(".tar", "bytes", size_bytes)
        self._compare(".tar", "sha256", digest.hexdigest())

    def _offsets(self) -> Array | None:
        data = self._small_file(".tar.idx", "idx_sha256")
        if data is None:
            return None
        if len(data) != 8 * (self.facts["samples"] + 1):
            self._say(".tar.idx", f"has {len(data)} bytes for {self.facts['samples']} samples")
            return None
        return np.frombuffer(data, "<u8")

    def _rows(self) -> Array | None:
        data = self._small_file(".samples.npy", "samples_sha256")
        if data is None:
            return None
        try:
            rows = npy_view(data)
        except BadNpy as error:
            self._say(".samples.npy", str(error))
            return None
        if rows.dtype != row_dtype(self.layout) or rows.shape != (self.facts["samples"],):
            self._say(".samples.npy", f"must be {self.facts['samples']} rows with the columns of its layout")
            return None
        return rows

    def _small_file(self, ending: str, hash_name: str) -> bytes | None:
        path = self._path(ending)
        if not path.is_file():
            self._say(ending, "is missing", kind="missing")
            return None
        data = path.read_bytes()
        self._compare(ending, hash_name, hashlib.sha256(data).hexdigest())
        return data

    def _walk(self, files: Iterable[TarFile], offsets: Array | None, rows: Array | None) -> None:
        """Go through the tar sample by sample."""
        keys: set[str] = set()
        tokens = dict.fromkeys(self.layout.tracks, 0)
        count = end_offset = 0
        for key, members in samples_in(files):
            parsed = parse_key(key)
            row = rows[count] if rows is not None and count < len(rows) else None
            begin = members[0].header_offset
            if offsets is not None and count < len(offsets) and offsets[count] != begin:
                self._say(".tar.idx", f"entry {count} is {offsets[count]}, not {begin}", key)
            if key in keys:
                self._say(".tar", "stands twice in this shard", key)
            keys.add(key)
            if parsed is None:
                self._say(".tar", "is no key of this format", key)
            elif row is not None and self._members_fit(key, members):
                self._check_row(key, parsed, row, members)
                data = {file.name.partition(".")[2]: file.data for file in members}
                for what in check_sample(self.layout, self.types, key, row, data):
                    self._say(".tar", what, key)
                for track in tokens:
                    tokens[track] += int(row[f"{track}:tokens"])
            count += 1
            end_offset = members[-1].end_offset
        if offsets is not None and offsets[-1] != end_offset:
            self._say(".tar.idx", f"its last entry is {offsets[-1]}; the last sample ends at {end_offset}")
        if count != self.facts["samples"]:
            self._say(".tar", f"holds {count} samples, not {self.facts['samples']}")
        if rows is not None and tokens != self.facts["tokens"]:
            self._say(".tar", f"holds {tokens} tokens; its record says {self.facts['tokens']}")

    def _members_fit(self, key: str, members: list[TarFile]) -> bool:
        names = [file.name.partition(".")[2] for file in members]
        wanted = [member.name for member in self.layout.members]
        if names != wanted:
            self._say(".tar", f"has members {names}; its layout says {wanted}", key)
        return names == wanted

    def _check_row(self, key: str, parsed: tuple[int, int], row: Any, members: list[TarFile]) -> None:
        number, offset_ns = parsed
        if row["recording"] != number:
            self._say(".samples.npy", f"says recording {int(row['recording']):016x}", key)
        origin_ns = self.origin_of(number)
        if origin_ns is None:
            self._say(".tar", "is of a recording that is not in tables/recordings.jsonl", key)
        elif row["start_ns"] != origin_ns + offset_ns:
            there = f"starts at {row['start_ns']}"
            self._say(".samples.npy", f"{there}; the key says {origin_ns + offset_ns}", key)
        if row["stop_ns"] <= row["start_ns"]:
            self._say(".samples.npy", f"stops at {row['stop_ns']}, before it starts", key)
        for member, file in zip(self.layout.members, members, strict=True):
            offset, size_bytes = row[f"{member.name}:offset"], row[f"{member.name}:size"]
            if (offset, size_bytes) != (file.data_offset, len(file.data)):
                is_at = f"{member.name} is at {file.data_offset} with {len(file.data)} bytes"
                self._say(".samples.npy", f"{is_at}; the row says {offset} and {size_bytes}", key)

    def _compare(self, ending: str, fact: str, got: object) -> None:
        if got != self.facts[fact]:
            what = f"{fact.rpartition('_')[2]} is {got}, and {self.facts[fact]} in its record"
            self._say(ending, what, kind="changed")

    def _say(self, ending: str, what: str, sample: str = "", kind: Kind = "wrong") -> None:
        self.found.append(Problem(f"shards/{self.facts['name']}{ending}", sample, what, kind))

    def _path(self, ending: str) -> Path:
        return self.folder / f"{self.facts['name']}{ending}"


def samples_in(files: Iterable[TarFile]) -> Iterator[tuple[str, list[TarFile]]]:
    """Group the files of a tar that stand side by side and share their key."""
    key = ""
    members: list[TarFile] = []
    for file in files:
        file_key = file.name.partition(".")[0]
        if members and file_key != key:
            yield key, members
            members = []
        key = file_key
        members.append(file)
    if members:
        yield key, members
