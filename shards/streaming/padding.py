"""Batches of whole samples: each array padded with zeros to the longest of the batch, with its lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shards.errors import UnknownName, WrongLayout
from shards.layout import Member
from shards.streaming.item import join_arrays
from shards.streaming.order import IntArray
from shards.streaming.selection import Selection
from shards.streaming.shard_access import Array, OpenShard


@dataclass(frozen=True)
class Field:
    """One padded array of a batch."""

    name: str
    """Of the member, without `.npy`."""
    dtype: np.dtype[Any]
    trailing: tuple[int, ...]
    """Sizes of the axes behind the first."""

    @property
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
    return Field(member.field, wanted, trailing)


class Padder:
    """Fills padded arrays straight from mapped shards."""

    def __init__(self, selections: Sequence[Selection], fields: Sequence[Field]) -> None:
        self._selections = selections
        self._fields = fields

    def build(self, dataset: IntArray, items: IntArray) -> dict[str, Array]:
        """Return the arrays of one batch.

        Args:
            dataset: number of each row's dataset; -1 where the row stays empty.
            items: number of each row's item in its dataset; -1 where the row stays empty.

        Returns:
            Per field the array, [rows, longest, ...], and `FIELD.length`, int64 [rows]: 0 where the row has
            none. `dataset` and `item`, int64 [rows], as they were given.
        """
        clips: list[list[tuple[OpenShard, int]]] = [[]] * len(items)
        for number, selection in enumerate(self._selections):
            mine = np.flatnonzero(dataset == number)
            if selection.choice.window > 1:
                for place in mine.tolist():
                    clips[place] = selection.clips(int(items[place]))
                continue
            shards, rows = selection.places(selection.rows(items[mine]))
            open_shard = selection.open
            for place, shard, row in zip(mine.tolist(), shards, rows, strict=True):
                clips[place] = [(open_shard(shard), row)]
        arrays: dict[str, Array] = {}
        for field in self._fields:
            views = [_view(row, f"{field.name}.npy") for row in clips]
            arrays[field.name], arrays[f"{field.name}.length"] = pad(views, field)
        return arrays | {"dataset": dataset, "item": items}


def _view(clips: list[tuple[OpenShard, int]], name: str) -> Array | None:
    """Return the member of a row's clips as one flat array; None where there is none."""
    if len(clips) == 1:
        shard, row = clips[0]
        column = shard.column(name)
        if column is None:
            return None
        start, stop = shard.span(row, column)
        return column.typed[start:stop]
    if not clips or clips[0][0].column(name) is None:
        return None
    starts_ns = [int(shard.rows["start_ns"][row]) for shard, row in clips]
    arrays = [shard.array(row, name) for shard, row in clips]
    return join_arrays(name, arrays, [start_ns - starts_ns[0] for start_ns in starts_ns]).reshape(-1)


def pad(views: Sequence[Array | None], field: Field) -> tuple[Array, IntArray]:
    """Return flat views as one array [rows, longest, ...], zeros behind each; and the rows' lengths."""
    sizes = [0 if view is None else view.size for view in views]
    longest = max(sizes)
    whole = min(sizes) == longest
    out = (np.empty if whole else np.zeros)((len(views), longest), field.dtype)
    for number, view in enumerate(views):
        if view is not None:
            out[number, : view.size] = view
    lengths = np.array(sizes, np.int64) // field.items
    return out.reshape(len(views), longest // field.items, *field.trailing), lengths
