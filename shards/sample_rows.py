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

from shards.layout import Layout


def row_dtype(layout: Layout) -> np.dtype[Any]:
    """Return the dtype of a layout's rows."""
    fields = [("recording", "<u8"), ("start_ns", "<i8"), ("stop_ns", "<i8")]
    for member in layout.members:
        fields += [(f"{member.name}:offset", "<u8"), (f"{member.name}:size", "<u8")]
    for track in layout.tracks:
        fields += [(f"{track}:tokens", "<u4"), (f"{track}:valid", "<u4")]
    return np.dtype(fields)


def row_struct(layout: Layout) -> struct.Struct:
    """Return the same row for `pack`: members as offset, size; tracks as tokens, valid."""
    return struct.Struct("<Qqq" + "QQ" * len(layout.members) + "II" * len(layout.tracks))
