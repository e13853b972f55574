"""Write datasets anew as one: shuffled, merged, filtered, split; every sample as it was.

The result is a dataset like any other, with a plan, records and a manifest of its own, whose configuration
names its sources by the hashes of their manifests. A run that is stopped leaves what a stopped
`fifth shard` leaves: run it again to go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any

from shards.canonical_json import json_bytes, read_json_lines
from shards.chosen_tracks import Chosen, choose_tracks
from shards.condition import Condition
from shards.errors import CannotReshard, DamagedDataset
from shards.folder import FORMAT, MANIFEST, DatasetFolder, shard_name
from shards.manifest import file_facts, hash_fits, read_manifest
from shards.reader import Dataset, Shard, open_dataset
from shards.remote.files import RemoteFiles
from shards.remote.options import RemoteOptions
from shards.reshard_order import Order, Task, Wanted, sources_of
from shards.writer import ShardWriter

Json = dict[str, Any]
Report = Callable[[str], object]
"""Told what a person should know."""

_REVISION = 1
"""Raised whenever the same sources and options give other bytes."""
_SHARDS_KEPT_OPEN = 512


@dataclass(frozen=True)
class Reshaping:
    """What to make of the samples. Checked when made.

    Raises:
        CannotReshard: a value that can't work.
        WrongCondition: `where` can't be read.
    """

    shuffle: bool = False
    """All samples of a layout in random order; else in that of the sources."""
    seed: int = 0
    shard_mb: int = 512
    """A shard is at most so large, about, in MiB."""
    tracks: tuple[str, ...] = ()
    """Globs of the tracks to keep; none: all."""
    where: str = ""
    """A condition on samples (`shards.condition`); empty: all."""
    split: Mapping[str, float] = field(default_factory=dict)
    """Shares by name (`shards.splits`): each becomes a dataset of its own; empty: one dataset."""

    def __post_init__(self) -> None:
        if self.shard_mb < 1:
            raise CannotReshard(f"shards must have at least 1 MiB, got {self.shard_mb}")
        Condition(self.where or "0 == 0")

    def wanted(self) -> Wanted:
        """Return the same for `Order`."""
        return Wanted(
            shares=self.split or {"": 1.0},
            condition=Condition(self.where) if self.where else None,
            seed=self.seed if self.shuffle else None,
            shard_bytes=self.shard_mb * 2**20,
        )

    def to_json(self, split: str) -> Json:
        """Return what can change the bytes of a split."""
        return {
            "revision": _REVISION,
            "shuffle": self.shuffle,
            "seed": self.seed if self.shuffle else 0,
            "shard_bytes": self.shard_mb * 2**20,
            "tracks": list(self.tracks),
            "where": self.where,
            "shares": dict(self.split),
            "split": split,
        }


def reshard(
    datasets: Sequence[Path | str],
    out: Path | str,
    reshaping: Reshaping | None = None,
    report: Report | None = None,
    remote: RemoteOptions | None = None,
) -> list[DatasetFolder]:
    """Write datasets anew as one, or as one per split. Safe to run again.

    Args:
        datasets: finished ones, by folder or address. Of a sample that two hold, the first one's is taken.
        out: the folder of the new dataset; with splits each is a dataset in a folder of its name there.
        reshaping: what to make of the samples.
        report: told what was left out, and why.
        remote: how datasets that are elsewhere are read. A whole one should fit the cache: shuffled samples
            are taken from all shards at once.

    Returns:
        The new datasets, in the order of the splits.

    Raises:
        CannotReshard: nothing is left, or datasets or layouts don't go together.
        CannotCreate: `out` can't be used, or holds something else.
        DamagedDataset: a source is not what its manifest says.
        FileNotFoundError, NotADataset: there is no finished dataset.
    """
    reshaping, say = reshaping or Reshaping(), report or (lambda line: None)
    job = _Job([open_dataset(path, remote, joined=False) for path in datasets], reshaping, say)
    folders = {name: DatasetFolder(Path(out) / name) for name in reshaping.split or {"": 1.0}}
    for folder in folders.values():
        job.check_free(folder)
    with contextlib.ExitStack() as stack:
        for name, folder in folders.items():
            job.check_same(folder, name)
            folder.create()
            stack.enter_context(folder.lock())
            for leftover in folder.remove_leftovers():
                say(f"removed what a stopped run left: {leftover}")
        if all(job.is_done(folder) for folder in folders.values()):
            say("nothing to do: it is finished already")
            return list(folders.values())
        order = stack.enter_context(job.order())
        for name, folder in folders.items():
            job.plan(folder, name, order)
            job.write(folder, name, order)
            folder.finish()
    return list(folders.values())


class _Job:
    """What one run needs to know of its sources."""

    def __init__(self, datasets: Sequence[Dataset], reshaping: Reshaping, say: Report) -> None:
        if not datasets:
            raise CannotReshard("give at least one dataset")
        self._datasets = datasets
        self._reshaping = reshaping
        self._say = say
        self._known: dict[str, Chosen] = {}
        self._chosen = [
            choose_tracks(d.manifest["layouts"], reshaping.tracks, self._known, str(d.path)) for d in datasets
        ]
        if not self._known:
            tracks = sorted(
                {track for d in datasets for layout in d.layouts.values() for track in layout.tracks}
            )
            raise CannotReshard(
                f"no track is like {', '.join(reshaping.tracks)}; there are {', '.join(tracks) or 'none'}"
            )
        self._sources = [
            {
                "manifest_sha256": file_facts(d.path / MANIFEST).sha256,
                "configuration": d.manifest["configuration"],
                "configuration_digest": d.manifest["configuration_digest"],
            }
            for d in datasets
        ]
        for dataset in datasets:
            _say_where_too_large(dataset, say)
        self._shard = lru_cache(_SHARDS_KEPT_OPEN)(self._open_shard)
        self._names: list[list[tuple[str, str]]] = [
            [(facts["name"], facts["layout"]) for facts in d.shard_lines()] for d in datasets
        ]

    def configuration(self, split: str) -> Json:
        """Return the configuration of a new dataset."""
        return {"reshard": self._reshaping.to_json(split), "sources": self._sources}

    def check_free(self, folder: DatasetFolder) -> None:
        """Raise `CannotReshard` where the new dataset would lie in a source, or a source in it."""
        out = folder.path.resolve()
        for dataset in self._datasets:
            source = dataset.path.resolve()
            if out == source or out in source.parents or source in out.parents:
                raise CannotReshard(
                    f"{folder.path}: lies in {dataset.path}, or around it; choose another folder"
                )

    def check_same(self, folder: DatasetFolder, split: str) -> None:
        """Raise `CannotReshard` where the folder holds a dataset that was made of something else."""
        first = next(iter(folder.read_plan()), None)
        if first is not None and first.get("configuration") != self.configuration(split):
            raise CannotReshard(
                f"{folder.path}: holds a dataset that was made with other options or of other datasets; "
                "give the same ones to go on, or another folder"
            )

    def is_done(self, folder: DatasetFolder) -> bool:
        """Tell whether a dataset is finished."""
        if not hash_fits(folder.path):
            return False
        tasks = read_manifest(folder.path)["tasks"]
        return bool(tasks["done"] == tasks["planned"])

    def order(self) -> Order:
        """Read the rows of all sources, and put their samples in order."""
        order = Order(self._reshaping.wanted())
        for dataset in self._datasets:
            for line in read_json_lines(dataset.table("recordings")):
                order.add_recording(line)
        for source, number, facts in sources_of(self._datasets):
            chosen = self._chosen[source].get(facts["layout"])
            if chosen is None:
                order.left_out += facts["samples"]
                continue
            shard = self._open_shard(source, number)
            _check_shard(shard, facts)
            order.add_shard(source, number, shard, chosen)
        order.arrange()
        if order.double:
            self._say(f"{order.double} samples are in two of the datasets; those of the first one are taken")
        if order.left_out:
            self._say(f"{order.left_out} samples are left out")
        return order

    def plan(self, folder: DatasetFolder, split: str, order: Order) -> None:
        """Write the plan; where there is one already, it must be the same."""
        if not folder.plan_parts():
            folder.write_plan_part(self._plan_lines(split, order))
            return
        for ours, theirs in zip_longest(self._plan_lines(split, order), folder.read_plan()):
            if ours != theirs and (ours or {}).get("kind") != "part":  # begun by another version of Fifth
                raise DamagedDataset(
                    f"{folder.path}: its plan is not what these datasets give; choose another folder"
                )

    def _plan_lines(self, split: str, order: Order) -> Iterator[Json]:
        configuration = self.configuration(split)
        yield {
            "kind": "part",
            "part": 0,
            "format": FORMAT,
            "fifth": metadata.version("fifth"),
            "configuration": configuration,
            "configuration_digest": sha256(json_bytes(configuration)).hexdigest(),
        }
        used = {task.layout: None for task in order.tasks(split)}
        yield from ({"kind": "layout", "layout": dict(self._known[name].layout.json)} for name in used)
        yield from order.recordings(split)
        for dataset in self._datasets:
            for line in read_json_lines(dataset.table("failures")):
                if order.split_of_id(line["id"]) == split:
                    yield line
        for task in order.tasks(split):
            samples = task.stop - task.first
            yield {"kind": "task", "task": task.number, "layout": task.layout, "samples": samples}

    def write(self, folder: DatasetFolder, split: str, order: Order) -> None:
        """Write the shards that are not there yet."""
        done = folder.tasks_done()
        tasks = 0
        for task in order.tasks(split):
            tasks += 1
            if task.number not in done:
                self._write_shard(folder, task, order)
        if not tasks:
            self._say(f"{folder.path}: no sample is left for it")

    def _write_shard(self, folder: DatasetFolder, task: Task, order: Order) -> None:
        layout = self._known[task.layout].layout
        results: dict[str, Json] = {}
        with ShardWriter(folder.shards_folder, shard_name(layout.name, task.number), layout.json) as writer:
            for source, number, row in order.places(task):
                sample = self._shard(source, number).sample(row)
                chosen = self._chosen[source][sample.layout]
                writer.add(
                    sample.key,
                    chosen.members(sample),
                    recording_id=sample.recording,
                    start_ns=sample.start_ns,
                    stop_ns=sample.stop_ns,
                    tokens={track: sample.tokens[track] for track in layout.tracks},
                    valid={track: sample.valid[track] for track in layout.tracks},
                )
                _count(results, sample.provenance["id"], sample.stop_ns - sample.start_ns)
            figures = writer.close()
        assert figures is not None, "a task has samples"
        folder.write_record(
            task.number,
            {
                "task": task.number,
                "part": 0,
                "layout": layout.name,
                "shard": figures.to_json(),
                "recordings": [results[content] for content in sorted(results)],
                "failures": [],
                "notes": [],
                "counts": {},
            },
        )

    def _open_shard(self, source: int, number: int) -> Shard:
        return self._datasets[source].shard(*self._names[source][number])


def _say_where_too_large(dataset: Dataset, say: Report) -> None:
    """Say where a remote dataset does not fit the cache."""
    if isinstance(dataset.files, RemoteFiles):
        size_bytes, room_bytes = dataset.manifest["totals"]["bytes"], dataset.files.options.cache_bytes
        if size_bytes > room_bytes:
            say(
                f"{dataset.files.url}: has {size_bytes} bytes, more than the cache's {room_bytes}: its "
                "shards will be fetched again and again; raise cache_bytes, or copy it here first"
            )


def _check_shard(shard: Shard, facts: Json) -> None:
    """Raise `DamagedDataset` where the shard's files are not the ones that were written."""
    for path, hash_name in ((shard.path, "sha256"), (shard.rows_path, "samples_sha256")):
        if file_facts(path).sha256 != facts[hash_name]:
            raise DamagedDataset(f"{path}: not the file that was written; see `fifth verify`")


def _count(results: dict[str, Json], content: str, length_ns: int) -> None:
    entry = results.setdefault(content, {"id": content, "clips": 0, "samples": 0, "seconds_ns": 0})
    entry["clips"] += 1
    entry["samples"] += 1
    entry["seconds_ns"] += length_ns
