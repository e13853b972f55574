"""Write one shard: a tar, its index, and its rows.

    NAME.tar             plain WebDataset tar: the members of each sample side by side
    NAME.tar.idx         N+1 little-endian uint64: where each sample's first header begins, then the
                         end of the last sample's data
    NAME.samples.npy     one row per sample (`shards.sample_rows`)

All three are written under temporary names and appear when the shard is closed, the tar last.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import sync_folder, temporary_path, write_whole
from shards.errors import WrongSample
from shards.layout import Layout
from shards.npy import npy_header
from shards.provenance import Types
from shards.sample_bytes import SampleEncoder, Value
from shards.sample_rows import row_dtype
from shards.tar import END_OF_TAR

_BUFFER_BYTES = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class ShardFigures:
    """What is known of a shard when it is closed; `to_json` is what a record says of it."""

    name: str
    samples: int
    bytes: int
    """Size of the tar."""
    sha256: str
    """Of the tar."""
    idx_sha256: str
    samples_sha256: str
    samples_bytes: int
    first_key: str
    """Key of the first sample written."""
    last_key: str
    """Key of the last sample written."""
    seconds_ns: int
    """Sum of the samples' lengths."""
    tokens: Mapping[str, int]
    """Sum of the samples' tokens, per track."""
    provenance: Types
    """The types of every sample's `json` member (`shards.provenance`)."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object of the fields."""
        return asdict(self)


class ShardWriter:
    """Writes one shard. An exception inside its `with` leaves nothing behind.

        with ShardWriter(folder, "video-000000", layout) as writer:
            writer.add(key, members, recording_id=..., start_ns=..., stop_ns=..., tokens=..., valid=...)
            figures = writer.close()

    The same samples give the same bytes, on every machine. Leaving the `with` without `close()` drops
    the shard.
    """

    def __init__(self, folder: Path, name: str, layout: Mapping[str, Any]) -> None:
        """Begin a shard.

        Args:
            folder: where to write; it exists.
            name: of the shard, without an ending.
            layout: what its samples have in common (`shards.layout`).

        Raises:
            WrongLayout: the layout can't be written.
            OSError: the folder can't be written.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"a shard's name must be lower-case letters, digits, - and _, got {name!r}")
        self._name = name
        self._path = Path(folder) / f"{name}.tar"
        self._encoder = SampleEncoder(Layout.from_json(layout))
        self._keys: dict[str, None] = {}
        self._rows = bytearray()
        self._offsets: list[int] = []
        self._size_bytes = 0
        self._seconds_ns = 0
        self._tokens = dict.fromkeys(self._encoder.layout.tracks, 0)
        self._digest = hashlib.sha256()
        self._temporary = temporary_path(self._path)
        self._file = self._temporary.open("xb", buffering=_BUFFER_BYTES)

    @property
    def size_bytes(self) -> int:
        """Bytes of the tar so far, without its end."""
        return self._size_bytes

    @property
    def samples(self) -> int:
        """Samples so far."""
        return len(self._offsets)

    def add(
        self,
        key: str,
        members: Sequence[Value] | Mapping[str, Value],
        *,
        recording_id: int,
        start_ns: int,
        stop_ns: int,
        tokens: Mapping[str, int],
        valid: Mapping[str, int],
    ) -> None:
        """Write one sample.

        Args:
            key: `sample_key(recording_id, start_ns - origin_ns)`; unique in the shard.
            members: the values in the order of the layout's members, or by their names: a dict for
                `json`, arrays for `.npy`, text for `.txt`, bytes for anything else. They are copied.
            recording_id: `recording_number(content id)`.
            start_ns: on the recording's own timeline.
            stop_ns: after `start_ns`.
            tokens: per track of the layout the number of codes: the size of its `.tokens.npy`, else 0.
            valid: per track of the layout the valid length, before padding.

        Raises:
            WrongSample: it does not fit. Nothing was written; the writer is still usable.
            OSError: it can't be written (a full disk). The shard is abandoned.
        """
        if self._file.closed:
            raise WrongSample(f"sample {key}: shard {self._name} is closed")
        if key in self._keys:
            raise WrongSample(f"sample {key} is in shard {self._name} already")
        span = (recording_id, start_ns, stop_ns)
        data, row = self._encoder.encode(key, members, span, tokens, valid, self._size_bytes)
        self._write(data)
        self._offsets.append(self._size_bytes)
        self._size_bytes += len(data)
        self._rows += row
        self._keys[key] = None
        self._seconds_ns += stop_ns - start_ns
        for track in self._tokens:
            self._tokens[track] += tokens[track]

    def close(self) -> ShardFigures | None:
        """Finish the shard and make its three files appear.

        Returns:
            Its figures; None where no sample was added, and then nothing is left on disk.

        Raises:
            OSError: it can't be written (a full disk). The shard is abandoned.
        """
        if self._file.closed:
            raise ValueError(f"shard {self._name} is closed already")
        if not self._offsets:
            self.abandon()
            return None
        self._write(END_OF_TAR)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            offsets = np.array([*self._offsets, self._size_bytes], "<u8").tobytes()
            header = npy_header(row_dtype(self._encoder.layout), (len(self._offsets),))
            write_whole(self._path.with_suffix(".tar.idx"), [offsets])
            write_whole(self._path.with_suffix(".samples.npy"), [header, self._rows])
            self._temporary.replace(self._path)
        except BaseException:
            self.abandon()
            raise
        sync_folder(self._path.parent)
        return self._figures(offsets, header + self._rows)

    def abandon(self) -> None:
        """Drop the shard; nothing of it stays on disk. Does nothing once it is closed."""
        self._temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the buffer may not be writable, and nobody wants it now
            self._file.close()

    def _write(self, data: bytes) -> None:
        try:
            self._digest.update(data)
            self._file.write(data)
        except BaseException:
            self.abandon()
            raise

    def _figures(self, offsets: bytes, rows: bytes) -> ShardFigures:
        keys = list(self._keys)
        return ShardFigures(
            name=self._name,
            samples=len(keys),
            bytes=self._size_bytes + len(END_OF_TAR),
            sha256=self._digest.hexdigest(),
            idx_sha256=hashlib.sha256(offsets).hexdigest(),
            samples_sha256=hashlib.sha256(rows).hexdigest(),
            samples_bytes=len(rows),
            first_key=keys[0],
            last_key=keys[-1],
            seconds_ns=self._seconds_ns,
            tokens=dict(self._tokens),
            provenance=self._encoder.provenance,
        )

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        """Abandon what was not closed."""
        self.abandon()
