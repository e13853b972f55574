"""`TokenDataset`: the same items by their number, for samplers of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.remote.options import RemoteOptions
from shards.streaming.item import StreamSample
from shards.streaming.selection import Choice, Selection, Split
from shards.streaming.shard_access import Array
from shards.streaming.source import open_source

if TYPE_CHECKING:  # at run time any object with a length and items will do
    from torch.utils.data import Dataset

    _MapStyle = Dataset[dict[str, Array]]
else:
    _MapStyle = object


class TokenDataset(_MapStyle):
    """A dataset's items by number, in the dataset's order: a map-style dataset for torch's `DataLoader`.

    `dataset[5]` is a dict of arrays of its own; `dataset.sample(5)` has views, text and provenance.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        tracks: Sequence[str] | None = None,
        split: Split | None = None,
        validation_share: float = 0.05,
        window: int = 1,
        stride: int | None = None,
        open_shards: int = 128,
        remote: RemoteOptions | None = None,
    ) -> None:
        """Open a dataset. The arguments, and what is raised, are those of `TokenStream`."""
        if isinstance(tracks, str):
            raise TypeError(f"tracks must be a list of names, got the text {tracks!r}; write [{tracks!r}]")
        choice = Choice(
            None if tracks is None else tuple(tracks), split, validation_share, window, stride or window
        )
        self._arguments = (path, choice, open_shards, remote)
        self._selection: Selection | None = _select(*self._arguments)

    def __len__(self) -> int:
        return self._opened().count

    def __getitem__(self, item: int) -> dict[str, Array]:
        """Return the arrays of an item, by member name without `.npy`, as copies that may be written to.

        Raises:
            IndexError: there is no such item.
            DamagedDataset: its shard can't be read.
        """
        return {name: array.copy() for name, array in self.sample(item).arrays.items()}

    def sample(self, item: int) -> StreamSample:
        """Return an item with views of its arrays, its text and its provenance. Raises as above."""
        selection = self._opened()
        item = range(selection.count)[item]  # negative numbers count from the end
        clips = selection.clips(item)
        return StreamSample(selection.name, item, clips, selection.tracks_of(clips[0][0].entry.layout))

    @property
    def left_out(self) -> dict[str, int]:
        """How many samples are not in it, by the reason."""
        return dict(self._opened().left_out)

    def _opened(self) -> Selection:
        if self._selection is None:
            self._selection = _select(*self._arguments)
        return self._selection

    def __getstate__(self) -> dict[str, Any]:
        return {"_arguments": self._arguments, "_selection": None}  # maps can't travel


def _select(path: str | Path, choice: Choice, open_shards: int, remote: RemoteOptions | None) -> Selection:
    return Selection("data", *open_source(path, remote), choice, open_shards)
