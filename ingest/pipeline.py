"""The main job: a folder of recordings in, a dataset of token shards out. Safe to run again.

    discovery -> examining (workers) -> planning -> tasks (workers) -> tables, manifest, card

This is the bridge between `ingest`, `encoders` and `shards`. The plan decides what goes where; the
workers only do it, in any order and number, so their number never shows in the bytes.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ingest.configuration import MEDIA, Configuration, Settings, resolve
from ingest.discovery import Candidate, Walk, find_recordings
from ingest.encoder_choice import model_places, models_within_reach
from ingest.encoder_process import EncodeIn, EncoderProcesses, devices_for
from ingest.engine.local import Engine, Progress
from ingest.engine.watch import Limits, default_memory_bytes
from ingest.engine_choice import EngineChoice
from ingest.errors import IngestError, WrongUse
from ingest.events import Events
from ingest.failure_share import PlanningStopped, judged
from ingest.jobs import Doing, Whereabouts, by_name
from ingest.listening import Listener, Listeners
from ingest.parts import Scope, await_plan
from ingest.places import Places
from ingest.plan_head import plan_head, versions_of
from ingest.plan_state import Line, PlanState
from ingest.planning import Planning
from ingest.remote_files import RemoteFile, place_of
from ingest.run import Choice, Run
from ingest.running import Tasks
from shards import Dataset, DatasetFolder
from shards.dataset_files import folder_of, is_address

STALL_SECONDS = 600.0


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
    scope: Scope | None = None,
    engine: EngineChoice | None = None,
) -> Run:
    """Make, go on with, or add to a dataset; all of the work, or a part of it.

    Args:
        inputs: files and folders, here or at addresses (`s3://…`, `gs://…`; files: `https://…`).
        dataset: the output folder, here or at an address (`s3://…`, `gs://…`); it is made where it does not
            exist.
        settings: what to make of the recordings.
        choice: which of them.
        workers: processes, each with one thread; None: as many as there are cores, here or in the cluster;
            0: in this process.
        encode_in: `worker`: each worker encodes what it decodes; `process`: one process per GPU (or one on
            the CPU) encodes for all; `auto`: the latter on GPUs. The bytes are the same.
        limits: when a worker is ended and its task tried again; None: ten minutes without a sign of life, or
            more than its share of four fifths of the machine's memory.
        listener: hears how it goes.
        engine: what runs the tasks; None: processes of this machine.
        scope: how much of the work; a part writes no tables and no manifest (`ingest.parts.finish_dataset`).

    Raises:
        WrongUse: a setting that can't work, or other settings than the dataset was made with.
        FileNotFoundError: an input does not exist.
        shards.ShardsError: the dataset folder can't be used.
        OSError: the disk is full, or fails.
        KeyboardInterrupt: passed on, after what is done was made ready to be read.
    """
    choice, scope = choice or Choice(), scope or Scope()
    paths = [place_of(given) for given in inputs]
    check_inputs(paths)
    engine = engine or EngineChoice()
    if engine.kind == "ray":  # a node works in a folder of its own
        paths = [path if isinstance(path, RemoteFile) else path.absolute() for path in paths]
        dataset = dataset if is_address(dataset) else Path(dataset).absolute()
    if scope.part and (choice.retry_failed or choice.replace):
        raise WrongUse(
            "--retry-failed and --replace change the plan: give them with --plan-only, then --part"
        )
    folder = folder_of(dataset)
    folder.refresh()
    stored = _stored(folder)
    configuration, device = resolve(settings or Settings(), stored)
    if stored is not None:  # say what is wrong before anything is touched
        configuration.check_same(stored)
    folder.create()
    count = os.cpu_count() or 1 if workers is None else workers
    limits = limits or Limits(STALL_SECONDS, default_memory_bytes(count))
    work = _Work(
        folder, paths, configuration, device, choice, scope, workers, engine, encode_in,
        limits, _heard_by(folder, listener or Listener()),
    )  # fmt: skip
    with models_within_reach(model_places(_encoders_asked(settings))):
        return work.a_part() if scope.part else work.everything()


@dataclass(frozen=True)
class _Work:
    """What a run is to do, and how."""

    folder: DatasetFolder
    inputs: Sequence[Path]
    configuration: Configuration
    device: str
    choice: Choice
    scope: Scope
    workers: int | None
    engine: EngineChoice
    encode_in: EncodeIn
    limits: Limits
    listener: Listener
    run: Run = field(default_factory=Run)

    def everything(self) -> Run:
        """Plan, do the tasks, and finish, holding the dataset alone."""
        with self.folder.lock(), _telling(self.run, self.listener, self._facts()):
            self._clean()
            try:
                with self._engine() as engine:
                    state = PlanState(self.folder)
                    found = _plan(self, state, engine)
                    if not (self.run.stopped_by or self.scope.plan_only):
                        self._tasks(state, found, engine, (0, 1))
            except KeyboardInterrupt:  # the tasks under way are lost; what is done is made ready to be read
                _finish(self.folder)
                raise
            _finish(self.folder)
        return self.run

    def a_part(self) -> Run:
        """Do a part of the tasks beside other parts; plan them first where nobody has."""
        assert self.scope.part is not None
        part, wait_seconds = self.scope.part, self.scope.wait_seconds
        with _telling(self.run, self.listener, self._facts()):
            await_plan(self.folder, self._plan_alone, wait_seconds, self.listener.say)
            if self.run.stopped_by or not self.folder.plan_parts():
                return self.run
            holding = self.folder.lock_part(part.number, part.of, wait_seconds, self.listener.say)
            with holding, self._engine() as engine:
                state = PlanState(self.folder)
                self._tasks(state, self._found(state), engine, part.share)
        return self.run

    def _devices(self) -> list[str]:
        """Return the devices that get an encoder process."""
        if self.engine.kind == "ray" and self.device == "cuda" and self.encode_in != "worker":
            return ["cuda"]  # the nodes have them, and maybe not this machine
        return devices_for(self.encode_in, self.device, self.configuration)

    def _plan_alone(self) -> None:
        self._clean()
        with self._engine() as engine:
            _plan(self, PlanState(self.folder), engine)

    def _clean(self) -> None:
        for leftover in self.folder.remove_leftovers():
            self.listener.say(f"removed what a stopped run left: {leftover}")

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        heard, say = _adding_up(self.run, self.listener), self.listener.say
        on_gpus = any(device.startswith("cuda") for device in self._devices())
        with self.engine.opened(self.workers, heard, self.limits, say, on_gpus) as engine:
            self.listener.working(engine.process_ids)
            yield engine

    def _tasks(self, state: PlanState, found: Places, engine: Engine, share: tuple[int, int]) -> None:
        devices = self._devices()
        with self.engine.encoders(devices, engine) as processes:
            doing = Doing(
                self.folder, self.configuration, self.device, state, by_name(state, found), engine, processes
            )
            Tasks(doing, self.choice, share, self.listener, self.run).run_all()
            self.run.encoder_processes = processes.figures()

    def candidates(self, walk: Walk) -> Iterator[Candidate]:
        """Yield what is in the inputs."""
        skip = place_of(self.folder.address)
        return find_recordings(self.inputs, walk, self.choice.include, self.choice.exclude, skip)

    def _found(self, state: PlanState) -> Places:
        """Return where the plan's recordings are now; say what is not planned."""
        found, unplanned, example = Places(), 0, ""
        for candidate in self.candidates(Walk()):
            if state.id_of(candidate.name):
                found.put(candidate.name, candidate)
            else:
                unplanned, example = unplanned + 1, candidate.name
        if unplanned:
            self.listener.say(
                f"{unplanned} recordings are not in the plan (such as {example}): a part takes none of them; "
                "--plan-only adds them, when no part is at work"
            )
        return found

    def _facts(self) -> Line:
        return {
            "fifth": metadata.version("fifth"),
            "versions": versions_of(self.configuration),
            "python": platform.python_version(),
            "configuration_digest": self.configuration.digest,
            "engine": self.engine.kind,
            "workers": self.workers,
            "part": str(self.scope.part or ""),
            "plan_only": self.scope.plan_only,
        }


def _heard_by(folder: DatasetFolder, listener: Listener) -> Listener:
    return Listeners(Events(folder, listener.say), listener)


def _adding_up(run: Run, listener: Listener) -> Progress:
    def heard(report: Mapping[str, Any]) -> None:
        run.media_ns += report["media_ns"]
        listener.progressed(report["media_ns"], report["clips"])

    return heard


@contextmanager
def _telling(run: Run, listener: Listener, facts: Line) -> Iterator[None]:
    """Tell how a run begins and ends, however it does."""
    begun, how = time.monotonic(), "finished"
    listener.run_began(facts)
    try:
        yield
        how = f"stopped: {run.stopped_by}" if run.stopped_by else how
    except KeyboardInterrupt:
        how = "interrupted"
        raise
    except Exception as error:
        how = f"{type(error).__name__}: {error}"
        raise
    finally:
        run.seconds = time.monotonic() - begun
        listener.run_ended({"how": how, **run.figures()})


def _finish(folder: DatasetFolder) -> None:
    """Write tables, manifest and card of what is done so far."""
    if folder.is_dataset():
        folder.finish()


def _encoders_asked(settings: Settings | None) -> list[str]:
    return [(settings or Settings()).encoders_for(medium) for medium in MEDIA]


def check_inputs(paths: Sequence[Path]) -> None:
    """Raise `FileNotFoundError` or `WrongUse` for inputs that can't be meant."""
    if not paths:
        raise WrongUse("give at least one file or folder of recordings")
    for path in paths:
        if not isinstance(path, RemoteFile) and not path.exists():  # walking tells of those
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
    paths = [place_of(given) for given in inputs]
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


def _plan(work: _Work, state: PlanState, engine: Engine) -> Places:
    """Write a new plan part where there is something new; return where each recording is now."""
    choice, listener, run, folder = work.choice, work.listener, work.run, work.folder
    retry = _failed_ids(folder, state) if choice.retry_failed else frozenset()
    planning = Planning(
        state, work.configuration, engine, listener.examined, retry=retry, replace=choice.replace
    )
    walk, found = Walk(), Places()

    def candidates() -> Iterator[Candidate]:
        for candidate in work.candidates(walk):
            found.put(candidate.name, candidate)
            yield candidate

    try:
        lines = judged(planning.lines(candidates(), walk), choice.strict, choice.max_failure_share)
        first = next(lines, None)
        if first is not None:
            head = plan_head(folder.next_part(), work.configuration)
            folder.write_plan_part(itertools.chain([head, first], lines))
    except PlanningStopped as stop:
        run.stopped_by = str(stop)
        return found
    run.unfinished = planning.unfinished
    state.catch_up()
    for warning in planning.warnings:
        listener.say(warning)
    run.recordings_new = planning.recordings_new
    return found


def _failed_ids(folder: DatasetFolder, state: PlanState) -> frozenset[str]:
    """Return the content ids of recordings that lost something, in planning or in their tasks."""
    ids = {line["id"] for line in folder.read_plan() if line["kind"] in ("failure", "quarantine")}
    for task in folder.iter_tasks_done():
        if state.has_task(task):
            ids |= {failure["id"] for failure in folder.read_record(task)["failures"]}
    return frozenset(ids)


def run_addition(
    folder: DatasetFolder,
    base: Dataset,
    configuration: Configuration,
    device: str,
    where: Whereabouts,
    workers: int,
    listener: Listener,
) -> Run:
    """Run the tasks of an addition (`ingest.adding`) that are not done yet.

    Args:
        folder: the addition's, locked, with its plan.
        base: the dataset that it adds to.
        configuration: the addition's.
        device: where the encoder works.
        where: content id to where the recording is now.
        workers: processes; 0: in this process.
        listener: hears how it goes.
    """
    run, listener = Run(), _heard_by(folder, listener)
    facts = {"adds_to": str(base.path), "workers": workers, "configuration_digest": configuration.digest}
    with _telling(run, listener, facts):
        try:
            with (
                Engine(
                    workers, _adding_up(run, listener), Limits(STALL_SECONDS, default_memory_bytes(workers))
                ) as engine,
                EncoderProcesses(devices_for("auto", device, configuration), workers) as processes,
            ):
                doing = Doing(
                    folder, configuration, device, PlanState(folder), where, engine, processes, base
                )
                Tasks(doing, Choice(), (0, 1), listener, run).run_all()
        finally:
            _finish(folder)
    return run


__all__ = ["Choice", "IngestError", "Listener", "Run", "Scope", "dry_run", "shard_recordings"]
