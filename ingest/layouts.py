"""Which tracks a dataset takes of a recording, and what all samples of a shard have in common.

Recordings share a layout only if members, dtypes, trailing shapes, token specs and column names are
equal. What is fitted (bin edges) is fitted per layout and is no part of its identity; nor is the probe of
each track's encoder, which stands in its `details`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from fractions import Fraction
from typing import Any

from encoders import TokenSpec, load_encoder
from encoders.spec import RAGGED_AXES
from ingest.clips import SHOWN, Wish
from ingest.configuration import Configuration, rate_text
from ingest.encoder_choice import name_for
from ingest.errors import ProbeDiffers
from ingest.recording import Incident, Recording, Track
from ingest.sampling.frames import depth_shape
from ingest.track_map import NATIVE, MapPart, TrackMap, sampled_by

MEDIUM_ORDER = ("pictures", "depth", "sound", "signal", "text")
LONGEST_SLUG = 40


@dataclass(frozen=True)
class Selection:
    """The tracks of one recording that a dataset takes."""

    wishes: tuple[Wish, ...]
    """Sorted by name."""
    incidents: tuple[Incident, ...]
    """Notes: what was asked for by name and is not there."""
    reference: Track | None = None
    """The track at whose own stamps the others are sampled."""


def select(recording: Recording, configuration: Configuration) -> Selection:
    """Choose and name the tracks of a recording, by `--tracks`, `--map` and the encoders chosen."""
    tracks = [track for track in recording.tracks if _has_encoder(track, configuration)]
    globs = configuration.data["tracks"]
    if globs:
        tracks = [t for t in tracks if any(fnmatch(t.name, g) or fnmatch(t.topic, g) for g in globs)]
    wishes, incidents = [], []
    if configuration.maps:
        for entry in configuration.maps:
            found, note = _mapped(entry, tracks)
            wishes += [found] if found else []
            incidents += [note] if note else []
    else:
        wishes = [Wish(track.name, track) for track in tracks]
    reference = configuration.reference
    found_at = next((wish.track for wish in wishes if wish.name == reference), None)
    if reference and found_at is None:
        cause = f"--reference {reference}: the recording has no such track to take the times from"
        return Selection((), (*incidents, Incident("note", cause, reference)))
    wishes = sorted(wishes, key=lambda wish: wish.name)
    taken = {wish.name for wish in wishes}
    chosen = [each for wish in wishes for each in _for_each_encoder(wish, configuration, taken)]
    return Selection(tuple(sorted(chosen, key=lambda wish: wish.name)), tuple(incidents), found_at)


def _has_encoder(track: Track, configuration: Configuration) -> bool:
    if track.medium == "text":
        return "adds_to" not in configuration.data  # what is added to a dataset is no second copy of its text
    return bool(configuration.encoders_of(track.medium))


def _for_each_encoder(wish: Wish, configuration: Configuration, taken: set[str]) -> list[Wish]:
    """Return a wish once for each encoder of its medium, the first under its own name."""
    if wish.track.medium == "text":
        return [wish]
    wishes = []
    for number, entry in enumerate(configuration.encoders_of(wish.track.medium)):
        takes = entry["spec"]["input"]
        name = name_for(wish.name, entry["slug"], taken)
        taken.add(name)
        wishes.append(
            replace(
                wish,
                name=name,
                of=wish.name if entry["slug"] else "",
                encoder=number,
                size=takes["size"][0] if wish.track.medium == "pictures" else 0,
                sample_rate=int(Fraction(takes["rate"])) if takes["rate"] else 0,
                channels=takes["channels"] if wish.track.medium == "sound" else 0,
                rate=wish.rate or (Fraction(entry["rate"]) if entry["rate"] else ""),
            )
        )
    return wishes


def _mapped(entry: TrackMap, tracks: Sequence[Track]) -> tuple[Wish | None, Incident | None]:
    parts = []
    for part in entry.parts:
        found, why_not = _part(part, entry, tracks)
        if found is None:
            return None, Incident("note", f"--map {entry}: {why_not}", entry.name)
        parts.append(found)
    if len(parts) > 1 and any(part.track.medium != "signal" for part in parts):
        media = ", ".join(f"{part.track.topic} ({part.track.medium})" for part in parts)
        cause = f"--map {entry}: only signals can be joined: {media}"
        return None, Incident("note", cause, entry.name)
    return replace(parts[0], rate=entry.grid_rate, joined=tuple(parts[1:])), None


def _part(part: MapPart, entry: TrackMap, tracks: Sequence[Track]) -> tuple[Wish | None, str]:
    """Return one topic of an entry as a wish of its own, or why there is none."""
    matching = [t for t in tracks if fnmatch(t.topic, part.topic) or fnmatch(t.name, part.topic)]
    if not matching:
        return None, f"the recording has no track {part.topic!r}"
    if len(matching) > 1:
        return None, f"{part.topic!r} is not one track: {', '.join(t.topic for t in matching[:4])}"
    track = sampled_by(matching[0], entry.policy, entry.max_age_ns)
    if not part.columns:
        return Wish(entry.name, track), ""
    columns = [
        index
        for wanted in part.columns
        for index, column in enumerate(track.columns)
        if column == wanted or column.startswith((f"{wanted}.", f"{wanted}["))
    ]
    if not columns:
        has = ", ".join(track.columns[:6]) or "none"
        return None, f"{track.topic} has no such column (it has {has} …)"
    return Wish(entry.name, track, tuple(dict.fromkeys(columns))), ""


def columns_of(wish: Wish) -> list[str]:
    """Return the names of the columns that a wish takes of its signal track; of a joined track each with
    the name of the track that it is from.
    """
    columns = []
    for part in wish.parts:
        own = part.track.columns
        taken = own if part.columns is None else [own[index] for index in part.columns]
        columns += [f"{part.track.name}.{column}" for column in taken] if wish.joined else list(taken)
    return columns


def source_of(wish: Wish) -> Track:
    """Return the track that provenance speaks of: of a joined one, with all topics and types."""
    if not wish.joined:
        return wish.track
    tracks = [part.track for part in wish.parts]
    topic, codec = (" + ".join(words) for words in zip(*((t.topic, t.codec) for t in tracks), strict=True))
    return replace(wish.track, topic=topic, codec=codec)


def layout_key(wishes: Sequence[Wish], configuration: Configuration) -> str:
    """Return a text that is equal for wishes that have one layout: all that `layout_of` looks at.

    Making and hashing a layout takes milliseconds, and a million recordings hardly have more than a few.
    """
    depth_size = configuration.data["depth_size"]
    return repr(
        [
            (
                *(wish.name, wish.of, wish.track.medium, wish.encoder, str(wish.rate)),
                columns_of(wish) if wish.track.medium == "signal" else (),
                depth_shape(wish.track, depth_size) if wish.track.medium == "depth" else (),
            )
            for wish in wishes
        ]
    )


def layout_of(wishes: Sequence[Wish], configuration: Configuration) -> dict[str, Any]:
    """Return the layout of samples with these tracks, without a name and with nothing fitted yet."""
    tracks = [_track(wish, configuration) for wish in wishes]
    members = [{"name": "json"}]
    for track in tracks:
        members += _members(track)
    return {"members": members, "tracks": tracks}


def _track(wish: Wish, configuration: Configuration) -> dict[str, Any]:
    medium = wish.track.medium
    spec = configuration.encoders_of(medium)[wish.encoder]["spec"] if medium != "text" else {}
    if medium == "depth":
        spec = _sized(spec, depth_shape(wish.track, configuration.data["depth_size"]))
    shown = "" if configuration.data["sample"] == "keyframes" else configuration.data["fps"]
    rate = {
        "pictures": shown,
        "depth": shown,
        "signal": configuration.data["signal_hz"],
        "sound": spec["input"]["rate"] if medium == "sound" else "",
        "text": "",
    }[medium]
    if medium in (*SHOWN, "signal"):
        if wish.rate:
            rate = wish.rate if isinstance(wish.rate, str) else rate_text(wish.rate)
        if rate == NATIVE or configuration.reference:
            rate = ""
    columns = columns_of(wish) if medium == "signal" else []
    return {
        "name": wish.name,
        "of": wish.of,
        "medium": medium,
        "spec": spec,
        "columns": columns,
        "rate": rate,
        "details": {},
    }


def _sized(spec: Mapping[str, Any], size: tuple[int, int]) -> Mapping[str, Any]:
    """Return the spec of the same encoder for frames of another size."""
    if tuple(spec["input"]["size"]) == size:
        return spec
    sized = load_encoder(spec["encoder"], **{**spec["settings"], "size": list(size)})
    return sized.spec.to_json()


def _members(track: Mapping[str, Any]) -> list[dict[str, Any]]:
    name, medium, spec = track["name"], track["medium"], track["spec"]

    def array(what: str, dtype: str, *shape: int | None) -> dict[str, Any]:
        return {"name": f"{name}.{what}.npy", "dtype": dtype, "shape": list(shape)}

    if medium == "text":
        return [{"name": f"{name}.txt"}, array("times", "int64", None, 2)]
    columns = len(track["columns"])
    if is_ragged(spec):
        members = [array("tokens", spec["dtype"], None), array("offsets", "int64", None)]
    else:
        trailing = [columns] if medium == "signal" else spec["shape"]
        what = "features" if spec["kind"] == "features" else "tokens"
        members = [array(what, spec["dtype"], None, *trailing)]
    if medium in SHOWN or (medium == "signal" and not track["rate"]):
        members.append(array("times", "int64", None))
    if medium == "signal" and not track["of"]:  # else they stand in that track already
        members.append(array("values", "float32", None, columns))
    return members


def is_ragged(spec: Mapping[str, Any]) -> bool:
    """Return whether a step of these tokens has any number of them, so that offsets stand beside them."""
    return bool(spec["axes"] == RAGGED_AXES)


def identity(layout: Mapping[str, Any]) -> str:
    """Return 64 hex digits that are equal for layouts that recordings can share."""
    tracks = []
    for track in layout["tracks"]:
        spec = track["spec"]
        if spec:
            spec = TokenSpec.from_json(spec).layout_identity().to_json()
            if track["medium"] == "signal":  # the columns say how many there are, fitted or not
                spec = {
                    **spec,
                    "shape": [],
                    "input": {**spec["input"], "channels": 0},
                    "tokens_per_second": "",
                }
        tracks.append({**track, "spec": spec, "details": {}})  # what was measured, too, is no part of it
    data = {"members": layout["members"], "tracks": tracks}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def check_probe(
    track: Mapping[str, Any], *, planned: str, here: str = "", place: str = "this machine"
) -> None:
    """Raise unless an encoder's probe is the one that was planned.

    Args:
        track: of a layout.
        planned: the hash that it must have; empty: any.
        here: the hash that it has; empty: that of the track's details.
        place: where that is, for the message.

    Raises:
        ProbeDiffers: it gives other tokens; the message says what to do.
    """
    here = here or track["details"]["probe"]
    if planned and here != planned:
        raise ProbeDiffers(
            f"track {track['name']}: {track['spec']['encoder']} on {place} gives other tokens (probe "
            f"{here[:12]}) than where the dataset was planned ({planned[:12]}): use that kind of processor "
            "or GPU and the library versions that its plan names, or make another dataset here"
        )


def slug(layout: Mapping[str, Any], digest: str, taken: set[str]) -> str:
    """Return a short name: the tracks' names, or how many there are of each medium and 6 hex digits."""
    names = [t["name"] for medium in MEDIUM_ORDER for t in layout["tracks"] if t["medium"] == medium]
    plain = "-".join(names)
    if len(plain) <= LONGEST_SLUG and plain not in taken:
        return plain
    counts = {m: sum(t["medium"] == m for t in layout["tracks"]) for m in MEDIUM_ORDER}
    short = "-".join(f"{count}{medium}" for medium, count in counts.items() if count)
    return f"{short}-x{digest[:6]}"  # the x: six digits would read as a task's number


def estimated_bytes(layout: Mapping[str, Any], length_ns: int) -> int:
    """Estimate the bytes of a sample of this length in the tar, for cutting shards."""
    seconds = length_ns / 1e9
    total = 2048.0
    for member in layout["members"][1:]:
        total += 1024  # header, padding
        name, _, what = member["name"].partition(".")
        track = next(t for t in layout["tracks"] if t["name"] == name)
        total += seconds * _bytes_per_second(track, what, member)
    return int(total)


def _bytes_per_second(track: Mapping[str, Any], what: str, member: Mapping[str, Any]) -> float:
    unsaid = 1.0 if track["medium"] in SHOWN else 100.0  # keyframes; messages
    rate = float(Fraction(track["rate"])) if track["rate"] else unsaid
    spec = track["spec"]
    if what == "txt" or track["medium"] == "text":
        return 100.0
    if spec["kind"] == "bytes" and what == "tokens.npy":
        values = float(spec["input"]["channels"])
        for edge in spec["input"]["size"] or []:
            values *= edge
        return rate * values / 12  # codecs leave about a twelfth of the bytes
    width = {"uint8": 1, "uint16": 2, "float16": 2, "uint32": 4, "float32": 4, "int64": 8}[member["dtype"]]
    per_step = 1
    for edge in member["shape"][1:]:
        per_step *= edge
    if what in ("tokens.npy", "features.npy") and track["medium"] != "signal":
        rate *= float(spec["steps_per_chunk"]) / spec["input"]["chunk"]
    return float(rate * per_step * width)
