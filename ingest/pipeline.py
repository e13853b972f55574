"""The main job: a folder of recordings in, a dataset of token shards out. Safe to run again.

    discovery -> examining (workers) -> planning -> tasks (workers) -> tables, manifest, card

This is the bridge between `ingest`, `encoders` and `shards`. The plan decides what goes where; the
workers only do it, in any order and number, so their number never shows in the bytes.
"""

from __future__ import annotations

import errno
import itertools
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ingest.configuration import MEDIA, Configuration, Settings, resolve
from ingest.decoders.backends import versions_behind
from ingest.discovery import Candidate, Walk, find_recordings
from ingest.encoder_choice import model_places, models_within_reach
from ingest.encoder_process import EncodeIn, EncoderProcesses, devices_for
from ingest.engine.local import Engine, Job, Outcome
from ingest.engine.watch import Limits, default_memory_bytes
from ingest.errors import IngestError, WrongUse
from ingest.planning import Line, Planning, PlanState
from ingest.quarantine import culprits, quarantine_lines, reason
from shards import Dataset, DatasetFolder

VERSIONED = ("av", "numpy", "opencv-python-headless", "rosbags", "torch")
OF_MODELS = ("diffusers", "transformers")
"""Versions that tokens of pretrained models depend on."""
MOST_TRIES = 2
STALL_SECONDS = 600.0


class Listener:
    """Hears how a run goes on; the command line's progress display is one. Does nothing by itself."""

    def say(self, line: str) -> None:
        """Hear something that a person should know."""

    def examined(self, name: str) -> None:
        """Hear that a recording was looked at."""

    def planned(self, tasks: int, media_ns: int, done_ns: int) -> None:
        """Hear how much there is to do and how much was done before."""

    def progressed(self, media_ns: int, clips: int) -> None:
        """Hear that so much more media is encoded."""

    def task_ended(self, result: Mapping[str, Any]) -> None:
        """Hear that a task is done: `samples`, `tokens`, `bytes`, `failures`."""


@dataclass
class Run:
    """What one run did; the dataset itself is described by `shards.dataset_info`."""

    tasks_run: int = 0
    tasks_before: int = 0
    recordings_new: int = 0
    unfinished: list[str] = field(default_factory=list)
    """Tasks that could not be done, with their cause; running again tries them again."""
    media_ns: int = 0
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    """The largest resident memory of any worker."""
    stopped_by: str = ""
    """With `strict`: the first failure."""
    encoder_processes: list[dict[str, Any]] = field(default_factory=list)
    """What each process that encoded for the workers did; see `EncoderProcess.figures`."""


@dataclass(frozen=True)
class Choice:
    """Which recordings a run takes, and how it treats what is there already."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    retry_failed: bool = False
    replace: bool = False
    strict: bool = False


def shard_recordings(
    inputs: Sequence[Path | str],
    dataset: Path | str,
    settings: Settings | None = None,
    *,
    choice: Choice | None = None,
    workers: int | None = None,
    encode_in: EncodeIn = "auto",
    limits: Limits | None = None,
    listener: Listener | None = None,
) -> Run:
    """Make, go on with, or add to a dataset.

    Args:
        inputs: files and folders.
        dataset: the output folder; it is made where it does not exist.
        settings: what to make of the recordings.
        choice: which of them.
        workers: processes, each with one thread; None: as many as there are cores; 0: in this process.
        encode_in: `worker`: each worker encodes what it decodes; `process`: one process per GPU (or one on
            the CPU) encodes for all; `auto`: the latter on GPUs. The bytes are the same.
        limits: when a worker is ended and its task tried again; None: ten minutes without a sign of life, or
            more than its share of four fifths of the machine's memory.
        listener: hears how it goes.

    Raises:
        WrongUse: a setting that can't work, or other settings than the dataset was made with.
        FileNotFoundError: an input does not exist.
        shards.ShardsError: the dataset folder can't be used.
        OSError: the disk is full, or fails.
        KeyboardInterrupt: passed on, after what is done was made ready to be read.
    """
    begun = time.monotonic()
    listener, choice = listener or Listener(), choice or Choice()
    paths = [Path(given) for given in inputs]
    check_inputs(paths)
    folder = DatasetFolder(Path(dataset))
    stored = _stored(folder)
    configuration, device = resolve(settings or Settings(), stored)
    run = Run()
    if stored is not None:  # say what is wrong before anything is touched
        configuration.check_same(stored)
    folder.create()
    with models_within_reach(model_places(_encoders_asked(settings))), folder.lock():
        for leftover in folder.remove_leftovers():
            listener.say(f"removed what a stopped run left: {leftover}")
        count = os.cpu_count() or 1 if workers is None else workers

        def heard(report: Mapping[str, Any]) -> None:
            run.media_ns += report["media_ns"]
            listener.progressed(report["media_ns"], report["clips"])

        limits = limits or Limits(STALL_SECONDS, default_memory_bytes(count))
        try:
            with Engine(count, heard, limits) as engine:
                found = _plan(folder, paths, configuration, choice, engine, listener, run)
                if not run.stopped_by:
                    with EncoderProcesses(devices_for(encode_in, device, configuration), count) as processes:
                        doing = _Doing(folder, configuration, device, found, choice, engine, processes)
                        _run_tasks(doing, listener, run)
                        run.encoder_processes = processes.figures()
        except KeyboardInterrupt:  # the tasks under way are lost; what is done is made ready to be read
            _finish(folder, run, count, begun)
            raise
        _finish(folder, run, count, begun)
    return run


def _finish(folder: DatasetFolder, run: Run, workers: int, begun: float) -> None:
    """Write tables, manifest and card of what is done so far, and the run's event."""
    if not folder.is_dataset():
        return
    folder.finish()
    run.seconds = time.monotonic() - begun
    folder.append_event(_event(run, workers))


def _encoders_asked(settings: Settings | None) -> list[str]:
    return [(settings or Settings()).encoders_for(medium) for medium in MEDIA]


def check_inputs(paths: Sequence[Path]) -> None:
    """Raise `FileNotFoundError` or `WrongUse` for inputs that can't be meant."""
    if not paths:
        raise WrongUse("give at least one file or folder of recordings")
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")


def dry_run(
    inputs: Sequence[Path | str],
    settings: Settings | None = None,
    *,
    choice: Choice | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
) -> list[Line]:
    """Plan as `shard_recordings` would for a new dataset, and write nothing.

    Returns:
        The plan's lines, without its first.
    """
    listener, choice = listener or Listener(), choice or Choice()
    paths = [Path(given) for given in inputs]
    check_inputs(paths)
    configuration, _ = resolve(settings or Settings())
    count = os.cpu_count() or 1 if workers is None else workers
    walk = Walk()
    with models_within_reach(model_places(_encoders_asked(settings))), Engine(count) as engine:
        planning = Planning(PlanState(), configuration, engine, listener.examined)
        candidates = find_recordings(paths, walk, choice.include, choice.exclude)
        return list(planning.lines(candidates, walk))


def _stored(folder: DatasetFolder) -> Configuration | None:
    """Return what the dataset was made with; None where there is none yet."""
    first = next(iter(folder.read_plan()), None) if folder.is_dataset() else None
    return None if first is None else Configuration(first["configuration"])


def _plan(
    folder: DatasetFolder,
    paths: Sequence[Path],
    configuration: Configuration,
    choice: Choice,
    engine: Engine,
    listener: Listener,
    run: Run,
) -> dict[str, Candidate]:
    """Write a new plan part where there is something new; return where each recording is now."""
    state = PlanState.of(folder.read_plan())
    retry = _failed_ids(folder, state) if choice.retry_failed else frozenset()
    planning = Planning(state, configuration, engine, listener.examined, retry=retry, replace=choice.replace)
    walk, found = Walk(), dict[str, Candidate]()

    def candidates() -> Iterator[Candidate]:
        skip = folder.path
        for candidate in find_recordings(paths, walk, choice.include, choice.exclude, skip):
            found[candidate.name] = candidate
            yield candidate

    lines = planning.lines(candidates(), walk)
    first = next(lines, None)
    run.unfinished = planning.unfinished
    if first is not None:
        head = plan_head(folder, configuration)
        try:
            folder.write_plan_part(_until_failure(itertools.chain([head, first], lines), choice.strict))
        except _StrictStop as stop:
            run.stopped_by = str(stop)
            return found
    for warning in planning.warnings:
        listener.say(warning)
    run.recordings_new = planning.recordings_new
    return found


def plan_head(folder: DatasetFolder, configuration: Configuration) -> Line:
    """Return the first line of the next plan part."""
    return {
        "kind": "part",
        "part": folder.next_part(),
        "format": 1,
        "fifth": metadata.version("fifth"),
        "configuration": dict(configuration.data),
        "configuration_digest": configuration.digest,
        "versions": {
            **{name: _version(name) for name in _versioned(configuration)},
            **versions_behind(configuration.data["decoder"]),
        },
    }


class _StrictStop(Exception):
    """Ends planning at the first failure."""


def _until_failure(lines: Iterator[Line], strict: bool) -> Iterator[Line]:
    for line in lines:
        if strict and line["kind"] == "failure":
            raise _StrictStop(f"{line['recording']}: {line['cause']}")
        yield line


def _versioned(configuration: Configuration) -> tuple[str, ...]:
    chosen = [entry for medium in MEDIA for entry in configuration.encoders_of(medium)]
    pretrained = any(entry["spec"]["encoder"].startswith("hf:") for entry in chosen)
    return VERSIONED + (OF_MODELS if pretrained else ())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "another build"


def _failed_ids(folder: DatasetFolder, state: PlanState) -> frozenset[str]:
    """Return the content ids of recordings that lost something, in planning or in their tasks."""
    ids = {line["id"] for line in folder.read_plan() if line["kind"] in ("failure", "quarantine")}
    for task in folder.tasks_done() & set(state.tasks):
        ids |= {failure["id"] for failure in folder.read_record(task)["failures"]}
    return frozenset(ids)


@dataclass(frozen=True)
class _Doing:
    """What the tasks of a run need."""

    folder: DatasetFolder
    configuration: Configuration
    device: str
    found: Mapping[str, Candidate]
    choice: Choice
    engine: Engine
    processes: EncoderProcesses
    adds_to: Dataset | None = None
    """The dataset that this adds to; then `found` is by content id, and no recording is set apart."""


def run_addition(
    folder: DatasetFolder,
    base: Dataset,
    configuration: Configuration,
    device: str,
    found: Mapping[str, Candidate],
    workers: int,
    listener: Listener,
) -> Run:
    """Run the tasks of an addition (`ingest.adding`) that are not done yet.

    Args:
        folder: the addition's, locked, with its plan.
        base: the dataset that it adds to.
        configuration: the addition's.
        device: where the encoder works.
        found: content id to where the recording is now.
        workers: processes; 0: in this process.
        listener: hears how it goes.
    """
    begun, run = time.monotonic(), Run()

    def heard(report: Mapping[str, Any]) -> None:
        run.media_ns += report["media_ns"]
        listener.progressed(report["media_ns"], report["clips"])

    try:
        with (
            Engine(workers, heard, Limits(STALL_SECONDS, default_memory_bytes(workers))) as engine,
            EncoderProcesses(devices_for("auto", device, configuration), workers) as processes,
        ):
            doing = _Doing(folder, configuration, device, found, Choice(), engine, processes, base)
            _run_tasks(doing, listener, run)
    finally:
        _finish(folder, run, workers, begun)
    return run


def _run_tasks(doing: _Doing, listener: Listener, run: Run) -> None:
    folder, configuration = doing.folder, doing.configuration
    state = PlanState.of(folder.read_plan())
    done = folder.tasks_done() & set(state.tasks)
    pending = {number: task for number, task in sorted(state.tasks.items()) if number not in done}
    run.tasks_before = len(done)
    lengths = {number: _length_ns(task, state, configuration) for number, task in state.tasks.items()}
    listener.planned(len(pending), sum(lengths.values()), sum(lengths[number] for number in done))
    while pending:
        ended = _run_pending(doing, state, pending, listener, run)
        if doing.adds_to:  # what was good enough for the dataset is not set apart here
            for outcome in ended:
                _not_done(folder, outcome, listener, run)
            return
        if not ended or run.stopped_by:
            return
        state, pending = _without_culprits(doing, state, ended, listener, run)


def _run_pending(
    doing: _Doing, state: PlanState, pending: Mapping[int, Line], listener: Listener, run: Run
) -> list[Outcome]:
    """Run tasks, trying those again whose process ended; return the outcomes of those that ended it again."""
    jobs = _Jobs(doing, state, pending)
    ended: list[Outcome] = []
    tries: dict[int, int] = {}
    queue = list(pending)
    while queue:
        again: list[int] = []
        for outcome in doing.engine.run(jobs.of(queue, run)):
            number = outcome.job.argument["task"]
            run.peak_rss_bytes = max(run.peak_rss_bytes, outcome.peak_rss_bytes)
            if outcome.kind == "done":
                run.tasks_run += 1
                listener.task_ended(outcome.result)
                if doing.choice.strict and outcome.result["failures"]:
                    run.stopped_by = outcome.result["first_failure"]
                    return []
                continue
            tries[number] = tries.get(number, 0) + 1
            _stop_on_full_disk(outcome)
            lost = outcome.ended_its_worker or outcome.result["type"] == "EncoderLost"
            if lost and tries[number] < MOST_TRIES:
                listener.say(f"task {number}: {outcome.result['error']}; it is tried again")
                again.append(number)
            elif outcome.ended_its_worker or outcome.is_unforeseen:
                ended.append(outcome)
            else:
                _not_done(doing.folder, outcome, listener, run)
        queue = again
    return ended


def _not_done(folder: DatasetFolder, outcome: Outcome, listener: Listener, run: Run) -> None:
    """Say that a task could not be done; the next run tries it again."""
    number = outcome.job.argument["task"]
    cause = f"task {number} ({_names(outcome)}): {outcome.result['error']}"
    run.unfinished.append(cause)
    listener.say(f"not done: {cause}")
    folder.append_event({"task": number, **outcome.result})


def _without_culprits(
    doing: _Doing, state: PlanState, ended: Sequence[Outcome], listener: Listener, run: Run
) -> tuple[PlanState, dict[int, Line]]:
    """Find recordings that end their process, set them apart, and return the plan and its new tasks."""
    lines: list[Line] = []
    first = state.next_task
    for outcome in ended:
        found = {place: reason(how) for place, how in culprits(doing.engine, outcome.job.argument)}
        if not found:  # no recording alone does it: no one is to blame
            _not_done(doing.folder, outcome, listener, run)
            continue
        task = state.tasks[outcome.job.argument["task"]]
        new = [*quarantine_lines(task, state.next_task, found, state.by_id, doing.configuration.clip_ns)]
        for line in new[:-1]:
            listener.say(f"{line['recording']}: {line['cause']}; --retry-failed tries it again")
        state.next_task += 1
        lines += new
    if not lines:
        return state, {}
    doing.folder.write_plan_part([plan_head(doing.folder, doing.configuration), *lines])
    state = PlanState.of(doing.folder.read_plan())
    return state, {number: task for number, task in state.tasks.items() if number >= first}


def _length_ns(task: Line, state: PlanState, configuration: Configuration) -> int:
    total = 0
    for entry in task["clips"]:
        line = state.by_id[entry["id"]]
        first_ns = line["origin_ns"] + entry["first"] * configuration.clip_ns
        total += min(line["stop_ns"], first_ns + entry["count"] * configuration.clip_ns) - first_ns
    return total


@dataclass
class _Jobs:
    """Makes the arguments of tasks: what the plan knows, and where the files are now."""

    doing: _Doing
    state: PlanState
    pending: Mapping[int, Line]

    def of(self, numbers: Sequence[int], run: Run) -> Iterator[Job]:
        """Yield the jobs of these tasks; those whose recordings are not here are unfinished."""
        info = self._info({entry["id"] for number in numbers for entry in self.pending[number]["clips"]})
        layouts = {layout["name"]: layout for layout in self.state.layouts.values()}
        base = self.doing.adds_to
        by_id = self.doing.found if base else self._by_id()
        beside = _shards_of(base) if base else {}
        at_once = min(self.doing.engine.jobs_at_once, max(1, len(numbers)))
        threads = max(1, (os.cpu_count() or 1) // at_once)
        for number in numbers:
            task = self.pending[number]
            missing = [e["id"] for e in task["clips"] if e["id"] not in by_id]
            if missing:
                names = ", ".join(self.state.by_id[content]["recording"] for content in missing[:3])
                run.unfinished.append(f"task {number}: the inputs given do not hold {names}")
                continue
            yield Job(
                "ingest.task:run_task",
                {
                    "dataset": str(self.doing.folder.path),
                    "task": number,
                    "part": self.state.parts[number],
                    "layout": layouts[task["layout"]],
                    "configuration": dict(self.doing.configuration.data),
                    "device": self.doing.device,
                    "threads": threads,
                    **self.doing.processes.for_task(number),
                    "adds_to": beside.get(number, {}),
                    "entries": [self._entry(entry, by_id[entry["id"]], info) for entry in task["clips"]],
                },
            )

    def _by_id(self) -> dict[str, Candidate]:
        names = self.state.names
        return {names[name]: where for name, where in self.doing.found.items() if name in names}

    def _entry(self, entry: Line, where: Candidate, info: Mapping[str, Line]) -> Line:
        return {
            "name": self.state.by_id[entry["id"]]["recording"],
            "id": entry["id"],
            "kind": where.kind,
            "paths": [str(path) for path in where.paths],
            "sidecars": [str(path) for path in where.sidecars],
            "episode": where.episode,
            "info": info[entry["id"]],
            "first": entry["first"],
            "count": entry["count"],
        }

    def _info(self, ids: set[str]) -> dict[str, Line]:
        return {
            line["id"]: line["info"]
            for line in self.doing.folder.read_plan()
            if line["kind"] == "recording" and line["id"] in ids and line["info"]
        }


def _shards_of(base: Dataset) -> dict[int, dict[str, str]]:
    """Return by task where the shards are of a dataset that is added to."""
    return {
        line["task"]: {"dataset": str(base.path), "shard": line["name"], "layout": line["layout"]}
        for line in base.shard_lines()
    }


def _names(outcome: Outcome) -> str:
    names = list(dict.fromkeys(entry["name"] for entry in outcome.job.argument["entries"]))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _stop_on_full_disk(outcome: Outcome) -> None:
    if f"[Errno {errno.ENOSPC}]" in outcome.result["error"]:
        raise OSError(errno.ENOSPC, "the disk is full: make room, then run the same command again")


def _event(run: Run, workers: int) -> Line:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "machine": platform.machine(),
        "workers": workers,
        "tasks_run": run.tasks_run,
        "seconds": round(run.seconds, 3),
        "media_seconds": round(run.media_ns / 1e9, 3),
        "peak_rss_bytes": run.peak_rss_bytes,
        "encoder_processes": run.encoder_processes,
        "unfinished": run.unfinished,
    }


__all__ = ["Choice", "IngestError", "Listener", "Run", "dry_run", "shard_recordings"]
