"""How fast samples become shards: ShardWriter beside webdataset.TarWriter, on the same samples.

    python tests/benchmarks/write.py [--rounds 7] [--folder DIR]

Each round writes the same samples once per writer, taking turns; the table has the median of the rounds.
Ours also hashes, indexes, checks every member against the layout, and forces the files to the disk; the
peer does none of that. The limit is one process writing the arrays' bytes and nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from machine import processor

from shards import ShardWriter, sample_key

Json = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """What is written in one round."""

    title: str
    codes: int
    samples: int


LOADS = (Load("2 KB samples", 1024, 10_000), Load("200 KB samples", 100_000, 400))
LAYOUT: Json = {
    "name": "video",
    "members": [{"name": "json"}, {"name": "video.tokens.npy", "dtype": "uint16", "shape": [None]}],
    "tracks": [{"name": "video", "medium": "pictures", "spec": {}}],
}


def make_samples(load: Load) -> list[tuple[str, Json, np.ndarray]]:
    """Return keys, provenance and codes."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 1 << 14, (64, load.codes)).astype(np.uint16)
    return [(sample_key(7, n * 10**9), provenance(n), codes[n % 64]) for n in range(load.samples)]


def provenance(number: int) -> Json:
    start_ns = number * 10**9
    return {
        "recording": "run7/front.mp4",
        "id": "0000000000000007" * 4,
        "start_ns": start_ns,
        "stop_ns": start_ns + 10**9,
        "tracks": {"video": {"valid": 32, "grid_start_ns": start_ns}},
    }


def write_ours(folder: Path, samples: list[tuple[str, Json, np.ndarray]]) -> None:
    with ShardWriter(folder, "video-000000", LAYOUT) as writer:
        for key, value, codes in samples:
            start_ns = value["start_ns"]
            writer.add(
                key,
                (value, codes),
                recording_id=7,
                start_ns=start_ns,
                stop_ns=start_ns + 10**9,
                tokens={"video": codes.size},
                valid={"video": 32},
            )
        writer.close()


def write_webdataset(folder: Path, samples: list[tuple[str, Json, np.ndarray]]) -> None:
    with webdataset.TarWriter(str(folder / "peer.tar"), encoder=True) as writer:
        for key, value, codes in samples:
            writer.write({"__key__": key, "json": value, "video.tokens.npy": codes})


def write_limit(folder: Path, samples: list[tuple[str, Json, np.ndarray]]) -> None:
    with (folder / "limit.bin").open("wb") as file:
        for _, _, codes in samples:
            file.write(codes.data)


WRITERS: dict[str, Callable[[Path, list[tuple[str, Json, np.ndarray]]], None]] = {
    "webdataset.TarWriter(encoder=True)": write_webdataset,
    "shards.ShardWriter": write_ours,
    "limit: the arrays' bytes alone": write_limit,
}


def measure(load: Load, rounds: int, parent: Path) -> dict[str, list[tuple[float, float]]]:
    """Return each writer's seconds per round, by the clock and of CPU, after one round not counted."""
    samples = make_samples(load)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in WRITERS}
    for turn in range(rounds + 1):
        for name, write in WRITERS.items():
            folder = Path(tempfile.mkdtemp(dir=parent))
            clock, cpu = time.perf_counter(), time.process_time()
            write(folder, samples)
            if turn:
                seconds[name].append((time.perf_counter() - clock, time.process_time() - cpu))
            shutil.rmtree(folder)
    return seconds


def print_table(load: Load, seconds: dict[str, list[tuple[float, float]]]) -> None:
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in seconds.items()
    }
    peer = next(iter(medians.values()))
    rounds = len(next(iter(seconds.values())))
    print(f"\n{load.samples:,} {load.title}, median of {rounds} rounds; by the clock and by CPU time")
    print(f"{'writer':36} {'samples/s':>10} {'x peer':>7} {'CPU us/sample':>14} {'x peer':>7}   rounds, ms")
    for name, (clock, cpu) in medians.items():
        span = " .. ".join(f"{end(row[0] for row in seconds[name]) * 1e3:.0f}" for end in (min, max))
        print(
            f"{name:36} {load.samples / clock:10,.0f} {peer[0] / clock:7.1f} "
            f"{cpu / load.samples * 1e6:14.1f} {peer[1] / cpu:7.1f}   {span}"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--folder", type=Path, default=tempfile.gettempdir(), help="where to write")
    options = arguments.parse_args()
    print(
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}, "
        f"numpy {np.__version__}, webdataset {version('webdataset')}, fifth {version('fifth')}"
    )
    for load in LOADS:
        print_table(load, measure(load, options.rounds, options.folder))


if __name__ == "__main__":
    main()
