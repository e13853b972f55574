"""The main job on one input: what a run makes of a damaged recording, in this process."""

from __future__ import annotations

import importlib.metadata
import os
import traceback
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from seeds import Seed

Outcome = tuple[str, str, str]


@cache
def prepare() -> Any:
    """Import all that the main job needs, and leave out what only costs time; return its settings."""
    import torch

    import ingest.engine.local as local
    import ingest.pipeline as pipeline
    import ingest.task  # noqa: F401
    from ingest.configuration import Settings

    torch.set_num_threads(1)
    os.fsync = lambda descriptor: None
    importlib.metadata.version = lru_cache(importlib.metadata.version)
    pipeline.metadata.version = importlib.metadata.version
    told = local._told

    def remembered(error: Exception) -> dict[str, Any]:
        RAISED.append(("".join(traceback.format_exception(error)), error))
        return told(error)

    local._told = remembered
    return Settings(
        video="jpeg",
        audio="mulaw-256",
        signals="bins-255",
        size=32,
        fps=Fraction(4),
        depth_size=16,
        signal_hz=Fraction(10),
        clip_seconds=Fraction(2),
    )


RAISED: list[tuple[str, Exception]] = []
"""What jobs raised in this process: nothing should."""


def write_seed(seed: Seed, folder: Path) -> None:
    """Write a seed's files below a folder."""
    for name, data in seed.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def shard_input(seed: Seed, folder: Path, number: int) -> Outcome:
    """Run the main job on a folder that holds one input, and say what became of it."""
    from ingest.pipeline import shard_recordings
    from shards import DatasetFolder, dataset_info, verify_dataset

    settings = prepare()
    RAISED.clear()
    given, out = folder / "in", folder / "out"
    given.mkdir()
    write_seed(seed, given)
    before = sorted(path.name for path in given.rglob("*"))
    run = shard_recordings([given], out, settings, workers=0)
    if sorted(path.name for path in given.rglob("*")) != before:
        return "escape", "something was made among the recordings", ""
    if RAISED:
        text, error = RAISED[0]
        kind = "memory" if isinstance(error, MemoryError) else "foreign"
        return kind, f"{type(error).__name__} in {_frames_of(error)}", text
    if run.unfinished:
        return "foreign", "unfinished", str(run.unfinished)
    if not DatasetFolder(out).is_dataset():
        return "reported", "", "passed over"
    info = dataset_info(out)
    if info["samples"] and number % 4 == 0 and (wrong := verify_dataset(out)):
        return "wrong", f"verify: {wrong[0].what[:120]}", str(wrong[:3])
    said = len(info["failures"]) + len(info["notes"]) + sum(info["passed_over"].values())
    if info["samples"]:
        return "used", "", f"{len(info['failures'])} failures"
    if said:
        return "reported", "", str(info["failures"] or info["notes"] or info["passed_over"])[:300]
    return "silent", "no samples, and nothing said", str(info["per_recording"])[:1000]


def _frames_of(error: Exception) -> str:
    from fork_server import _frames, _is_ours

    frames = traceback.extract_tb(error.__traceback__)
    return _frames([frame for frame in frames if _is_ours(frame.filename)])
