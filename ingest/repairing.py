"""`fifth repair`: what of a damaged dataset must be made again from its recordings (all else: `shards.repair`).

Tasks are run again as they were planned, aside, and give the same bytes or are refused. Recordings are found by
their content, wherever they are. A plan part is planned again; that gives the same one where the inputs are those
that were there at the time.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ingest.configuration import PIPELINE_REVISION, Configuration, resolve_device
from ingest.content_id import content_id, full_hash
from ingest.discovery import Candidate, Walk, find_recordings
from ingest.encoder_process import EncoderProcesses, devices_for
from ingest.engine.local import Engine, Job
from ingest.engine.watch import Limits, default_memory_bytes
from ingest.pipeline import STALL_SECONDS, Listener, check_inputs, plan_head
from ingest.planning import Line, Planning, PlanState
from shards import Dataset, DatasetFolder, Repair, ShardsError, open_dataset, repair_dataset
from shards.canonical_json import json_line, read_json
from shards.folder import MANIFEST


def repair(
    dataset: Path | str,
    inputs: Sequence[Path | str] = (),
    *,
    dry_run: bool = False,
    workers: int | None = None,
    listener: Listener | None = None,
) -> Repair:
    """Make again what is damaged in a dataset and in what was added to it; nothing else is touched.

    Args:
        dataset: its folder.
        inputs: files and folders that hold its recordings; without any, only what the dataset itself still
            tells is made again.
        dry_run: say what would be done, and do nothing.
        workers: processes; None: as many as there are cores; 0: in this process.
        listener: hears how it goes.

    Raises:
        FileNotFoundError: no such folder, or an input does not exist.
        shards.ShardsError: no dataset is there, or a run is writing it.
    """
    paths = [Path(given) for given in inputs]
    if paths:
        check_inputs(paths)
    path, count = Path(dataset), os.cpu_count() or 1 if workers is None else workers
    places = _Places(paths, path)

    def again(folder: DatasetFolder) -> FromRecordings:
        base = None if folder.path == path else path
        return FromRecordings(folder, base, places, count, listener or Listener())

    return repair_dataset(path, again, dry_run=dry_run)


@dataclass
class _Places:
    """Where recordings are now, by their content. Only files of the right size are read."""

    inputs: Sequence[Path]
    dataset: Path
    _ids: dict[Candidate, str] = field(default_factory=dict)

    @cached_property
    def _by_size(self) -> dict[int, list[Candidate]]:
        found: dict[int, list[Candidate]] = {}
        for candidate in self.candidates(Walk()) if self.inputs else ():
            found.setdefault(sum(path.stat().st_size for path in _files(candidate)), []).append(candidate)
        return found

    def candidates(self, walk: Walk) -> Iterator[Candidate]:
        """Yield what is in the inputs."""
        return find_recordings(self.inputs, walk, skip=self.dataset)

    def find(self, recording: Line) -> Candidate | None:
        """Return where a planned recording is now."""
        candidates = self._by_size.get(recording["size_bytes"], [])
        for candidate in candidates:
            if candidate not in self._ids:
                self._ids[candidate] = content_id(_files(candidate), candidate.episode)
            if self._ids[candidate] == recording["id"]:
                return candidate
        return next((c for c in candidates if full_hash(_files(c)) == recording["id"]), None)


def _files(candidate: Candidate) -> list[Path]:
    return [*candidate.paths, *candidate.sidecars]


@dataclass
class FromRecordings:
    """Makes tasks of a dataset, or of an addition, again. It is a `shards.repair.Again`."""

    folder: DatasetFolder
    base: Path | None
    """The dataset that it adds to."""
    places: _Places
    workers: int
    listener: Listener

    def lacking(self, tasks: Sequence[int]) -> dict[int, str]:
        """Return the tasks that can't be run here, and why."""
        refusal = self._refusal()
        if refusal:
            return dict.fromkeys(tasks, refusal)
        lacking = {}
        for task in tasks:
            contents = {entry["id"] for entry in self._plan.tasks[task]["clips"]}
            recordings = [self._plan.recordings[content] for content in contents]
            missing = sorted(line["recording"] for line in recordings if self.places.find(line) is None)
            if missing:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                names = ", ".join(missing[:3]) + more
                lacking[task] = f"task {task} must be run again: give the folder that holds {names}"
        return lacking

    def run(self, scratch: DatasetFolder, tasks: Sequence[int]) -> dict[int, str]:
        """Run tasks again, and say which could not be done."""
        why: dict[int, str] = {}
        configuration, device = self._configuration, self._device
        limits = Limits(STALL_SECONDS, default_memory_bytes(self.workers))
        with (
            Engine(self.workers, self._heard, limits) as engine,
            EncoderProcesses(devices_for("auto", device, configuration), self.workers) as processes,
        ):
            jobs = (
                Job("ingest.task:run_task", self._argument(scratch, task) | processes.for_task(task))
                for task in tasks
            )
            for outcome in engine.run(jobs):
                if outcome.kind != "done":
                    task = outcome.job.argument["task"]
                    why[task] = f"task {task} could not be run again: {outcome.result['error']}"
        return why

    def plan_part(self, part: int) -> Iterable[bytes] | None:
        """Plan again, after the parts before; None for an addition, or without inputs."""
        if self.base is not None or not self.places.inputs:
            return None
        try:
            configuration = Configuration(read_json(self.folder.path / MANIFEST)["configuration"])
            before = [line for line in _lines_before(self.folder, part)]
        except (ShardsError, OSError, KeyError):
            return None
        self.listener.say(f"planning part {part} again, to see whether it comes out as it was")
        walk = Walk()
        with Engine(self.workers) as engine:
            planning = Planning(PlanState.of(iter(before)), configuration, engine, self.listener.examined)
            lines = list(planning.lines(self.places.candidates(walk), walk))
        head = plan_head(self.folder, configuration) | {"part": part}
        return [json_line(line) for line in [head, *lines]]

    def differs(self) -> str:
        """Say which versions, and which kind of machine, are other than those of the plan."""
        here = plan_head(self.folder, self._configuration)["versions"]
        there: Mapping[str, str] = self._plan.head.get("versions", {})
        lines = [
            f"{name} {there.get(name, 'none')} there, {here.get(name, 'none')} here"
            for name in sorted({*there, *here})
            if there.get(name) != here.get(name)
        ]
        machines = self._machines()
        if machines and platform.machine() not in machines:
            lines.append(f"made on {', '.join(sorted(machines))}, this is {platform.machine()}")
        return "; ".join(lines)

    def _machines(self) -> set[str]:
        """Return the kinds of machine that worked on the dataset, as far as its events tell."""
        try:
            events = (self.folder.path / "run.jsonl").read_bytes().splitlines()
        except OSError:
            return set()
        found = set()
        for event in events:
            try:
                found.add(str(json.loads(event).get("machine", "")))
            except (ValueError, AttributeError):
                continue
        return found - {""}

    def _refusal(self) -> str:
        data = self._configuration.data
        if "pipeline_revision" not in data:
            return (
                "it was not made from recordings: delete its record, and run again the command that made it"
            )
        if data["pipeline_revision"] != PIPELINE_REVISION:
            return (
                f"it was made by pipeline revision {data['pipeline_revision']}, this is {PIPELINE_REVISION}: "
                "use the version of Fifth that made it"
            )
        if self._device == "cuda" and resolve_device("auto") != "cuda":
            return "it was made on a GPU, and there is none here"
        return ""

    @cached_property
    def _plan(self) -> _Plan:
        return _Plan.of(self.folder)

    @property
    def _configuration(self) -> Configuration:
        return Configuration(self._plan.head["configuration"])

    @property
    def _device(self) -> str:
        device = str(self._configuration.data.get("device", "any"))
        return resolve_device("auto") if device == "any" else device

    @cached_property
    def _base_shards(self) -> dict[int, Line]:
        if self.base is None:
            return {}
        base: Dataset = open_dataset(self.base, joined=False)
        return {
            line["task"]: {"dataset": str(base.path), "shard": line["name"], "layout": line["layout"]}
            for line in base.shard_lines()
        }

    def _argument(self, scratch: DatasetFolder, number: int) -> Line:
        task = self._plan.tasks[number]
        return {
            "dataset": str(scratch.path),
            "task": number,
            "part": self._plan.parts[number],
            "layout": self._plan.layouts[task["layout"]],
            "configuration": dict(self._configuration.data),
            "device": self._device,
            "threads": 1,
            "adds_to": self._base_shards.get(number, {}),
            "entries": [self._entry(entry) for entry in task["clips"]],
        }

    def _entry(self, entry: Line) -> Line:
        recording = self._plan.recordings[entry["id"]]
        where = self.places.find(recording)
        assert where is not None, "tasks that lack a recording are not run"
        return {
            "name": recording["recording"],
            "id": entry["id"],
            "kind": where.kind,
            "paths": [str(path) for path in where.paths],
            "sidecars": [str(path) for path in where.sidecars],
            "episode": where.episode,
            "info": recording["info"],
            "first": entry["first"],
            "count": entry["count"],
        }

    def _heard(self, report: Mapping[str, Any]) -> None:
        self.listener.progressed(report["media_ns"], report["clips"])


@dataclass
class _Plan:
    """The lines of a plan that tasks need."""

    head: Line = field(default_factory=dict)
    """The first line of the last part."""
    layouts: dict[str, Line] = field(default_factory=dict)
    tasks: dict[int, Line] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)
    """Task to the part that holds it."""
    recordings: dict[str, Line] = field(default_factory=dict)
    """Content id to the line that describes it."""

    @classmethod
    def of(cls, folder: DatasetFolder) -> _Plan:
        plan = cls()
        for line in folder.read_plan():
            if line["kind"] == "part":
                plan.head = line
            elif line["kind"] == "layout":
                plan.layouts[line["layout"]["name"]] = line["layout"]
            elif line["kind"] == "recording" and line["info"]:
                plan.recordings[line["id"]] = line
            elif line["kind"] == "task":
                plan.tasks[line["task"]] = line
                plan.parts[line["task"]] = plan.head["part"]
        return plan


def _lines_before(folder: DatasetFolder, part: int) -> Iterator[Line]:
    for line in folder.read_plan():
        if line["kind"] == "part" and line["part"] >= part:
            return
        yield line
