"""Rows of a fixed length: the sequences of an epoch, one behind the other, cut every `length` ids.

    sequences   ┃ clip 7          ┃ clip 2  ┃ clip 9                    ┃ …
    rows        └─────────┴─────────┴─────────┴─────────┴─────────┴───

Only the last row of an epoch is filled up. No id is lost, and none comes twice. Which sequences a row
cuts follows from their lengths, which stand in `.samples.npy`; so any row is found without those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from shards.errors import DamagedDataset
from shards.streaming.interleaving import CLIP_MARKS, Interleaver, Sequence1D, sequence_lengths
from shards.streaming.order import EpochOrder, IntArray
from shards.streaming.selection import Selection, codes_in
from shards.streaming.shard_access import Array, ShardEntry
from shards.streaming.vocabulary import Vocabulary

_BLOCKS_KEPT = 512


@dataclass(frozen=True)
class Part:
    """A stretch of one item's sequence in a row."""

    item: int
    start: int
    """First id of the sequence."""
    stop: int


@dataclass(frozen=True)
class Waste:
    """What of all places in an epoch's rows holds no code."""

    places: int
    codes: int
    marks: int
    """Special tokens: begin and end of clips and tracks."""
    padding: int

    @property
    def share(self) -> float:
        """Marks and padding as a share of all places."""
        return 1 - self.codes / self.places


class PackedRows:
    """The rows of one dataset, epoch after epoch."""

    def __init__(
        self,
        selection: Selection,
        order: EpochOrder,
        interleaver: Interleaver,
        length: int,
        slot_ns: int,
        sequences_kept: int,
    ) -> None:
        """Read the lengths of all sequences.

        Args:
            selection: whose items are packed.
            order: of its items.
            interleaver: makes the sequences.
            length: ids in a row.
            slot_ns: length of a slot.
            sequences_kept: how many sequences stay at hand for the rows that go on with them.
        """
        self.selection = selection
        self.length = length
        self._order = order
        self._interleaver = interleaver
        self._wanted = {layout.name: selection.tracks_of(layout) for layout in selection.layouts}

        def lengths_in(entry: ShardEntry, rows: Array) -> IntArray:
            tracks = interleaver.tracks_of(entry.layout, self._wanted[entry.layout.name])
            return sequence_lengths(rows, [track.name for track in tracks], slot_ns)

        self.lengths: IntArray = CLIP_MARKS + selection.per_item(lengths_in)
        """int64 [items]: ids of each item's sequence."""
        self.total = int(self.lengths.sum())
        """Ids in an epoch."""
        self.count = -(-self.total // length)
        """Rows in an epoch."""
        self.codes = int(selection.per_item(partial(self._codes_in, interleaver)).sum())
        """Codes in an epoch."""
        self._block_ends = lru_cache(4)(self._find_block_ends)
        self._item_ends = lru_cache(_BLOCKS_KEPT)(self._find_item_ends)
        self._sequence = lru_cache(sequences_kept)(self._make_sequence)

    def _codes_in(self, interleaver: Interleaver, entry: ShardEntry, rows: Array) -> IntArray:
        tracks = interleaver.tracks_of(entry.layout, self._wanted[entry.layout.name])
        return codes_in(rows, [track.name for track in tracks])

    def parts(self, epoch: int, row: int) -> list[Part]:
        """Return what stands in a row of an epoch."""
        start = row * self.length
        stop = min(start + self.length, self.total)
        ends = self._block_ends(epoch)
        block = int(np.searchsorted(ends, start, side="right"))
        parts: list[Part] = []
        while start < stop:
            begin = int(ends[block - 1]) if block else 0
            items, item_ends = self._order.block(epoch, block), self._item_ends(epoch, block)
            place = int(np.searchsorted(item_ends, start - begin, side="right"))
            while place < len(items) and start < stop:
                item = int(items[place])
                end = begin + int(item_ends[place])
                first = end - int(self.lengths[item])
                parts.append(Part(item, start - first, min(stop, end) - first))
                start = min(stop, end)
                place += 1
            block += 1
        return parts

    def fill(self, parts: Sequence[Part], out: Array, vocabulary: Vocabulary) -> None:
        """Write the ids of a row into `out`, int32 [length], which is padded already."""
        at = 0
        for part in parts:
            length = part.stop - part.start
            self._sequence(part.item).fill(out[at : at + length], part.start, vocabulary)
            at += length

    def _make_sequence(self, item: int) -> Sequence1D:
        clips = self.selection.clips(item)
        try:
            return self._interleaver.sequence(clips, self._wanted, int(self.lengths[item]))
        except ValueError as error:
            shard, row = clips[0]
            raise DamagedDataset(
                f"{shard.path}: sample {shard.sample(row).key}: {error}; run fifth verify"
            ) from error

    def _find_block_ends(self, epoch: int) -> IntArray:
        """Return where each block's ids end: a sum that needs no shuffling within blocks."""
        size, count = self._order.block_size, self._order.count
        items = self._order.in_shard_order(epoch, 0, count)
        starts = np.arange(0, count, size)
        return np.cumsum(np.add.reduceat(self.lengths[items], starts))

    def _find_item_ends(self, epoch: int, block: int) -> IntArray:
        return np.cumsum(self.lengths[self._order.block(epoch, block)])


class Packer:
    """Fills batches of rows."""

    def __init__(self, rows: Sequence[PackedRows], vocabulary: Vocabulary, length: int) -> None:
        self._rows = rows
        self._vocabulary = vocabulary
        self._length = length

    def build(self, dataset: IntArray, epoch: IntArray, position: IntArray) -> dict[str, Array]:
        """Return the arrays of one batch.

        Args:
            dataset: number of each row's dataset; -1 where the row stays empty.
            epoch: of each row.
            position: number of each row in its epoch.

        Returns:
            `tokens`, int32 [rows, length]; `length`, int64 [rows]: ids before the padding; `position_ids`,
            int32 [rows, length], from 0 in each stretch of a clip; `cu_seqlens`, int32 [stretches + 1]: where
            the stretches begin in the flattened batch, padding being one of its own; `max_seqlen`, int32 [];
            `dataset`, int64 [rows]; `item`, int64 [stretches]: which item each is of, -1 for padding.
        """
        rows, length = len(dataset), self._length
        tokens = np.full((rows, length), self._vocabulary.pad, np.int32)
        valid = np.zeros(rows, np.int64)
        begins: list[int] = []
        items: list[int] = []
        triples = zip(dataset.tolist(), epoch.tolist(), position.tolist(), strict=True)
        for number, (which, turn, place) in enumerate(triples):
            at = 0
            if which >= 0:
                parts = self._rows[which].parts(turn, place)
                self._rows[which].fill(parts, tokens[number], self._vocabulary)
                for part in parts:
                    begins.append(number * length + at)
                    items.append(part.item)
                    at += part.stop - part.start
            if at < length:
                begins.append(number * length + at)
                items.append(-1)
            valid[number] = at
        bounds = np.array([*begins, rows * length], np.int64)
        sizes = np.diff(bounds)
        positions = np.arange(rows * length, dtype=np.int64) - np.repeat(bounds[:-1], sizes)
        return {
            "tokens": tokens,
            "length": valid,
            "position_ids": positions.astype(np.int32).reshape(rows, length),
            "cu_seqlens": bounds.astype(np.int32),
            "max_seqlen": np.array(sizes.max(), np.int32),
            "dataset": dataset,
            "item": np.array(items, np.int64),
        }
