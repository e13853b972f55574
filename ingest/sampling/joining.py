"""Several topics in one signal track: their columns side by side, on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ingest.sampling.clip import ClipMedia, SignalClip, Window


@dataclass(frozen=True)
class Place:
    """Where a part stands in a joined track."""

    name: str
    """Of the joined track."""
    index: int
    count: int
    """Parts of the joined track."""


class Joiner:
    """Gathers the parts of joined tracks, window by window; everything else passes through.

    Args:
        places: by the label under which a part is sampled.
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._waiting: dict[tuple[str, int], dict[int, SignalClip]] = {}

    def take(self, window: Window, label: str, media: ClipMedia) -> Iterator[tuple[Window, str, ClipMedia]]:
        """Take a part; yield the joined clip with its last one."""
        place = self._places.get(label)
        if place is None:
            yield window, label, media
            return
        assert isinstance(media, SignalClip)
        parts = self._waiting.setdefault((place.name, window.index), {})
        parts[place.index] = media
        if len(parts) == place.count:
            del self._waiting[place.name, window.index]
            yield window, place.name, joined([parts[index] for index in range(place.count)])


def joined(parts: list[SignalClip]) -> SignalClip:
    """Return clips on one grid as one clip: columns in the order of the parts."""
    values = np.concatenate([part.values for part in parts], axis=1)
    return SignalClip(values, parts[0].times_ns, fresh=any(part.fresh for part in parts))
