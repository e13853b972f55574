"""Read a dataset back, and compare everything with everything that is known of it.

    small files     each against the hash that another one has of it, and made anew (`shards.verify_files`)
    shards/         sizes, hashes, and a walk of each tar against its index, rows, layout and record
    samples         members and types as in the layout, codes below their codebook sizes, times that don't
                    run back, provenance equal to the row, keys unique in the dataset
    added/          each addition in the same way, and its rows against the dataset's

Each shard is read once. Memory does not grow with the samples; of each recording it holds 16 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import is_temporary
from shards.dataset_files import folder_of
from shards.errors import DamagedDataset, WrongLayout
from shards.folder import FOLDERS, DatasetFolder, shard_name
from shards.joined import ADDED, addition_folders, additions_of, joined_rows
from shards.keys import recording_number
from shards.layout import Layout
from shards.ledger import Ledger
from shards.manifest import layout_entry
from shards.npy import BadNpy, npy_view
from shards.problem import Problem
from shards.regular_file import read_regular
from shards.tables import recording_lines, shard_lines
from shards.verify_files import check_small_files, read_ledger
from shards.verify_shard import OriginOf, verify_shard

Json = dict[str, Any]
Progress = Callable[[int, int], object]
"""Told after each shard how many bytes are verified, and of how many."""

Lines = Callable[[], Iterable[Json]]

_KEYS_AT_ONCE = 1 << 22
_SMALLEST_ROW_BYTES = 24
"""Recording, start and stop."""


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
    ledger, unread = read_ledger(folder)
    with ledger or nullcontext():
        small = check_small_files(folder, ledger, unread)
        known = known_shards(folder, ledger if small.sound else None, small.manifest)
        found = [*small.problems, *verify_shards(folder, known, progress)]
    found += _strangers(folder)
    for addition in addition_folders(folder.path):
        where = f"{ADDED}/{addition.name}"
        inside = verify_dataset(addition, progress)
        found += [replace(problem, file=f"{where}/{problem.file}") for problem in inside]
    if small.manifest is not None and not found:
        found += _not_joined(folder.path, small.manifest)
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


@dataclass(frozen=True)
class KnownShards:
    """What the small files say of the shards."""

    layouts: list[Json]
    """As in the manifest."""
    shards: Lines
    """The lines of `tables/shards.jsonl`."""
    recordings: Lines
    """The lines of `tables/recordings.jsonl`."""


def known_shards(folder: DatasetFolder, ledger: Ledger | None, manifest: Json | None) -> KnownShards:
    """Return what plan and records say of the shards; where they can't be relied on, manifest and tables.

    Args:
        folder: of the dataset.
        ledger: plan and records; None: they can't be relied on.
        manifest: that can be relied on; None: there is none.
    """
    if ledger is not None:
        layouts = [layout_entry(figures) for figures in ledger.layouts.values()]
        return KnownShards(layouts, ledger.shards, ledger.recordings)
    tables = folder.path / "tables"
    return KnownShards(
        (manifest or {}).get("layouts", []),
        lambda: shard_lines(tables / "shards.jsonl"),
        lambda: recording_lines(tables / "recordings.jsonl"),
    )


def verify_shards(
    folder: DatasetFolder, known: KnownShards, progress: Progress | None = None
) -> Iterator[Problem]:
    """Verify each shard, and that no two hold the same sample."""
    tell = progress or (lambda done, total: None)
    try:
        yield from _shards(folder, known, tell)
    except (DamagedDataset, WrongLayout, OSError, KeyError, TypeError) as error:
        yield Problem("shards", "", f"were not read: nothing that can be read says what they hold ({error})")


def _shards(folder: DatasetFolder, known: KnownShards, tell: Progress) -> Iterator[Problem]:
    origin_of = origins(known.recordings())
    entries = {entry["name"]: (Layout.from_json(entry), entry["provenance"]) for entry in known.layouts}
    total = sum(entry["bytes"] for entry in known.layouts)
    done = 0
    for facts in known.shards():
        layout, types = entries[facts["layout"]]
        with folder.shard_at_hand(facts["name"]):
            yield from verify_shard(folder.shards_folder, facts, layout, types, origin_of)
        done += facts["bytes"]
        tell(done, total)
    yield from _double_samples(folder, known.shards, sum(entry["samples"] for entry in known.layouts))


def origins(recordings: Iterable[Json]) -> OriginOf:
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
    rows_files = folder.shards_folder.glob("*.samples.npy")
    size_bytes = sum(path.stat().st_size for path in rows_files if path.is_file())
    passes = 1 + min(samples, size_bytes // _SMALLEST_ROW_BYTES) // _KEYS_AT_ONCE  # who counted may lie
    for turn in range(passes):
        found = [np.empty((0, 2), np.int64)]
        for facts in shards():
            try:
                rows = npy_view(read_regular(folder.shards_folder / f"{facts['name']}.samples.npy"))
                keys = np.stack([rows["recording"].astype(np.int64), rows["start_ns"]], axis=1)
            except (OSError, DamagedDataset, BadNpy, ValueError, IndexError):
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
                yield Problem(where, "", "was left by a stopped run; the next run removes it", "left")
            elif name == "shards" and not _is_named(folder, entry):
                yield Problem(f"{name}/{entry}", "", "is of no shard that a record names", "left")


def _is_named(folder: DatasetFolder, shard_file: str) -> bool:
    try:
        return folder.is_named(shard_file)
    except DamagedDataset:
        return True  # its record can't be read, which was told already
