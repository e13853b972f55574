"""Read a dataset back, and compare everything with everything that is known of it.

    fifth.json      its hash; then the hashes in it, of plan, records and tables; then all of it, made anew
    tables/         made anew from plan and records
    shards/         sizes, hashes, and a walk of each tar against its index, rows, layout and record
    samples         members and types as in the layout, codes below their codebook sizes, times that don't
                    run back, provenance equal to the row, keys unique in the dataset
    added/          each addition in the same way, and its rows against the dataset's

Each shard is read once. Memory does not grow with the samples; of each recording it holds 16 bytes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import is_temporary
from shards.canonical_json import json_line, read_json, read_json_lines
from shards.dataset_files import folder_of
from shards.energon import info_json
from shards.errors import DamagedDataset, WrongLayout
from shards.folder import FOLDERS, FORMAT, MANIFEST, DatasetFolder, shard_name
from shards.joined import ADDED, addition_folders, additions_of, joined_rows
from shards.keys import recording_number
from shards.layout import Layout
from shards.ledger import Ledger
from shards.manifest import build_manifest, file_facts, hash_fits, layout_entry
from shards.npy import BadNpy, npy_view
from shards.problem import Problem
from shards.tables import recording_lines, shard_lines
from shards.verify_shard import OriginOf, verify_shard

Json = dict[str, Any]
Progress = Callable[[int, int], object]
"""Told after each shard how many bytes are verified, and of how many."""

Lines = Callable[[], Iterable[Json]]

_KEYS_AT_ONCE = 1 << 22


def verify_dataset(path: Path | str, progress: Progress | None = None) -> list[Problem]:
    """Return everything that is wrong with a dataset; an empty list where nothing is.

    One on an object store comes here shard by shard. A run that was stopped leaves a dataset without a
    manifest that fits: that is a problem too, and the only one where all that is there is whole.

    Raises:
        FileNotFoundError: no such folder.
        NotADataset: no dataset is there.
    """
    folder = folder_of(path)
    folder.bring_results()
    folder.check()
    found: list[Problem] = []
    manifest = _manifest(folder, found)
    if manifest is not None:
        found += _stored_hashes(folder, manifest)
    tell = progress or (lambda done, total: None)
    try:
        with Ledger(folder) as ledger:
            if manifest is not None:
                found += _made_anew(folder, ledger, manifest)
            layouts = [layout_entry(figures) for figures in ledger.layouts.values()]
            found += _shards(folder, layouts, ledger.shards, ledger.recordings, tell)
    except (DamagedDataset, WrongLayout) as error:
        found.append(Problem("plan, records", "", str(error)))
        found += _shards_by_tables(folder, manifest, tell)
    found += _strangers(folder)
    for addition in addition_folders(folder.path):
        where = f"{ADDED}/{addition.name}"
        inside = verify_dataset(addition, progress)
        found += [Problem(f"{where}/{problem.file}", problem.sample, problem.what) for problem in inside]
    if manifest is not None and not found:
        found += _not_joined(folder.path, manifest)
    return found


def _not_joined(path: Path, manifest: Json) -> Iterator[Problem]:
    """Say which additions don't fit the dataset, and whose rows are of other samples."""
    additions, problems = additions_of(path, manifest)
    yield from problems
    for line in shard_lines(path / "tables" / "shards.jsonl"):
        rows = npy_view((path / "shards" / f"{line['name']}.samples.npy").read_bytes())
        for addition in additions:
            if line["layout"] not in addition.layouts:
                continue
            name = shard_name(addition.layouts[line["layout"]].name, line["task"])
            beside = npy_view((addition.path / "shards" / f"{name}.samples.npy").read_bytes())
            try:
                joined_rows(rows, [beside])
            except DamagedDataset as error:
                yield Problem(f"{ADDED}/{addition.name}/shards/{name}.samples.npy", "", str(error))


def _manifest(folder: DatasetFolder, found: list[Problem]) -> Json | None:
    """Return the manifest as far as it can be read."""
    path = folder.path / MANIFEST
    missing = [name for name in (MANIFEST, f"{MANIFEST}.sha256") if not (folder.path / name).is_file()]
    found += [Problem(name, "", "is missing: not finished; run the same command again") for name in missing]
    if not path.is_file():
        return None
    if (folder.path / f"{MANIFEST}.sha256").is_file() and not hash_fits(folder.path):
        found.append(Problem(MANIFEST, "", f"is not the file whose hash stands in {MANIFEST}.sha256"))
    try:
        manifest = read_json(path)
    except DamagedDataset:
        found.append(Problem(MANIFEST, "", "is not JSON"))
        return None
    if manifest.get("format") != FORMAT:
        found.append(Problem(MANIFEST, "", f"is of format {manifest.get('format')!r}, not {FORMAT}"))
        return None
    return manifest


def _stored_hashes(folder: DatasetFolder, manifest: Json) -> Iterator[Problem]:
    """Compare plan parts and tables with the hashes in the manifest."""
    try:
        facts = {f"plan/{part['part']:06d}.jsonl": part for part in manifest["plan"]} | manifest["tables"]
        stored = {name: (fact["bytes"], fact["sha256"]) for name, fact in facts.items()}
    except (KeyError, TypeError, ValueError) as error:
        yield Problem(MANIFEST, "", f"lacks or mistypes {error}")
        return
    for name, (size_bytes, sha256) in stored.items():
        if not (folder.path / name).is_file():
            yield Problem(name, "", "is missing")
            continue
        found = file_facts(folder.path / name)
        if (found.size_bytes, found.sha256) != (size_bytes, sha256):
            got = f"its {found.size_bytes} bytes have sha256 {found.sha256}"
            yield Problem(name, "", f"{got}; {MANIFEST} says {size_bytes} and {sha256}")
    for part in folder.plan_parts():
        if f"plan/{part:06d}.jsonl" not in stored:
            yield Problem(f"plan/{part:06d}.jsonl", "", f"is not in {MANIFEST}: a later run was not finished")


def _made_anew(folder: DatasetFolder, ledger: Ledger, manifest: Json) -> Iterator[Problem]:
    """Make tables and manifest again from plan and records, and compare."""
    statuses: Counter[str] = Counter()

    def recordings() -> Iterator[Json]:
        for line in ledger.recordings():
            statuses[line["status"]] += 1
            yield line

    tables = {}
    for name, lines in (
        ("shards", ledger.shards()),
        ("recordings", recordings()),
        ("failures", ledger.incidents()),
    ):
        tables[f"tables/{name}.jsonl"] = _facts_of(lines)
    anew = build_manifest(folder, ledger, statuses, tables)
    if anew["records"] != manifest.get("records"):
        yield from _changed_records(folder, ledger, anew, manifest)
    for key in sorted(anew.keys() | manifest.keys()):
        if key not in ("plan", "records") and anew.get(key) != manifest.get(key):
            yield Problem(MANIFEST, "", f"{key!r} is not what plan and records give")
    energon = folder.path / ".nv-meta" / ".info.json"
    if not energon.is_file() or energon.read_bytes() != b"".join(info_json(ledger.shards())):
        yield Problem(".nv-meta/.info.json", "", "does not name the shards there are, with their samples")
    for name in ("README.md", ".nv-meta/split.yaml", ".nv-meta/dataset.yaml"):
        if not (folder.path / name).is_file():
            yield Problem(name, "", "is missing")


def _facts_of(lines: Iterable[Json]) -> Json:
    digest = hashlib.sha256()
    count = size_bytes = 0
    for line in lines:
        data = json_line(line)
        digest.update(data)
        size_bytes += len(data)
        count += 1
    return {"lines": count, "bytes": size_bytes, "sha256": digest.hexdigest()}


def _changed_records(folder: DatasetFolder, ledger: Ledger, anew: Json, manifest: Json) -> Iterator[Problem]:
    """Say which records changed, as far as the table of shards tells."""
    now = {line["task"]: line["record_sha256"] for line in ledger.shards()}
    try:
        table = read_json_lines(folder.path / "tables" / "shards.jsonl")
        changed = [line["task"] for line in table if now.get(line["task"]) != line["record_sha256"]]
    except (DamagedDataset, OSError, KeyError):
        changed = []
    for task in changed:
        what = "is missing, or not the record that the tables were made from"
        yield Problem(f"records/{task:06d}.json", "", what)
    if not changed:
        yield Problem("records", "", f"are {anew['records']}, and {manifest.get('records')} in {MANIFEST}")


def _shards_by_tables(folder: DatasetFolder, manifest: Json | None, tell: Progress) -> Iterator[Problem]:
    """Verify the shards as manifest and tables name them: plan or records can't be read."""
    tables = folder.path / "tables"
    try:
        yield from _shards(
            folder,
            (manifest or {})["layouts"],
            lambda: shard_lines(tables / "shards.jsonl"),
            lambda: recording_lines(tables / "recordings.jsonl"),
            tell,
        )
    except (DamagedDataset, WrongLayout, OSError, KeyError, TypeError) as error:
        yield Problem("shards", "", f"were not read: nothing that can be read says what they hold ({error})")


def _shards(
    folder: DatasetFolder, layouts: list[Json], shards: Lines, recordings: Lines, tell: Progress
) -> Iterator[Problem]:
    """Verify each shard, and that no two hold the same sample."""
    origin_of = _origins(recordings())
    entries = {entry["name"]: (Layout.from_json(entry), entry["provenance"]) for entry in layouts}
    total = sum(entry["bytes"] for entry in layouts)
    done = 0
    for facts in shards():
        layout, types = entries[facts["layout"]]
        with folder.shard_at_hand(facts["name"]):
            yield from verify_shard(folder.shards_folder, facts, layout, types, origin_of)
        done += facts["bytes"]
        tell(done, total)
    yield from _double_samples(folder, shards, sum(entry["samples"] for entry in layouts))


def _origins(recordings: Iterable[Json]) -> OriginOf:
    """Return a look-up of the recordings' origins, 16 bytes each."""
    found_numbers, found_origins = array("Q"), array("q")
    for line in recordings:
        if line["samples"]:
            found_numbers.append(recording_number(line["id"]))
            found_origins.append(line["origin_ns"])
    numbers = np.array(found_numbers, np.uint64)
    order = np.argsort(numbers, kind="stable")
    numbers, origins = numbers[order], np.array(found_origins, np.int64)[order]

    def origin_of(number: int) -> int | None:
        place = int(np.searchsorted(numbers, np.uint64(number)))
        return int(origins[place]) if place < len(numbers) and numbers[place] == number else None

    return origin_of


def _double_samples(folder: DatasetFolder, shards: Lines, samples: int) -> Iterator[Problem]:
    """Find samples of one recording with the same start, in one shard or in two.

    Where there are more samples than are held at once, recordings are dealt to several passes.
    """
    passes = 1 + samples // _KEYS_AT_ONCE
    for turn in range(passes):
        found = [np.empty((0, 2), np.int64)]
        for facts in shards():
            try:
                rows = npy_view((folder.shards_folder / f"{facts['name']}.samples.npy").read_bytes())
                keys = np.stack([rows["recording"].astype(np.int64), rows["start_ns"]], axis=1)
            except (OSError, BadNpy, ValueError, IndexError):
                continue  # told already
            found.append(keys[rows["recording"] % np.uint64(passes) == turn])
        keys, counts = np.unique(np.concatenate(found), axis=0, return_counts=True)
        for (recording, start_ns), count in zip(keys[counts > 1], counts[counts > 1], strict=True):
            number = int(recording) % 2**64
            yield Problem("shards", "", f"{count} samples are of recording {number:016x} at {start_ns} ns")


def _strangers(folder: DatasetFolder) -> Iterator[Problem]:
    """Name files that readers of `shards/*.tar` would take, and no record names; and temporary ones."""
    for name in (".", *FOLDERS):
        inside = folder.path / name
        entries = folder.shard_files() if name == "shards" else (path.name for path in inside.glob("*"))
        for entry in sorted(entries):
            if is_temporary(entry):
                where = entry if name == "." else f"{name}/{entry}"
                yield Problem(where, "", "was left by a stopped run; the next run removes it")
            elif name == "shards" and not _is_named(folder, entry):
                yield Problem(f"{name}/{entry}", "", "is of no shard that a record names")


def _is_named(folder: DatasetFolder, shard_file: str) -> bool:
    try:
        return folder.is_named(shard_file)
    except DamagedDataset:
        return True  # its record can't be read, which was told already
