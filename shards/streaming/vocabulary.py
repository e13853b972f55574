"""One vocabulary for the tokens of all tracks: special tokens, then each track's codebooks.

    0                     <pad>
    1, 2                  <clip>, </clip>
    3, 4 …                <TRACK>, </TRACK> for each track, tracks in sorted order
    then                  per track the codes of its codebooks, one behind the other

A track with one codebook for all places of its last axis has one range of ids; one with a codebook per
place (residual codes of sound, say) has one range per place. Saved with a training run, it says what every
id means, and turns ids back into codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import write_whole
from shards.canonical_json import json_page, json_text, read_json
from shards.errors import DamagedDataset, UnknownName, WrongLayout
from shards.layout import Layout
from shards.shapes import misfit
from shards.streaming.shard_access import Array

Json = dict[str, Any]
FORMAT = 1
PAD, BEGIN_CLIP, END_CLIP = 0, 1, 2
_FIRST_TRACK = 3
_LARGEST = 2**31
_TRACK = {
    "name": str,
    "encoder": str,
    "dtype": str,
    "sizes": [range(1, _LARGEST)],
    "shape?": [range(1, _LARGEST)],
}
_JSON = {"format": range(2**31), "tracks": [_TRACK]}


@dataclass(frozen=True)
class TrackCodes:
    """The codes of one track."""

    name: str
    encoder: str
    """Name, revision and hash of the weights of what made them; what else was fitted is not compared."""
    dtype: str
    """Of the codes as they are stored."""
    sizes: tuple[int, ...]
    """Codes per codebook: one for all places of the last axis, or one per place."""
    shape: tuple[int, ...] | None
    """Codes of one time step; None where the layouts differ, or a step has any number."""

    def __post_init__(self) -> None:
        if np.dtype(self.dtype).kind not in "ui":
            raise ValueError(f"track {self.name!r}: codes are whole numbers, not {self.dtype}")
        if not self.sizes or (len(self.sizes) > 1 and self.shape and self.shape[-1] != len(self.sizes)):
            raise ValueError(f"track {self.name!r}: {len(self.sizes)} codebooks for a step of {self.shape}")

    @classmethod
    def of(cls, layout: Layout, track: str) -> TrackCodes | None:
        """Return the codes of a layout's track; None where it has none (text, features)."""
        place = layout.index_of(f"{track}.tokens.npy")
        if place is None:
            return None
        member = layout.members[place]
        assert member.dtype is not None
        spec = layout.track(track).get("spec") or {}
        encoder = f"{spec.get('encoder', '')}:{spec.get('revision', 0)}:{spec.get('weights_sha256', '')}"
        sizes = tuple(int(size) for size in spec.get("codebook_sizes") or ())
        trailing = tuple(size or 0 for size in member.shape[1:])
        if not sizes and member.dtype.itemsize > 2:
            raise WrongLayout(f"layout {layout.name!r}: track {track!r} must state its codebook_sizes")
        sizes = sizes or (1 << 8 * member.dtype.itemsize,)
        if len(sizes) > 1 and (not trailing or trailing[-1] != len(sizes)):
            raise WrongLayout(
                f"layout {layout.name!r}: track {track!r} has {len(sizes)} codebooks, but its last axis is "
                f"{trailing[-1:] or 'time'}"
            )
        ragged = layout.index_of(f"{track}.offsets.npy") is not None or spec.get("kind") == "bytes"
        try:
            return cls(track, encoder, member.dtype.name, sizes, None if ragged else trailing)
        except ValueError as error:
            raise WrongLayout(f"layout {layout.name!r}: {error}") from error


@dataclass(frozen=True)
class Vocabulary:
    """Which id every token of every track has."""

    tracks: tuple[TrackCodes, ...]
    """In sorted order of their names."""

    def __post_init__(self) -> None:
        names = [track.name for track in self.tracks]
        if not names or names != sorted(set(names)):
            raise ValueError(f"a vocabulary needs tracks with names of their own, sorted; got {names}")
        if self.size >= _LARGEST:
            raise ValueError(f"{self.size} ids do not fit int32")

    @classmethod
    def of_layouts(cls, layouts: Iterable[tuple[Layout, Sequence[str]]]) -> Vocabulary:
        """Return the vocabulary of some tracks of some layouts.

        Raises:
            UnknownName: none of them has codes.
            WrongLayout: a track of the same name has other codes in another layout.
        """
        found: dict[str, TrackCodes] = {}
        for layout, tracks in layouts:
            for track in tracks:
                codes = TrackCodes.of(layout, track)
                if codes is not None:
                    found[track] = _joined(found.get(track, codes), codes, layout.name)
        if not found:
            raise UnknownName("no wanted track has codes: text and features can't be packed")
        try:
            return cls(tuple(found[name] for name in sorted(found)))
        except ValueError as error:
            raise WrongLayout(f"the tracks' codes can't be numbered: {error}") from error

    @cached_property
    def _by_name(self) -> dict[str, tuple[int, TrackCodes]]:
        return {track.name: (number, track) for number, track in enumerate(self.tracks)}

    @cached_property
    def _first_ids(self) -> list[int]:
        """First id of each track's codes, then one behind the last."""
        sizes = [sum(track.sizes) for track in self.tracks]
        first = _FIRST_TRACK + 2 * len(self.tracks)
        return [first + sum(sizes[:number]) for number in range(len(sizes) + 1)]

    @property
    def size(self) -> int:
        """Number of ids: what an embedding needs."""
        return self._first_ids[-1]

    @property
    def pad(self) -> int:
        """What fills a row behind the last token."""
        return PAD

    @property
    def begin_clip(self) -> int:
        """What begins a clip."""
        return BEGIN_CLIP

    @property
    def end_clip(self) -> int:
        """What ends a clip."""
        return END_CLIP

    def begin(self, track: str) -> int:
        """Return what begins a stretch of a track."""
        return _FIRST_TRACK + 2 * self._track(track)[0]

    def end(self, track: str) -> int:
        """Return what ends a stretch of a track."""
        return self.begin(track) + 1

    def codes_of(self, track: str) -> range:
        """Return the ids of a track's codes."""
        number = self._track(track)[0]
        return range(self._first_ids[number], self._first_ids[number + 1])

    def offsets(self, track: str) -> tuple[int, ...]:
        """Return what is added to a code to get its id: one number, or one per place of the last axis."""
        number, codes = self._track(track)
        first = self._first_ids[number]
        return tuple(first + sum(codes.sizes[:place]) for place in range(len(codes.sizes)))

    def has(self, track: str) -> bool:
        """Tell whether a track has ids here."""
        return track in self._by_name

    def _track(self, name: str) -> tuple[int, TrackCodes]:
        if name not in self._by_name:
            raise UnknownName(f"the vocabulary has no track {name!r}; it has {', '.join(self._by_name)}")
        return self._by_name[name]

    def check_covers(self, needed: Vocabulary) -> None:
        """Raise unless this vocabulary has the same codes for all tracks of another.

        Raises:
            UnknownName: a track is missing here.
            WrongLayout: a track's codes differ.
        """
        for track in needed.tracks:
            mine = self._track(track.name)[1]
            if (mine.encoder, mine.sizes, mine.dtype) != (track.encoder, track.sizes, track.dtype):
                raise WrongLayout(
                    f"track {track.name!r} is {track.encoder} {list(track.sizes)} in the dataset, but "
                    f"{mine.encoder} {list(mine.sizes)} in the vocabulary"
                )

    def clips_in(self, ids: Array) -> list[dict[str, Array]]:
        """Turn ids back into codes: what a model made, or what a stream packed.

        Args:
            ids: integers, 1-D, in any number of clips. What is before the first `<clip>` belongs to a clip
                of its own, as does what follows the last.

        Returns:
            Per clip, each track's codes [T, ...] in the dtype they are stored in; flat where a step has no
            fixed shape, or the last step is not whole.

        Raises:
            ValueError: an id is none of this vocabulary.
        """
        ids = np.asarray(ids).reshape(-1).astype(np.int64)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.size:
            raise ValueError(f"ids must be in [0, {self.size}), got {int(ids.min())} to {int(ids.max())}")
        parts = np.split(ids, np.flatnonzero(ids == BEGIN_CLIP))
        return [self._codes_in(part) for part in parts if (part > END_CLIP).any()]

    def _codes_in(self, ids: Array) -> dict[str, Array]:
        found = {}
        for number, track in enumerate(self.tracks):
            mine = ids[(ids >= self._first_ids[number]) & (ids < self._first_ids[number + 1])]
            if len(mine):
                bounds = np.array(self.offsets(track.name), np.int64)
                codes = mine - bounds[np.searchsorted(bounds, mine, side="right") - 1]
                shape = track.shape
                whole = shape is not None and len(codes) % int(np.prod(shape, dtype=np.int64)) == 0
                found[track.name] = codes.astype(track.dtype).reshape(-1, *(shape if shape and whole else ()))
        return found

    @property
    def digest(self) -> str:
        """sha256 of the JSON."""
        return hashlib.sha256(json_text(self.to_json()).encode()).hexdigest()

    def to_json(self) -> Json:
        """Return a JSON object from which `from_json` makes an equal vocabulary; it also lists all ids."""
        special = {"<pad>": PAD, "<clip>": BEGIN_CLIP, "</clip>": END_CLIP}
        tracks = []
        for track in self.tracks:
            special |= {f"<{track.name}>": self.begin(track.name), f"</{track.name}>": self.end(track.name)}
            fields = asdict(track) | {"sizes": list(track.sizes), "offsets": list(self.offsets(track.name))}
            tracks.append(fields | {"shape": None if track.shape is None else list(track.shape)})
        return {"format": FORMAT, "size": self.size, "special": special, "tracks": tracks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        """Make a vocabulary from what `to_json` returned.

        Raises:
            ValueError: it is not what `to_json` returns; ids would not mean what the JSON says.
        """
        if what := misfit(dict(data), _JSON):
            raise ValueError(f"a vocabulary: {what}")
        try:
            tracks = tuple(
                TrackCodes(
                    track["name"],
                    track["encoder"],
                    track["dtype"],
                    tuple(track["sizes"]),
                    None if track["shape"] is None else tuple(track["shape"]),
                )
                for track in data["tracks"]
            )
            made = cls(tracks)
            same = made.to_json() == dict(data)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a vocabulary lacks or mistypes {error}") from error
        if not same:
            raise ValueError("a vocabulary whose ids are not as this version of Fifth numbers them")
        return made

    def save(self, path: Path | str) -> None:
        """Write the vocabulary as JSON, whole."""
        write_whole(Path(path), [json_page(self.to_json())])

    @classmethod
    def load(cls, path: Path | str) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedDataset: it holds no vocabulary.
        """
        try:
            return cls.from_json(read_json(Path(path)))
        except ValueError as error:
            raise DamagedDataset(f"{path}: {error}") from error


def _joined(before: TrackCodes, now: TrackCodes, layout: str) -> TrackCodes:
    """Return the codes of a track that two layouts have; only the shape of a step may differ."""
    same = (before.encoder, before.sizes) == (now.encoder, now.sizes)
    if not same or before.dtype != now.dtype:
        raise WrongLayout(
            f"track {now.name!r} has other codes in layout {layout!r} ({now.encoder} {list(now.sizes)}) than "
            f"in one before it ({before.encoder} {list(before.sizes)}); leave it out of tracks=, or give it "
            "another name when sharding (--map)"
        )
    shape = before.shape if before.shape == now.shape else None
    return TrackCodes(now.name, now.encoder, now.dtype, now.sizes, shape)
