"""What a dataset holds, as one JSON object: what `fifth info --json` prints.

A finished dataset answers from its manifest and tables. One whose run was stopped has none that fit; then
the answer comes from plan and records, and says `"finished": false`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from shards.dataset_files import folder_of
from shards.folder import FORMAT, DatasetFolder
from shards.joined import addition_folders, additions_of
from shards.ledger import Ledger
from shards.manifest import file_facts, hash_fits, layout_entry, read_manifest, totals_of
from shards.tables import incident_lines, recording_lines, shard_lines

Json = dict[str, Any]


def dataset_info(path: Path | str, most: int | None = None) -> Json:
    """Return what is in a dataset.

    Args:
        path: its folder, or its address on an object store.
        most: at most so many shards, recordings, failures and notes are listed, so that the answer does not
            grow with the dataset; None: all. What is counted is counted whole.

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
    folder = folder_of(path)
    folder.bring_results()
    folder.check()
    manifest = _fitting_manifest(folder)
    if manifest is not None:
        return _from_tables(folder, manifest, most) | {"added": _added(folder.path, manifest, most)}
    with Ledger(folder) as ledger:
        return _from_ledger(ledger, most) | {"added": []}


def _added(path: Path, manifest: Json, most: int | None) -> list[Json]:
    """Describe what `fifth add` added: `name`, `joined`, `why_not`, and its `tokens`, `bytes`, `layouts` …"""
    additions, problems = additions_of(path, manifest)
    why_not = {problem.file.partition("/")[2]: problem.what for problem in problems}
    joined = {addition.name for addition in additions}
    added = []
    for folder in addition_folders(path):
        own = dataset_info(folder, most)
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
    if sum(1 for _ in folder.iter_tasks_done()) != manifest["records"]["count"]:
        return None
    for name, facts in manifest["tables"].items():
        table = folder.path / name
        if not table.is_file() or file_facts(table).sha256 != facts["sha256"]:
            return None
    return manifest


def _from_tables(folder: DatasetFolder, manifest: Json, most: int | None) -> Json:
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
        recording_lines(tables / "recordings.jsonl"),
        incident_lines(tables / "failures.jsonl"),
        most,
    )


def _from_ledger(ledger: Ledger, most: int | None) -> Json:
    statuses = Counter(line["status"] for line in ledger.recordings())
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
    totals = {"recordings": sum(statuses.values())} | totals_of(ledger)
    return _info(
        head, totals, counts, layouts, ledger.shards(), ledger.recordings(), ledger.incidents(), most
    )


def _info(
    head: Json,
    totals: Json,
    counts: Json,
    layouts: Iterable[Json],
    shards: Iterable[Json],
    recordings: Iterable[Json],
    incidents: Iterable[Json],
    most: int | None,
) -> Json:
    told = _by_kind(incidents, most)
    wanted = ("name", "layout", "samples", "bytes", "sha256", "first_key", "seconds_ns", "tokens")
    return head | {
        "recordings": totals["recordings"],
        "samples": totals["samples"],
        "seconds": totals["seconds_ns"] / 1e9,
        "seconds_ns": totals["seconds_ns"],
        "bytes": totals["bytes"],
        "tokens": totals["tokens"],
        "layouts": [_layout(layout) for layout in layouts],
        "shards": [{key: shard[key] for key in wanted} for shard in islice(shards, most)],
        "per_recording": list(islice(recordings, most)),
        "failures": told["failure"],
        "notes": told["note"],
        "passed_over": counts["passed_over"],
        "counts": counts,
    }


def _by_kind(incidents: Iterable[Json], most: int | None) -> dict[str, list[Json]]:
    """Return the failures and the notes, at most so many of each, without their kind."""
    told: dict[str, list[Json]] = {"failure": [], "note": []}
    for line in incidents:
        of_kind = told[line["kind"]]
        if most is None or len(of_kind) < most:
            of_kind.append({key: value for key, value in line.items() if key != "kind"})
    return told


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
