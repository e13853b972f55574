"""What a worker runs in measurements: a task of ours, saying who does it, and what it takes."""

from __future__ import annotations

import os
import time
from typing import Any

from ingest.engine.local import Progress
from ingest.task import run_task

Json = dict[str, Any]


def task(argument: Json, progress: Progress) -> Json:
    """Run a task; every word of progress says which process it is from, and the result what it took."""
    worked = time.process_time()
    result = run_task(argument, lambda report: progress({**report, "process": os.getpid()}))
    return {**result, "cpu_seconds": time.process_time() - worked}
