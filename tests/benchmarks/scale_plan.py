"""A plan of many recordings, step by step; `scale.py` runs each step in a process of its own.

    python tests/benchmarks/scale_plan.py STEP COUNT DATASET

Prints a JSON object: seconds by the clock, CPU seconds of this process, its largest resident memory, and that
before the step began (imports and all).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import made_listing

import ingest.engine_choice
import ingest.pipeline
from ingest.engine.local import peak_rss_bytes
from ingest.parts import Part, Scope, finish_dataset
from ingest.pipeline import shard_recordings
from shards import DatasetFolder, dataset_info

vars(ingest.pipeline)["find_recordings"] = made_listing.made
vars(ingest.engine_choice)["Engine"] = made_listing.MadeEngine


def main() -> None:
    """Do one step."""
    step, count, dataset = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    inputs = dataset.parent / str(count)
    inputs.mkdir(exist_ok=True)

    def run(scope: Scope) -> None:
        shard_recordings([inputs], dataset, made_listing.SETTINGS, workers=1, scope=scope)

    steps: dict[str, Callable[[], object]] = {
        "plan": lambda: run(Scope(plan_only=True)),
        "written": lambda: made_listing.write_plan(
            DatasetFolder(dataset), DatasetFolder(dataset.with_name("pattern")), count
        ),
        "records": lambda: made_listing.write_records(DatasetFolder(dataset)),
        "resume": lambda: run(Scope()),
        "part": lambda: run(Scope(Part(1, 64))),
        "finish": lambda: finish_dataset(dataset, most=60),
        "info": lambda: dataset_info(dataset, most=60),
    }
    before = peak_rss_bytes()
    begun, worked = time.perf_counter(), time.process_time()
    steps[step]()
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - begun,
                "cpu_seconds": time.process_time() - worked,
                "peak_bytes": peak_rss_bytes(),
                "before_bytes": before,
            }
        )
    )


if __name__ == "__main__":
    main()
