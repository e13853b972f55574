"""`fifth.json`: what a dataset is, on one page.

    format, fifth             the format's version, and Fifth's
    configuration             every setting that can change bytes; configuration_digest: its sha256
    layouts                   as planned (members, tracks, token specs, columns), with their figures:
                              samples, shards, bytes, seconds_ns, tokens per track, provenance (types)
    totals                    recordings, samples, seconds_ns, bytes, shards, tokens per track
    counts                    recordings by status, failures and notes by cause, files passed over, and
                              what the records counted
    tasks                     planned, done, superseded
    plan, tables, records     sizes and hashes
    files                     sizes and hashes of the dataset card and the files for Energon

`fifth.json.sha256` beside it holds its hash, as `sha256sum` writes it. It is written last of all, and
removed first when a run begins to finish: a dataset without it is not finished.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.atomic import FileFacts, write_whole
from shards.canonical_json import json_page, read_json
from shards.errors import DamagedDataset, NotADataset, NotFinished
from shards.folder import FORMAT, MANIFEST, DatasetFolder
from shards.layout import Layout
from shards.ledger import Ledger
from shards.regular_file import open_regular, read_regular
from shards.shapes import MANIFEST as MANIFEST_SHAPE
from shards.shapes import misfit

Json = dict[str, Any]
_HASH_CHUNK_BYTES = 1 << 20


def file_facts(path: Path) -> FileFacts:
    """Return a file's size and hash, reading it once."""
    digest = hashlib.sha256()
    size_bytes = 0
    with open_regular(path) as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return FileFacts(size_bytes, digest.hexdigest())


def totals_of(ledger: Ledger) -> Json:
    """Return the sums over all layouts."""
    layouts = ledger.layouts.values()
    tokens: Counter[str] = Counter()
    for figures in layouts:
        tokens.update(figures["tokens"])
    sums = {
        name: sum(figures[name] for figures in layouts)
        for name in ("samples", "seconds_ns", "bytes", "shards")
    }
    return sums | {"tokens": dict(tokens)}


def build_manifest(folder: DatasetFolder, ledger: Ledger, statuses: Mapping[str, int], tables: Json) -> Json:
    """Return the manifest.

    Args:
        folder: whose plan parts are hashed.
        ledger: plan and records.
        statuses: how many recordings have which status.
        tables: per table its size and hash.
    """
    parts = [(part, file_facts(folder.plan_path(part))) for part in folder.plan_parts()]
    return {
        "format": FORMAT,
        "fifth": ledger.fifth,
        "configuration": ledger.head["configuration"],
        "configuration_digest": ledger.head["configuration_digest"],
        "layouts": [layout_entry(figures) for figures in ledger.layouts.values()],
        "totals": {"recordings": sum(statuses.values())} | totals_of(ledger),
        "counts": ledger.counts
        | {
            "recordings": dict(statuses),
            "failures": ledger.causes("failure"),
            "notes": ledger.causes("note"),
            "passed_over": ledger.passed_over(),
        },
        "tasks": ledger.tasks,
        "plan": [{"part": part, "bytes": facts.size_bytes, "sha256": facts.sha256} for part, facts in parts],
        "records": {"count": ledger.tasks["done"], "sha256": ledger.records_sha256},
        "tables": tables,
    }


def layout_entry(figures: Mapping[str, Any]) -> Json:
    """Return a layout as it stands in the manifest: the planned one, and its figures."""
    return {**figures["layout"], **{key: value for key, value in figures.items() if key != "layout"}}


def write_manifest(folder: Path, manifest: Json) -> None:
    """Write `fifth.json` and its hash, each whole."""
    facts = write_whole(folder / MANIFEST, [json_page(manifest)])
    write_whole(folder / f"{MANIFEST}.sha256", [hash_line(facts.sha256)])


def hash_line(sha256: str) -> bytes:
    """Return what stands in `fifth.json.sha256`."""
    return f"{sha256}  {MANIFEST}\n".encode()


def hash_fits(folder: Path) -> bool:
    """Tell whether `fifth.json` is there and is what `fifth.json.sha256` says."""
    try:
        wanted = read_regular(folder / f"{MANIFEST}.sha256")
        return wanted == hash_line(file_facts(folder / MANIFEST).sha256)
    except FileNotFoundError:
        return False


def read_manifest(folder: Path) -> Json:
    """Return the manifest.

    Raises:
        FileNotFoundError: no such folder.
        NotADataset: no dataset is there.
        NotFinished: it has no manifest yet.
        DamagedDataset: the manifest is not what was written, or of another format.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not DatasetFolder(folder).is_dataset():
        raise NotADataset(f"{folder}: no dataset (it has no {MANIFEST})")
    if not (folder / MANIFEST).is_file() or not (folder / f"{MANIFEST}.sha256").is_file():
        raise NotFinished(f"{folder}: a dataset that is not finished; run the command that made it again")
    if not hash_fits(folder):
        raise DamagedDataset(
            f"{folder / MANIFEST}: not the file whose hash stands in {MANIFEST}.sha256; "
            "run the command that made the dataset again, and both are written anew"
        )
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise DamagedDataset(
            f"{folder}: its format is {manifest.get('format')!r}; this version of Fifth reads format {FORMAT}"
        )
    if what := misfit(manifest, MANIFEST_SHAPE):
        raise DamagedDataset(f"{folder / MANIFEST}: {what}")
    for layout in manifest["layouts"]:
        if set(layout["tokens"]) != set(Layout.from_json(layout).tracks):
            raise DamagedDataset(
                f"{folder / MANIFEST}: layout {layout['name']} counts tokens of other tracks"
            )
    return manifest
