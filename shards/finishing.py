"""Finish a dataset: tables, dataset card, Energon's files, manifest; all from plan and records.

The manifest's hash goes first and comes last: a run that is killed in between leaves a dataset that says
of itself that it is not finished, and the next run writes everything again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from shards.atomic import FileFacts, sync_folder, write_whole
from shards.canonical_json import json_line
from shards.card import card
from shards.energon import dataset_yaml, info_json, split_yaml
from shards.folder import MANIFEST, DatasetFolder
from shards.ledger import Ledger
from shards.manifest import build_manifest, write_manifest

Json = dict[str, Any]
Put = Callable[[Path, Iterable[bytes]], FileFacts]
"""Takes a file's bytes to where they belong (or compares them with what is there), and measures them."""


def finish(folder: DatasetFolder, put: Put | None = None) -> Json:
    """Write everything that plan and records determine, and return the manifest.

    Args:
        folder: of the dataset.
        put: writes a table, the card, or a file for Energon; None: whole, or not at all.

    Raises:
        DamagedDataset: plan and records do not fit each other.
    """
    with Ledger(folder) as ledger:
        (folder.path / f"{MANIFEST}.sha256").unlink(missing_ok=True)
        sync_folder(folder.path)  # else a power loss could bring it back beside newer tables
        manifest = derive(folder, ledger, put or write_whole)
    write_manifest(folder.path, manifest)
    return manifest


def derive(folder: DatasetFolder, ledger: Ledger, put: Put) -> Json:
    """Make every file that plan and records determine, hand each to `put`, and return the manifest."""
    statuses: Counter[str] = Counter()
    tables = {
        "tables/shards.jsonl": _put_table(folder, put, "shards", ledger.shards()),
        "tables/recordings.jsonl": _put_table(
            folder, put, "recordings", _counted(ledger.recordings(), statuses)
        ),
        "tables/failures.jsonl": _put_table(folder, put, "failures", ledger.incidents()),
    }
    manifest = build_manifest(folder, ledger, statuses, tables)
    files: Json = {}
    for name, pieces in (
        ("README.md", [card(manifest).encode()]),
        (".nv-meta/.info.json", info_json(ledger.shards())),
        (".nv-meta/split.yaml", split_yaml(ledger.shards())),
        (".nv-meta/dataset.yaml", dataset_yaml()),
    ):
        facts = put(folder.path / name, pieces)
        files[name] = {"bytes": facts.size_bytes, "sha256": facts.sha256}
    return manifest | {"files": files}


def _put_table(folder: DatasetFolder, put: Put, name: str, lines: Iterable[Json]) -> Json:
    count = 0

    def counted() -> Iterator[bytes]:
        nonlocal count
        for line in lines:
            count += 1
            yield json_line(line)

    facts = put(folder.path / "tables" / f"{name}.jsonl", counted())
    return {"lines": count, "bytes": facts.size_bytes, "sha256": facts.sha256}


def _counted(recordings: Iterable[Json], statuses: Counter[str]) -> Iterator[Json]:
    for line in recordings:
        statuses[line["status"]] += 1
        yield line
