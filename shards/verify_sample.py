"""What must hold within one sample: pure functions from values to sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.layout import Layout, Member
from shards.npy import BadNpy, npy_view
from shards.provenance import Types, differences, types_of

Array = npt.NDArray[Any]
Json = dict[str, Any]


def check_sample(
    layout: Layout, types: Types, key: str, row: Any, data: Mapping[str, bytes]
) -> Iterator[str]:
    """Yield what is wrong with a sample.

    Args:
        layout: of its shard.
        types: of its `json` member.
        key: its key, known to be one of ours.
        row: its row in `.samples.npy`.
        data: the members' bytes, by name.
    """
    arrays: dict[str, Array] = {}
    for member in layout.members:
        if member.kind == "array":
            try:
                arrays[member.name] = npy_view(data[member.name])
            except BadNpy as error:
                yield f"{member.name}: {error}"
                continue
            yield from _check_type(member, arrays[member.name])
    yield from _check_provenance(layout, types, key, row, data["json"])
    for track in layout.tracks:
        facts = layout.track(track)
        yield from _check_track(track, facts, row, arrays)
        if f"{track}.txt" in data:
            yield from _check_text(track, data[f"{track}.txt"], arrays.get(f"{track}.times.npy"))


def _check_type(member: Member, array: Array) -> Iterator[str]:
    if array.dtype != member.dtype or not member.fits(array.shape):
        yield f"{member.name} is {array.dtype} {list(array.shape)}; its layout says {member.describe()}"


def _check_provenance(layout: Layout, types: Types, key: str, row: Any, data: bytes) -> Iterator[str]:
    try:
        value: Json = json.loads(data)
        found = types_of(value)
    except ValueError as error:
        yield f"json: {error}"
        return
    if found != types:
        yield "; ".join(differences(types, found))
        return
    if "id" in value and not str(value["id"]).startswith(key[:16]):
        yield f"json.id is {value['id']!r}, which is not the id in the key"
    for name in ("start_ns", "stop_ns"):
        if name in value and value[name] != row[name]:
            yield f"json.{name} is {value[name]}, {row[name]} in its row"
    for track in layout.tracks:
        told = value.get("tracks", {}).get(track, {})
        if "valid" in told and told["valid"] != row[f"{track}:valid"]:
            yield f"json.tracks.{track}.valid is {told['valid']}, {row[f'{track}:valid']} in its row"


def _check_track(
    track: str, facts: Mapping[str, Any], row: Any, arrays: Mapping[str, Array]
) -> Iterator[str]:
    spec = facts.get("spec") or {}
    valid = int(row[f"{track}:valid"])
    tokens = arrays.get(f"{track}.tokens.npy")
    offsets = arrays.get(f"{track}.offsets.npy")
    times = arrays.get(f"{track}.times.npy")
    values = arrays.get(f"{track}.values.npy")
    features = arrays.get(f"{track}.features.npy")
    count = 0 if tokens is None else tokens.size
    if row[f"{track}:tokens"] != count:
        yield f"{track}.tokens.npy holds {count} codes, {row[f'{track}:tokens']} in its row"
    if tokens is not None:
        yield from (f"{track}.tokens.npy {what}" for what in wrong_codes(tokens, spec))
        yield from (f"{track}.tokens.npy {what}" for what in wrong_length(tokens, offsets, valid, spec))
    if features is not None:
        yield from (f"{track}.features.npy {what}" for what in wrong_features(features))
        yield from (f"{track}.features.npy {what}" for what in wrong_length(features, None, valid, spec))
    if offsets is not None and tokens is not None:
        yield from (f"{track}.offsets.npy {what}" for what in wrong_offsets(offsets, tokens.size))
    if times is not None:
        yield from (f"{track}.times.npy {what}" for what in wrong_times(times))
    if values is not None and tokens is not None and spec.get("lowest_code") == 1:
        yield from (f"{track}.values.npy {what}" for what in wrong_invalids(values, tokens))


def wrong_codes(tokens: Array, spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield which codes lie outside their codebook.

    Args:
        tokens: of one track; the last axis is that of the codebooks where there are several sizes.
        spec: with `codebook_sizes` (one for all, or one per index of the last axis; none: unknown) and
            `lowest_code`, below which only code 0 may occur: *invalid*.
    """
    sizes = np.array(spec.get("codebook_sizes") or [], np.int64)
    if tokens.size == 0 or sizes.size == 0 or tokens.dtype.kind not in "ui":
        return
    if sizes.size > 1 and (tokens.ndim == 0 or tokens.shape[-1] != sizes.size):
        yield f"has {list(tokens.shape)} codes, but {sizes.size} codebooks"
        return
    highest = tokens.reshape(-1, sizes.size).max(axis=0)
    for book in np.flatnonzero(highest >= sizes):
        yield f"has code {highest[book]}; codebook {book} has {sizes[book]} codes"
    lowest = int(spec.get("lowest_code") or 0)
    if lowest > 1 and np.any((tokens > 0) & (tokens < lowest)):
        yield f"has codes between 0 (invalid) and the lowest code {lowest}"


def wrong_length(tokens: Array, offsets: Array | None, valid: int, spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield whether a valid length is longer than what the tokens can stand for."""
    stride = (spec.get("strides") or [0])[0]
    steps = len(tokens) if offsets is None else len(offsets) - 1
    if stride and valid > steps * stride:
        yield f"has {steps} steps of {stride}, too few for a valid length of {valid}"


def wrong_features(features: Array) -> Iterator[str]:
    """Yield whether continuous outputs are numbers: an encoder that gives others has failed."""
    broken = int(np.count_nonzero(~np.isfinite(features)))
    if broken:
        yield f"has {broken} values that are no finite numbers"


def wrong_invalids(values: Array, tokens: Array) -> Iterator[str]:
    """Yield whether NaN among the values and code 0 among their tokens (*invalid*) don't go together."""
    if values.shape == tokens.shape:
        differ = int(np.count_nonzero(np.isnan(values) != (tokens == 0)))
        if differ:
            yield f"has {differ} NaN without code 0 (invalid) in the tokens, or the other way round"


def wrong_offsets(offsets: Array, count: int) -> Iterator[str]:
    """Yield whether offsets do not cut `count` codes into steps: 0, never falling, `count`."""
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != count or np.any(np.diff(offsets) < 0):
        yield f"must rise from 0 to the {count} codes there are"


def wrong_times(times: Array) -> Iterator[str]:
    """Yield whether times run back: [T] from item to item; [N, 2] from a cue's start to its stop."""
    steps = np.diff(times) if times.ndim == 1 else times[..., -1] - times[..., 0]
    if np.any(steps < 0):
        yield f"runs back at index {int(np.argmax(steps < 0))}"


def _check_text(track: str, data: bytes, times: Array | None) -> Iterator[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        yield f"{track}.txt is not UTF-8: {error}"
        return
    lines = text.count("\n") + bool(text and not text.endswith("\n"))
    if times is not None and lines != len(times):
        yield f"{track}.txt has {lines} lines, {track}.times.npy {len(times)} cues"
