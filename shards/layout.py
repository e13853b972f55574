"""What all samples of a shard have in common: their members and tracks.

A layout arrives as plain JSON, from the plan:

    {"name": "video-audio",
     "members": [{"name": "json"},
                 {"name": "video.tokens.npy", "dtype": "uint16", "shape": [null, 32, 32]},
                 {"name": "subs.txt"}, ...],
     "tracks": [{"name": "video", "medium": "pictures", "spec": {token spec}, "columns": [], ...}, ...]}

A member is `json` (provenance), `TRACK.WHAT.npy` (an array; null in its shape is any length),
`TRACK.txt` (text), or `TRACK.ANYTHING` (bytes as they are).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from shards.errors import UnknownName, WrongLayout
from shards.keys import KEY_LENGTH
from shards.npy import little_endian
from shards.shapes import COUNT, TRACK, misfit
from shards.tar import NAME_BYTES

MemberKind = Literal["json", "array", "text", "bytes"]

_SLUG = re.compile(r"(?!.*-\d{6})[a-z0-9][a-z0-9_-]*")  # `-000000` begins a shard's number
_MEMBER = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_RATE = re.compile(r"\d{1,100}(/\d{1,100})?")
_TRACK = re.compile(r"[a-z0-9_]{1,40}")


@dataclass(frozen=True)
class Member:
    """One file of every sample."""

    name: str
    """As it stands behind the key and a dot."""
    dtype: np.dtype[Any] | None = None
    shape: tuple[int | None, ...] = ()
    """Of arrays; None is any length."""

    @property
    def kind(self) -> MemberKind:
        """What the member holds."""
        if self.name == "json":
            return "json"
        if self.dtype is not None:
            return "array"
        return "text" if self.name.endswith(".txt") else "bytes"

    @property
    def track(self) -> str:
        """The track it belongs to; empty for `json`."""
        return "" if self.name == "json" else self.name.partition(".")[0]

    @property
    def field(self) -> str:
        """Its name for Python users: without the ending `.npy` or `.txt`."""
        return self.name.removesuffix(".npy").removesuffix(".txt")

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether an array of this shape may stand here."""
        return len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )

    def describe(self) -> str:
        """Return dtype and shape as messages show them."""
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} [{sizes}]" if self.dtype is not None else self.kind


@dataclass(frozen=True)
class Layout:
    """Members and tracks of a shard's samples."""

    name: str
    members: tuple[Member, ...]
    tracks: tuple[str, ...]
    """Names, in the layout's order."""
    json: Mapping[str, Any] = field(repr=False, compare=False)
    """The layout as it came."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        """Make a layout from its JSON.

        Raises:
            WrongLayout: it can't be written so that every reader can read it.
        """
        name = data.get("name", "")
        if not isinstance(name, str) or not _SLUG.fullmatch(name):
            raise WrongLayout(
                "a layout's name must be lower-case letters, digits, - and _, without six digits behind a -; "
                f"got {name!r}"
            )
        if what := misfit(dict(data), {"members": [{"name": str}], "tracks": [TRACK]}):
            raise WrongLayout(f"layout {name!r}: {what}")
        members = tuple(_member(name, member) for member in data["members"])
        tracks = tuple(track["name"] for track in data["tracks"])
        _check(name, members, tracks)
        for track in data["tracks"]:
            _check_rate(name, track)
        return cls(name, members, tracks, data)

    def member(self, name: str) -> Member:
        """Return the member of this name."""
        for member in self.members:
            if member.name == name:
                return member
        raise UnknownName(
            f"layout {self.name!r} has no member {name!r}; it has {[m.name for m in self.members]}"
        )

    def track(self, name: str) -> Mapping[str, Any]:
        """Return a track's JSON."""
        for track in self.json["tracks"]:
            if track["name"] == name:
                found: Mapping[str, Any] = track
                return found
        raise UnknownName(f"layout {self.name!r} has no track {name!r}; it has {list(self.tracks)}")

    def index_of(self, member: str) -> int | None:
        """Return a member's place in a sample, or None where there is no such member."""
        return next((index for index, m in enumerate(self.members) if m.name == member), None)


def _member(layout: str, data: Mapping[str, Any]) -> Member:
    name = data["name"]
    if not isinstance(name, str) or not _MEMBER.fullmatch(name):
        raise WrongLayout(
            f"layout {layout!r}: member {name!r} must be lower-case letters, digits and _, joined by dots"
        )
    if not name.endswith(".npy"):
        return Member(name)
    try:
        dtype = little_endian(data["dtype"])
        if what := misfit([size for size in data["shape"] if size is not None], [COUNT], "shape"):
            raise ValueError(what)
        shape = tuple(data["shape"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WrongLayout(
            f"layout {layout!r}: member {name!r} needs a dtype and a shape ({error})"
        ) from error
    if dtype.kind not in "uifb" or any(size is not None and size < 1 for size in shape):
        raise WrongLayout(
            f"layout {layout!r}: member {name!r} is {dtype} {list(shape)}; arrays hold plain numbers, "
            "and their sizes are null or at least 1"
        )
    return Member(name, dtype, shape)


def _check_rate(layout: str, track: Mapping[str, Any]) -> None:
    rate = track.get("rate") or ""
    try:
        if rate and not (_RATE.fullmatch(rate) and Fraction(rate) > 0):
            raise ValueError("no fraction above 0")
    except (ValueError, ZeroDivisionError) as error:
        raise WrongLayout(
            f"layout {layout!r}: track {track['name']!r}: rate {rate[:60]!r} ({error})"
        ) from error


def _check(layout: str, members: tuple[Member, ...], tracks: tuple[str, ...]) -> None:
    names = [member.name for member in members]
    if not names or names[0] != "json":
        raise WrongLayout(f"layout {layout!r}: the first member must be 'json', got {names[:1]}")
    if len(set(names)) < len(names) or len(set(tracks)) < len(tracks):
        raise WrongLayout(f"layout {layout!r}: names must be unique, got {names} and {list(tracks)}")
    for track in tracks:
        if not isinstance(track, str) or not _TRACK.fullmatch(track):
            raise WrongLayout(
                f"layout {layout!r}: track {track!r} must be lower-case letters, digits and _, at most 40"
            )
    for member in members[1:]:
        if member.track not in tracks or "." not in member.name:
            raise WrongLayout(
                f"layout {layout!r}: member {member.name!r} must be TRACK.SOMETHING; tracks: {list(tracks)}"
            )
        if KEY_LENGTH + 1 + len(member.name) > NAME_BYTES:
            raise WrongLayout(
                f"layout {layout!r}: member {member.name!r} is too long; "
                f"with a key it must fit {NAME_BYTES} bytes"
            )
