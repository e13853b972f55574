"""What a worker runs in the measurement of a killed one: a task of ours, saying who does it."""

from __future__ import annotations

import os
from typing import Any

from ingest.engine.local import Progress
from ingest.task import run_task

Json = dict[str, Any]


def task(argument: Json, progress: Progress) -> Json:
    """Run a task; every word of progress says which process it is from."""
    return run_task(argument, lambda report: progress({**report, "process": os.getpid()}))
