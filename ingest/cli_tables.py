"""What the commands print for people; every figure here is in the JSON too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ingest.cli_progress import short_count
from ingest.run import Run
from ingest.text_table import text_table

MOST_LISTED = 60


def info_table(info: Mapping[str, Any], name: str) -> str:
    """Return a dataset's totals, tokens per track, layouts, and every failure."""
    statuses = info["counts"]["recordings"]
    shown = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    unfinished = "" if info.get("finished", True) else " (not finished: run the same `fifth shard` again)"
    lines = [
        f"{name}{unfinished}",
        f"  {info['recordings']} recordings ({shown})",
        f"  {info['samples']} samples, {info['seconds'] / 3600:.4f} h of media, {info['bytes'] / 1e6:.1f} MB "
        f"in {sum(layout['shards'] for layout in info['layouts'])} shards, {len(info['layouts'])} layouts",
    ]
    if info["tokens"]:
        rows = [(track, short_count(count)) for track, count in sorted(info["tokens"].items()) if count]
        lines.append(_indented(text_table(("track", "tokens"), _cut(rows, ("and more", "")))))
    lines += _features(info["layouts"])
    lines += [_addition(entry) for entry in info.get("added", ())]
    for kind in ("failures", "notes"):
        lines += _listed(kind, info[kind], sum(info["counts"][kind].values()))
    if info["shards"]:
        largest = max(info["shards"], key=lambda shard: shard["samples"])
        key, ending = largest["first_key"], _ending(info, largest["layout"])
        lines.append(f"  turn a sample back: fifth reconstruct {name} {key} -o clip{ending}")
    if info.get("passed_over"):
        passed = ", ".join(f"{count} ({reason})" for reason, count in sorted(info["passed_over"].items()))
        lines.append(f"  passed over: {passed}")
    return "\n".join(lines)


def _addition(entry: Mapping[str, Any]) -> str:
    """Return one line about an addition."""
    tracks = sorted({track["name"] for layout in entry["layouts"] for track in layout["tracks"]})
    what = f"{', '.join(tracks)}; {sum(entry['tokens'].values())} tokens, {entry['bytes'] / 1e6:.1f} MB"
    return f"  added/{entry['name']}: {what}" + ("" if entry["joined"] else f"; {entry['why_not']}")


def _features(layouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the tracks that hold features instead of tokens, each once."""
    found = {
        (track["name"], track["encoder"], " x ".join(map(str, track["shape"])))
        for layout in layouts
        if layout["samples"]
        for track in layout["tracks"]
        if track["kind"] == "features"
    }
    rows = _cut(
        [(name, f"{encoder}: {shape} a step") for name, encoder, shape in sorted(found)], ("more", "")
    )
    return [_indented(text_table(("track", "features"), rows))] if rows else []


def _ending(info: Mapping[str, Any], layout: str) -> str:
    """Return the ending of a file that shows a layout's first medium."""
    endings = {"pictures": ".mp4", "depth": ".npy", "sound": ".wav", "signal": ".csv", "text": ".txt"}
    tracks = next(entry for entry in info["layouts"] if entry["name"] == layout)["tracks"]
    media = {track["medium"] for track in tracks}
    return next(ending for medium, ending in endings.items() if medium in media)


def _listed(kind: str, incidents: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    if not count:
        return []
    lines = [f"  {count} {kind}:"]
    for incident in incidents[:MOST_LISTED]:
        track = f" [{incident['track']}]" if incident.get("track") else ""
        span_ns = incident["stop_ns"] - incident["start_ns"]
        span = f" ({span_ns / 1e9:.2f} s)" if span_ns >= 10_000_000 else ""
        lines.append(f"    {incident['recording']}{track}: {incident['cause']}{span}")
    if count > MOST_LISTED:
        lines.append(f"    and {count - MOST_LISTED} more: see `fifth info --json`")
    return lines


def _cut(rows: list[tuple[str, str]], more: tuple[str, str]) -> list[tuple[str, str]]:
    return rows if len(rows) <= MOST_LISTED else [*rows[:MOST_LISTED], more]


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())


def run_line(run: Run) -> str:
    """Return one line about the run itself."""
    seconds = run.media_ns / 1e9
    speed = f", {seconds / run.seconds:.1f} x real time" if run.seconds and seconds else ""
    before = f", {run.tasks_before} tasks were done before" if run.tasks_before else ""
    peak = f", at most {run.peak_rss_bytes / 2**20:.0f} MiB per worker" if run.peak_rss_bytes else ""
    hours = f"{seconds / 3600:.4f} h of media"
    return f"{run.tasks_run} tasks done in {run.seconds:.1f} s, {hours}{speed}{peak}{before}"


def dry_run_table(seen: Mapping[str, Any]) -> str:
    """Return what a run would make."""
    shown = ", ".join(f"{count} {status}" for status, count in sorted(seen["by_status"].items()))
    lines = [
        f"{seen['recordings']} recordings ({shown})",
        f"{seen['clips']} clips, {seen['seconds'] / 3600:.4f} h, about {seen['bytes'] / 1e6:.1f} MB in "
        f"{seen['shards']} shards",
    ]
    rows = [
        (name, str(of["recordings"]), str(of["clips"]), f"{of['bytes'] / 1e6:.1f}")
        for name, of in seen["layouts"].items()
    ]
    if rows:
        lines.append(_indented(text_table(("layout", "recordings", "clips", "MB"), rows)))
    if seen["tokens"]:
        counts = [(track, short_count(count)) for track, count in seen["tokens"].items()]
        lines.append(_indented(text_table(("track", "tokens"), counts)))
    for kind in ("failures", "notes"):
        lines += [f"{kind[:-1]}: {entry['recording']}: {entry['cause']}" for entry in seen[kind]]
    lines.append("nothing was written (--dry-run)")
    return "\n".join(lines)


def encoders_table(found: Mapping[str, Any]) -> str:
    """Return the list of encoders."""
    rows = [
        (
            entry["name"] + (" (default)" if entry["default"] else ""),
            entry["medium"],
            entry["takes"],
            entry["gives"],
            f"{entry['tokens_per_second']:g}" if entry["tokens_per_second"] else "varies",
            _kilobits(entry),
            "yes" if entry["exact_across_devices"] else "no",
        )
        for entry in found["encoders"]
    ]
    head = ("encoder", "medium", "takes", "gives", "tokens/s", "kbit/s", "exact on every device")
    families = [
        (entry["family"], entry["medium"], ", ".join(entry["models"]), entry["gives"])
        for entry in found["pretrained"]
    ]
    return (
        f"{text_table(head, rows)}\n\npretrained models, as hf:FOLDER_OR_NAME (pip install 'fifth[hf]')\n"
        f"{text_table(('family', 'medium', 'models', 'gives'), families)}"
    )


def _kilobits(entry: Mapping[str, Any]) -> str:
    if entry["kind"] == "features":
        return f"{16 * entry['tokens_per_second'] / 1000:.1f} (float16)"
    return f"{entry['bits_per_second'] / 1000:.1f}" if entry["bits_per_second"] else "varies"


def quality_table(found: Mapping[str, Any]) -> str:
    """Return measured quality per encoder."""
    rows = [
        (
            entry["encoder"],
            entry["track"],
            f"{entry['bits_per_second'] / 1000:.1f}" if entry["bits_per_second"] else "",
            _figures(entry["figures"]),
        )
        for entry in found["measured"]
    ]
    return text_table(("encoder", "track", "kbit/s", "quality"), rows)


def _figures(figures: Mapping[str, float]) -> str:
    """Return the summary figures, then the three columns with the largest error, in their own units."""
    columns = {name: value for name, value in figures.items() if name.startswith("rmse.")}
    shown = [name for name in figures if "." not in name]
    worst = sorted(columns, key=lambda name: -columns[name])[:3]
    return ", ".join(f"{name} {figures[name]:.4g}" for name in [*shown, *worst])
