"""A small dataset with every kind of member, and the parts to make others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shards import DatasetFolder, ShardWriter, recording_number, sample_key, shard_name

Json = dict[str, Any]
CLIP_NS = 1_000_000_000
ORIGIN_NS = 1_600_000_000_000_000_000

VIDEO: Json = {
    "name": "video",
    "members": [
        {"name": "json"},
        {"name": "video.tokens.npy", "dtype": "uint16", "shape": [None, 4, 4]},
        {"name": "video.times.npy", "dtype": "int64", "shape": [None]},
    ],
    "tracks": [
        {
            "name": "video",
            "medium": "pictures",
            "spec": {
                "encoder": "blocks",
                "revision": 1,
                "kind": "codes",
                "axes": "THW",
                "strides": [1, 8, 8],
                "codebook_sizes": [1000],
                "lowest_code": 0,
            },
            "columns": [],
            "rate": "8/1",
            "details": {},
        }
    ],
}
EVERYTHING: Json = {
    "name": "video-audio",
    "members": [
        {"name": "json"},
        {"name": "audio.tokens.npy", "dtype": "uint8", "shape": [None, 2]},
        {"name": "jpegs.tokens.npy", "dtype": "uint8", "shape": [None]},
        {"name": "jpegs.offsets.npy", "dtype": "int64", "shape": [None]},
        {"name": "jpegs.times.npy", "dtype": "int64", "shape": [None]},
        {"name": "joints.tokens.npy", "dtype": "uint8", "shape": [None, 3]},
        {"name": "joints.values.npy", "dtype": "float32", "shape": [None, 3]},
        {"name": "latents.features.npy", "dtype": "float16", "shape": [None, 5]},
        {"name": "subs.txt"},
        {"name": "subs.times.npy", "dtype": "int64", "shape": [None, 2]},
        *VIDEO["members"][1:],
    ],
    "tracks": [
        {
            "name": "audio",
            "medium": "sound",
            "spec": {"encoder": "bands", "strides": [2, 1], "codebook_sizes": [200, 100], "lowest_code": 0},
            "rate": "16000/1",
        },
        {"name": "jpegs", "medium": "pictures", "spec": {"encoder": "jpeg", "kind": "bytes", "strides": [0]}},
        {
            "name": "joints",
            "medium": "signal",
            "spec": {"encoder": "bins", "strides": [1, 1], "codebook_sizes": [256], "lowest_code": 1},
            "columns": ["position[lift]", "position[wrist]", "position[grip]"],
            "rate": "50/1",
        },
        {
            "name": "latents",
            "medium": "pictures",
            "spec": {"encoder": "vae", "kind": "features", "strides": [1, 1]},
        },
        {"name": "subs", "medium": "text", "spec": {}, "columns": [], "rate": ""},
        *VIDEO["tracks"],
    ],
}


def content_id(name: str) -> str:
    """Return a made content id."""
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass
class Made:
    """One made sample, as it is given to the writer."""

    key: str
    members: Json
    span: Json
    tokens: dict[str, int]
    valid: dict[str, int]

    def add_to(self, writer: ShardWriter) -> None:
        writer.add(self.key, self.members, **self.span, tokens=self.tokens, valid=self.valid)


def make_sample(layout: Mapping[str, Any], recording: str, clip: int, seed: int = 0) -> Made:
    """Return sample number `clip` of a recording: every third clip has empty arrays and no text."""
    random = np.random.default_rng([seed, clip, len(recording)])
    steps = clip % 3 * 2
    number = recording_number(content_id(recording))
    start_ns = ORIGIN_NS + clip * CLIP_NS
    names = [track["name"] for track in layout["tracks"]]
    values = random.normal(size=(steps, 3)).astype(np.float32)
    values[:1] = np.nan
    every: Json = {
        "json": {
            "recording": recording,
            "id": content_id(recording),
            "start_ns": start_ns,
            "stop_ns": start_ns + CLIP_NS,
            "tracks": {name: {"valid": steps, "grid_start_ns": start_ns} for name in names},
        },
        "audio.tokens.npy": random.integers(0, 100, (steps, 2)).astype(np.uint8),
        "jpegs.tokens.npy": random.integers(0, 256, steps * 7).astype(np.uint8),
        "jpegs.offsets.npy": np.arange(0, steps * 7 + 1, 7, dtype=np.int64),
        "jpegs.times.npy": np.arange(steps, dtype=np.int64) * 125_000_000 - 5,
        "joints.tokens.npy": np.where(np.isnan(values), 0, random.integers(1, 256, (steps, 3))).astype(
            np.uint8
        ),
        "joints.values.npy": values,
        "latents.features.npy": random.normal(size=(steps, 5)).astype(np.float16),
        "subs.txt": "".join(f"Zeile {n} – 字幕\n" for n in range(steps // 2)),
        "subs.times.npy": np.arange(steps // 2 * 2, dtype=np.int64).reshape(-1, 2),
        "video.tokens.npy": random.integers(0, 1000, (steps, 4, 4)).astype(np.uint16),
        "video.times.npy": np.arange(steps, dtype=np.int64) * 125_000_000,
    }
    return Made(
        key=sample_key(number, clip * CLIP_NS),
        members={member["name"]: every[member["name"]] for member in layout["members"]},
        span={"recording_id": number, "start_ns": start_ns, "stop_ns": start_ns + CLIP_NS},
        tokens={name: getattr(every.get(f"{name}.tokens.npy"), "size", 0) for name in names},
        valid=dict.fromkeys(names, steps),
    )


@dataclass
class Task:
    """One task of a made dataset."""

    layout: Json
    clips: dict[str, range]
    """Per recording the clips of this task."""
    failures: list[Json] = field(default_factory=list)
    supersedes: list[int] = field(default_factory=list)


def recording_line(name: str, **values: Any) -> Json:
    """Return a plan's line of a recording."""
    line = {
        "kind": "recording",
        "recording": name,
        "id": content_id(name),
        "size_bytes": 1,
        "status": "planned",
        "duplicate_of": "",
        "layout": "",
        "origin_ns": ORIGIN_NS,
        "stop_ns": ORIGIN_NS + CLIP_NS,
        "about": {"container": "made"},
        "clips": 1,
        "info": {},
        "replaces": [],
    }
    return line | values


def failure(name: str, cause: str = "truncated: the last 3 s can't be read", **values: Any) -> Json:
    """Return a failure as it stands in a record."""
    line = {"recording": name, "id": content_id(name), "track": "video", "start_ns": 5, "stop_ns": 9}
    return line | {"cause": cause} | values


def write_part(folder: DatasetFolder, tasks: Mapping[int, Task], more: list[Json] | None = None) -> int:
    """Write a plan part with these tasks and their recordings, and `more` lines."""
    part = folder.next_part()
    lines: list[Json] = [
        {
            "kind": "part",
            "part": part,
            "format": 1,
            "fifth": "0.1.0",
            "configuration": {"clip_seconds": 1, "fps": 8, "video": "blocks"},
            "configuration_digest": hashlib.sha256(b"settings").hexdigest(),
        }
    ]
    seen: set[str] = set()
    for task in tasks.values():
        if task.layout["name"] not in seen:
            seen.add(task.layout["name"])
            lines.append({"kind": "layout", "layout": task.layout})
    clips: dict[str, tuple[str, int]] = {}
    for task in tasks.values():
        for name, numbers in task.clips.items():
            clips[name] = (task.layout["name"], clips.get(name, ("", 0))[1] + len(numbers))
    lines += [recording_line(name, layout=layout, clips=count) for name, (layout, count) in clips.items()]
    lines += more or []
    for number, task in tasks.items():
        entries = [{"id": content_id(n), "first": r.start, "count": len(r)} for n, r in task.clips.items()]
        line = {"kind": "task", "task": number, "layout": task.layout["name"], "clips": entries}
        lines.append(line | ({"supersedes": task.supersedes} if task.supersedes else {}))
    return folder.write_plan_part(lines)


def run_task(folder: DatasetFolder, number: int, task: Task, part: int = 0) -> None:
    """Write a task's shard and record."""
    name = shard_name(task.layout["name"], number)
    results = []
    with ShardWriter(folder.shards_folder, name, task.layout) as writer:
        for recording, numbers in task.clips.items():
            for clip in numbers:
                make_sample(task.layout, recording, clip).add_to(writer)
            result = {"id": content_id(recording), "clips": len(numbers), "samples": len(numbers)}
            results.append(result | {"seconds_ns": len(numbers) * CLIP_NS})
        figures = writer.close()
    folder.write_record(
        number,
        {
            "task": number,
            "layout": task.layout["name"],
            "part": part,
            "shard": figures.to_json() if figures else None,
            "recordings": results,
            "failures": task.failures,
            "notes": [],
            "counts": {"clips_without_content": 1, "saturated": {"joints": 2}},
        },
    )


TASKS = {
    0: Task(EVERYTHING, {"a/drive.mp4": range(5), "b.bag": range(2)}),
    1: Task(EVERYTHING, {"b.bag": range(2, 9)}, failures=[failure("b.bag")]),
    2: Task(VIDEO, {"c.mkv": range(4)}),
    3: Task(VIDEO, {"gone.mkv": range(0)}, failures=[failure("gone.mkv", "no frame decodes")]),
}
LOST = [
    recording_line("broken.mp4", status="failed"),
    recording_line("copy.mp4", status="duplicate", duplicate_of="a/drive.mp4", id=content_id("a/drive.mp4")),
    recording_line("silence.wav", status="empty"),
    {"kind": "failure"} | failure("broken.mp4", "no moov atom: the file is truncated"),
    {"kind": "note"} | failure("c.mkv", "a bad packet at the very end"),
    {"kind": "passed_over", "reason": "not a recording", "count": 3},
]


def write_dataset(path: Path, finish: bool = True) -> DatasetFolder:
    """Write the dataset of `TASKS`."""
    folder = DatasetFolder(path)
    folder.create()
    write_part(folder, TASKS, LOST)
    for number, task in TASKS.items():
        run_task(folder, number, task)
    if finish:
        folder.finish()
    return folder


def resume(path: Path) -> DatasetFolder:
    """Do as a run does that finds a stopped one: clean up, plan if need be, do what is left, finish."""
    folder = DatasetFolder(path)
    folder.create()
    folder.remove_leftovers()
    if not folder.plan_parts():
        write_part(folder, TASKS, LOST)
    for number in sorted(TASKS.keys() - folder.tasks_done()):
        run_task(folder, number, TASKS[number])
    folder.finish()
    return folder


def files_of(path: Path) -> dict[str, bytes]:
    """Return every file of a dataset but the lock."""
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in found}
