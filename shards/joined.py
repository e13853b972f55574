"""Encoders added to a finished dataset: each a dataset of its own in `added/NAME`, joined sample by sample.

    dataset/                            as it was: not a byte of it changes
      added/siglip/                     a dataset like any other: manifest, plan, records, shards
        shards/video_siglip-000007.tar  its shard 7 has the samples of the dataset's shard 7, in their order

Both have the same keys, so any reader can join them; whoever opens `dataset/` gets them joined. An addition
is joined when it is finished and has a shard for every one of the dataset's that has its tracks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.errors import DamagedDataset, ShardsError
from shards.folder import MANIFEST, DatasetFolder
from shards.layout import Layout
from shards.manifest import file_facts, read_manifest
from shards.problem import Problem
from shards.tables import shard_lines

ADDED = "added"
Json = dict[str, Any]


@dataclass(frozen=True)
class Addition:
    """One addition that is finished and fits its dataset."""

    name: str
    path: Path
    layouts: Mapping[str, Layout]
    """By the name of the dataset's layout that each one adds to."""


def addition_folders(dataset: Path) -> list[Path]:
    """Return the folders of all additions, finished or not, by name."""
    return sorted(path for path in (dataset / ADDED).glob("*") if DatasetFolder(path).is_dataset())


def additions_of(dataset: Path, manifest: Json) -> tuple[list[Addition], list[Problem]]:
    """Return the additions that can be joined to a dataset, and why others can't.

    Args:
        dataset: its folder.
        manifest: its own.
    """
    found, problems = [], []
    for path in addition_folders(dataset):
        try:
            found.append(_addition(dataset, manifest, path))
        except (ShardsError, OSError, KeyError) as error:
            problems.append(Problem(f"{ADDED}/{path.name}", "", f"is not joined: {error}"))
    return found, problems


def _addition(dataset: Path, manifest: Json, path: Path) -> Addition:
    own = read_manifest(path)
    if own["configuration"].get("adds_to") != manifest["configuration_digest"]:
        raise DamagedDataset(f"{path / MANIFEST}: it was made for another dataset")
    if own["tasks"]["done"] < own["tasks"]["planned"]:
        raise DamagedDataset(f"{path}: it is not finished; run the same `fifth add` again")
    layouts = {layout["name"]: Layout.from_json(layout) for layout in own["layouts"]}
    lines = {line["task"]: line for line in _shard_lines(path, own)}
    joined: dict[str, Layout | None] = {}
    for line in shard_lines(dataset / "tables" / "shards.jsonl"):
        there = lines.get(line["task"])
        if there and there["layout"] not in layouts:
            raise DamagedDataset(f"{path}: shard {there['name']} is of no layout that {MANIFEST} has")
        layout = layouts[there["layout"]] if there else None
        if there and there["samples"] != line["samples"]:
            raise DamagedDataset(f"{path}: shard {there['name']} has other samples than {line['name']}")
        if joined.setdefault(line["layout"], layout) is not layout:
            raise DamagedDataset(f"{path}: the dataset has grown; run the same `fifth add` again")
    return Addition(path.name, path, {name: layout for name, layout in joined.items() if layout is not None})


def _shard_lines(path: Path, manifest: Json) -> Iterator[Json]:
    table = path / "tables" / "shards.jsonl"
    if file_facts(table).sha256 != manifest["tables"]["tables/shards.jsonl"]["sha256"]:
        raise DamagedDataset(f"{table}: not the table that the manifest names")
    yield from shard_lines(table)


def joined_layout(layout: Layout, added: list[Layout]) -> Layout:
    """Return a layout with the members and tracks of others behind its own."""
    more = [other.json for other in added]
    json = {
        **layout.json,
        "members": [*layout.json["members"], *(m for other in more for m in other["members"][1:])],
        "tracks": [*layout.json["tracks"], *(track for other in more for track in other["tracks"])],
    }
    joined = Layout.from_json(json) if added else layout
    return replace(joined, json=json) if added else layout


def joined_rows(rows: npt.NDArray[Any], added: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return rows with the members and tracks of others behind their own.

    Raises:
        DamagedDataset: they are not of the same samples.
    """
    fields = [(name, rows.dtype[name]) for name in rows.dtype.names or ()]
    known = {name for name, _ in fields}
    for more in added:
        same = len(more) == len(rows) and all(
            np.array_equal(more[name], rows[name]) for name in ("recording", "start_ns", "stop_ns")
        )
        if not same:
            raise DamagedDataset("an addition's rows are not of the dataset's samples; run fifth verify")
        fields += [(name, more.dtype[name]) for name in more.dtype.names or () if name not in known]
        known |= set(more.dtype.names or ())
    joined = np.empty(len(rows), fields)
    for part in (*reversed(added), rows):  # `json` is in all of them; the dataset's own counts
        for name in part.dtype.names or ():
            joined[name] = part[name]
    return joined
