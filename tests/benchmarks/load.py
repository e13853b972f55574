"""How fast tokens reach a training loop: `TokenStream` beside other loaders, and beside `np.memmap`.

    python tests/benchmarks/load.py --peers PEERS/bin/python [--rounds 3] [--folder DIR] [--json FILE]

All read the same token samples: 100,000 of 1,024 tokens and 12,500 of 16,384, in batches of 32 tensors' rows,
shuffled, with 0 and 2 workers. webdataset, Hugging Face datasets and Energon read our shards as they are;
litData and MosaicML Streaming their own form. Every measurement is a process of its own, and the loaders take
turns; a loader is read for at most `--seconds`. PEERS is a Python that has the other packages.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from load_data import Load, make
from load_variants import BATCH, OURS, VARIANTS
from machine import processor

Json = dict[str, Any]
LOADS = {load.name: load for load in (Load("small", 1024, 100_000), Load("large", 16_384, 12_500))}
COLUMNS = (
    ("samples/s", "samples_s", ",.0f"),
    ("Mtokens/s", "mtokens_s", ",.1f"),
    ("first batch s", "first_batch_s", ".3f"),
    ("restore s", "restore_s", ".3f"),
    ("worker MiB", "own_mib", ",.0f"),
    ("with files", "pss_mib", ",.0f"),
)


def memory_of(process: int) -> tuple[float, float]:
    """Return MiB of a process's own memory, and with its share of mapped files (proportional set size)."""
    fields = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        fields[name] = int(value) / 1024
    return fields["Pss_Anon:"] + fields.get("Pss_Shmem:", 0), fields["Pss:"]


def children() -> list[int]:
    """Return the processes that this one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append(int(folder.name))
    return found


def memory_per_worker(workers: int) -> tuple[float, float]:
    """Return the largest of the workers; of this process where there are none."""
    pairs = []
    for process in children() if workers else [os.getpid()]:
        try:
            pairs.append(memory_of(process))
        except (OSError, KeyError):
            continue
    return max(own for own, _ in pairs), max(pss for _, pss in pairs)


def measure(name: str, load: Load, workers: int, parent: Path, seconds: float) -> Json:
    """Read for some seconds, then restore in the middle of what was read. Runs in a process of its own."""
    import torch
    import torch.utils.data

    torch.set_num_threads(1)
    kind = VARIANTS[name]
    folder = make(kind.form, parent, load)
    begin = time.perf_counter()
    variant = kind(folder, load.codes, load.samples, workers)
    gc.freeze()  # for all alike: else a collection at some moment copies what the workers share
    imported = time.perf_counter()
    iterator = iter(variant.batches())
    tokens = variant.tokens_of(next(iterator))
    first = time.perf_counter()
    assert tuple(tokens.shape) == (BATCH, load.codes), tokens.shape
    rows, steps, own, pss = 0, 1, 0.0, 0.0
    middle = load.samples // BATCH // 2
    for batch in iterator:
        rows += len(variant.tokens_of(batch))
        steps += 1
        if steps % 64 == 0 and time.perf_counter() - first > seconds:
            break
        if steps == 3 * load.samples // BATCH // 4 or (not own and time.perf_counter() - first > seconds / 2):
            own, pss = memory_per_worker(workers)
    stop = time.perf_counter()
    found: Json = {
        "import_s": imported - begin,
        "first_batch_s": first - imported,
        "samples_s": rows / (stop - first),
        "mtokens_s": rows * load.codes / (stop - first) / 1e6,
        "own_mib": own,
        "pss_mib": pss,
    }
    del iterator
    iterator = iter(variant.batches())
    for _ in range(min(middle, steps // 2) or 1):
        variant.tokens_of(next(iterator))
    saved = variant.state(min(middle, steps // 2) or 1)
    del iterator
    if saved is not None:
        begin = time.perf_counter()
        next(iter(variant.restore(saved)))
        found["restore_s"] = time.perf_counter() - begin
    try:
        found["version"] = version(kind.package)
    except PackageNotFoundError:
        found["version"] = "?"
    return found


def run_one(python: str, name: str, load: Load, workers: int, options: argparse.Namespace) -> Json | str:
    """Measure in a new process; return the figures, or why there are none."""
    command = [python, __file__, "--one", name, "--load", load.name, "--workers", str(workers),
               "--folder", str(options.folder), "--seconds", str(options.seconds),
               "--samples", str(load.samples)]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"took longer than {options.timeout} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return ((done.stderr or done.stdout).strip().splitlines() or ["no output"])[-1][:160]
    found: Json = json.loads(lines[0].removeprefix("RESULT "))
    return found


def print_table(load: Load, workers: int, rounds: dict[str, list[Json]], failed: dict[str, str]) -> None:
    """Print the medians, and what each is beside the limit and beside webdataset."""
    print(
        f"\n{load.samples:,} samples of {load.codes:,} tokens, {workers} workers; medians, (lowest..highest)"
    )
    print(
        f"{'loader':14}" + "".join(f"{title:>14}" for title, _, _ in COLUMNS) + f"{'x limit':>9}  samples/s"
    )
    limit = (
        statistics.median(one["samples_s"] for one in rounds.get("memmap", [])) if "memmap" in rounds else 0
    )
    for name, found in rounds.items():
        cells = []
        for _, key, form in COLUMNS:
            values = [one[key] for one in found if key in one]
            cells.append(format(statistics.median(values), form) if values else "-")
        rates = [one["samples_s"] for one in found]
        share = f"{statistics.median(rates) / limit:9.2f}" if limit else " " * 9
        spread = f"  ({min(rates):,.0f}..{max(rates):,.0f})"
        print(f"{name:14}" + "".join(f"{cell:>14}" for cell in cells) + share + spread)
    for name, why in failed.items():
        print(f"{name:14} not measured: {why}")
    if "fifth" in rounds:
        print_goals(rounds, workers)


def print_goals(rounds: dict[str, list[Json]], workers: int) -> None:
    """Say how ours stands to what it is meant to reach."""
    rate = {name: statistics.median(one["samples_s"] for one in found) for name, found in rounds.items()}
    peers = {name: value for name, value in rate.items() if name not in OURS}
    words = [f"{rate['fifth'] / rate['memmap']:.2f} x memmap"] if "memmap" in rate else []
    if "webdataset" in peers:
        words.append(f"{rate['fifth'] / peers['webdataset']:.1f} x webdataset")
    if peers:
        best = max(peers, key=peers.__getitem__)
        words.append(f"{rate['fifth'] / peers[best]:.1f} x the best peer ({best})")
    print(f"fifth, {workers} workers: {', '.join(words)}")


def machine() -> Json:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="a Python that has the other packages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="how long one loader is read")
    parser.add_argument("--timeout", type=float, default=300, help="of one process")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "fifth-load", help="for the data"
    )
    parser.add_argument("--only", default=",".join(VARIANTS), help="loaders, separated by commas")
    parser.add_argument("--load", choices=LOADS, help="one of the two alone")
    parser.add_argument("--workers", type=int, help="one number of workers alone")
    parser.add_argument("--samples", type=int, help="fewer samples, to try it out")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    loads = [Load(load.name, load.codes, options.samples or load.samples) for load in LOADS.values()
             if options.load in (None, load.name)]  # fmt: skip
    if options.one:
        found = measure(options.one, loads[0], options.workers, options.folder, options.seconds)
        print("RESULT " + json.dumps(found), flush=True)
        os._exit(0)  # some loaders leave threads behind
    results = []
    about = machine()
    print(json.dumps(about))
    for load in loads:
        make("fifth", options.folder, load)
        for workers in (0, 2) if options.workers is None else (options.workers,):
            rounds: dict[str, list[Json]] = {}
            failed: dict[str, str] = {}
            for _ in range(options.rounds):
                for name in options.only.split(","):
                    python = sys.executable if name in OURS else options.peers
                    one = run_one(python, name, load, workers, options) if name not in failed else ""
                    if isinstance(one, str):
                        failed[name] = failed.get(name) or one
                    else:
                        rounds.setdefault(name, []).append(one)
            print_table(load, workers, rounds, failed)
            results.append({"load": asdict(load), "workers": workers, "rounds": rounds, "failed": failed})
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "batch": BATCH, "results": results}, indent=1))


if __name__ == "__main__":
    main()
