"""How fast pictures and sound are decoded: Fifth beside ffmpeg, PyAV, decord, OpenCV and torchcodec.

    python tests/benchmarks/decode.py --media FOLDER [--rounds 5] [--threads 1 2] [--json OUT.json]

Every job runs in a process of its own, on the same files (made once from FOLDER's recordings), the libraries
taking turns within a round. Ours decodes with one thread whatever the others may use. The ratios are medians
of the rounds' ratios to the first library of the job: for pictures PyAV decoding the whole file and
converting nothing (the floor), for random clips decord, for sound torchcodec.

Only CPU time is compared: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from decode_inputs import CLIPS, LONG, make_inputs
from decode_jobs import JOBS
from machine import processor

Json = dict[str, Any]
REFERENCE = {"random": "decord", "sound": "torchcodec"}
TITLES = {
    "8 fps": "(a) 8 frames a second, the middle square at 256 x 256, 20 s",
    "low rates": "(a') lower rates: 2 and 1 frames a second, keyframes alone",
    "everything": "(b) every frame, at its own size, as RGB",
    "random": "(c) 16 clips of 16 frames at random places, 256 x 256",
    "sound": "(d) ten minutes of sound to 16 kHz mono",
}
PACKAGES = ("fifth", "av", "decord", "opencv-python-headless", "torchcodec", "torch", "numpy")


def one_run(library: str, job: str, path: Path, threads: int) -> Json | None:
    """Run a job; None, said once, where it can't be done here."""
    words = [
        sys.executable,
        str(Path(__file__).with_name("decode_jobs.py")),
        library,
        job,
        str(path),
        str(threads),
    ]
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        print(f"  {library} can't do {job} on {path.name}: {last[:150]}", file=sys.stderr)
        return None
    result: Json = json.loads(done.stdout.splitlines()[-1])
    result["process_wall_s"] = time.perf_counter() - clock
    result["process_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result


def measure(job: str, path: Path, threads: int, rounds: int, only: list[str]) -> dict[str, list[Json]]:
    """Return the runs of each library, by round; the first round is not counted."""
    libraries = [library for library, of in JOBS if of == job and (not only or library in only)]
    runs: dict[str, list[Json]] = {library: [] for library in libraries}
    for turn in range(rounds + 1):
        for library in list(runs):
            result = one_run(library, job, path, threads)
            if result is None:
                del runs[library]
            elif turn:
                runs[library].append(result)
    return runs


def row_of(runs: list[Json], reference: list[Json]) -> Json:
    def median(key: str) -> float:
        return float(statistics.median(run[key] for run in runs))

    def ratio(key: str) -> float:
        pairs = zip(runs, reference, strict=True)
        return float(statistics.median(ours[key] / theirs[key] for ours, theirs in pairs))

    return {
        "frames": runs[0]["frames"],
        **{key: median(key) for key in ("wall_s", "cpu_s", "process_wall_s", "process_cpu_s")},
        "cpu_ratio": ratio("cpu_s"),
        "process_cpu_ratio": ratio("process_cpu_s"),
        "cpu_spread_s": [min(run["cpu_s"] for run in runs), max(run["cpu_s"] for run in runs)],
    }


def print_rows(title: str, rows: dict[str, Json], reference: str) -> None:
    print(f"\n{title}")
    print(
        f"{'':24}{'frames':>9}{'CPU s':>8}{'x ' + reference:>12}{'min .. max':>15}{'wall s':>8}"
        f"{'process CPU s':>15}{'x':>6}"
    )
    for library, row in rows.items():
        low, high = row["cpu_spread_s"]
        print(
            f"{library:24}{row['frames']:>9}{row['cpu_s']:8.2f}{row['cpu_ratio']:12.2f}"
            f"{f'{low:.2f} .. {high:.2f}':>15}"
            f"{row['wall_s']:8.2f}{row['process_cpu_s']:15.2f}{row['process_cpu_ratio']:6.2f}"
        )


def disposable_share(path: Path) -> float:
    """Return the share of the pictures that no other one refers to; 0 where the decoder can't tell."""
    import av

    from ingest.decoders.av_pictures import may_skip_unreferred

    counts = []
    for choice in ("DEFAULT", "NONREF"):
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            if not may_skip_unreferred(context):
                return 0.0
            context.skip_frame = choice
            counts.append(sum(1 for _ in container.decode(video=0)))
    return 1 - counts[1] / counts[0]


def versions() -> dict[str, str]:
    """Return what is measured, and on what."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout
    return {**found, "ffmpeg": said.split()[2] if said else "not installed"}


def machine() -> str:
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--media", type=Path, required=True, help="recordings to make clips of")
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fifth-decode-bench")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--jobs", nargs="+", choices=list(TITLES), default=list(TITLES))
    arguments.add_argument("--clips", nargs="+", choices=list(CLIPS), default=list(CLIPS))
    arguments.add_argument("--libraries", nargs="+", default=[], help="fewer of them (default: all)")
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    if not shutil.which("ffmpeg"):
        arguments.error("ffmpeg makes the clips and is measured: install it first")
    make_inputs(options.media, options.folder)
    report: Json = {"machine": machine(), "versions": versions(), "rounds": options.rounds, "results": []}
    print(report["machine"])
    print(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    for name in options.clips if options.jobs != ["sound"] else []:
        path = options.folder / name
        share, megabits = disposable_share(path), path.stat().st_size * 8 / 20e6
        print(f"\n=== {CLIPS[name].title}: {megabits:.1f} Mbit/s, {share:.0%} of the pictures are disposable")
        for job in (job for job in options.jobs if job != "sound"):
            for threads in options.threads if job != "low rates" else [1]:
                report_on(job, path, threads, options, report)
    if "sound" in options.jobs:
        report_on("sound", options.folder / LONG, 1, options, report)


def report_on(job: str, path: Path, threads: int, options: argparse.Namespace, report: Json) -> None:
    """Measure a job on a file, print the table, and add it to the report."""
    runs = measure(job, path, threads, options.rounds, options.libraries)
    reference = REFERENCE.get(job, "floor")
    if not runs.get(reference):
        return
    rows = {library: row_of(of, runs[reference]) for library, of in runs.items()}
    print_rows(f"{TITLES[job]}; {threads} thread{'s' if threads > 1 else ''}", rows, reference)
    report["results"].append({"clip": path.name, "job": job, "threads": threads, "rows": rows})
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
