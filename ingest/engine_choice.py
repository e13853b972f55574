"""Which engine runs the tasks: the processes of this machine, or a Ray cluster. The bytes are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ingest.encoder_process import EncoderProcesses
from ingest.engine.local import Engine, Progress
from ingest.engine.watch import Limits
from ingest.errors import WrongUse
from ingest.ray_encoders import TASK_SHARE, RayEncoders


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
        on_gpus: bool = False,
    ) -> Iterator[Engine]:
        """Yield the engine; it is closed in the end.

        Args:
            workers: most jobs at once; None: as many as this machine, or the cluster, has cores.
            on_progress, limits: see `Engine`.
            say: told what a person should know.
            on_gpus: whether the jobs need an encoder process on a GPU.
        """
        if self.kind == "local":
            with Engine(cores() if workers is None else workers, on_progress, limits) as engine:
                yield engine
            return
        from ingest.engine.ray_cluster import RayEngine, start, stop

        is_ours = start(self.address, workers)
        try:
            with RayEngine(
                workers, on_progress, limits, say=say,
                prepare="ingest.ray_encoders:on_this_node", gpu_share=TASK_SHARE if on_gpus else 0.0,
            ) as engine:  # fmt: skip
                say(f"Ray: {engine.jobs_at_once} tasks at once")
                yield engine
        finally:
            if is_ours:
                stop()

    def encoders(self, devices: list[str], engine: Engine) -> EncoderProcesses | RayEncoders:
        """Return the processes that encode for the engine's workers, to be used as a context manager.

        Args:
            devices: as `devices_for` gives them; empty: the workers encode.
            engine: which was opened.
        """
        if self.kind == "ray" and devices:
            return RayEncoders(devices[0])
        return EncoderProcesses(devices, engine.jobs_at_once)


def cores() -> int:
    """Return how many cores this machine has."""
    return os.cpu_count() or 1
