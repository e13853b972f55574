"""One clip as one sequence of ids: its tracks interleaved by time.

Time is cut into slots of `slot_ns`. In each slot every track that has codes in this clip gives those of its
steps that begin there, between its own begin and end:

    <clip>  <audio> … </audio> <video> … </video>   <audio> … </audio> <video> … </video>   …  </clip>
            └────────────── slot 0 ─────────────┘   └────────────── slot 1 ─────────────┘

A slot in which a track has nothing still says so (`<audio></audio>`). Therefore the length of a sequence
follows from what stands in `.samples.npy` (codes per track, start and stop), and no tar has to be read to
know where in an epoch a row begins. Every code of the clip is there once, in the order of its array.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.errors import DamagedDataset
from shards.layout import Layout
from shards.streaming.order import IntArray
from shards.streaming.selection import Clip, codes_in
from shards.streaming.shard_access import Array, OpenShard
from shards.streaming.vocabulary import Vocabulary

CLIP_MARKS = 2
"""Ids around each sequence."""
MOST_SLOTS = 100_000
"""In one clip: half a day of half seconds."""


def slots_in(length_ns: npt.NDArray[np.int64], slot_ns: int) -> IntArray:
    """Return the number of slots in clips of these lengths."""
    return np.asarray(-(-length_ns // slot_ns), np.int64)


def sequence_lengths(rows: npt.NDArray[Any], tracks: Sequence[str], slot_ns: int) -> IntArray:
    """Return how many ids the clips of a shard have, without the marks around a sequence.

    Args:
        rows: a shard's rows (`shards.sample_rows`).
        tracks: the layout's tracks that have ids.
        slot_ns: length of a slot.
    """
    slots = slots_in(rows["stop_ns"] - rows["start_ns"], slot_ns)
    if len(slots) and int(slots.max()) > MOST_SLOTS:
        raise DamagedDataset(
            f"a clip has {int(slots.max())} slots of {slot_ns} ns, more than {MOST_SLOTS}: its length is "
            "damaged, or slot_ns too small for it"
        )
    present = np.zeros(len(rows), np.int64)
    for track in tracks:
        present += rows[f"{track}:tokens"] > 0
    return codes_in(rows, tracks) + 2 * present * slots


@dataclass(frozen=True)
class TrackTiming:
    """When the steps of a track begin."""

    has_times: bool
    """Whether each media item has a time of its own (pictures)."""
    items_per_step: int
    """Media items (frames, samples, rows) of one step."""
    rate: Fraction
    """Media items per second on the grid, from the clip's start; 0: all at the start."""

    @classmethod
    def of(cls, layout: Layout, track: str) -> TrackTiming:
        """Read it from a layout."""
        described = layout.track(track)
        spec = described.get("spec") or {}
        stride = next(iter(spec.get("strides") or ()), 1)
        has_times = layout.index_of(f"{track}.times.npy") is not None
        if not stride:  # ragged: a step is a frame, a packet of sound, or a whole chunk
            stride = max(1, (spec.get("input") or {}).get("chunk", 1) // (spec.get("steps_per_chunk") or 1))
        return cls(has_times, int(stride), Fraction(described.get("rate") or 0))

    def step_times(self, steps: int, times_ns: IntArray | None) -> IntArray:
        """Return when each step begins, in ns after the clip's start, int64 [steps].

        Args:
            steps: how many there are; padded ones begin with the last frame.
            times_ns: of the media items, where they have times.
        """
        first = np.arange(steps, dtype=np.int64) * self.items_per_step
        if times_ns is not None and len(times_ns):
            return np.asarray(times_ns[np.minimum(first, len(times_ns) - 1)], np.int64)
        if not self.rate:
            return np.zeros(steps, np.int64)
        return -(-first * (10**9 * self.rate.denominator) // self.rate.numerator)


@dataclass(frozen=True)
class TrackIds:
    """How one track of a layout becomes ids."""

    name: str
    begin: int
    end: int
    timing: TrackTiming
    offset: npt.NDArray[np.int32]
    """What is added to a code: one number, or one per place of a step's codes."""
    step_codes: int
    """Codes of a step; 0 where `.offsets.npy` says it for each."""

    @classmethod
    def of(cls, layout: Layout, name: str, vocabulary: Vocabulary) -> TrackIds:
        """Make it for a track of a layout."""
        member = layout.member(f"{name}.tokens.npy")
        step = int(np.prod([size or 1 for size in member.shape[1:]], dtype=np.int64))
        offsets = vocabulary.offsets(name)
        one = np.array(offsets[0], np.int32)
        ragged = layout.index_of(f"{name}.offsets.npy") is not None
        return cls(
            name,
            vocabulary.begin(name),
            vocabulary.end(name),
            TrackTiming.of(layout, name),
            np.tile(np.array(offsets, np.int32), step // len(offsets)) if len(offsets) > 1 else one,
            0 if ragged else step,
        )


@dataclass(frozen=True)
class _Piece:
    """A stretch of a sequence: codes of one track between its begin and its end."""

    track: TrackIds
    codes: Array
    """All codes of the track in its clip, flat."""
    start: int
    stop: int


class Sequence1D:
    """The ids of one item. Nothing is copied until `fill`."""

    def __init__(self, pieces: list[_Piece], length: int) -> None:
        self.length = length
        """Ids, with the marks around them."""
        self._pieces = pieces
        self._starts: list[int] = []
        at = 1
        for piece in pieces:
            self._starts.append(at)
            at += piece.stop - piece.start + 2
        if at + 1 != length:
            raise DamagedDataset(f"a sequence of {at + 1} ids, where its rows say {length}; run fifth verify")

    def fill(self, out: npt.NDArray[np.int32], start: int, vocabulary: Vocabulary) -> None:
        """Write the ids from `start` on into all of `out`."""
        stop = start + len(out)
        if start == 0:
            out[0] = vocabulary.begin_clip
        if stop == self.length:
            out[-1] = vocabulary.end_clip
        number = max(bisect_right(self._starts, start) - 1, 0)
        for piece, at in zip(self._pieces[number:], self._starts[number:], strict=True):
            if at >= stop:
                break
            codes = piece.stop - piece.start
            if start <= at:
                out[at - start] = piece.track.begin
            end = at + 1 + codes
            if start <= end < stop:
                out[end - start] = piece.track.end
            low, high = max(start, at + 1), min(stop, end)
            if low < high:
                first = piece.start + low - at - 1
                _write_ids(out[low - start : high - start], piece, first)


def _write_ids(out: npt.NDArray[np.int32], piece: _Piece, first: int) -> None:
    codes = piece.codes[first : first + len(out)]
    offset = piece.track.offset
    if offset.ndim:
        offset = offset[np.arange(first, first + len(out)) % len(offset)]
    np.add(codes, offset, out=out, casting="unsafe")  # uint32 codes below 2^31: no id is larger


class Interleaver:
    """Makes the sequences of a selection's items."""

    def __init__(self, vocabulary: Vocabulary, slot_ns: int) -> None:
        self._vocabulary = vocabulary
        self._slot_ns = slot_ns
        self._tracks: dict[str, list[TrackIds]] = {}
        self._grid_cuts = lru_cache(1024)(self._find_grid_cuts)  # most clips are alike

    def tracks_of(self, layout: Layout, wanted: Sequence[str]) -> list[TrackIds]:
        """Return the wanted tracks of a layout that have ids, in the layout's order."""
        if layout.name not in self._tracks:
            self._tracks[layout.name] = [
                TrackIds.of(layout, name, self._vocabulary)
                for name in wanted
                if layout.index_of(f"{name}.tokens.npy") is not None
            ]
        return self._tracks[layout.name]

    def sequence(self, clips: Sequence[Clip], wanted: Mapping[str, Sequence[str]], length: int) -> Sequence1D:
        """Return the sequence of an item.

        Args:
            clips: of the item, in time order; each begins with a slot of its own.
            wanted: per layout name the wanted tracks.
            length: what `sequence_lengths` say, with the marks.
        """
        pieces: list[_Piece] = []
        for shard, row in clips:
            layout = shard.entry.layout
            self._add_clip(pieces, shard, row, self.tracks_of(layout, wanted[layout.name]))
        return Sequence1D(pieces, length)

    def _add_clip(self, pieces: list[_Piece], shard: OpenShard, row: int, tracks: Sequence[TrackIds]) -> None:
        slots = -(-(shard.stop_ns.item(row) - shard.start_ns.item(row)) // self._slot_ns)
        cuts = []
        for track in tracks:
            column = shard.column(f"{track.name}.tokens.npy")
            assert column is not None
            start, stop = shard.span(row, column)
            if stop > start:
                codes = column.typed[start:stop]
                cuts.append((track, codes, self._cuts(shard, row, track, len(codes), slots)))
        pieces += [
            _Piece(track, codes, bounds[slot], bounds[slot + 1])
            for slot in range(slots)
            for track, codes, bounds in cuts
        ]

    def _cuts(self, shard: OpenShard, row: int, track: TrackIds, codes: int, slots: int) -> list[int]:
        """Return where in a track's codes each slot begins, then the end."""
        firsts: IntArray | None = None
        if track.step_codes:
            steps = codes // track.step_codes
        else:
            firsts = shard.array(row, f"{track.name}.offsets.npy")
            steps = len(firsts) - 1
        if track.timing.has_times:
            begins = track.timing.step_times(steps, shard.array(row, f"{track.name}.times.npy"))
            cuts = np.searchsorted(begins, self._borders(slots), side="left")
        else:
            cuts = self._grid_cuts(track.timing, steps, slots)
        cuts = cuts * track.step_codes if firsts is None else firsts[cuts]
        bounds = [0, *cuts.tolist(), codes]
        if firsts is not None and bounds != sorted(bounds):
            raise DamagedDataset(
                f"{shard.path}: row {row}: offsets of {track.name} do not rise; run fifth verify"
            )
        return bounds

    def _find_grid_cuts(self, timing: TrackTiming, steps: int, slots: int) -> IntArray:
        cuts = np.searchsorted(timing.step_times(steps, None), self._borders(slots), side="left")
        return np.asarray(cuts, np.int64)

    def _borders(self, slots: int) -> IntArray:
        """Return where slots begin, without the first."""
        return np.arange(1, slots, dtype=np.int64) * self._slot_ns
