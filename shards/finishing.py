"""Finish a dataset: tables, dataset card, Energon's files, manifest; all from plan and records.

The manifest's hash goes first and comes last: a run that is killed in between leaves a dataset that says
of itself that it is not finished, and the next run writes everything again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from shards.atomic import write_whole
from shards.canonical_json import json_line
from shards.card import card
from shards.energon import dataset_yaml, info_json, split_yaml
from shards.folder import MANIFEST, DatasetFolder
from shards.ledger import Ledger
from shards.manifest import build_manifest, write_manifest

Json = dict[str, Any]


def finish(folder: DatasetFolder) -> Json:
    """Write everything that plan and records determine, and return the manifest.

    Raises:
        DamagedDataset: plan and records do not fit each other.
    """
    with Ledger(folder) as ledger:
        (folder.path / f"{MANIFEST}.sha256").unlink(missing_ok=True)
        statuses: Counter[str] = Counter()
        tables = {
            "tables/shards.jsonl": _write_table(folder, "shards", ledger.shards()),
            "tables/recordings.jsonl": _write_table(
                folder, "recordings", _counted(ledger.recordings(), statuses)
            ),
            "tables/failures.jsonl": _write_table(folder, "failures", ledger.incidents()),
        }
        manifest = build_manifest(folder, ledger, statuses, tables)
        write_whole(folder.path / "README.md", [card(manifest).encode()])
        write_whole(folder.path / ".nv-meta" / ".info.json", info_json(ledger.shards()))
        write_whole(folder.path / ".nv-meta" / "split.yaml", split_yaml(ledger.shards()))
        write_whole(folder.path / ".nv-meta" / "dataset.yaml", dataset_yaml())
    write_manifest(folder.path, manifest)
    return manifest


def _write_table(folder: DatasetFolder, name: str, lines: Iterable[Json]) -> Json:
    count = 0

    def counted() -> Iterator[bytes]:
        nonlocal count
        for line in lines:
            count += 1
            yield json_line(line)

    facts = write_whole(folder.path / "tables" / f"{name}.jsonl", counted())
    return {"lines": count, "bytes": facts.size_bytes, "sha256": facts.sha256}


def _counted(recordings: Iterable[Json], statuses: Counter[str]) -> Iterator[Json]:
    for line in recordings:
        statuses[line["status"]] += 1
        yield line
