"""Leave tracks out of layouts and samples, and find which layouts of several datasets are one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from shards.canonical_json import json_bytes
from shards.errors import CannotReshard
from shards.layout import Layout
from shards.provenance import Types
from shards.reader import Sample
from shards.sample_bytes import Value

Json = dict[str, Any]
_FIGURES = {"samples", "shards", "bytes", "seconds_ns", "tokens", "provenance"}
"""What stands in a manifest's layout beside the planned layout."""
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Chosen:
    """What becomes of one layout of a source."""

    layout: Layout
    """Of the samples that are written."""
    whole: bool
    """Whether no track is left out."""
    provenance: Types
    """The types of the `json` member that is written."""

    def members(self, sample: Sample) -> dict[str, Value]:
        """Return the members of a sample that are kept, its provenance without the tracks that are not."""
        values: dict[str, Value] = {}
        for member in self.layout.members:
            if member.kind == "array":
                values[member.name] = sample.arrays[member.field]
            elif member.kind == "text":
                values[member.name] = sample.text[member.field]
            elif member.kind == "bytes":
                values[member.name] = sample.raw(member.name)
        values["json"] = sample.provenance if self.whole else _without(sample.provenance, self.layout.tracks)
        return values


def choose_tracks(
    entries: Iterable[Json], globs: Sequence[str], known: dict[str, Chosen], where: str
) -> dict[str, Chosen]:
    """Return what becomes of the layouts of one source, by their names there.

    Layouts of which nothing is kept are not in it.

    Args:
        entries: the manifest's layouts.
        globs: names of tracks to keep; none: all.
        known: the layouts of the sources before, by the names they are written under; it grows.
        where: the source, for messages.

    Raises:
        CannotReshard: a layout has the name of another one, and is not equal to it.
    """
    found = {}
    for entry in entries:
        planned = {key: value for key, value in entry.items() if key not in _FIGURES}
        if entry["shards"] and (reduced := _reduced(planned, globs)) is not None:
            provenance = _reduced_types(entry["provenance"], reduced)
            found[entry["name"]] = _joined(reduced, planned == reduced, provenance, known, where)
    return found


def _joined(layout: Json, whole: bool, provenance: Types, known: dict[str, Chosen], where: str) -> Chosen:
    """Return the known layout that this one is equal to, or make it known."""
    if not whole:
        wanted = (_nameless(layout), provenance)
        for one in known.values():
            if (_nameless(dict(one.layout.json)), one.provenance) == wanted:
                return Chosen(one.layout, False, provenance)
        if layout["name"] in known:
            digest = hashlib.sha256(json_bytes(wanted)).hexdigest()
            layout = layout | {"name": f"{layout['name'][:_LONGEST_NAME]}-x{digest[:6]}"}
    chosen = Chosen(Layout.from_json(layout), whole, provenance)
    before = known.setdefault(layout["name"], chosen)
    for what, ours, theirs in (
        ("layout", dict(before.layout.json), layout),
        ("provenance", before.provenance, provenance),
    ):
        if difference := _difference(ours, theirs):
            raise CannotReshard(
                f"{where}: its {what} {layout['name']!r} is another than that of the datasets before: "
                f"{difference}. Shard the recordings in one run, or stream the datasets as a mix."
            )
    return Chosen(before.layout, whole, provenance)


def _reduced(layout: Json, globs: Sequence[str]) -> Json | None:
    names = [track["name"] for track in layout["tracks"]]
    kept = [name for name in names if not globs or any(fnmatchcase(name, glob) for glob in globs)]
    if kept == names:
        return layout
    if not kept:
        return None
    members = [m for m in layout["members"] if m["name"] == "json" or m["name"].partition(".")[0] in kept]
    tracks = [track for track in layout["tracks"] if track["name"] in kept]
    return layout | {"name": _name(kept), "members": members, "tracks": tracks}


def _name(tracks: Sequence[str]) -> str:
    plain = "-".join(tracks)
    if len(plain) <= _LONGEST_NAME:
        return plain
    return f"{len(tracks)}tracks-x{hashlib.sha256(plain.encode()).hexdigest()[:6]}"


def _nameless(layout: Json) -> Json:
    return {key: value for key, value in layout.items() if key != "name"}


def _reduced_types(types: Types, layout: Json) -> Types:
    return _without(types, [track["name"] for track in layout["tracks"]])


def _without(value: Json, tracks: Sequence[str]) -> Json:
    told = value.get("tracks")
    if not isinstance(told, dict):
        return value
    return value | {"tracks": {name: told[name] for name in told if name in tracks}}


def _difference(ours: Any, theirs: Any, where: str = "") -> str:
    """Return the first place where two JSON values differ, in words; empty where they are equal."""
    if ours == theirs:
        return ""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted(ours.keys() | theirs.keys()):
            if found := _difference(ours.get(key), theirs.get(key), f"{where}.{key}" if where else str(key)):
                return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if found := _difference(a, b, f"{where}[{index}]"):
                return found
    return f"{where or 'it'} is {str(theirs)[:60]}, and {str(ours)[:60]} there"
