"""`run.jsonl`: the events of all runs on a dataset, one JSON line each, appended whole and flushed.

    run_began     host, process, machine, versions, configuration_digest, workers, part
    planned       tasks to do, media_seconds to do, media_seconds_before
    task_done     task, seconds, media_seconds, samples, tokens, bytes, failures
    task_retried  task, why       it is done again
    task_failed   task, why       it is not done; the next run tries it again
    worker_ended  how (died, hung, grew), why, task
    quarantined   recording, id, start_ns, stop_ns, cause
    said          line            whatever else a person was told
    run_ended     how, seconds, tasks_run, media_seconds, peak_rss_bytes, unfinished

Every line has `time` (UTC), `event` and `run`, 8 hex digits that tell runs apart. The file is no part of what
is promised to be the same: nothing reads it but people and their tools.
"""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from ingest.listening import Listener


class EventFile(Protocol):
    """Where events go: a `shards.DatasetFolder`."""

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Append a line, whole."""
        ...


class Events(Listener):
    """Writes a run's events.

    Args:
        file: where to.
        say: told once where events can't be written; the run goes on.
    """

    def __init__(self, file: EventFile, say: Callable[[str], None] = lambda _: None) -> None:
        self._file, self._say, self._told = file, say, False
        self._run = secrets.token_hex(4)

    def _write(self, event: str, **facts: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._file.append_event({"time": now, "event": event, "run": self._run, **facts})
        except OSError as error:  # a full disk ends the run where it matters
            if not self._told:
                self._say(f"events can't be written to run.jsonl: {error.strerror or error}")
                self._told = True

    def run_began(self, facts: Mapping[str, Any]) -> None:
        """Write where and how the run goes."""
        place = {"host": platform.node(), "machine": platform.machine(), "process": os.getpid()}
        self._write("run_began", **place, **facts)

    def say(self, line: str) -> None:
        """Write what a person was told."""
        self._write("said", line=line)

    def planned(self, tasks: int, media_ns: int, done_ns: int) -> None:
        """Write how much there is to do."""
        to_do, before = (media_ns - done_ns) / 1e9, done_ns / 1e9
        self._write("planned", tasks=tasks, media_seconds=to_do, media_seconds_before=before)

    def task_ended(self, result: Mapping[str, Any]) -> None:
        """Write a task's figures."""
        names = ("task", "samples", "tokens", "bytes", "failures")
        times = {"seconds": round(result["seconds"], 3), "media_seconds": result["media_ns"] / 1e9}
        self._write("task_done", **{name: result[name] for name in names}, **times)

    def task_failed(self, task: int, kind: str, why: str, again: bool) -> None:
        """Write what became of a task, and of its worker."""
        if kind != "failed":
            self._write("worker_ended", how=kind, why=why, task=task)
        self._write("task_retried" if again else "task_failed", task=task, why=why)

    def quarantined(self, line: Mapping[str, Any]) -> None:
        """Write which clips were set apart."""
        names = ("recording", "id", "start_ns", "stop_ns", "cause")
        self._write("quarantined", **{name: line[name] for name in names})

    def run_ended(self, facts: Mapping[str, Any]) -> None:
        """Write how the run ended."""
        self._write("run_ended", **facts)
