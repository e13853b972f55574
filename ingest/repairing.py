"""`fifth repair`: what of a damaged dataset must be made again from recordings (all else: `shards.repair`).

Tasks are run again as they were planned, aside, and give the same bytes or are refused. Recordings are found
by their content, wherever they are. A plan part is planned again, which gives the same one where the inputs
are those that were there at the time.
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
from ingest.engine.local import Engine
from ingest.engine.watch import Limits, default_memory_bytes
from ingest.jobs import Doing, Jobs
from ingest.listening import Listener
from ingest.pipeline import STALL_SECONDS, check_inputs
from ingest.plan_head import plan_head, versions_of
from ingest.plan_state import Line, Place, PlanState
from ingest.planning import Planning
from shards import DatasetFolder, Repair, ShardsError, open_dataset, repair_dataset
from shards.canonical_json import json_line, placed_json_lines, read_json
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
    places = _BySize(paths, path)

    def again(folder: DatasetFolder) -> FromRecordings:
        base = None if folder.path == path else path
        return FromRecordings(folder, base, places, count, listener or Listener())

    return repair_dataset(path, again, dry_run=dry_run)


@dataclass
class _BySize:
    """Where recordings are now, by their content. Only files of the right size are read."""

    inputs: Sequence[Path]
    dataset: Path
    _ids: dict[Candidate, str] = field(default_factory=dict)

    @cached_property
    def _sizes(self) -> dict[int, list[Candidate]]:
        found: dict[int, list[Candidate]] = {}
        for candidate in self.candidates(Walk()) if self.inputs else ():
            found.setdefault(sum(path.stat().st_size for path in candidate.files), []).append(candidate)
        return found

    def candidates(self, walk: Walk) -> Iterator[Candidate]:
        """Yield what is in the inputs."""
        return find_recordings(self.inputs, walk, skip=self.dataset)

    def find(self, content: str, size_bytes: int) -> Candidate | None:
        """Return where a recording is now."""
        candidates = self._sizes.get(size_bytes, [])
        for candidate in candidates:
            if candidate not in self._ids:
                self._ids[candidate] = content_id(candidate.files, candidate.episode)
            if self._ids[candidate] == content:
                return candidate
        return next((c for c in candidates if full_hash(c.files) == content), None)


@dataclass
class FromRecordings:
    """Makes tasks of a dataset, or of an addition, again. It is a `shards.repair.Again`."""

    folder: DatasetFolder
    base: Path | None
    """The dataset that it adds to."""
    places: _BySize
    workers: int
    listener: Listener
    _found: dict[str, Candidate] = field(default_factory=dict)
    """By content: the recordings of the tasks that can be run."""

    def lacking(self, tasks: Sequence[int]) -> dict[int, str]:
        """Return the tasks that can't be run here, and why."""
        refusal = self._refusal()
        if refusal:
            return dict.fromkeys(tasks, refusal)
        state, lacking = PlanState(self.folder), {}
        wanted = {task: {entry["id"] for entry in state.task(task)["clips"]} for task in tasks}
        missing = self._look_for(set().union(*wanted.values()))
        for task, contents in wanted.items():
            names = sorted(missing[content] for content in contents & missing.keys())
            if names:
                some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
                lacking[task] = f"task {task} must be run again: give the folder that holds {some}"
        return lacking

    def _look_for(self, contents: set[str]) -> dict[str, str]:
        """Find recordings; return the names of those that are not in the inputs, by content."""
        missing = {}
        for line in self.folder.read_plan():
            if line["kind"] == "recording" and line["info"] and line["id"] in contents:
                place = self.places.find(line["id"], line["size_bytes"])
                if place is None:
                    missing[line["id"]] = line["recording"]
                else:
                    self._found[line["id"]] = place
        return missing

    def run(self, scratch: DatasetFolder, tasks: Sequence[int]) -> dict[int, str]:
        """Run tasks again, and say which could not be done."""
        why: dict[int, str] = {}
        configuration, device = self._configuration, self._device
        base = open_dataset(self.base, joined=False) if self.base else None
        limits = Limits(STALL_SECONDS, default_memory_bytes(self.workers))
        with (
            Engine(self.workers, self._heard, limits) as engine,
            EncoderProcesses(devices_for("auto", device, configuration), self.workers) as processes,
        ):
            state = PlanState(scratch)
            doing = Doing(scratch, configuration, device, state, self._found.get, engine, processes, base)
            for outcome in engine.run(Jobs(doing, self.listener, [], len(tasks)).of(tasks)):
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
            state = PlanState(_PartsBefore(self.folder, part))
        except (ShardsError, OSError, KeyError):
            return None
        self.listener.say(f"planning part {part} again, to see whether it comes out as it was")
        walk = Walk()
        with Engine(self.workers) as engine:
            planning = Planning(state, configuration, engine, self.listener.examined)
            lines = list(planning.lines(self.places.candidates(walk), walk))
        return [json_line(line) for line in [plan_head(part, configuration), *lines]]

    def differs(self) -> str:
        """Say which versions, and which kind of machine, are other than those of the plan."""
        there: Mapping[str, str] = self._head.get("versions", {})
        here = versions_of(self._configuration)
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
            return "not made from recordings: delete its record, and run again the command that made it"
        if data["pipeline_revision"] != PIPELINE_REVISION:
            return (
                f"it was made by pipeline revision {data['pipeline_revision']}, this is {PIPELINE_REVISION}: "
                "use the version of Fifth that made it"
            )
        if self._device == "cuda" and resolve_device("auto") != "cuda":
            return "it was made on a GPU, and there is none here"
        return ""

    @cached_property
    def _head(self) -> Line:
        """The first line of the last part."""
        (*_, last) = (line for line in self.folder.read_plan() if line["kind"] == "part")
        return last

    @property
    def _configuration(self) -> Configuration:
        return Configuration(self._head["configuration"])

    @property
    def _device(self) -> str:
        device = str(self._configuration.data.get("device", "any"))
        return resolve_device("auto") if device == "any" else device

    def _heard(self, report: Mapping[str, Any]) -> None:
        self.listener.progressed(report["media_ns"], report["clips"])


@dataclass(frozen=True)
class _PartsBefore:
    """The parts of a plan before one of them. It is a `PlanFiles`."""

    folder: DatasetFolder
    part: int

    def placed_plan_lines(self, first_part: int = 0) -> Iterator[tuple[Place, Line]]:
        """Yield the lines of these parts, each with its place."""
        for part in range(first_part, self.part):
            for offset, line in placed_json_lines(self.folder.plan_path(part)):
                yield (part, offset), line

    def plan_line(self, place: Place) -> Line:
        """Return the line at a place."""
        return self.folder.plan_line(place)
