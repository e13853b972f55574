"""`fifth shard --dry-run`: what a plan would make, from the plan's lines alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from ingest.layouts import estimated_bytes, is_ragged
from ingest.timing import NS, grid_count


def forecast(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up plan lines.

    Returns:
        `recordings`, `by_status`, `clips`, `seconds`, `shards`, `bytes` (estimated), `tokens` (per
        track; ragged ones are left out), `layouts` (per layout recordings, clips, bytes), `failures`,
        `notes`.
    """
    layouts: dict[str, Mapping[str, Any]] = {}
    found: dict[str, Any] = {"recordings": 0, "clips": 0, "seconds": 0.0, "shards": 0, "bytes": 0}
    by_status: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    per_layout: dict[str, Counter[str]] = {}
    planned: list[Mapping[str, Any]] = []
    failures: list[dict[str, str]] = []
    notes: list[dict[str, str]] = []
    for line in lines:
        kind = line["kind"]
        if kind == "recording":
            found["recordings"] += 1
            by_status[line["status"]] += 1
            planned += [line] if line["layout"] else []
        elif kind == "layout":
            layouts[line["layout"]["name"]] = line["layout"]
        elif kind == "task":
            found["shards"] += 1
        elif kind in ("failure", "note"):
            (failures if kind == "failure" else notes).append(
                {"recording": line["recording"], "cause": line["cause"]}
            )
    for line in planned:
        layout, length_ns = layouts[line["layout"]], line["stop_ns"] - line["origin_ns"]
        size_bytes = estimated_bytes(layout, length_ns)
        found["clips"] += line["clips"]
        found["seconds"] += length_ns / NS
        found["bytes"] += size_bytes
        tokens.update(_tokens(layout, length_ns))
        of = per_layout.setdefault(line["layout"], Counter())
        of.update(recordings=1, clips=line["clips"], bytes=size_bytes)
    return {
        **found,
        "seconds": round(found["seconds"], 3),
        "by_status": dict(by_status),
        "tokens": dict(sorted(tokens.items())),
        "layouts": {name: dict(of) for name, of in sorted(per_layout.items())},
        "failures": failures,
        "notes": notes,
    }


def _tokens(layout: Mapping[str, Any], length_ns: int) -> dict[str, int]:
    counts = {}
    for track in layout["tracks"]:
        spec = track["spec"]
        if not spec or spec["kind"] != "codes" or is_ragged(spec) or not track["rate"]:
            continue
        per_step = 1
        for edge in spec["shape"]:
            per_step *= edge
        if track["medium"] == "signal":
            per_step = len(track["columns"])
        items = grid_count(length_ns, Fraction(track["rate"]))
        counts[track["name"]] = items * per_step * spec["steps_per_chunk"] // spec["input"]["chunk"]
    return counts
