"""The arguments of tasks: what the plan knows, and where the files are now. One after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.configuration import Configuration
from ingest.discovery import Candidate
from ingest.encoder_process import EncoderProcesses
from ingest.engine.local import Engine, Job
from ingest.listening import Listener
from ingest.places import Places
from ingest.plan_state import Line, PlanState
from ingest.ray_encoders import RayEncoders
from shards import Dataset, DatasetFolder

Whereabouts = Callable[[str], Candidate | None]
"""From a content id to where the recording is now; None: not among the inputs."""


def by_name(state: PlanState, found: Places) -> Whereabouts:
    """Look recordings up by the names that the plan has for their content."""

    def where(content: str) -> Candidate | None:
        places = (found.get(name) for name in state.names_of(content))
        return next((candidate for candidate in places if candidate is not None), None)

    return where


@dataclass(frozen=True)
class Doing:
    """What the tasks of a run need."""

    folder: DatasetFolder
    configuration: Configuration
    device: str
    state: PlanState
    where: Whereabouts
    engine: Engine
    processes: EncoderProcesses | RayEncoders
    adds_to: Dataset | None = None
    """The dataset that this adds to; then no recording is set apart."""


@dataclass(frozen=True)
class Jobs:
    """Makes jobs of tasks."""

    doing: Doing
    listener: Listener
    unfinished: list[str]
    """Gets the tasks whose recordings are not here."""
    count: int
    """How many tasks there are to do, about: idle cores help with the last ones."""

    def of(self, numbers: Iterable[int]) -> Iterator[Job]:
        """Yield the jobs of these tasks; those whose recordings are not here are unfinished."""
        base, state = self.doing.adds_to, self.doing.state
        layouts = {layout["name"]: layout for layout in state.layouts.values()}
        beside = _shards_of(base) if base else {}
        at_once = min(self.doing.engine.jobs_at_once, max(1, self.count))
        threads = max(1, (os.cpu_count() or 1) // at_once)
        for number in numbers:
            task = state.task(number)
            entries = self._entries(task)
            if entries is None:
                continue
            self.listener.task_began(number)
            yield Job(
                "ingest.task:run_task",
                {
                    "dataset": self.doing.folder.address,
                    "task": number,
                    "part": state.part_of(number),
                    "layout": layouts[task["layout"]],
                    "configuration": dict(self.doing.configuration.data),
                    "device": self.doing.device,
                    "threads": threads,
                    **self.doing.processes.for_task(number),
                    "adds_to": beside.get(number, {}),
                    "entries": entries,
                },
            )

    def _entries(self, task: Line) -> list[Line] | None:
        """Return a task's recordings, and where they are; None, said, where some are not."""
        contents = dict.fromkeys(entry["id"] for entry in task["clips"])
        places = {content: self.doing.where(content) for content in contents}
        missing = [content for content, place in places.items() if place is None]
        if missing:
            names = ", ".join(self.doing.state.planned(content)["recording"] for content in missing[:3])
            self.unfinished.append(f"task {task['task']}: the inputs given do not hold {names}")
            return None
        known = {content: self._known(content, place) for content, place in places.items() if place}
        return [{**known[e["id"]], "first": e["first"], "count": e["count"]} for e in task["clips"]]

    def _known(self, content: str, place: Candidate) -> Line:
        return {
            "name": self.doing.state.planned(content)["recording"],
            "id": content,
            "kind": place.kind,
            "paths": [str(path) for path in place.paths],
            "sidecars": [str(path) for path in place.sidecars],
            "episode": place.episode,
            "info": self.doing.state.info(content),
        }


def _shards_of(base: Dataset) -> Mapping[int, Mapping[str, Any]]:
    """Return by task where the shards are of a dataset that is added to."""
    return {
        line["task"]: {"dataset": str(base.path), "shard": line["name"], "layout": line["layout"]}
        for line in base.shard_lines()
    }
