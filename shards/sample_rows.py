"""`NAME.samples.npy`: one row per sample of a shard, so that no reader must walk the tar.

A structured array, little-endian, packed, with these fields in this order:

    recording             uint64   first 16 hex digits of the content id, as a number
    start_ns, stop_ns     int64    the clip, on the recording's own timeline
    MEMBER:offset         uint64   per member of the layout: where its bytes begin in the tar,
    MEMBER:size           uint64   and how many they are (`video.tokens.npy:offset`)
    TRACK:tokens          uint32   per track of the layout: codes in its tokens.npy, 0 without one,
    TRACK:valid           uint32   and its valid length, before padding (`video:valid`)

The end of the last sample's data stands in `NAME.tar.idx`.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.layout import Layout
from shards.tar import BLOCK_BYTES

LARGEST_BYTES = 2**62
LONGEST_NS = 366 * 86_400 * 10**9
"""No clip is longer: what claims to be is damaged."""


def row_dtype(layout: Layout) -> np.dtype[Any]:
    """Return the dtype of a layout's rows."""
    fields = [("recording", "<u8"), ("start_ns", "<i8"), ("stop_ns", "<i8")]
    for member in layout.members:
        fields += [(f"{member.name}:offset", "<u8"), (f"{member.name}:size", "<u8")]
    for track in layout.tracks:
        fields += [(f"{track}:tokens", "<u4"), (f"{track}:valid", "<u4")]
    return np.dtype(fields)


def check_rows(rows: npt.NDArray[Any], layout: Layout, samples: int) -> None:
    """Raise `ValueError` unless these are the rows of so many samples of a layout."""
    if rows.dtype != row_dtype(layout) or rows.shape != (samples,):
        raise ValueError(f"must be {samples} rows with the columns of its layout")
    length_ns = rows["stop_ns"].astype(np.uint64) - rows["start_ns"].astype(np.uint64)  # int64 may overflow
    if np.any(rows["stop_ns"] <= rows["start_ns"]) or np.any(length_ns >= LONGEST_NS):
        raise ValueError("a clip must stop after it starts, and within a year")


def check_places(rows: npt.NDArray[Any], layout: Layout) -> None:
    """Raise `ValueError` unless members stand where we write them. That the tar reaches so far is asked when
    they are read: of one that was cut short, what comes before is good.
    """
    for member in layout.members:
        begins, sizes = rows[f"{member.name}:offset"], rows[f"{member.name}:size"]
        wrong = (begins > LARGEST_BYTES) | (sizes > LARGEST_BYTES)
        wrong |= (begins < BLOCK_BYTES) | (begins % BLOCK_BYTES != 0)
        if np.any(wrong):
            raise ValueError(f"row {int(np.argmax(wrong))} says of {member.name} what can't be")


def row_struct(layout: Layout) -> struct.Struct:
    """Return the same row for `pack`: members as offset, size; tracks as tokens, valid."""
    return struct.Struct("<Qqq" + "QQ" * len(layout.members) + "II" * len(layout.tracks))
