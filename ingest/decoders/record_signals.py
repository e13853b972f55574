"""Protobuf and JSON messages -> rows of a signal track (which numbers: `records`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ingest.decoders.records import Number
from ingest.decoders.row_batches import RowBatches
from ingest.recording import Packet, Rows


class RecordSignals:
    """Decoder of one signal track.

    Args:
        columns: the track's columns, in order.
        numbers: turns a message's bytes into its numbers by path; raises `CannotDecode`.
    """

    def __init__(
        self, columns: Sequence[str], numbers: Callable[[bytes | memoryview], Mapping[str, Number]]
    ) -> None:
        self._columns = tuple(columns)
        self._numbers = numbers
        self._batches = RowBatches()

    def decode(self, packet: Packet) -> list[Rows]:
        """See `Decoder`."""
        found = self._numbers(packet.data)
        return self._batches.add(packet.time_ns, [found.get(name, math.nan) for name in self._columns])

    def flush(self) -> list[Rows]:
        """See `Decoder`."""
        return self._batches.flush()
