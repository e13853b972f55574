"""Which engine runs the tasks: the processes of this machine, or a Ray cluster. The bytes are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ingest.engine.local import Engine, Progress
from ingest.engine.watch import Limits
from ingest.errors import WrongUse


@dataclass(frozen=True)
class EngineChoice:
    """An engine that was asked for."""

    kind: Literal["local", "ray"] = "local"
    address: str = ""
    """Of a Ray cluster: `auto`, `HOST:PORT`; empty: one is started on this machine, and ended."""

    def __post_init__(self) -> None:
        if self.address and self.kind != "ray":
            raise WrongUse("--address is of a Ray cluster: it goes with --engine ray")

    @contextmanager
    def opened(
        self,
        workers: int | None,
        on_progress: Progress | None = None,
        limits: Limits | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Engine]:
        """Yield the engine; it is closed in the end.

        Args:
            workers: most jobs at once; None: as many as this machine, or the cluster, has cores.
            on_progress, limits: see `Engine`.
            say: told what a person should know.
        """
        if self.kind == "local":
            with Engine(cores() if workers is None else workers, on_progress, limits) as engine:
                yield engine
            return
        from ingest.engine.ray_cluster import RayEngine, start, stop

        is_ours = start(self.address, workers)
        try:
            with RayEngine(workers, on_progress, limits, say=say) as engine:
                say(f"Ray: {engine.jobs_at_once} tasks at once")
                yield engine
        finally:
            if is_ours:
                stop()


def cores() -> int:
    """Return how many cores this machine has."""
    return os.cpu_count() or 1
