"""Ray beside the local engine: the same task list by both, in turns (`scale.py --only ray`).

What counts is the time between the first media that was encoded and the last: starting Ray is told by itself.
CPU time is that of this process and of all below it (Ray's own among them), which other work on the machine
hardly touches.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingest.configuration import Settings
from ingest.engine_choice import EngineChoice
from ingest.listening import Listener
from ingest.pipeline import shard_recordings

Json = dict[str, Any]
WORKERS = 2


class Stretch(Listener):
    """Measures from the first media to the last task's end."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first: tuple[float, float, int] | None = None
        self.last = (0.0, 0.0, 0)
        self._media_ns = 0

    def progressed(self, media_ns: int, clips: int) -> None:
        self._media_ns += media_ns
        self.first = self.first or self._now()

    def task_ended(self, result: Mapping[str, Any]) -> None:
        self.last = self._now()

    def _now(self) -> tuple[float, float, int]:
        return time.perf_counter(), cpu_seconds(), self._media_ns

    def figures(self) -> Json:
        """Return `start_seconds`, `media_per_second`, `cpu_per_media_second`."""
        assert self.first is not None
        media = (self.last[2] - self.first[2]) / 1e9
        return {
            "start_seconds": self.first[0] - self.began,
            "media_per_second": media / (self.last[0] - self.first[0]),
            "cpu_per_media_second": (self.last[1] - self.first[1]) / media,
        }


def cpu_seconds() -> float:
    """Return the CPU time of this process and of all that it began, directly or not, as far as they live."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        ticks[int(stat.parent.name)] = sum(int(field) for field in fields[11:15])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours and pid not in ours}:
        ours |= more
    below = sum(ticks[pid] for pid in ours - {os.getpid()})
    return usage.ru_utime + usage.ru_stime + below / os.sysconf("SC_CLK_TCK")


def measure_ray(folder: Path, videos: Path, settings: Settings, turns: int = 1) -> Json:
    """Return the rates of both engines, and how much slower Ray is; `skipped` where it is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError:
        print("\nray: not installed, not measured")
        return {"skipped": "not installed"}
    found: Json = {"local": [], "ray": []}
    for _ in range(turns):
        for kind in ("local", "ray"):
            out, stretch = folder / f"engine-{kind}", Stretch()
            shutil.rmtree(out, ignore_errors=True)
            engine = EngineChoice("ray" if kind == "ray" else "local")
            shard_recordings([videos], out, settings, workers=WORKERS, listener=stretch, engine=engine)
            found[kind].append(stretch.figures())
    rate = {kind: max(row["media_per_second"] for row in found[kind]) for kind in ("local", "ray")}
    cost = {kind: min(row["cpu_per_media_second"] for row in found[kind]) for kind in ("local", "ray")}
    found["slower_by_clock"] = rate["local"] / rate["ray"] - 1
    found["slower_by_cpu"] = cost["ray"] / cost["local"] - 1
    for kind in ("local", "ray"):
        start = min(row["start_seconds"] for row in found[kind])
        print(
            f"\n{kind}: {rate[kind]:.1f} x real time, {cost[kind]:.3f} CPU s per second of media; "
            f"first media after {start:.1f} s",
            end="",
        )
    print(
        f"\nray is slower by {100 * found['slower_by_clock']:.1f} % by the clock, "
        f"{100 * found['slower_by_cpu']:.1f} % by CPU time"
    )
    return found
