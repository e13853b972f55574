"""Millions of recordings that nobody has to make: a listing, and an engine that says what they are.

Everything but the recordings is real: planning, plan parts, records, tables, manifest. Of every recording the
made examiner gives the same facts, those of a minute of video with sound, under a content id of its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from ingest.configuration import Settings
from ingest.discovery import Candidate, Walk
from ingest.engine.local import Engine, Job, Outcome
from ingest.recording import Recording, Track
from shards import DatasetFolder
from shards.canonical_json import json_line

Json = dict[str, Any]
SECONDS = 60
NS = 10**9
PER_FOLDER = 1000
SETTINGS = Settings(fps=Fraction(8), device="cpu", shard_seconds=1800)


def name_of(number: int) -> str:
    """Return a recording's name, as a crawl would give it: in folders of a thousand."""
    return f"{number // PER_FOLDER:06d}/{hashlib.sha256(b'%d' % number).hexdigest()[:11]}.mp4"


def listing(count: int) -> Iterator[Candidate]:
    """Yield so many candidates."""
    for number in range(count):
        name = name_of(number)
        yield Candidate(name, "media", (Path("/videos") / name,))


def recording() -> Recording:
    """Return what is found in each of them."""
    video = Track(
        name="video", medium="pictures", topic="#0", codec="h264", start_ns=0, stop_ns=SECONDS * NS,
        item_count=1800, byte_count=9_000_000, period_ns=33_333_333, declared_rate="30/1", width=1280,
        height=720, pixel_format="yuv420p", details={"stream": 0, "decoder": "av", "keyframes": 12},
    )  # fmt: skip
    audio = Track(
        name="audio", medium="sound", topic="#1", codec="aac", start_ns=0, stop_ns=SECONDS * NS,
        item_count=2813, byte_count=960_000, sample_rate=48_000, channels=2, details={"stream": 1},
    )  # fmt: skip
    return Recording("mp4", (video, audio), details={"duration": str(SECONDS)})


class MadeEngine:
    """Says of every recording the same. As an `Engine`, for planning."""

    jobs_at_once = 1

    def __init__(self, *_: object) -> None:
        self._info = recording().to_json()

    def __enter__(self) -> MadeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def process_ids(self) -> Sequence[int]:
        return [os.getpid()]

    def run(self, jobs: Iterable[Job], in_order: bool = False) -> Iterator[Outcome]:
        for job in jobs:
            if job.function == "ingest.examining:examine":
                yield Outcome(job, "done", self._examined(job.argument))
            else:  # fitting loads encoders, which is none of a planner's memory
                with Engine(1) as engine:
                    yield from engine.run([job])

    def _examined(self, argument: Json) -> Json:
        content = content_of(argument["name"])
        found = {"name": argument["name"], "id": content, "size_bytes": 10_000_000}
        if content == argument["known_id"]:
            return {**found, "known": True}
        return {**found, "known": False, "info": self._info}


def made(inputs: Sequence[Path], walk: Walk, *_: object) -> Iterator[Candidate]:
    """Stand in for `find_recordings`: the input's name is how many."""
    return listing(int(inputs[0].name))


def write_plan(folder: DatasetFolder, planned: DatasetFolder, count: int) -> None:
    """Write a plan of so many recordings without planning them: the lines of a planned one, with other names.

    Args:
        folder: gets the plan.
        planned: of the same listing, shorter.
        count: how many recordings.
    """
    lines = list(planned.read_plan())
    like = next(line for line in lines if line["kind"] == "recording")
    task = next(line for line in lines if line["kind"] == "task")
    per_task = len(task["clips"])

    def made_lines() -> Iterator[Json]:
        yield lines[0]
        for number in range(count):
            name = name_of(number)
            yield {**like, "recording": name, "id": content_of(name)}
        yield from (line for line in lines if line["kind"] == "layout")
        for number, first in enumerate(range(0, count, per_task)):
            contents = [content_of(name_of(n)) for n in range(first, min(count, first + per_task))]
            clips = [{**task["clips"][0], "id": content} for content in contents]
            yield {**task, "task": number, "clips": clips}

    folder.create()
    folder.write_plan_part(made_lines())


def content_of(name: str) -> str:
    """Return the content id of a made recording."""
    return hashlib.sha256(name.encode()).hexdigest()


def write_records(folder: DatasetFolder) -> int:
    """Write a made record of every task, without waiting for the disk; return how many."""
    layout = ""
    tracks: dict[str, int] = {}
    count = 0
    for line in folder.read_plan():
        if line["kind"] == "layout":
            layout = line["layout"]["name"]
            tracks = {track["name"]: 1000 for track in line["layout"]["tracks"]}
        elif line["kind"] == "task":
            record = _record(line, layout, tracks)
            folder.record_path(line["task"]).write_bytes(json_line(record))
            count += 1
    return count


def _record(task: Json, layout: str, tracks: dict[str, int]) -> Json:
    clips = sum(entry["count"] for entry in task["clips"])
    number = task["task"]
    shard = {
        "name": f"{layout}-{number:06d}", "samples": clips, "bytes": 100_000 * clips, "tokens": tracks,
        "sha256": "0" * 64, "idx_sha256": "0" * 64, "samples_sha256": "0" * 64, "samples_bytes": 128 * clips,
        "first_key": f"{number:016x}_{0:019d}", "last_key": f"{number:016x}_{1:019d}",
        "seconds_ns": 4 * NS * clips, "provenance": {"id": "string", "recording": "string"},
    }  # fmt: skip
    results = [
        {"id": e["id"], "clips": e["count"], "samples": e["count"], "seconds_ns": 4 * NS * e["count"]}
        for e in task["clips"]
    ]
    return {
        "task": number, "part": 0, "layout": layout, "shard": shard, "recordings": results,
        "failures": [], "notes": [], "counts": {"clips_without_content": 0, "saturated": {}},
    }  # fmt: skip
