"""The files of a dataset's shards, mapped into memory: the one place where a stream touches a disk.

files = files_of(folder)                 where the files are: here, or elsewhere (`shards.dataset_files`)
maps = ShardMaps(files, open_maps=128)
shard = maps.open(entry)                 an `OpenShard`, of which at most 128 are kept
shard.array(row, column)                 a view of the tar
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from shards.dataset_files import Files, LocalFiles
from shards.errors import DamagedDataset
from shards.joined import joined_rows
from shards.layout import Layout, Member
from shards.npy import BadNpy, npy_header, npy_view
from shards.reader import Sample, mapped
from shards.sample_rows import check_places, check_rows
from shards.streaming.order import IntArray
from shards.tar import BLOCK_BYTES, NAME_BYTES

Array = npt.NDArray[Any]
_NPY = int.from_bytes(b"\x93NUMPY\x01\x00", "little")
"""The first eight bytes of every npy of ours (`shards.npy`), as one number."""


@dataclass(frozen=True)
class ShardEntry:
    """A shard, as the dataset's table names it."""

    name: str
    layout: Layout
    """With what additions have of it."""
    samples: int
    own: Layout | None = None
    """Without; None: there are no additions."""
    beside: tuple[tuple[Path, str, Layout], ...] = ()
    """The shards that additions have beside it: folder, name and layout of each."""


@dataclass(frozen=True)
class Column:
    """One array member of a shard's samples, ready for fast reading."""

    member: Member
    offsets: Array
    """uint64, one per row: where in the tar the member begins."""
    sizes: Array
    """uint64, one per row: how many bytes it has."""
    typed: Array
    """The whole tar as items of the member's dtype, 1-D."""
    step_items: int
    """Items per index of the first axis."""
    header_bytes: int
    """Length of every npy header; 0 where it depends on the array's length."""
    tar: memoryview
    words: Array
    """The whole tar as uint64."""
    shorts: Array
    """The whole tar as uint16."""


class OpenShard:
    """One shard's tar and rows, mapped."""

    def __init__(self, files: Files, entry: ShardEntry) -> None:
        self.entry = entry
        self.path = files.folder / f"shards/{entry.name}.tar"
        rows_path = files.folder / f"shards/{entry.name}.samples.npy"
        try:
            self.rows = npy_view(mapped(files, f"shards/{entry.name}.samples.npy"))
            check_rows(self.rows, entry.own or entry.layout, entry.samples)
            check_places(self.rows, entry.own or entry.layout)
        except ValueError as error:
            raise DamagedDataset(
                f"{rows_path}: {error}; run fifth verify, and make the shard again"
            ) from error
        self.tar = mapped(files, f"shards/{entry.name}.tar")
        whole = len(self.tar) // BLOCK_BYTES * BLOCK_BYTES  # a cut tar may end anywhere
        self._bytes = np.frombuffer(self.tar, np.uint8, whole)
        self._words = self._bytes.view(np.uint64)
        self._shorts = self._bytes.view(np.uint16)
        self.start_ns: Array = self.rows["start_ns"]
        self.stop_ns: Array = self.rows["stop_ns"]
        self._columns: dict[str, Column | None] = {}
        self._added: list[OpenShard] = []
        if entry.beside:
            self._added = [
                OpenShard(LocalFiles(folder), ShardEntry(name, layout, entry.samples))
                for folder, name, layout in entry.beside
            ]
            self.rows = joined_rows(self.rows, [shard.rows for shard in self._added])

    def column(self, name: str) -> Column | None:
        """Return an array member by its name, or None where the layout has none of that name."""
        if name not in self._columns:
            self._columns[name] = self._make_column(name)
        return self._columns[name]

    def _make_column(self, name: str) -> Column | None:
        own = self.entry.own or self.entry.layout
        place = own.index_of(name)
        if place is None:
            return next((column for shard in self._added if (column := shard.column(name)) is not None), None)
        member = own.members[place]
        if member.dtype is None:
            return None
        items = 1
        for size in member.shape[1:]:
            items *= size or 1
        return Column(
            member,
            self.rows[f"{name}:offset"],
            self.rows[f"{name}:size"],
            self._bytes.view(member.dtype),
            items,
            _header_bytes(member),
            self.tar,
            self._words,
            self._shorts,
        )

    def span(self, row: int, column: Column) -> tuple[int, int]:
        """Return where in `column.typed` the member's items of a row begin and end.

        The npy header is not parsed: its length stands in it, and dtype and shape are the layout's.

        Raises:
            DamagedDataset: no npy is there, or not all of it.
        """
        offset, typed = column.offsets.item(row), column.typed
        try:
            begins = column.words.item(offset >> 3) == _NPY
            start = offset + 10 + column.shorts.item((offset + 8) >> 1)
        except IndexError:
            begins, start = False, offset
        stop = offset + column.sizes.item(row)
        width = typed.itemsize
        if not begins or stop > typed.nbytes or start > stop or (stop - start) % (width * column.step_items):
            self._damaged(row, column.member.name)
        return start // width, stop // width

    def spans(self, rows: IntArray, column: Column) -> tuple[IntArray, IntArray]:
        """Return `span` of many rows at once. Raises the same."""
        offsets = column.offsets[rows].astype(np.int64)
        stops = offsets + column.sizes[rows].astype(np.int64)
        typed = column.typed
        too_far = int(stops.max(initial=0)) > typed.nbytes or column.step_items > typed.size
        if not column.header_bytes or too_far:
            pairs = [self.span(row, column) for row in rows.tolist()]
            return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
        starts = offsets + column.header_bytes
        good = column.words[offsets >> 3] == _NPY
        width = typed.itemsize
        good &= (stops - starts) % (width * column.step_items) == 0
        if not good.all():
            self._damaged(int(rows[int(np.argmin(good))]), column.member.name)
        return starts // width, stops // width

    def array(self, row: int, name: str) -> Array:
        """Return an array member of a row, as a view with its own shape.

        Raises:
            DamagedDataset: it can't be read.
        """
        column = self.column(name)
        assert column is not None, name
        start, stop = self.span(row, column)
        try:
            view = npy_view(column.tar, column.offsets.item(row), column.sizes.item(row))
        except BadNpy:
            self._damaged(row, name)
        member = column.member
        if view.size != stop - start or view.dtype != member.dtype or not member.fits(view.shape):
            self._damaged(row, name)
        return view

    def sample(self, row: int) -> Sample:
        """Return a row as a `Sample`, whose members are decoded when asked for."""
        added = [shard.sample(row) for shard in self._added]
        return Sample(self.entry.own or self.entry.layout, self.rows[row], self.tar, added)

    def _damaged(self, row: int, member: str) -> NoReturn:
        header = int(self.rows[f"{self.entry.layout.members[0].name}:offset"][row]) - BLOCK_BYTES
        key = bytes(self.tar[header : header + NAME_BYTES]).partition(b".")[0].decode("ascii", "replace")
        raise DamagedDataset(
            f"{self.path}: sample {key or '(unreadable key)'} (number {row}): {member} is not what was "
            "written; run fifth verify to see what else is damaged, and make or fetch the shard again"
        )


def _header_bytes(member: Member) -> int:
    """Return how long the npy headers of a member are, by our own writer; 0 where they are not alike."""
    assert member.dtype is not None
    lengths = {
        len(npy_header(member.dtype, tuple(size or any_length for size in member.shape)))
        for any_length in (0, 10**12)
    }
    return lengths.pop() if len(lengths) == 1 else 0


class ShardMaps:
    """Opens shards, and keeps the ones opened last."""

    def __init__(self, files: Files, open_maps: int) -> None:
        self.files = files
        self._limit = open_maps
        self._open: dict[str, OpenShard] = {}

    def open(self, entry: ShardEntry) -> OpenShard:
        """Return a shard, opened if it is not."""
        shard = self._open.get(entry.name)
        if shard is None:
            while len(self._open) >= self._limit:
                del self._open[next(iter(self._open))]  # arrays that still view it keep its map alive
            shard = self._open[entry.name] = OpenShard(self.files, entry)
        return shard

    def __len__(self) -> int:
        return len(self._open)
