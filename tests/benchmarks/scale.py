"""What it takes to run on many recordings, with many workers, when some of them die.

    python tests/benchmarks/scale.py [--only plan start workers kill ray rates] [--recordings 10000 100000]
                                     [--written 1000000] [--copies 6] [--seconds 10] [--out OUT.json]
                                     [--measured RATES.json]

*plan*: a made listing (no file is made, no recording is examined: `made_listing.py`) goes through the real
planning, plan files, records, tables and manifest: made, resumed when every task is done, by one run and by a
part of 64, finished, described. Each step is a process of its own; *CPU* is its own time, which other work on
the machine hardly touches, and *MiB* its largest memory, beside that after imports.
*start*: from the command to `--help`, to the first encoded media, and of a worker.
*workers*: a made 720p video in copies, a task each, decode-bound (8 frames a second at 64 x 64), by one
worker and by two: media per second once all have ended a task, and CPU time per second of media.
*kill*: `kill -9` of one of two workers; until the one in its place encodes.
*ray*: the same tasks by a Ray cluster on this machine, beside the local engine (`scale_ray.py`).
*rates*: what `fifth capacity` must know and only measuring tells: read, write, stream, bytes of media.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
from machine import processor
from measured import add_measured, rate
from scale_ray import measure_ray

from ingest.configuration import Configuration, Settings
from ingest.content_id import content_id
from ingest.discovery import Walk, find_recordings
from ingest.encoder_process import EncoderProcesses
from ingest.engine.local import Engine, Job
from ingest.jobs import Doing, Jobs, by_name
from ingest.listening import Listener
from ingest.parts import Scope
from ingest.pipeline import shard_recordings
from ingest.places import Places
from ingest.plan_state import PlanState
from shards import DatasetFolder, ShardWriter, TokenStream, dataset_info, sample_key

Json = dict[str, Any]
HERE = Path(__file__).parent
MIB = 1 << 20
SECTIONS = ("plan", "start", "workers", "kill", "ray", "rates")
STEPS = ("plan", "records", "part", "finish", "resume", "info")
UNTOLD = ("written", "records")
"""Steps that make what is measured, and are no part of it."""
SMALL = Settings(
    fps=Fraction(8),
    size=64,
    device="cpu",
    audio="none",
    signals="none",
    depth="none",
    shard_seconds=3600,
    shard_mb=1,
)


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--recordings", type=int, nargs="+", default=[10_000])
    parser.add_argument(
        "--written",
        type=int,
        nargs="+",
        default=[],
        help="like --recordings, with plans that are written, not planned",
    )
    parser.add_argument("--copies", type=int, default=6, help="of the made video")
    parser.add_argument("--seconds", type=int, default=10, help="length of the made video")
    parser.add_argument("--folder", type=Path, help="where to make things")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measured", type=Path, help="file of rates for `fifth capacity`, made or added to")
    options = parser.parse_args()
    print(machine_line())
    report: Json = {"machine": machine_line()}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if "plan" in options.only:
            report["plan"] = measure_plans(folder, options.recordings, options.written)
        if set(options.only) - {"plan"}:
            videos = made_videos(folder, options.copies, options.seconds)
        if "start" in options.only:
            report["start"] = measure_start(folder, videos)
        if "workers" in options.only:
            report["workers"] = measure_workers(folder, videos)
        if "kill" in options.only:
            report["kill"] = measure_kill(folder, videos)
        if "ray" in options.only:
            report["ray"] = measure_ray(folder, videos, one_task_each(options.seconds))
        if "rates" in options.only:
            report["rates"] = measure_rates(folder, videos)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    if options.measured:
        found = dict(report.get("rates", {}))
        if "workers" in report:
            found["scaling"] = min(1.0, report["workers"]["efficiency_cpu"])
        add_measured(options.measured, found)


def machine_line() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("fifth", "torch", "av", "numpy"))
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}, "
        f"{packages}; load {os.getloadavg()[0]:.1f}"
    )


# Plans of many recordings


def measure_plans(folder: Path, planned: list[int], written: list[int]) -> list[Json]:
    """Plan, resume, finish: for each number of recordings, each step a process of its own."""
    rows = []
    print(f"\n{'recordings':>12}  {'step':8}{'s':>9}{'CPU s':>9}{'per CPU s':>11}{'MiB':>7}{'before':>8}")
    if written:
        scale_plan("plan", 1000, folder / "pattern")
    for count in (*planned, *written):
        dataset = folder / f"plan-{count}"
        for step in STEPS if count in planned else ("written", *STEPS[1:]):
            row = {"recordings": count, "step": step, **scale_plan(step, count, dataset)}
            if step not in UNTOLD:
                rows.append(row)
                print(
                    f"{count:>12,}  {step:8}{row['seconds']:>9.1f}{row['cpu_seconds']:>9.1f}"
                    f"{count / row['cpu_seconds']:>11,.0f}{row['peak_bytes'] / MIB:>7.0f}"
                    f"{row['before_bytes'] / MIB:>8.0f}",
                    flush=True,
                )
        shutil.rmtree(dataset)
    return rows


def scale_plan(step: str, count: int, dataset: Path) -> Json:
    """Do one step, in a process of its own."""
    words = [sys.executable, str(HERE / "scale_plan.py"), step, str(count), str(dataset)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: Json = json.loads(done.stdout.splitlines()[-1])
    return found


# Tasks of a made video


def made_videos(folder: Path, copies: int, seconds: int) -> Path:
    """Write a 720p H.264 video of moving noise, in copies that differ by a box that no reader looks at."""
    videos = folder / "videos"
    videos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (720 // 8, 1280 // 8, 3), np.uint8)
    still = noise.repeat(8, 0).repeat(8, 1)
    with av.open(str(videos / "0.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(30 * seconds):
            frame = av.VideoFrame.from_ndarray(
                np.roll(still, (3 * number, 5 * number), (0, 1)), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    whole = (videos / "0.mp4").read_bytes()
    for copy in range(1, copies):
        (videos / f"{copy}.mp4").write_bytes(whole + (12).to_bytes(4, "big") + b"free" + b"%04d" % copy)
    return videos


class Clock(Listener):
    """Notes when media was encoded."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []

    def progressed(self, media_ns: int, clips: int) -> None:
        self.steps.append((time.perf_counter(), media_ns))


def one_task_each(seconds: float) -> Settings:
    """Return settings that make a task of every copy."""
    return replace(SMALL, shard_seconds=max(1, int(seconds)))


def measure_start(folder: Path, videos: Path) -> Json:
    """Return how long it takes until something happens, in seconds."""
    fifth = [sys.executable, "-m", "ingest.cli"] if not shutil.which("fifth") else ["fifth"]
    begun = time.perf_counter()
    subprocess.run([*fifth, "--help"], capture_output=True, check=True)
    help_seconds = time.perf_counter() - begun
    clock, begun = Clock(), time.perf_counter()
    one = folder / "one"
    one.mkdir()
    shutil.copy(videos / "0.mp4", one)
    shard_recordings([one], folder / "start", SMALL, workers=1, listener=clock)
    found = {"help_seconds": help_seconds, "first_media_seconds": clock.steps[0][0] - begun}
    with Engine(1) as engine:
        for name in ("worker_seconds", "warm_job_seconds"):
            begun = time.perf_counter()
            argument: Json = {
                "paths": [str(videos / "0.mp4")],
                "sidecars": [],
                "episode": None,
                "name": "",
                "known_id": "",
            }
            list(engine.run([Job("ingest.examining:identify", argument)]))
            found[name] = time.perf_counter() - begun
    print(
        "\nstart: "
        + ", ".join(f"{name.removesuffix('_seconds')} {value:.2f} s" for name, value in found.items())
    )
    return found


def measure_workers(folder: Path, videos: Path) -> Json:
    """Return rates of one and of two workers on the same tasks, and what share of linear two reach.

    What is counted begins when each worker has ended its first task: nobody is starting any more.
    """
    found: Json = {"1": [], "2": []}
    for turn, workers in enumerate((1, 2, 1, 2)):  # in turns: a busy machine is busy for both
        out = DatasetFolder(folder / f"workers-{turn}")
        settings = one_task_each(video_seconds(videos))
        shard_recordings([videos], out.path, settings, workers=1, scope=Scope(plan_only=True))
        ended: list[tuple[float, Json]] = []
        with Engine(workers) as engine:
            jobs = tasks_of(out, videos, engine)
            ended.extend((time.perf_counter(), outcome.result) for outcome in engine.run(jobs))
        begun, counted = ended[workers - 1][0], [result for _, result in ended[workers:]]
        cpu = [result["cpu_seconds"] / result["media_ns"] * 1e9 for result in counted]
        found[str(workers)].append(
            {
                "media_per_second": sum(r["media_ns"] for r in counted) / 1e9 / (ended[-1][0] - begun),
                "cpu_per_media_second": statistics.median(cpu),
            }
        )
    best = {name: {key: _best(rows, key) for key in rows[0]} for name, rows in found.items()}
    found["efficiency"] = best["2"]["media_per_second"] / (2 * best["1"]["media_per_second"])
    found["efficiency_cpu"] = best["1"]["cpu_per_media_second"] / best["2"]["cpu_per_media_second"]
    for name, row in best.items():
        print(
            f"\n{name} worker(s): {row['media_per_second']:.1f} x real time, "
            f"{row['cpu_per_media_second']:.3f} CPU s per second of media",
            end="",
        )
    print(
        f"\nefficiency of 2: {found['efficiency']:.2f} by the clock, "
        f"{found['efficiency_cpu']:.2f} by CPU time"
    )
    return found


def _best(rows: list[Json], key: str) -> float:
    return (max if key == "media_per_second" else min)(float(row[key]) for row in rows)


def video_seconds(videos: Path) -> float:
    with av.open(str(videos / "0.mp4")) as container:
        return (container.duration or 0) / av.time_base


def tasks_of(folder: DatasetFolder, videos: Path, engine: Engine) -> Iterator[Job]:
    """Yield the jobs of a planned dataset, as `scale_jobs.task` runs them."""
    state, found = PlanState(folder), Places()
    for candidate in find_recordings([videos], Walk()):
        found.put(candidate.name, candidate)
    configuration = Configuration(next(iter(folder.read_plan()))["configuration"])
    doing = Doing(folder, configuration, "cpu", state, by_name(state, found), engine, EncoderProcesses([], 2))
    for job in Jobs(doing, Listener(), [], 2).of(state.pending()):
        yield replace(job, function="scale_jobs:task")


def measure_kill(folder: Path, videos: Path) -> Json:
    """Return how long after `kill -9` of one of two workers the one in its place encodes, in seconds."""
    out = DatasetFolder(folder / "kill")
    settings = one_task_each(video_seconds(videos))
    shard_recordings([videos], out.path, settings, workers=1, scope=Scope(plan_only=True))
    heard: list[tuple[float, int]] = []
    known: set[int] = set()
    killed = 0.0
    again: list[Job] = []
    with Engine(2, lambda report: heard.append((time.perf_counter(), report["process"]))) as engine:
        jobs = list(tasks_of(out, videos, engine))
        for outcome in engine.run(job for jobs in (jobs, again) for job in jobs):
            if outcome.ended_its_worker:
                again.append(outcome.job)
            elif not killed:
                known = {process for _, process in heard}
                killed = time.perf_counter()
                os.kill(engine.process_ids()[0], signal.SIGKILL)
    new = [moment for moment, process in heard if process not in known]
    found = {"seconds": new[0] - killed if new else float("nan"), "done": len(out.tasks_done())}
    print(f"\nkill -9 of one of two workers: {found['seconds']:.1f} s until another encodes in its place")
    return found


def measure_rates(folder: Path, videos: Path) -> Json:
    """Return the share of a file of rates that is measured here; by CPU time of one core."""
    source = "scale.py"
    path = videos / "0.mp4"
    seconds = video_seconds(videos)

    def read() -> int:
        content_id([path])
        with av.open(str(path)) as container:
            return sum(packet.size for packet in container.demux())

    dataset = folder / "rates"
    one = folder / "one-for-rates"
    one.mkdir()
    shutil.copy(path, one)
    shard_recordings([one], dataset, replace(SMALL, size=256), workers=0)
    info = dataset_info(dataset)
    stored = sum(shard["bytes"] for shard in info["shards"])

    def stream() -> int:
        batches = TokenStream(dataset, global_batch=1, epochs=20).samples()
        return sum(array.nbytes for sample in batches for array in sample.arrays.values())

    found: Json = {
        "rates": {
            "read": rate("core", "bytes", per_cpu_second(read), source),
            "write": rate("core", "bytes", per_cpu_second(lambda: write(folder)), source),
            "stream": rate("core", "bytes", per_cpu_second(stream), source),
        },
        "media": {
            "input_bytes_per_second": path.stat().st_size / seconds,
            "output_bytes_per_second": stored / info["seconds"],
        },
    }
    for name, row in found["rates"].items():
        print(f"{name}: {row['per_second'] / 1e6:,.0f} MB per CPU second")
    print(", ".join(f"{name} {value:,.0f}" for name, value in found["media"].items()))
    return found


def write(folder: Path) -> int:
    """Write a shard of samples of the default encoders' size; return its bytes."""
    layout = {
        "name": "video",
        "members": [{"name": "json"}, {"name": "video.tokens.npy", "dtype": "uint16", "shape": [None]}],
        "tracks": [{"name": "video", "medium": "pictures", "spec": {}}],
    }
    codes = np.random.default_rng(0).integers(0, 1 << 14, 65_536).astype(np.uint16)
    name = f"video-{time.perf_counter_ns() % 10**6:06d}"
    with ShardWriter(folder, name, layout) as writer:
        for number in range(200):
            start_ns = number * 10**9
            arrays: Json = {
                "json": {"start_ns": start_ns, "tracks": {"video": {"valid": 8}}},
                "video.tokens.npy": codes,
            }
            writer.add(
                sample_key(7, start_ns), arrays, recording_id=7, start_ns=start_ns, stop_ns=start_ns + 10**9,
                tokens={"video": codes.size}, valid={"video": codes.size},
            )  # fmt: skip
        figures = writer.close()
    return figures.bytes if figures else 0


def per_cpu_second(work: Any) -> float:
    """Return bytes per CPU second: the best of three."""
    best = 0.0
    for _ in range(3):
        begun = time.process_time()
        moved = work()
        best = max(best, moved / max(1e-6, time.process_time() - begun))
    return best


if __name__ == "__main__":
    main()
