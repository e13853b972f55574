"""Batches of whole samples: each array padded with zeros to the longest of the batch, with its lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from shards.errors import UnknownName, WrongLayout
from shards.layout import Member
from shards.streaming.item import join_arrays
from shards.streaming.order import IntArray, distinct
from shards.streaming.selection import Clip, Selection
from shards.streaming.shard_access import Array, OpenShard

_ALIGNMENT = 64
"""Data of an npy begin at a multiple of so many bytes (`shards.npy`)."""
_GATHERED_BYTES = 4 << 20
_ROWS_PER_CALL = 8


@dataclass(frozen=True)
class Field:
    """One padded array of a batch."""

    name: str
    """Of the member, without `.npy`."""
    dtype: np.dtype[Any]
    trailing: tuple[int, ...]
    """Sizes of the axes behind the first."""

    @cached_property
    def member(self) -> str:
        """The member's own name."""
        return f"{self.name}.npy"

    @cached_property
    def items(self) -> int:
        """Items per index of the first axis."""
        return int(np.prod(self.trailing, dtype=np.int64))


def fields_of(selections: Sequence[Selection], kinds: Sequence[str], dtype: str | None) -> list[Field]:
    """Return the fields of a batch: all arrays of these kinds, of all wanted tracks of all layouts.

    Args:
        selections: what is streamed.
        kinds: `tokens`, `times`, `values`, `features`, `offsets`.
        dtype: of the tokens in the batch; None leaves each as it is stored.

    Raises:
        UnknownName: there is no such array at all.
        WrongLayout: the same array has different trailing shapes, or dtypes, in two layouts.
    """
    found: dict[str, tuple[Field, str]] = {}
    for selection in selections:
        for layout in selection.layouts:
            for track in selection.tracks_of(layout):
                for member in layout.members:
                    if member.dtype is not None and member.track == track and _kind(member) in kinds:
                        field = _field(member, dtype)
                        before, where = found.setdefault(
                            field.name, (field, f"{selection.name}:{layout.name}")
                        )
                        if before != field:
                            raise WrongLayout(
                                f"{field.name} is {before.dtype} [?, {before.trailing}] in {where}, but "
                                f"{field.dtype} [?, {field.trailing}] in {selection.name}:{layout.name}; "
                                "leave the track out with tracks=, or stream the layouts apart, or as samples"
                            )
    if not found:
        raise UnknownName(
            f"no wanted track has arrays of the kinds {list(kinds)}; it has other kinds, or text alone"
        )
    return [field for field, _ in found.values()]


def _kind(member: Member) -> str:
    return member.field.partition(".")[2]


def _field(member: Member, dtype: str | None) -> Field:
    assert member.dtype is not None
    trailing = tuple(-1 if size is None else size for size in member.shape[1:])
    if -1 in trailing:
        raise WrongLayout(f"{member.name} has more than one axis of any length; stream it as samples")
    wanted = np.dtype(dtype) if dtype is not None and _kind(member) == "tokens" else member.dtype
    if not np.can_cast(member.dtype, wanted):
        raise ValueError(f"{member.name} is {member.dtype}, which {wanted} can't hold; take a wider dtype")
    return Field(member.field, wanted, trailing)


class Padder:
    """Fills padded arrays straight from mapped shards."""

    def __init__(self, selections: Sequence[Selection], fields: Sequence[Field]) -> None:
        self._selections = selections
        self._fields = fields

    def locate(self, dataset: IntArray, items: IntArray) -> Located:
        """Find the items of some rows in their shards, all at once: what is costly is asking, not how much.

        Args:
            dataset: int64 [rows], number of each row's dataset; -1 where the row stays empty.
            items: int64 [rows], number of each row's item in its dataset.
        """
        found = Located(len(items), [Spans(len(items), field.items) for field in self._fields])
        for number, selection in enumerate(self._selections):
            mine = np.flatnonzero(dataset == number)
            if selection.choice.window > 1:
                for row in mine.tolist():
                    self._join(found, row, selection.clips(int(items[row])))
                continue
            shards, rows = selection.places(selection.rows(items[mine]))
            for shard in distinct(shards):
                here = shards == shard
                self._find(found, mine[here], selection.open(shard), rows[here])
        return found

    def _find(self, found: Located, places: IntArray, shard: OpenShard, rows: IntArray) -> None:
        """Note where the members of some rows of one shard are."""
        for field, spans in zip(self._fields, found.spans, strict=True):
            column = shard.column(field.member)
            if column is not None:
                spans.add(places, column.typed, *shard.spans(rows, column))

    def _join(self, found: Located, place: int, clips: Sequence[Clip]) -> None:
        """Note the joined members of one item that has several clips."""
        for field, spans in zip(self._fields, found.spans, strict=True):
            if clips[0][0].column(field.member) is not None:
                starts_ns = [shard.start_ns.item(row) for shard, row in clips]
                arrays = [shard.array(row, field.member) for shard, row in clips]
                joined = join_arrays(field.member, arrays, [start - starts_ns[0] for start in starts_ns])
                stop = np.array([joined.size], np.int64)
                spans.add(np.array([place]), joined.reshape(-1), np.zeros(1, np.int64), stop)

    def columns(self, located: Located, rows: int) -> dict[str, Array | list[Array]]:
        """Return the arrays of several batches at once, of so many rows each.

        Returns:
            Per field its arrays, one per batch, [rows, longest, ...]; and `FIELD.length`, int64 [batches,
            rows]: 0 where the row has none.
        """
        columns: dict[str, Array | list[Array]] = {}
        for field, spans in zip(self._fields, located.spans, strict=True):
            starts = range(0, located.rows, rows)
            block = spans.gather(field)
            if block is None:
                padded: Array | list[Array] = [pad(spans.views(at, at + rows), field) for at in starts]
            elif spans.uniform:
                padded = block.reshape(len(starts), rows, *_shape(block.shape[1], field))
            else:
                padded = [_cut(block[at : at + rows], spans.lengths[at : at + rows], field) for at in starts]
            columns[field.name] = padded
            columns[f"{field.name}.length"] = spans.lengths.reshape(-1, rows)
        return columns


class Spans:
    """Where one field of some rows is. A row without it has nothing."""

    def __init__(self, rows: int, step_items: int) -> None:
        self._sources: list[Array] = [np.empty(0, np.uint8)]
        self._source = np.zeros(rows, np.int64)
        self._start = np.zeros(rows, np.int64)
        self._size = np.zeros(rows, np.int64)
        self._step_items = step_items

    def add(self, places: IntArray, source: Array, start: IntArray, stop: IntArray) -> None:
        """Say that these rows lie in `source`, 1-D, from `start` to `stop`."""
        self._source[places] = len(self._sources)
        self._start[places] = start
        self._size[places] = stop - start
        self._sources.append(source)

    @cached_property
    def lengths(self) -> IntArray:
        """int64 [rows]: steps of each."""
        return self._size // self._step_items

    @cached_property
    def uniform(self) -> bool:
        """Whether all rows have the same length."""
        return bool((self._size == self._size[0]).all())

    def views(self, start: int, stop: int) -> list[Array]:
        """Return the flat views of the rows from `start` to `stop`."""
        numbers = (self._source[start:stop], self._start[start:stop], self._size[start:stop])
        triples = zip(*(column.tolist() for column in numbers), strict=True)
        return [self._sources[source][low : low + size] for source, low, size in triples]

    def gather(self, field: Field) -> Array | None:
        """Return all rows as one flat padded array, copied source by source; None where that does not pay.

        Rows of one source and one size are read with a single call: as rows of a view in which every 64th
        byte begins one. That takes a third of the time of a copy per row, where rows are small.
        """
        rows = len(self._size)
        longest = int(self._size.max(initial=0))
        if rows * longest * field.dtype.itemsize > _GATHERED_BYTES:
            return None
        kind_of = self._source * (longest + 1) + self._size
        kinds = distinct(kind_of)
        if len(kinds) > rows // _ROWS_PER_CALL:
            return None
        out = (np.empty if self.uniform else np.zeros)((rows, longest), field.dtype)
        for kind in kinds:
            source, size = self._sources[kind // (longest + 1)], kind % (longest + 1)
            if size:
                places = np.flatnonzero(kind_of == kind)
                step = _ALIGNMENT // source.itemsize
                slots, rest = np.divmod(self._start[places], step)
                if rest.any():
                    return None
                shape = ((source.size - size) // step + 1, size)
                windows = np.ndarray(shape, source.dtype, source, strides=(_ALIGNMENT, source.itemsize))
                out[places, :size] = windows[slots]
        return out


@dataclass(frozen=True)
class Located:
    """Where the fields of some rows are."""

    rows: int
    spans: list[Spans]


def pad(views: Sequence[Array], field: Field) -> Array:
    """Return flat views as one array [rows, longest, ...], zeros behind each."""
    sizes = list(map(len, views))
    longest = max(sizes)
    out = (np.empty if min(sizes) == longest else np.zeros)((len(views), longest), field.dtype)
    for number, view in enumerate(views):
        out[number, : view.size] = view
    return out.reshape(len(views), *_shape(longest, field))


def _cut(block: Array, lengths: IntArray, field: Field) -> Array:
    """Return the rows of one batch [rows, longest, ...], without what only rows of others need."""
    longest = int(lengths.max()) * field.items
    return np.ascontiguousarray(block[:, :longest]).reshape(len(block), *_shape(longest, field))


def _shape(items: int, field: Field) -> tuple[int, ...]:
    return (items // field.items, *field.trailing)
