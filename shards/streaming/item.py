"""One item of a stream: a clip, or several that follow each other, as arrays and where they are from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from shards.layout import Member
from shards.reader import Sample
from shards.streaming.selection import Clip
from shards.streaming.shard_access import Array

Json = dict[str, Any]


class StreamSample:
    """What a stream of samples yields. Members are decoded when they are first asked for."""

    def __init__(self, dataset: str, item: int, clips: Sequence[Clip], tracks: tuple[str, ...]) -> None:
        self.dataset = dataset
        """Name of its dataset in the mix; the path of a single one."""
        self.item = item
        """Its number among the dataset's items."""
        self.tracks = tracks
        """The tracks that are read."""
        self._clips = clips

    @cached_property
    def clips(self) -> tuple[Sample, ...]:
        """The clips, in time order; most often one."""
        return tuple(shard.sample(row) for shard, row in self._clips)

    @property
    def start_ns(self) -> int:
        """Start on the recording's own timeline."""
        return self.clips[0].start_ns

    @property
    def stop_ns(self) -> int:
        """End on the recording's own timeline; not in it."""
        return self.clips[-1].stop_ns

    @property
    def key(self) -> str:
        """Key of the first clip."""
        return self.clips[0].key

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return self.clips[0].layout

    @cached_property
    def provenance(self) -> list[Json]:
        """Per clip its provenance: recording, content id, times, and what is known per track."""
        return [clip.provenance for clip in self.clips]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """The arrays of the wanted tracks, by member name without `.npy`.

        Those of a single clip are read-only views of the mapped shard; those of several are joined.
        Times count from the start of the first clip, offsets from its first code.
        """
        return {member.field: self._array(member) for member in self._members("array")}

    @cached_property
    def text(self) -> dict[str, str]:
        """The text of the wanted tracks, by name without `.txt`: one line per cue.

        A cue that two clips share stands in both of them, as its times do.
        """
        members = self._members("text")
        return {m.field: "".join(clip.text[m.field] for clip in self.clips) for m in members}

    @cached_property
    def tokens(self) -> dict[str, int]:
        """Number of codes per wanted track."""
        return {track: sum(clip.tokens[track] for clip in self.clips) for track in self.tracks}

    @cached_property
    def valid(self) -> dict[str, int]:
        """Valid length per wanted track, before padding."""
        return {track: sum(clip.valid[track] for clip in self.clips) for track in self.tracks}

    def _members(self, kind: str) -> list[Member]:
        members = self._clips[0][0].entry.layout.members
        return [member for member in members if member.kind == kind and member.track in self.tracks]

    def _array(self, member: Member) -> Array:
        views = [shard.array(row, member.name) for shard, row in self._clips]
        if len(views) == 1:
            return views[0]
        starts_ns = [clip.start_ns - self.start_ns for clip in self.clips]
        return join_arrays(member.name, views, starts_ns)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Travel to another process as `LoadedSample`: mapped shards can't."""
        values = {name: getattr(self, name) for name in LoadedSample.FIELDS}
        values["arrays"] = {name: array.copy() for name, array in self.arrays.items()}
        return LoadedSample, (values,)

    def __repr__(self) -> str:
        shapes = {name: f"{array.dtype} {list(array.shape)}" for name, array in self.arrays.items()}
        return f"{type(self).__name__}({self.dataset}, {self.key}, {shapes})"


class LoadedSample(StreamSample):
    """A sample that came from a worker process: the same, with arrays of its own."""

    FIELDS = (
        "dataset", "item", "tracks", "start_ns", "stop_ns", "key", "layout", "provenance", "text", "tokens",
        "valid",
    )  # fmt: skip

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    clips = ()
    start_ns = stop_ns = 0
    key = layout = ""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return LoadedSample, (self.__dict__,)


def join_arrays(name: str, views: Sequence[Array], starts_ns: Sequence[int]) -> Array:
    """Return the arrays of clips that follow each other as one.

    Args:
        name: the member's. `.times.npy` are shifted to the first clip's start; `.offsets.npy` count on.
        views: one array per clip, equal but for the first axis.
        starts_ns: each clip's start after that of the first.
    """
    if name.endswith(".times.npy"):
        views = [view + start_ns for view, start_ns in zip(views, starts_ns, strict=True)]
    if name.endswith(".offsets.npy"):
        parts, end = [views[0][:1]], 0
        for view in views:
            parts.append(view[1:] + end)
            end = int(parts[-1][-1]) if len(parts[-1]) else end
        views = parts
    return np.concatenate(views)
