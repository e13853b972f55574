"""What a dataset holds, as one JSON object: what `fifth info --json` prints.

A finished dataset answers from its manifest and tables. One whose run was stopped has none that fit; then
the answer comes from plan and records, and says `"finished": false`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shards.folder import FORMAT, DatasetFolder
from shards.joined import addition_folders, additions_of
from shards.ledger import Ledger
from shards.manifest import file_facts, hash_fits, layout_entry, read_manifest, totals_of
from shards.tables import incident_lines, recording_lines, shard_lines

Json = dict[str, Any]


def dataset_info(path: Path | str) -> Json:
    """Return what is in a dataset.

    Returns:
        `format`, `fifth`, `finished`, `tasks`, `configuration`, `configuration_digest`; `recordings`,
        `samples`, `seconds`, `bytes`, `tokens` (per track); `layouts` (name, samples, shards, seconds,
        bytes, tokens, tracks); `shards` (name, layout, samples, bytes, sha256, first_key); `per_recording`
        (recording, id, samples, seconds, status, layout …); `failures` and `notes` (recording, track,
        start_ns, stop_ns, cause); `passed_over`; `counts` (by status, by cause, and the records'); `added`.

    Raises:
        FileNotFoundError: no such folder.
        NotADataset: no dataset is there.
        DamagedDataset: neither the manifest nor plan and records can be read.
    """
    folder = DatasetFolder(path)
    folder.check()
    manifest = _fitting_manifest(folder)
    if manifest is not None:
        return _from_tables(folder, manifest) | {"added": _added(folder.path, manifest)}
    with Ledger(folder) as ledger:
        return _from_ledger(ledger) | {"added": []}


def _added(path: Path, manifest: Json) -> list[Json]:
    """Describe what `fifth add` added: `name`, `joined`, `why_not`, and its `tokens`, `bytes`, `layouts` …"""
    additions, problems = additions_of(path, manifest)
    why_not = {problem.file.partition("/")[2]: problem.what for problem in problems}
    joined = {addition.name for addition in additions}
    added = []
    for folder in addition_folders(path):
        own = dataset_info(folder)
        kept = {key: own[key] for key in ("tokens", "bytes", "layouts", "samples", "failures")}
        name = folder.name
        added.append({"name": name, "joined": name in joined, "why_not": why_not.get(name, ""), **kept})
    return added


def _fitting_manifest(folder: DatasetFolder) -> Json | None:
    """Return the manifest if it is of the plan, records and tables that are there."""
    if not hash_fits(folder.path):
        return None
    manifest = read_manifest(folder.path)
    planned = [(part, folder.plan_path(part).stat().st_size) for part in folder.plan_parts()]
    if planned != [(part["part"], part["bytes"]) for part in manifest["plan"]]:
        return None
    if len(folder.tasks_done()) != manifest["records"]["count"]:
        return None
    for name, facts in manifest["tables"].items():
        table = folder.path / name
        if not table.is_file() or file_facts(table).sha256 != facts["sha256"]:
            return None
    return manifest


def _from_tables(folder: DatasetFolder, manifest: Json) -> Json:
    tables = folder.path / "tables"
    totals = manifest["totals"]
    head = {
        key: manifest[key] for key in ("format", "fifth", "configuration", "configuration_digest", "tasks")
    }
    return _info(
        head | {"finished": manifest["tasks"]["done"] == manifest["tasks"]["planned"]},
        totals,
        manifest["counts"],
        manifest["layouts"],
        shard_lines(tables / "shards.jsonl"),
        list(recording_lines(tables / "recordings.jsonl")),
        list(incident_lines(tables / "failures.jsonl")),
    )


def _from_ledger(ledger: Ledger) -> Json:
    recordings = list(ledger.recordings())
    statuses = Counter(line["status"] for line in recordings)
    counts = ledger.counts | {
        "recordings": dict(statuses),
        "failures": ledger.causes("failure"),
        "notes": ledger.causes("note"),
        "passed_over": ledger.passed_over(),
    }
    head = {
        "format": FORMAT,
        "fifth": ledger.fifth,
        "configuration": ledger.head["configuration"],
        "configuration_digest": ledger.head["configuration_digest"],
        "tasks": ledger.tasks,
        "finished": False,
    }
    layouts = [layout_entry(figures) for figures in ledger.layouts.values()]
    totals = {"recordings": len(recordings)} | totals_of(ledger)
    return _info(head, totals, counts, layouts, ledger.shards(), recordings, list(ledger.incidents()))


def _info(
    head: Json,
    totals: Json,
    counts: Json,
    layouts: Iterable[Json],
    shards: Iterable[Json],
    recordings: list[Json],
    incidents: list[Json],
) -> Json:
    wanted = ("name", "layout", "samples", "bytes", "sha256", "first_key", "seconds_ns", "tokens")
    return head | {
        "recordings": totals["recordings"],
        "samples": totals["samples"],
        "seconds": totals["seconds_ns"] / 1e9,
        "seconds_ns": totals["seconds_ns"],
        "bytes": totals["bytes"],
        "tokens": totals["tokens"],
        "layouts": [_layout(layout) for layout in layouts],
        "shards": [{key: shard[key] for key in wanted} for shard in shards],
        "per_recording": recordings,
        "failures": _of_kind(incidents, "failure"),
        "notes": _of_kind(incidents, "note"),
        "passed_over": counts["passed_over"],
        "counts": counts,
    }


def _of_kind(incidents: list[Json], kind: str) -> list[Json]:
    return [
        {key: value for key, value in line.items() if key != "kind"}
        for line in incidents
        if line["kind"] == kind
    ]


def _layout(layout: Json) -> Json:
    figures = ("name", "samples", "shards", "seconds_ns", "bytes", "tokens")
    tracks = [
        {
            "name": track["name"],
            "medium": track.get("medium", ""),
            "of": track.get("of", ""),
            "encoder": (track.get("spec") or {}).get("encoder", ""),
            "kind": (track.get("spec") or {}).get("kind", ""),
            "shape": (track.get("spec") or {}).get("shape", []),
            "columns": len(track.get("columns") or ()),
        }
        for track in layout["tracks"]
    ]
    return {key: layout[key] for key in figures} | {"seconds": layout["seconds_ns"] / 1e9, "tracks": tracks}
