"""What of a dataset is streamed: which layouts, which recordings, and which clips make one item.

Without a split and without windows an item is a sample, and the dataset's table of shards says all that is
needed. Else the rows of all shards are read once (8 bytes of memory per sample and field, no tar is
touched).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shards.dataset_files import Files, LocalFiles
from shards.errors import NothingToStream, UnknownName
from shards.joined import joined_rows
from shards.layout import Layout
from shards.reader import Dataset, Shard
from shards.streaming.order import IntArray, mix_all
from shards.streaming.shard_access import OpenShard, ShardEntry, ShardMaps

Split = Literal["train", "validation"]
Clip = tuple[OpenShard, int]
"""A shard and the number of a row in it."""


@dataclass(frozen=True)
class Choice:
    """What is wanted of a dataset."""

    tracks: tuple[str, ...] | None = None
    """Read the layouts that have all of these, and only these tracks of them. None: everything."""
    split: Split | None = None
    """Which side of the split by recording; None for both."""
    validation_share: float = 0.05
    """The share of recordings that are for validation."""
    window: int = 1
    """Clips in an item: as many as follow each other without a gap in one recording."""
    stride: int = 1
    """Clips from the start of an item to that of the next."""

    def __post_init__(self) -> None:
        if self.tracks is not None and not self.tracks:
            raise ValueError("tracks is empty; name at least one, or leave it out to read all")
        if self.split not in (None, "train", "validation"):
            raise ValueError(f"split must be 'train', 'validation' or None, got {self.split!r}")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation_share must be between 0 and 1, got {self.validation_share}")
        if self.window < 1 or self.stride < 1:
            raise ValueError(
                f"window and stride must be at least 1 clip, got {self.window} and {self.stride}"
            )

    @property
    def needs_rows(self) -> bool:
        """Whether the rows of all samples must be read to know the items."""
        return self.split is not None or self.window > 1 or self.stride > 1


def in_validation(recordings: npt.NDArray[np.uint64], share: float) -> npt.NDArray[np.bool_]:
    """Tell which recordings are for validation, by a hash of their content id and nothing else.

    Args:
        recordings: as they stand in `.samples.npy`.
        share: between 0 and 1.
    """
    return mix_all(recordings) < np.uint64(int(share * 2**64))


class Selection:
    """The items of one dataset, numbered through its shards."""

    def __init__(
        self,
        name: str,
        dataset: Dataset,
        files: Files,
        choice: Choice,
        open_maps: int,
        shards: int | None = None,
    ) -> None:
        """Read the table of shards, and the rows where the choice needs them.

        Args:
            name: the dataset's name in messages.
            dataset: opened.
            files: where its shards are.
            choice: what is wanted.
            open_maps: how many shards are kept open.
            shards: use the first so many; all where left out.

        Raises:
            UnknownName: no layout has the tracks that were named.
            NothingToStream: the choice leaves no sample.
        """
        self.name = name
        self.choice = choice
        self.layouts: list[Layout] = []
        """The layouts that are read and hold a sample."""
        self.left_out: dict[str, int] = {}
        """How many samples were left out, by the reason."""
        self.maps = ShardMaps(files, open_maps)
        self.entries: list[ShardEntry] = []
        digest = hashlib.sha256()
        self.shards_in_dataset = 0
        wanted = self._layouts(dataset)
        for line in dataset.shard_lines():
            if shards is not None and self.shards_in_dataset == shards:
                self._leave_out("in shards added since the stream began", line["samples"])
                continue
            self.shards_in_dataset += 1
            digest.update(f"{line['name']} {line['samples']} {line['sha256']}\n".encode())
            if line["layout"] in wanted:
                layout = dataset.layouts[line["layout"]]
                beside = tuple(dataset.beside(line["name"], line["layout"]))
                own = dataset.own_layout(line["layout"]) if beside else None
                self.entries.append(ShardEntry(line["name"], layout, line["samples"], own, beside))
            else:
                self._leave_out(f"layout {line['layout']} has not all of these tracks", line["samples"])
        self.layouts = [one for one in self.layouts if any(entry.layout is one for entry in self.entries)]
        self.digest = digest.hexdigest()
        """sha256 over name, samples and sha256 of the shards that were there."""
        self._first_row = np.cumsum([0, *(entry.samples for entry in self.entries)], dtype=np.int64)
        self._first_rows: list[int] = self._first_row.tolist()
        self._items = self._find_items() if choice.needs_rows else None
        self.counts: IntArray = self._count_items()
        """int64: items that begin in each shard of `entries`."""
        self.count = int(self.counts.sum())
        """All items."""
        if not self.count:
            raise NothingToStream(
                f"{dataset.path}: nothing is left to stream of {dataset.manifest['totals']['samples']} "
                f"samples ({choice}); left out: {self.left_out or 'nothing'}"
            )

    def _layouts(self, dataset: Dataset) -> set[str]:
        tracks = self.choice.tracks
        self.layouts = [
            layout
            for layout in dataset.layouts.values()
            if tracks is None or set(tracks) <= set(layout.tracks)
        ]
        if tracks is not None and not self.layouts:
            there = "; ".join(
                f"{layout.name}: {', '.join(layout.tracks)}" for layout in dataset.layouts.values()
            )
            raise UnknownName(
                f"{dataset.path}: no layout has all of the tracks {list(tracks)}; it has {there}"
            )
        return {layout.name for layout in self.layouts}

    def _leave_out(self, why: str, samples: int) -> None:
        if samples:
            self.left_out[why] = self.left_out.get(why, 0) + samples

    def tracks_of(self, layout: Layout) -> tuple[str, ...]:
        """Return the tracks of a layout that are wanted, in the layout's order."""
        tracks = self.choice.tracks
        return layout.tracks if tracks is None else tuple(t for t in layout.tracks if t in tracks)

    def rows(self, items: IntArray) -> IntArray:
        """Return the number of each item's first row; rows are numbered through all shards."""
        if self._items is None:
            return items
        return self._items.rows[self._items.start[items]]

    def rows_of(self, item: int) -> IntArray:
        """Return the numbers of all rows of one item."""
        if self._items is None:
            return np.array([item], np.int64)
        start = self._items.start[item]
        return self._items.rows[start : start + self._items.size[item]]

    def places(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return the shards of these rows, as places in `entries`, and their numbers in them."""
        shards = np.searchsorted(self._first_row, rows, side="right") - 1
        return shards, rows - self._first_row[shards]

    def clips(self, item: int) -> list[Clip]:
        """Return the clips of an item, in time order.

        Raises:
            IndexError: there is no such item.
            DamagedDataset: a shard can't be read.
        """
        if not 0 <= item < self.count:
            raise IndexError(f"{self.name}: no item {item}; there are {self.count}")
        if self._items is None:
            shard = bisect_right(self._first_rows, item) - 1
            return [(self.open(shard), item - self._first_rows[shard])]
        shards, rows = self.places(self.rows_of(item))
        pairs = zip(shards.tolist(), rows.tolist(), strict=True)
        return [(self.open(shard), row) for shard, row in pairs]

    def open(self, shard: int) -> OpenShard:
        """Return a shard by its place in `entries`."""
        return self.maps.open(self.entries[shard])

    def expect(self, shards: IntArray) -> None:
        """Learn which shards, as places in `entries`, will be read next, most urgent first."""
        names = [self.entries[shard].name for shard in shards.tolist()]
        self.maps.files.expect([f"shards/{n}{ending}" for n in names for ending in (".samples.npy", ".tar")])

    def per_item(self, measure: Callable[[ShardEntry, npt.NDArray[Any]], IntArray]) -> IntArray:
        """Return the sum over each item's clips of something that stands in the rows.

        Args:
            measure: from a shard's rows (`shards.sample_rows`) to int64, one per row.
        """
        values = np.concatenate([np.empty(0, np.int64), *(measure(*pair) for pair in self.all_rows())])
        if self._items is None:
            return values
        sums = np.concatenate([[0], np.cumsum(values[self._items.rows])])
        start = self._items.start
        return np.asarray(sums[start + self._items.size] - sums[start])

    def all_rows(self) -> Iterator[tuple[ShardEntry, npt.NDArray[Any]]]:
        """Yield each shard with its rows, without opening its tar."""
        self.maps.files.expect([f"shards/{entry.name}.samples.npy" for entry in self.entries])
        for entry in self.entries:
            own = Shard(self.maps.files, entry.name, entry.own or entry.layout, (), entry.samples)
            added = [
                Shard(LocalFiles(folder), name, layout, (), entry.samples).rows
                for folder, name, layout in entry.beside
            ]
            rows = own.rows
            yield entry, joined_rows(rows, added) if added else rows

    @cached_property
    def tokens(self) -> IntArray:
        """int64 [items]: codes of the wanted tracks."""
        return self.per_item(lambda entry, rows: codes_in(rows, self.tracks_of(entry.layout)))

    @cached_property
    def length_ns(self) -> IntArray:
        """int64 [items]: sum of the clips' lengths."""
        return self.per_item(lambda _, rows: rows["stop_ns"] - rows["start_ns"])

    def _find_items(self) -> _Items:
        """Read all rows, drop the other side of the split, and join clips that follow each other."""
        parts = [(rows["recording"], rows["start_ns"], rows["stop_ns"]) for _, rows in self.all_rows()]
        none = (np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))
        recording, start, stop = (np.concatenate(column) for column in zip(none, *parts, strict=True))
        shard = np.repeat(np.arange(len(self.entries)), [entry.samples for entry in self.entries])
        keep = np.ones(len(recording), bool)
        if self.choice.split is not None:
            keep = in_validation(recording, self.choice.validation_share) == (
                self.choice.split == "validation"
            )
            self._leave_out("on the other side of the split", int((~keep).sum()))
        kept = np.flatnonzero(keep)
        if self.choice.window == self.choice.stride == 1 or not len(kept):
            return _Items(kept, np.arange(len(kept), dtype=np.int64), np.ones(len(kept), np.int64))
        layouts = {layout.name: number for number, layout in enumerate(self.layouts)}
        layout_of = np.array([layouts[entry.layout.name] for entry in self.entries], np.int64)
        kept = kept[np.lexsort((start[kept], recording[kept], layout_of[shard[kept]]))]
        same = (recording[kept][1:] == recording[kept][:-1]) & (start[kept][1:] == stop[kept][:-1])
        same &= layout_of[shard[kept]][1:] == layout_of[shard[kept]][:-1]
        begins, sizes = windows_of_runs(same, self.choice.window, self.choice.stride)
        by_first = np.argsort(kept[begins], kind="stable")
        items = _Items(kept, begins[by_first], sizes[by_first])
        used = np.zeros(len(kept) + 1, np.int64)
        np.add.at(used, begins, 1)
        np.add.at(used, begins + sizes, -1)
        self._leave_out("between two windows", int((np.cumsum(used)[:-1] == 0).sum()))
        return items

    def _count_items(self) -> IntArray:
        if self._items is None:
            return np.array([entry.samples for entry in self.entries], np.int64)
        first = self._items.rows[self._items.start]
        shards = np.searchsorted(self._first_row, first, side="right") - 1
        return np.bincount(shards, minlength=len(self.entries)).astype(np.int64)


def codes_in(rows: npt.NDArray[Any], tracks: Sequence[str]) -> IntArray:
    """Return how many codes of these tracks the clips of a shard have, by its rows."""
    codes = np.zeros(len(rows), np.int64)
    for track in tracks:
        codes += rows[f"{track}:tokens"]
    return codes


@dataclass(frozen=True)
class _Items:
    """Items made of rows: item k is rows[start[k] : start[k] + size[k]]."""

    rows: IntArray
    start: IntArray
    size: IntArray


def windows_of_runs(same_run: npt.NDArray[np.bool_], window: int, stride: int) -> tuple[IntArray, IntArray]:
    """Cut runs of clips into windows.

        clips       0 1 2 3 4 5 6      window 4, stride 2
        windows     └─────┘
                        └─────┘
                            └───┘      the last may be shorter; none lies within the one before

    Args:
        same_run: whether clip k+1 goes on where clip k ends, one fewer than there are clips.
        window: clips per window.
        stride: clips between two starts.

    Returns:
        Start and size of each window, in clips.
    """
    count = len(same_run) + 1
    clips = np.arange(count, dtype=np.int64)
    first = np.concatenate([[True], ~same_run])
    run_start = np.maximum.accumulate(np.where(first, clips, 0))
    run_stop = np.append(clips[first], count)[np.cumsum(first)]
    place = clips - run_start
    begins = (place % stride == 0) & ((place == 0) | (clips - stride + window < run_stop))
    starts = np.flatnonzero(begins)
    return starts, np.minimum(window, run_stop[starts] - starts)
