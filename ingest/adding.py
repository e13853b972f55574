"""`fifth add`: a further encoder for the recordings of a finished dataset, which stays as it is.

The addition is a dataset of its own in `DATASET/added/SLUG` (`shards.joined`): the same tasks under the same
numbers, the same clips, and of each recording only what the new encoder takes. It is planned from the
dataset's own plan, so nothing is examined again; recordings are found by their content, wherever they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.configuration import Configuration, resolve_device
from ingest.content_id import content_id
from ingest.discovery import Walk, find_recordings
from ingest.encoder_choice import OPTIONS, model_places, models_within_reach, resolve_choices
from ingest.engine.local import Engine
from ingest.errors import IngestError, WrongUse
from ingest.fitting import FitSample, fit_job
from ingest.layouts import identity, layout_of, select, slug
from ingest.listening import Listener
from ingest.pipeline import check_inputs, run_addition
from ingest.places import Places
from ingest.plan_head import plan_head
from ingest.plan_state import Line, PlanState
from ingest.recording import Recording
from ingest.remote_files import place_of
from ingest.run import Run
from shards import Dataset, DatasetFolder, NotFinished, open_dataset
from shards.joined import ADDED


@dataclass(frozen=True)
class Addition:
    """What is added to a dataset: one encoder of one medium."""

    medium: str
    encoder: str
    """As `ingest.encoder_choice` reads it; one, not a list."""


def add_encoder(
    inputs: Sequence[Path | str],
    dataset: Path | str,
    addition: Addition,
    *,
    workers: int | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> tuple[Run, Path]:
    """Encode the recordings of a finished dataset with one more encoder. Safe to run again.

    Args:
        inputs: files and folders that hold the recordings; others in them are passed over.
        dataset: a finished dataset's folder. Nothing in it changes but `added/`.
        addition: the encoder, and of what.
        workers: processes; None: as many as there are cores; 0: in this process.
        device: where the encoder works.
        listener: hears how it goes.

    Returns:
        What the run did, and the folder of the addition.

    Raises:
        WrongUse: an encoder that can't be used, or no track of its medium.
        shards.ShardsError: no finished dataset is there.
    """
    listener, paths = listener or Listener(), [place_of(given) for given in inputs]
    check_inputs(paths)
    base = open_dataset(Path(dataset), joined=False)
    if base.manifest["tasks"]["done"] < base.manifest["tasks"]["planned"]:
        raise NotFinished(f"{dataset}: not finished; run the command that made it again, then add to it")
    if base.manifest["configuration"]["reference"]:
        raise WrongUse(f"{dataset}: made with --reference; encoders can't be added to such a dataset yet")
    with models_within_reach(model_places([addition.encoder])):
        entry = _resolved(base, addition, resolve_device(device))
        configuration = _configuration(base, addition.medium, entry)
        folder = DatasetFolder(Path(dataset) / ADDED / entry["slug"])
        stored = next(iter(folder.read_plan()), None) if folder.is_dataset() else None
        if stored is not None:
            configuration.check_same(Configuration(stored["configuration"]))
        folder.create()
        count = os.cpu_count() or 1 if workers is None else workers
        with folder.lock():
            for leftover in folder.remove_leftovers():
                listener.say(f"removed what a stopped run left: {leftover}")
            found = _found(paths, Path(dataset))
            with Engine(count) as engine:
                _plan(base, folder, configuration, found, engine)
            if not folder.is_dataset():
                raise WrongUse(f"{dataset}: no recording has a track for {OPTIONS[addition.medium]}")
            run = run_addition(
                folder, base, configuration, resolve_device(device), found.get, count, listener
            )
    return run, folder.path


def _resolved(base: Dataset, addition: Addition, device: str) -> Line:
    """Return the encoder's entry of the configuration, with a slug that no other track has."""
    data = base.manifest["configuration"]
    usual = data["depth_size"] if addition.medium == "depth" else data["size"]
    found = resolve_choices(f"{addition.encoder}", addition.medium, device, usual, further=True)
    if len(found) != 1:
        raise WrongUse(f"{OPTIONS[addition.medium]}: add one encoder at a time, got {addition.encoder!r}")
    entry = found[0]
    taken = {chosen["slug"] for chosen in data["encoders"][addition.medium]}
    if entry["slug"] in taken:
        raise WrongUse(f"{OPTIONS[addition.medium]}: the dataset has an encoder {entry['slug']!r} already")
    return entry


def _configuration(base: Dataset, medium: str, entry: Line) -> Configuration:
    """Return the dataset's configuration with the new encoder in place of its own."""
    data = dict(base.manifest["configuration"])
    encoders = {name: [entry] if name == medium else [] for name in data["encoders"]}
    exact = entry["spec"]["exact_across_devices"]
    device = "any" if exact else resolve_device("auto")
    return Configuration(
        data | {"encoders": encoders, "device": device, "adds_to": base.manifest["configuration_digest"]}
    )


def _found(paths: Sequence[Path], dataset: Path) -> Places:
    """Return where each content is now."""
    found = Places()
    for candidate in find_recordings(paths, Walk(), (), (), dataset):
        found.put(content_id(candidate.files, candidate.episode), candidate)
    return found


def _plan(
    base: Dataset,
    folder: DatasetFolder,
    configuration: Configuration,
    found: Places,
    engine: Engine,
) -> None:
    """Write a plan part with those of the dataset's tasks that the addition does not have yet."""
    ours, theirs = PlanState(folder), DatasetFolder(base.path)
    with_shards = {line["task"] for line in base.shard_lines()}
    tasks = {
        task["task"]: task
        for task in PlanState(theirs).tasks()
        if task["task"] in with_shards and not ours.has_task(task["task"])
    }
    wanted = {entry["id"] for task in tasks.values() for entry in task["clips"]}
    lines: list[Line] = []
    of_layout: dict[str, Line] = {}
    new: dict[str, Line] = {}
    samples: dict[str, FitSample] = {}
    for line in theirs.read_plan():
        if line["kind"] != "recording" or line["id"] not in wanted or not line["info"]:
            continue
        recording = Recording.from_json(line["info"])
        wishes = select(recording, configuration).wishes
        if not wishes:
            continue
        layout = layout_of(wishes, configuration)
        key = identity(layout)
        if key not in ours.layouts:
            layout["name"] = slug(layout, key, {known["name"] for known in ours.layouts.values()})
            ours.layouts[key] = new[key] = layout
        of_layout[line["layout"]] = ours.layouts[key]
        place = found.get(line["id"])
        if key in new and place is not None:
            samples.setdefault(key, FitSample()).offer(place, recording)
        if ours.recording(line["id"]) is None:
            lines.append({**line, "layout": ours.layouts[key]["name"], "replaces": []})
    lines += _layout_lines(new, samples, configuration, engine)
    for number, task in tasks.items():
        if task["layout"] in of_layout:
            old = [n for n in task.get("supersedes", ()) if ours.has_task(n)]
            more = {"supersedes": old} if old else {}
            layout_name = of_layout[task["layout"]]["name"]
            lines.append(
                {"kind": "task", "task": number, "layout": layout_name, "clips": task["clips"], **more}
            )
    if any(line["kind"] == "task" for line in lines):
        folder.write_plan_part([plan_head(folder.next_part(), configuration), *lines])


def _layout_lines(
    new: Mapping[str, Line], samples: Mapping[str, FitSample], configuration: Configuration, engine: Engine
) -> Iterator[Line]:
    """Fit and probe the encoders of new layouts."""
    jobs = [fit_job(layout, samples.get(key, FitSample()), configuration) for key, layout in new.items()]
    for layout, outcome in zip(new.values(), engine.run(jobs, in_order=True), strict=True):
        if outcome.kind != "done":
            raise IngestError(f"fitting layout {layout['name']}: {outcome.result['error']}")
        for track in layout["tracks"]:
            track["spec"] = outcome.result["specs"].get(track["name"], track["spec"])
            track["details"] = {"probe": outcome.result["probes"][track["name"]]}
        yield {"kind": "layout", "layout": layout}
