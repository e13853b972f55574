"""How fast encoders are, alone on media that lie ready and end to end from files, and what limits them.

    python tests/benchmarks/encode.py --media FILE [--encoder NAME ...] [--device cpu|cuda] [--workers 2]
                                      [--seconds 3] [--json OUT.json] [--measured RATES.json]

(a) *Alone*: the same launch again and again, on the device already, tokens left there; one thread on a CPU.
`arithmetic` and `traffic` are shares of what this device did in the same run with a large matrix product and
a large copy; traffic is counted as if nothing stayed in a cache, so it can pass 100 %.

(b) *From files*: `fifth shard` of FILE with this encoder, and with the defaults for pictures and sound
together; beside decoding and sampling alone in as many processes, and beside encoding alone. Where the same
cores do both, the limit is one after the other; where a GPU encodes, the slower of the two. With an encoder
process (`--encode-in process`, on a GPU by itself), `device waits` is the share of its time in which it had
nothing to do. FILE should take minutes: starting the processes is included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from machine import processor
from measured import add_measured, rate

from encoders import Encoder, Medium, default_encoder, encoder_names, load_encoder, medium_of
from encoders.cost import cost
from ingest import Sampling, Wish, open_recording, read_clips, windows_of
from ingest.configuration import Settings
from ingest.pipeline import shard_recordings
from ingest.timing import NS, clip_count

Json = dict[str, Any]
FPS = Fraction(8)
CLIP_NS = 4 * NS


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, required=True, help="a video file, with sound")
    parser.add_argument("--encoder", action="append", help="which (default: all of pictures and sound)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of (a)")
    parser.add_argument("--encode-in", default="auto", choices=["auto", "worker", "process"])
    parser.add_argument("--skip-files", action="store_true", help="leave out (b)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measured", type=Path, help="file of rates for `fifth capacity`, made or added to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.encoder or [*encoder_names("pictures"), *encoder_names("sound")]
    ceiling = ceilings(options.device, options.seconds)
    print(machine_line(options.device))
    print(f"ceilings: {ceiling['flops'] / 1e9:,.0f} GFLOP/s (float32), {ceiling['bytes'] / 1e9:,.1f} GB/s\n")
    alone = [measure_alone(name, options.device, options.seconds, ceiling) for name in names]
    print_table(alone, ("encoder", "media/s", "x real time", "GFLOP/s of media", "arithmetic", "traffic"))
    report: Json = {"machine": machine_line(options.device), "ceilings": ceiling, "alone": alone}
    if not options.skip_files:
        measured = {line["encoder"]: line for line in alone}
        defaults = [default_encoder("pictures"), default_encoder("sound")]
        last_of_each = list({medium_of(name): name for name in names}.values())
        together = defaults if set(defaults) <= set(names) else last_of_each
        choices = [[name] for name in names] + ([together] if len(together) > 1 else [])
        report["files"] = [measure_files(choice, options, measured) for choice in choices]
        print_table(
            report["files"],
            ("encoder", "decoding alone", "encoding alone", "end to end", "of the limit", "device waits"),
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    if options.measured:
        add_measured(options.measured, {"rates": rates_of(report, options)})


def rates_of(report: Json, options: argparse.Namespace) -> dict[str, Json]:
    """Return what one core or GPU encodes, of all encoders measured together, and decodes."""
    each = [line["media_rate"] for line in report["alone"]]
    names = " + ".join(line["encoder"] for line in report["alone"])
    per = "core" if options.device == "cpu" else "gpu"
    found = {"encode": rate(per, "media_seconds", 1 / sum(1 / one for one in each), f"encode.py: {names}")}
    if "files" in report:
        one = report["files"][-1]["rates"]["decoding"] / options.workers
        found["decode"] = rate("core", "media_seconds", one, f"encode.py: {options.media.name}")
    return found


def machine_line(device: str) -> str:
    """Say what this ran on."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    packages = ", ".join(f"{package} {version(package)}" for package in ("fifth", "torch", "av", "numpy"))
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}, {packages}"
    )


def timed(work: Callable[[], object], device: str, seconds: float) -> float:
    """Return how long one call takes, in seconds: the mean over at least so many seconds of calls."""
    for _ in range(3):
        work()
    synchronize(device)
    calls, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(5 if device.startswith("cuda") else 1):
            work()
            calls += 1
        synchronize(device)
    return (time.perf_counter() - begun) / calls


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def ceilings(device: str, seconds: float) -> dict[str, float]:
    """Measure what the device can do at most: operations of a matrix product, bytes read and written."""
    size = 8192 if device.startswith("cuda") else 1536
    a = torch.rand(size, size, device=device)
    b = torch.rand(size, size, device=device)
    numbers = torch.rand(1 << (28 if device.startswith("cuda") else 25), device=device)
    to = torch.empty_like(numbers)
    return {
        "flops": 2 * size**3 / timed(lambda: torch.mm(a, b), device, seconds),
        "bytes": 2 * 4 * numbers.numel() / timed(lambda: to.copy_(numbers), device, seconds),
    }


def measure_alone(name: str, device: str, seconds: float, ceiling: dict[str, float]) -> Json:
    """Encode the same launch again and again."""
    encoder = load_encoder(name, device)
    spec = encoder.spec.input
    batch = made_launch(encoder)
    spent = timed(lambda: encoder.encode(batch), device, seconds)
    price = cost(encoder)
    items = spec.launch_batch * spec.chunk
    media_seconds = float(items / (spec.rate or FPS))
    return {
        "encoder": name,
        "items_per_second": items / spent,
        "media_rate": media_seconds / spent,
        "media/s": f"{items / spent:,.0f} {'frames' if spec.medium == 'pictures' else 'samples'}",
        "x real time": f"{media_seconds / spent:,.1f}",
        "GFLOP/s of media": f"{price.flops / media_seconds / 1e9:,.2f}",
        "arithmetic": f"{price.flops / spent / ceiling['flops']:.0%}",
        "traffic": f"{price.traffic_bytes / spent / ceiling['bytes']:.0%}",
    }


def made_launch(encoder: Encoder) -> torch.Tensor:
    """Return a launch of moving waves: neither flat nor noise."""
    spec = encoder.spec.input
    if spec.medium == "sound":
        time_s = torch.arange(spec.launch_shape[-1]) / float(spec.rate or 1)
        wave = 0.3 * torch.sin(2 * torch.pi * 440 * time_s) + 0.1 * torch.sin(2 * torch.pi * 1300 * time_s)
        return wave.expand(spec.launch_shape).contiguous().to(encoder.device)
    rows, frames, channels, height, width = spec.launch_shape
    t, y, x = torch.meshgrid(
        torch.arange(rows * frames), torch.arange(height), torch.arange(width), indexing="ij"
    )
    tints = [torch.sin(x / (9.0 + c) + t * 0.2) + torch.cos(y / (7.0 + c) - t * 0.1) for c in range(channels)]
    pixels = ((torch.stack(tints, 1) + 2) * 63).to(torch.uint8)
    return pixels.reshape(spec.launch_shape).to(encoder.device)


def measure_files(names: list[str], options: argparse.Namespace, alone: dict[str, Json]) -> Json:
    """Shard the file once, and decode it once without encoding, in equally many processes."""
    chosen = {medium_of(name): name for name in names}
    settings = Settings(
        video=chosen.get("pictures", "none"),
        audio=chosen.get("sound", "none"),
        signals="none",
        device=options.device.partition(":")[0],
        shard_seconds=20,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = shard_recordings(
            [options.media], Path(folder) / "dataset", settings,
            workers=options.workers, encode_in=options.encode_in,
        )  # fmt: skip
    decoding = decoding_rate(options.media, list(chosen), options.workers)
    end_to_end = run.media_ns / NS / run.seconds
    in_workers = not run.encoder_processes
    one = 1 / sum(1 / alone[name]["media_rate"] for name in names)
    encoding = one * (options.workers if in_workers else len(run.encoder_processes))
    one_after_the_other = in_workers or options.device == "cpu"
    limit = 1 / (1 / decoding + 1 / encoding) if one_after_the_other else min(decoding, encoding)
    busy = sum(figures["busy_seconds"] for figures in run.encoder_processes)
    waits = sum(figures["waiting_seconds"] for figures in run.encoder_processes)
    return {
        "encoder": " + ".join(names),
        "rates": {"decoding": decoding, "encoding": encoding, "end_to_end": end_to_end},
        "decoding alone": f"{decoding:,.1f} x",
        "encoding alone": f"{encoding:,.1f} x",
        "end to end": f"{end_to_end:,.1f} x",
        "of the limit": f"{end_to_end / limit:.0%}",
        "device waits": "-" if in_workers else f"{waits / max(1e-9, busy + waits):.0%}",
        "encoder_processes": run.encoder_processes,
    }


def decoding_rate(path: Path, media: list[Medium], workers: int) -> float:
    """Decode and sample the file in every process at once.

    Returns:
        Seconds of media per second, of all processes together.
    """
    with get_context("spawn").Pool(workers) as pool:
        pool.starmap(int, [()] * workers)  # they have started
        begun = time.perf_counter()
        media_seconds = pool.starmap(decode, [(path, media)] * workers, chunksize=1)
        return sum(media_seconds) / (time.perf_counter() - begun)


def decode(path: Path, media: list[Medium]) -> float:
    """Read all clips of the tracks of these media, as a worker does; return their length in seconds."""
    with open_recording([path]) as source:
        recording = source.probe()
        wishes = [Wish(track.name, track) for track in recording.tracks if track.medium in media]
        count = clip_count(recording.origin_ns, recording.stop_ns, CLIP_NS)
        windows = windows_of(recording, CLIP_NS, 0, count)
        for _ in read_clips(source, wishes, windows, Sampling(fps=FPS), report=lambda _: None):
            pass
        return (recording.stop_ns - recording.origin_ns) / NS


def print_table(lines: list[Json], columns: tuple[str, ...]) -> None:
    widths = [max(len(column), *(len(str(line[column])) for line in lines)) for column in columns]
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for line in lines:
        print(
            "  ".join(str(line[column]).ljust(width) for column, width in zip(columns, widths, strict=True))
        )
    print()


if __name__ == "__main__":
    main()
