"""What a dataset's files still say of one of them that is damaged: no recordings are needed for these.

    NAME.tar.idx          from the tar
    NAME.samples.npy      from the tar: keys, sizes, and what stands in each sample's `json`
    NAME.tar              from the rows, where headers, padding or the end are damaged, and not the data
    records/NUMBER.json   from plan, tables, rows and the other records

Each function returns what it makes of them. Whether that is the file that was written, its hash tells.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.canonical_json import json_line
from shards.errors import DamagedDataset
from shards.folder import DatasetFolder
from shards.keys import KEY_LENGTH, parse_key, sample_key
from shards.layout import Layout
from shards.ledger import Ledger
from shards.npy import npy_header, npy_view
from shards.regular_file import open_regular, read_regular
from shards.sample_rows import row_dtype
from shards.tar import END_OF_TAR, BadTar, header_mould, padding_of, walk
from shards.verify_shard import OriginOf, samples_in

Json = dict[str, Any]
Rows = npt.NDArray[Any]

CANNOT = (OSError, DamagedDataset, BadTar, ValueError, KeyError, TypeError, IndexError, OverflowError)
"""What comes of files that do not say what they must say."""
_OF_THE_MANIFEST = ("recordings", "failures", "notes", "passed_over")


def index_of(tar: Path) -> bytes:
    """Return the bytes of `.tar.idx`. Raises one of `CANNOT` for a tar that is damaged."""
    offsets, end = [], 0
    with open_regular(tar) as file:
        for _, members in samples_in(walk(file, tar.stat().st_size, lambda data: None)):
            offsets.append(members[0].header_offset)
            end = members[-1].end_offset
    return np.array([*offsets, end], "<u8").tobytes()


def rows_of(tar: Path, layout: Layout) -> bytes:
    """Return the bytes of `.samples.npy`. Raises one of `CANNOT` for a tar that is damaged."""
    rows = []
    with open_regular(tar) as file:
        for key, members in samples_in(walk(file, tar.stat().st_size, lambda data: None)):
            data = {file.name.partition(".")[2]: file.data for file in members}
            provenance = json.loads(data["json"])
            number, _ = parse_key(key) or (0, 0)
            row = [number, provenance["start_ns"], provenance["stop_ns"]]
            for member in members:
                row += [member.data_offset, len(member.data)]
            for track in layout.tracks:
                codes = data.get(f"{track}.tokens.npy")
                row.append(0 if codes is None else npy_view(codes).size)
                row.append(provenance["tracks"][track]["valid"])
            rows.append(tuple(row))
    dtype = row_dtype(layout)
    return npy_header(dtype, (len(rows),)) + np.array(rows, dtype).tobytes()


def tar_around(tar: Path, rows: Rows, layout: Layout, origin_of: OriginOf) -> Iterator[bytes]:
    """Yield a tar with the data of one that is damaged, and everything around them made anew.

    Raises one of `CANNOT` where the data are not there.
    """
    names = [member.name for member in layout.members]
    with open_regular(tar) as file:
        for row in rows:
            number, start_ns = int(row["recording"]), int(row["start_ns"])
            key = sample_key(number, start_ns - (origin_of(number) or 0)).encode()
            for name in names:
                size_bytes = int(row[f"{name}:size"])
                file.seek(int(row[f"{name}:offset"]))
                data = file.read(size_bytes)
                if len(data) < size_bytes:
                    raise BadTar(f"{name} is cut off")
                yield header_mould(name, KEY_LENGTH, size_bytes).header(key)
                yield data
                yield bytes(padding_of(size_bytes))
    yield END_OF_TAR


def records_from_tables(
    folder: DatasetFolder, task: int, manifest: Json, facts: Json | None, lost: Collection[int]
) -> Iterator[bytes]:
    """Yield what a record may have been: with and without what the others don't account for.

    Args:
        folder: whose plan and tables are sound.
        task: of the record.
        manifest: the dataset's.
        facts: the task's line in `tables/shards.jsonl`; None: it has no shard.
        lost: the tasks whose records are damaged or missing, this one among them.

    Raises:
        One of `CANNOT`: what is needed is damaged itself.
    """
    line, part = _planned(folder, task)
    layout = {entry["name"]: entry for entry in manifest["layouts"]}[line["layout"]]
    with Ledger(folder, without=lost) as others:
        incidents = _remaining(folder, others)
        counts = _subtracted(_counts(manifest), others.counts)
    ids = {entry["id"] for entry in line.get("clips", ())}
    ours = [incident for incident in incidents if not ids or incident["id"] in ids]
    shard = None
    if facts is not None:
        shard = {key: value for key, value in facts.items() if key not in ("task", "layout", "record_sha256")}
        shard["provenance"] = layout["provenance"]
    record = {
        "task": task,
        "part": part,
        "layout": line["layout"],
        "shard": shard,
        "recordings": _results(folder, line, facts),
    }
    for told in (ours, []) if ours else ([],):
        for counted in (counts, _nothing(counts)):
            yield json_line(
                {
                    **record,
                    "failures": _of_kind(told, "failure"),
                    "notes": _of_kind(told, "note"),
                    "counts": counted,
                }
            )


def _planned(folder: DatasetFolder, task: int) -> tuple[Json, int]:
    """Return a task's line, and the plan part that holds it."""
    part = 0
    for line in folder.read_plan():
        part = line["part"] if line["kind"] == "part" else part
        if line["kind"] == "task" and line["task"] == task:
            return line, part
    raise KeyError(f"task {task} is not in the plan")


def _results(folder: DatasetFolder, line: Json, facts: Json | None) -> list[Json]:
    """Return what a record says of each recording: by the plan's clips, and the shard's rows."""
    samples: Counter[int] = Counter()
    length_ns: Counter[int] = Counter()
    if facts is not None:
        rows = npy_view(read_regular(folder.shards_folder / f"{facts['name']}.samples.npy"))
        columns = (rows[name].tolist() for name in ("recording", "start_ns", "stop_ns"))
        for number, start_ns, stop_ns in zip(*columns, strict=True):
            samples[number] += 1
            length_ns[number] += stop_ns - start_ns
    clips: Counter[str] = Counter()
    for entry in line["clips"]:
        clips[entry["id"]] += entry["count"]
    return [
        {
            "id": content,
            "clips": count,
            "samples": samples[int(content[:16], 16)],
            "seconds_ns": length_ns[int(content[:16], 16)],
        }
        for content, count in clips.items()
    ]


def _remaining(folder: DatasetFolder, others: Ledger) -> list[Json]:
    """Return the lines of the table of failures that neither plan nor other records account for."""
    known = Counter(json_line(line) for line in others.incidents())
    remaining = []
    for data in read_regular(folder.path / "tables" / "failures.jsonl").splitlines(keepends=True):
        if known[data]:
            known[data] -= 1
        else:
            remaining.append(json.loads(data))
    return remaining


def _of_kind(incidents: list[Json], kind: str) -> list[Json]:
    return [
        {key: value for key, value in line.items() if key != "kind"}
        for line in incidents
        if line["kind"] == kind
    ]


def _counts(manifest: Json) -> Json:
    return {key: value for key, value in manifest["counts"].items() if key not in _OF_THE_MANIFEST}


def _subtracted(total: Json, known: Mapping[str, Any]) -> Json:
    """Return what is left of a tree of counts; names that are left with nothing are dropped inside it."""
    left = {}
    for key, value in total.items():
        if isinstance(value, dict):
            inner = _subtracted(value, known.get(key, {}))
            left[key] = {name: count for name, count in inner.items() if count}
        else:
            left[key] = value - known.get(key, 0)
    return left


def _nothing(counts: Json) -> Json:
    return {key: {} if isinstance(value, dict) else 0 for key, value in counts.items()}
