"""What JSON from a dataset's files must look like before any of it is used: strangers write it as well.

    {"name": str, "samples": COUNT, "rate?": str, "tokens": {str: COUNT}, "strides": [COUNT]}

A type stands for its values, a range for the whole numbers in it, a list for any number of such values, an
object for its keys (those with `?` may be missing or null), `{str: X}` for any keys, and a pattern for texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

COUNT = range(2**63)
INT64 = range(-(2**63), 2**63)
CONTENT_ID = re.compile(r"[0-9a-f]{64}")
ID_IF_ANY = re.compile(r"([0-9a-f]{64})?")
"""Empty: the recording could not even be read."""
_LONGEST_SHOWN = 60

HASHED = {"bytes": COUNT, "sha256": str}
LAYOUT_FIGURES = {
    "name": str,
    "samples": COUNT,
    "shards": COUNT,
    "bytes": COUNT,
    "seconds_ns": COUNT,
    "tokens": {str: COUNT},
    "provenance": dict,
}
MANIFEST = {
    "fifth": str,
    "configuration": dict,
    "configuration_digest": str,
    "layouts": [LAYOUT_FIGURES],
    "totals": {
        "recordings": COUNT,
        "samples": COUNT,
        "shards": COUNT,
        "bytes": COUNT,
        "seconds_ns": COUNT,
        "tokens": {str: COUNT},
    },
    "counts": {"passed_over": dict},
    "tasks": {"planned": COUNT, "done": COUNT, "superseded": COUNT},
    "plan": [{"part": COUNT, **HASHED}],
    "records": {"count": COUNT, "sha256": str},
    "tables": {f"tables/{name}.jsonl": HASHED for name in ("shards", "recordings", "failures")},
}
"""What `shards.manifest` writes, and readers rely on."""
SHARD_LINE = {
    "task": COUNT,
    "layout": str,
    "name": str,
    "samples": COUNT,
    "bytes": COUNT,
    "seconds_ns": COUNT,
    "sha256": str,
    "idx_sha256": str,
    "samples_sha256": str,
    "samples_bytes": COUNT,
    "record_sha256": str,
    "first_key": str,
    "tokens": {str: COUNT},
}
RECORDING_LINE = {
    "recording": str,
    "id": ID_IF_ANY,
    "status": str,
    "layout": str,
    "samples": COUNT,
    "origin_ns": INT64,
    "shards": [str],
}
INCIDENT_LINE = {
    "kind": str,
    "recording": str,
    "cause": str,
    "track": str,
    "start_ns": INT64,
    "stop_ns": INT64,
}
CLIPS = {"id": CONTENT_ID, "first": COUNT, "count": COUNT}
PLAN_LINES: dict[str, Any] = {
    "part": {
        "part": COUNT,
        "format": COUNT,
        "fifth": str,
        "configuration": dict,
        "configuration_digest": str,
    },
    "layout": {"layout": {"name": str, "members": [dict], "tracks": [dict]}},
    "recording": {
        "recording": str,
        "id": ID_IF_ANY,
        "status": str,
        "duplicate_of?": str,
        "layout?": str,
        "origin_ns?": INT64,
        "stop_ns?": INT64,
        "clips?": COUNT,
        "replaces?": [CONTENT_ID],
        "about?": dict,
        "info?": dict,
    },
    "failure": {"recording?": str, "id?": str, "cause": str},
    "note": {"recording?": str, "id?": str, "cause": str},
    "passed_over": {"reason": str, "count": COUNT},
    "task": {"task": COUNT, "layout": str, "clips?": [CLIPS], "supersedes?": [COUNT]},
    "quarantine": {"recording": str, **CLIPS, "cause": str},
}
"""Lines of a plan, by their `kind`."""
RECORD_FILE = {
    "task": COUNT,
    "part": COUNT,
    "layout": str,
    "shard?": {"name": str, "samples": COUNT, "provenance": dict, "tokens": {str: COUNT}},
    "recordings": [{"id": CONTENT_ID, "clips": COUNT, "samples": COUNT, "seconds_ns": COUNT}],
    "failures": [PLAN_LINES["failure"]],
    "notes": [PLAN_LINES["note"]],
    "counts": {"clips_without_content?": COUNT, "saturated?": {str: COUNT}},
}
TRACK = {
    "name": str,
    "medium?": str,
    "of?": str,
    "rate?": str,
    "columns?": [str],
    "details?": dict,
    "spec?": {
        "encoder?": str,
        "kind?": str,
        "revision?": COUNT,
        "weights_sha256?": str,
        "codebook_sizes?": [range(1, 2**32 + 1)],
        "strides?": [range(2**31)],
        "shape?": [range(2**31)],
        "steps_per_chunk?": range(2**31),
        "lowest_code?": range(2**32),
        "input?": {"chunk?": range(1, 2**31)},
    },
}
"""A layout's track, as far as `shards` looks into it."""


def misfit(value: Any, shape: Any, where: str = "") -> str:
    """Return what a value lacks or mistypes, in words; empty where it fits."""
    if isinstance(shape, type):
        return "" if type(value) is shape else _wrong(value, shape.__name__, where)
    if isinstance(shape, re.Pattern):
        matches = type(value) is str and shape.fullmatch(value) is not None
        return "" if matches else _wrong(value, f"a text like {shape.pattern}", where)
    if isinstance(shape, range):
        fits = type(value) is int and value in shape
        return "" if fits else _wrong(value, f"a whole number from {shape[0]} to {shape[-1]}", where)
    if isinstance(shape, list):
        if type(value) is not list:
            return _wrong(value, "a list", where)
        found = (misfit(item, shape[0], f"{where}[{index}]") for index, item in enumerate(value))
        return next((what for what in found if what), "")
    return _object_misfit(value, shape, where)


def _object_misfit(value: Any, shape: Mapping[Any, Any], where: str) -> str:
    if type(value) is not dict:
        return _wrong(value, "an object", where)
    dot = f"{where}." if where else ""
    if str in shape:
        found = (misfit(item, shape[str], f"{dot}{key}") for key, item in value.items())
        return next((what for what in found if what), "")
    for key, inner in shape.items():
        name = key.removesuffix("?")
        if value.get(name) is None and name != key:
            continue
        if name not in value:
            return f"{dot}{name} is missing"
        if what := misfit(value[name], inner, f"{dot}{name}"):
            return what
    return ""


def _wrong(value: Any, wanted: str, where: str) -> str:
    got = "null" if value is None else f"{value!r:.{_LONGEST_SHOWN}}"
    return f"{where or 'it'} must be {wanted}, not {got}"
