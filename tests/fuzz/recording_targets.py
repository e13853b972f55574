"""The main job on one input: what a run makes of a damaged recording, in this process."""

from __future__ import annotations

import json
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

    import encoders.determinism as determinism
    import ingest.engine.local as local
    import ingest.plan_head as plan_head
    import ingest.task  # noqa: F401
    from ingest.configuration import Settings

    torch.set_num_threads(1)
    os.fsync = lambda fd: None
    plan_head._version = lru_cache(plan_head._version)
    determinism.probe = lambda encoder: "left out"
    told = local.told

    def remembered(error: Exception) -> dict[str, Any]:
        RAISED.append(("".join(traceback.format_exception(error)), error))
        return told(error)

    local.told = remembered
    return Settings(
        video="jpeg",
        audio="mulaw-256",
        signals="bins-255",
        size=16,
        fps=Fraction(2),
        depth_size=16,
        signal_hz=Fraction(5),
        clip_seconds=Fraction(10),
    )


RAISED: list[tuple[str, Exception]] = []
"""What jobs raised in this process: nothing should."""


def write_seed(seed: Seed, folder: Path) -> None:
    """Write a seed's files below a folder."""
    for name, data in seed.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def run_input(seed: Seed, folder: Path, number: int) -> Outcome:
    """Plan and decode a folder that holds one input; every so often run the whole main job on it."""
    prepare()
    RAISED.clear()
    given = folder / "in"
    given.mkdir()
    write_seed(seed, given)
    before = sorted(path.name for path in given.rglob("*"))
    outcome = (_shard if number % FULL_EVERY == 0 else _read)(given, folder, number)
    if sorted(path.name for path in given.rglob("*")) != before:
        return "escape", "something was made among the recordings", ""
    return outcome


FULL_EVERY = 8
MOST_CLIPS = 6


@cache
def _configuration() -> Any:
    from ingest.configuration import resolve

    return resolve(prepare())[0]


def _read(given: Path, folder: Path, number: int) -> Outcome:
    """Do what planning and a task do before anything is encoded."""
    from ingest.clips import read_clips, windows_of
    from ingest.discovery import Walk, find_recordings
    from ingest.errors import CannotOpen
    from ingest.examining import examination_of, examine
    from ingest.layouts import select
    from ingest.occupancy import occupied_clips
    from ingest.opening import open_recording
    from ingest.recording import Recording

    walk = Walk()
    said = 0
    valid = 0
    for candidate in find_recordings([given], walk):
        found = examine(examination_of(candidate, "", {}), lambda _: None)
        if "cause" in found:
            said += 1
            continue
        recording = Recording.from_json(json.loads(json.dumps(found["info"])))
        chosen = select(recording, _configuration())
        said += len(recording.incidents) + len(chosen.incidents)
        said += not chosen.wishes  # planning says so
        clips = [range(first, first + count) for first, count in occupied_clips(recording, CLIP_NS)]
        met: list[Any] = []
        sampling = _configuration().sampling(candidate.kind)
        for part in clips[: MOST_CLIPS // 2] + clips[MOST_CLIPS // 2 :][-MOST_CLIPS // 2 :]:
            windows = windows_of(recording, CLIP_NS, part.start, min(2, len(part)))
            paths, beside = candidate.paths, candidate.sidecars
            with open_recording(paths, sidecars=beside, episode=candidate.episode) as source:
                try:
                    for _, _, media in read_clips(
                        source, chosen.wishes, windows, sampling, met.append, chosen.reference
                    ):
                        valid += media.valid
                except CannotOpen as error:
                    return "foreign", f"CannotOpen after planning: {_frames_of(error)}", str(error)
        said += len(met)
        if clips and not valid and not said and chosen.wishes:
            return "silent", "clips without content, and nothing said", str(found["info"])[:1000]
    said += len(walk.notes) + len(walk.failures) + sum(walk.passed_over.values())
    if valid:
        return "used", "", f"{said} remarks"
    return ("reported", "", "") if said else ("silent", "no content, and nothing said", "")


CLIP_NS = 10 * 10**9


def _shard(given: Path, folder: Path, number: int) -> Outcome:
    """Run the main job, and say what became of the input."""
    from ingest.pipeline import shard_recordings
    from shards import DatasetFolder, dataset_info, verify_dataset

    out = folder / "out"
    run = shard_recordings([given], out, prepare(), workers=0)
    if RAISED:
        text, error = RAISED[0]
        kind = "memory" if isinstance(error, MemoryError) else "foreign"
        return kind, f"{type(error).__name__} in {_frames_of(error)}", text
    if run.unfinished:
        return "foreign", "unfinished", str(run.unfinished)
    if not DatasetFolder(out).is_dataset():
        return "reported", "", "passed over"
    info = dataset_info(out)
    if info["samples"] and (wrong := verify_dataset(out)):
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
