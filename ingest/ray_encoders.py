"""Encoder processes on a Ray cluster: an actor per GPU holds one; tasks of its node encode there.

Frames reach an encoder process through shared memory, so a task runs on a node that has one: with GPUs, it
asks for a sliver of one. Which actor encodes for it is looked up on the node, when the task begins there.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import Any

from ingest.encoder_process import SHARED_BYTES, EncoderProcess
from ingest.errors import EncoderLost

MARK = "ray:"
"""What the name of an encoder process begins with that is looked up on the node."""
ACTOR_SHARE = 0.5
"""Of a GPU; the rest is for the slivers of tasks."""
TASK_SHARE = 0.002
START_SECONDS = 120.0
POLL_SECONDS = 0.2


class EncoderHost:
    """An actor that holds an encoder process, and starts another one when that has died."""

    def __init__(self, device: str) -> None:
        self._process = EncoderProcess(device)

    def address(self) -> str:
        """Return where the process listens."""
        self._process.ensure()
        return self._process.address

    def figures(self) -> dict[str, Any]:
        """Return what it did; see `EncoderProcess.figures`."""
        return self._process.figures()


class RayEncoders:
    """The encoder processes of a run on a cluster; see `ingest.encoder_process.EncoderProcesses`.

    Args:
        device: `cuda`: one per GPU; `cpu`: one per node.
    """

    def __init__(self, device: str) -> None:
        self._has_gpus = device.startswith("cuda")
        self._device = "cuda:0" if self._has_gpus else device  # an actor sees its own GPU alone
        self._name = f"fifth-encoder-{secrets.token_hex(4)}"
        self._actors: dict[str, Any] = {}

    def __enter__(self) -> RayEncoders:
        self._begin_where_missing()
        return self

    def __exit__(self, *exc: object) -> None:
        import ray

        for actor in self._actors.values():
            ray.kill(actor)

    def for_task(self, number: int) -> dict[str, Any]:
        """Return what a task must be told of the process that encodes for it."""
        self._begin_where_missing()  # nodes may have been added
        kind = "gpu" if self._has_gpus else "cpu"
        return {"encoder_process": f"{MARK}{kind}:{self._name}:{number}", "slot_bytes": 0}

    def figures(self) -> list[dict[str, Any]]:
        """Return what each did; nothing of one that can't be reached."""
        import ray
        from ray.exceptions import RayError

        found = []
        for actor in self._actors.values():
            try:
                found.append(ray.get(actor.figures.remote(), timeout=10))
            except (RayError, TimeoutError):  # it is told of, no more: the work is done
                continue
        return found

    def _begin_where_missing(self) -> None:
        """Begin an actor per GPU, or per node, where there is none yet."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        for node in ray.nodes():
            if not node["Alive"]:
                continue
            count = int(node["Resources"].get("GPU", 0)) if self._has_gpus else 1
            for place in range(count):
                name = _actor_name(self._name, node["NodeID"], place)
                if name in self._actors:
                    continue
                self._actors[name] = (
                    ray.remote(EncoderHost)
                    .options(
                        name=name,
                        num_cpus=0,
                        num_gpus=ACTOR_SHARE if self._has_gpus else 0,
                        max_restarts=-1,
                        scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                    )
                    .remote(self._device)
                )


def on_this_node(argument: dict[str, Any]) -> dict[str, Any]:
    """Return a task's argument with the address of the encoder process on the node where it runs.

    Raises:
        EncoderLost: none could be reached in two minutes; the task may be tried again.
    """
    wanted = str(argument.get("encoder_process", ""))
    if not wanted.startswith(MARK):
        return argument
    import ray

    kind, name, number = wanted.removeprefix(MARK).split(":")
    node = ray.get_runtime_context().get_node_id()
    here = next(entry["Resources"] for entry in ray.nodes() if entry["NodeID"] == node)
    count = max(1, int(here.get("GPU", 0))) if kind == "gpu" else 1
    address = _address(_actor_name(name, node, int(number) % count))
    slot_bytes = SHARED_BYTES // max(1, int(here.get("CPU", os.cpu_count() or 1)))
    return {**argument, "encoder_process": address, "slot_bytes": slot_bytes}


def _address(name: str) -> str:
    import ray
    from ray.exceptions import RayError

    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return str(ray.get(ray.get_actor(name).address.remote(), timeout=START_SECONDS))
        except (RayError, ValueError, TimeoutError) as error:  # a new node has none for a moment
            if time.monotonic() >= until:
                raise EncoderLost(f"the encoder process of this node can't be reached: {error}") from error
        time.sleep(POLL_SECONDS)


def _actor_name(run: str, node: str, place: int) -> str:
    return f"{run}-{node}-{place}"
