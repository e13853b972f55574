"""`fifth probe`: what is inside recordings, as JSON and as text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ingest.clock_table import clock_table
from ingest.discovery import Candidate, Walk, find_recordings
from ingest.engine.local import Engine, Job
from ingest.examining import examination_of
from ingest.recording import Recording, Track
from ingest.remote_files import place_of
from ingest.text_table import text_table
from ingest.timing import NS


def probe_recordings(
    paths: Sequence[Path | str], audio_formats: Mapping[str, str], workers: int | None = None
) -> dict[str, Any]:
    """Look at every recording below the paths.

    Returns:
        `recordings` (per recording `recording`, `id`, `size_bytes`, and either `cause` or `container`,
        `seconds`, `origin_ns`, `tracks`, `failures`, `notes`, `details`), `passed_over`, `totals`.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    walk = Walk()
    candidates = list(find_recordings([place_of(path) for path in paths], walk))
    cores = os.cpu_count() or 1
    count = min(cores if workers is None else workers, len(candidates))
    threads = max(1, cores // max(1, count))
    with Engine(0 if count <= 1 else count) as engine:  # one file is not worth a process
        found = list(_examined(engine, candidates, audio_formats, threads))
    return {
        "recordings": found,
        "passed_over": {reason: n for reason, n in sorted(walk.passed_over.items()) if n},
        "notes": [{"recording": name, "cause": cause} for name, cause in walk.notes],
        "unreadable": [{"recording": name, "cause": cause} for name, cause in walk.failures],
        "totals": {
            "recordings": len(found),
            "seconds": round(sum(entry.get("seconds", 0) for entry in found), 3),
            "size_bytes": sum(entry["size_bytes"] for entry in found),
            "failed": sum("cause" in entry for entry in found),
        },
    }


def _examined(
    engine: Engine, candidates: list[Candidate], audio_formats: Mapping[str, str], threads: int
) -> Iterator[dict[str, Any]]:
    jobs = (
        Job("ingest.examining:examine", examination_of(candidate, "", dict(audio_formats), threads=threads))
        for candidate in candidates
    )
    for candidate, outcome in zip(candidates, engine.run(jobs, in_order=True), strict=True):
        size_bytes = sum(path.stat().st_size for path in candidate.paths if path.exists())
        base = {"recording": candidate.name, "size_bytes": size_bytes}
        if outcome.kind != "done":
            yield {**base, "id": "", "cause": outcome.result["error"]}
            continue
        base["id"] = outcome.result["id"]
        if "cause" in outcome.result:
            yield {**base, "cause": outcome.result["cause"]}
        else:
            yield {**base, **_described(Recording.from_json(outcome.result["info"]))}


def _described(recording: Recording) -> dict[str, Any]:
    incidents = [
        {
            "severity": i.severity,
            "track": i.track,
            "start_ns": i.start_ns,
            "stop_ns": i.stop_ns,
            "cause": i.cause,
        }
        for i in recording.incidents
    ]
    return {
        "container": recording.container,
        "origin_ns": recording.origin_ns,
        "stop_ns": recording.stop_ns,
        "seconds": round((recording.stop_ns - recording.origin_ns) / NS, 6) if recording.tracks else 0.0,
        "tracks": [{**track.to_json(), "measured_rate": measured_rate(track)} for track in recording.tracks],
        "failures": [i for i in incidents if i["severity"] == "failure"],
        "notes": [i for i in incidents if i["severity"] == "note"],
        "details": dict(recording.details),
    }


def measured_rate(track: Track) -> float:
    """Return items per second as found: one per median period; 0 where there are too few."""
    return round(NS / track.period_ns, 3) if track.period_ns else 0.0


def probe_table(found: Mapping[str, Any]) -> str:
    """Return what `probe_recordings` found, for people."""
    recordings = found["recordings"]
    if len(recordings) == 1:
        return _one(recordings[0])
    rows = [_line(entry) for entry in recordings]
    totals = found["totals"]
    lines = [text_table(("recording", "seconds", "MB", "tracks", "damage"), rows)]
    amount = f"{totals['seconds'] / 3600:.3f} h, {totals['size_bytes'] / 1e6:.1f} MB"
    lines.append(f"{totals['recordings']} recordings, {amount}, {totals['failed']} can't be read")
    if found["passed_over"]:
        passed = ", ".join(f"{count} ({reason})" for reason, count in found["passed_over"].items())
        lines.append(f"passed over: {passed}")
    lines += [f"passed over: {note['recording']} ({note['cause']})" for note in found["notes"]]
    lines += [f"failure: {entry['recording']}: {entry['cause']}" for entry in found["unreadable"]]
    return "\n".join(lines)


def _line(entry: Mapping[str, Any]) -> tuple[str, ...]:
    megabytes = f"{entry['size_bytes'] / 1e6:.2f}"
    if "cause" in entry:
        return entry["recording"], "", megabytes, "", entry["cause"]
    damage = entry["failures"][0]["cause"] if entry["failures"] else ""
    names = [track["name"] for track in entry["tracks"]]
    shown = ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    return entry["recording"], f"{entry['seconds']:.3f}", megabytes, shown or "none", damage


def _one(entry: Mapping[str, Any]) -> str:
    if "cause" in entry:
        return f"{entry['recording']}: {entry['cause']}"
    origin = entry["origin_ns"] / NS
    head = (
        f"{entry['recording']}: {entry['container']}, {entry['seconds']:.3f} s from {origin:.6f} s, "
        f"{entry['size_bytes'] / 1e6:.2f} MB"
    )
    rows = [_track_row(track, entry["origin_ns"]) for track in entry["tracks"]]
    columns = ("track", "type", "what", "items", "rate (declared)", "seconds", "start", "clock", "gaps")
    lines = [head, text_table(columns, rows)] if rows else [head, "no tracks"]
    if clocks := clock_table(entry["tracks"]):
        lines += ["", clocks, ""]
    for kind in ("failures", "notes"):
        for incident in entry[kind]:
            track = f"{incident['track']}: " if incident["track"] else ""
            lines.append(f"{kind[:-1]}: {track}{incident['cause']}{_span(incident, entry['origin_ns'])}")
    left_out = entry["details"].get("left_out") or {}
    lines += [f"left out: {topic}: {why}" for topic, why in sorted(dict(left_out).items())]
    return "\n".join(lines)


def _span(incident: Mapping[str, Any], origin_ns: int) -> str:
    if not incident["stop_ns"]:
        return ""
    begin, end = (incident["start_ns"] - origin_ns) / NS, (incident["stop_ns"] - origin_ns) / NS
    return f" (from {begin:.3f} s to {end:.3f} s)"


def _track_row(track: Mapping[str, Any], origin_ns: int) -> tuple[str, ...]:
    declared = f" ({_short_rate(track['declared_rate'])})" if track["declared_rate"] else ""
    rate = f"{track['measured_rate']:g}/s{declared}" if track["measured_rate"] else "-"
    clock = track["clock"]
    offset = f" {clock['offset_ns'] / 1e6:+.1f} ms" if clock and clock["choice"] == "header" else ""
    return (
        track["name"],
        track["codec"],
        _what(track),
        str(track["item_count"]),
        rate,
        f"{(track['stop_ns'] - track['start_ns']) / NS:.3f}",
        f"{(track['start_ns'] - origin_ns) / NS:+.3f}",
        f"{clock['choice']}{offset}" if clock else "file",
        str(len(track["gaps"])) if track["gaps"] else "",
    )


def _what(track: Mapping[str, Any]) -> str:
    if track["medium"] == "pictures":
        turned = f", turn {track['rotation']}" if track["rotation"] else ""
        mirrored = ", mirrored" if track["mirrored"] else ""
        aspect = f", pixels {track['sample_aspect']}" if track["sample_aspect"] != "1" else ""
        return f"{track['width']}x{track['height']} {track['pixel_format']}{turned}{mirrored}{aspect}"
    if track["medium"] == "depth":
        what = "range image" if "projection" in track["details"] else f"{track['pixel_format']}, metres"
        return f"{track['width']}x{track['height']} {what}"
    if track["medium"] == "sound":
        return f"{track['sample_rate']} Hz, {track['channels']} ch"
    if track["medium"] == "signal":
        columns = track["columns"]
        shown = ", ".join(columns[:3]) + (" …" if len(columns) > 3 else "")
        return f"{len(columns)} columns: {shown}"
    return "text"


def _short_rate(text: str) -> str:
    from fractions import Fraction

    return f"{float(Fraction(text)):.4g}"
