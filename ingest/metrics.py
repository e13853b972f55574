"""How a run goes, in numbers, for Prometheus: `http://ADDRESS:PORT/metrics`, in its text format 0.0.4.

`fifth_seconds_since_progress` shows a stall, `fifth_recordings_failed_total` beside `fifth_recordings_total`
a rising share of failures, at a glance.

Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ingest.engine.watch import resident_bytes
from ingest.listening import Listener

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

WORDS = {
    "media_seconds_total": "Media that is encoded, in seconds.",
    "clips_total": "Clips that are encoded.",
    "recordings_examined_total": "Recordings that were looked at while planning.",
    "recordings_total": "Recordings in the tasks that are done; one of many tasks counts in each.",
    "recordings_failed_total": "Of them, those with failures.",
    "samples_total": "Samples in finished shards.",
    "tokens_total": "Tokens in finished shards.",
    "written_bytes_total": "Bytes of finished shards.",
    "failures_total": "Media lost, and tasks not done, by kind.",
    "recordings_quarantined_total": "Stretches of recordings that were set apart, for they end their reader.",
    "tasks_done_total": "Tasks that are done.",
    "tasks_retried_total": "Tasks that were tried again.",
    "tasks_planned": "Tasks that this run has to do.",
    "tasks_running": "Tasks that are under way.",
    "planned_media_seconds": "Media that this run has to encode, in seconds.",
    "workers": "Processes that are alive.",
    "workers_resident_bytes": "Memory of these processes together.",
    "worker_resident_bytes_max": "Memory of the largest one.",
    "seconds_since_progress": "Time since something was examined, encoded or finished.",
    "run_seconds": "Time since the run began.",
}


class Metrics(Listener):
    """Counts what it hears; `text` may be asked for from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._moved = clock()
        self._totals: Counter[str] = Counter()
        self._failures: Counter[str] = Counter({"recording": 0, "task": 0, "worker": 0})
        self._planned = self._running = 0
        self._planned_seconds = 0.0
        self._processes: Callable[[], Sequence[int]] = tuple
        self._lock = threading.Lock()

    def working(self, processes: Callable[[], Sequence[int]]) -> None:
        """Take note of how to find the workers."""
        self._processes = processes

    def examined(self, name: str) -> None:
        """Count a recording that was looked at."""
        self._count(recordings_examined_total=1)

    def planned(self, tasks: int, media_ns: int, done_ns: int) -> None:
        """Take note of how much there is to do."""
        self._planned, self._planned_seconds = tasks, (media_ns - done_ns) / 1e9

    def task_began(self, task: int) -> None:
        """Count a task that is under way."""
        self._running += 1

    def progressed(self, media_ns: int, clips: int) -> None:
        """Count media that is encoded."""
        self._count(media_seconds_total=media_ns / 1e9, clips_total=clips)

    def task_ended(self, result: Mapping[str, Any]) -> None:
        """Count a task that is done."""
        self._running -= 1
        self._failures["recording"] += result["failures"]
        self._count(
            tasks_done_total=1,
            samples_total=result["samples"],
            tokens_total=result["tokens"],
            written_bytes_total=result["bytes"],
            recordings_total=len(result["recordings"]),
            recordings_failed_total=len(result["failed"]),
        )

    def task_failed(self, task: int, kind: str, why: str, again: bool) -> None:
        """Count a task that was not done, and its worker if that has ended."""
        self._running -= 1
        self._failures["task"] += not again
        self._failures["worker"] += kind != "failed"
        self._count(tasks_retried_total=again)

    def quarantined(self, line: Mapping[str, Any]) -> None:
        """Count clips that were set apart."""
        self._count(recordings_quarantined_total=1)

    def _count(self, **amounts: float) -> None:
        with self._lock:
            self._totals.update(amounts)
        self._moved = self._clock()

    def text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        with self._lock:
            totals = dict(self._totals)
        sizes = [resident_bytes(process) for process in self._processes()]
        now = self._clock()
        gauges = {
            "tasks_planned": self._planned,
            "tasks_running": self._running,
            "planned_media_seconds": self._planned_seconds,
            "workers": sum(size > 0 for size in sizes),
            "workers_resident_bytes": sum(sizes),
            "worker_resident_bytes_max": max(sizes, default=0),
            "seconds_since_progress": now - self._moved,
            "run_seconds": now - self._begun,
        }
        lines = []
        for name, words in WORDS.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP fifth_{name} {words}", f"# TYPE fifth_{name} {kind}"]
            if name == "failures_total":
                of_kind = sorted(self._failures.items())
                lines += [f'fifth_{name}{{kind="{kind}"}} {count}' for kind, count in of_kind]
            else:
                lines.append(f"fifth_{name} {gauges.get(name, totals.get(name, 0)):.15g}")
        return "\n".join(lines) + "\n"


@contextmanager
def serving(metrics: Metrics, address: str, port: int) -> Iterator[str]:
    """Serve metrics, in a thread, while the context lasts.

    Args:
        metrics: what is served.
        address: the address to listen at; others than 127.0.0.1 are open to the network.
        port: 0: any that is free.

    Yields:
        The metrics' URL.

    Raises:
        OSError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.partition("?")[0] in ("/", "/metrics")
            body = metrics.text().encode() if found else b"metrics are at /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of requests."""

    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        raise OSError(error.errno, f"metrics at {address}:{port}: {error.strerror}") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
