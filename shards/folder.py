"""A dataset's folder while it is made: plan parts, records, the lock, and what a killed run left.

    plan/000000.jsonl       one part per planning, append-only
    records/000000.json     one per finished task; the number is the task's
    shards/                 LAYOUT-000000.tar, .tar.idx, .samples.npy
    run.jsonl               who ran when and where: the only file that may differ between equal datasets
    .lock, .locks/          held while a run, or parts of one, write (`shards.locks`)

Everything but `run.jsonl` and the locks is written whole and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from shards.atomic import is_temporary, sync_folder, write_whole
from shards.canonical_json import json_line, parse_json, placed_json_lines
from shards.errors import CannotCreate, DamagedDataset, NotADataset, WrongPlan
from shards.locks import as_part, exclusive, plan_turn, turn_to_append
from shards.regular_file import open_regular, read_regular
from shards.shapes import PLAN_LINES, RECORD_FILE, misfit

FORMAT = 1
FOLDERS = ("plan", "records", "shards", "tables", ".nv-meta")
MANIFEST = "fifth.json"
EVENTS = "run.jsonl"
OURS = {
    *FOLDERS,
    "added",
    MANIFEST,
    f"{MANIFEST}.sha256",
    "README.md",
    EVENTS,
    "runs",
    "seen",
    ".lock",
    ".locks",
}
_CANNOT_WRITE_HERE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_PART = re.compile(r"(\d{6,})\.jsonl")
RECORD = re.compile(r"(\d{6,})\.json")
SHARD_ENDINGS = (".tar.idx", ".samples.npy", ".tar")
_SHARD_FILE = re.compile(r"([a-z0-9][a-z0-9_-]*)-(\d{6,})(\.tar|\.tar\.idx|\.samples\.npy)")


PlanPlace = tuple[int, int]
"""Where a line of the plan is: the part, and the offset in its file."""


def shard_name(layout: str, task: int) -> str:
    """Return the name of the shard that a task writes."""
    return f"{layout}-{task:06d}"


def is_shard_name(name: str) -> bool:
    """Tell whether a text is what a shard may be called: it leads nowhere else."""
    return _SHARD_FILE.fullmatch(f"{name}.tar") is not None


class DatasetFolder:
    """The folder of one dataset. Making the object touches nothing."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def address(self) -> str:
        """What `folder_of` makes this folder of again, in another process."""
        return str(self.path)

    @property
    def asked_again(self) -> tuple[int, str]:
        """How often a store had to be asked again, and why the last time; a local folder never is."""
        return 0, ""

    def refresh(self) -> None:
        """Learn what is in the plan by now; a folder of this machine is asked each time."""

    def shard_files(self) -> Iterator[str]:
        """Yield the names of what is in `shards/`."""
        return (path.name for path in (self.path / "shards").glob("*"))

    def bring_results(self) -> None:
        """Bring everything but the shards to `path`; a local dataset is there."""

    @contextmanager
    def shard_at_hand(self, name: str) -> Iterator[None]:
        """See to it that the files of a shard are in `shards_folder` until the `with` is left."""
        yield

    @property
    def shards_folder(self) -> Path:
        """Where shards are written."""
        return self.path / "shards"

    def is_dataset(self) -> bool:
        """Tell whether a dataset is here, finished or not."""
        return (self.path / MANIFEST).is_file() or (self.path / "plan" / "000000.jsonl").is_file()

    def create(self) -> None:
        """Make the folder and those inside it; what is there already stays.

        Raises:
            CannotCreate: something else is in this folder, or it can't be made or written.
        """
        try:
            self._refuse_foreign()
            lacking = [name for name in FOLDERS if not (self.path / name).is_dir()]
            for name in lacking:
                (self.path / name).mkdir(parents=True, exist_ok=True)
            if lacking:  # what is written into them lasts only if they do
                sync_folder(self.path)
                sync_folder(self.path.absolute().parent)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE_HERE:
                raise
            raise CannotCreate(f"{self.path}: {error.strerror}; choose another folder") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise CannotCreate(f"{self.path}: not writable; choose another folder, or change its permissions")

    def _refuse_foreign(self) -> None:
        if self.is_dataset() or not self.path.exists():
            return
        foreign = sorted(entry.name for entry in self.path.iterdir() if entry.name not in OURS)
        foreign = [name for name in foreign if not is_temporary(name)]
        if foreign:
            names = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
            raise CannotCreate(
                f"{self.path}: not empty, and no dataset (it holds {names}); choose a new or an empty folder"
            )

    def lock(self) -> AbstractContextManager[None]:
        """Hold the dataset for writing. The system lets go of it when the process ends, however it ends.

        Raises:
            DatasetLocked: another run, or a part, holds it; the message says which process.
        """
        return exclusive(self.path)

    def lock_part(
        self, number: int, of: int, wait_seconds: float, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """Hold one of so many parts (from 1) of the work for writing, beside the others (`shards.locks`).

        Raises:
            DatasetLocked: a run holds the dataset alone, for longer than `wait_seconds`; or somebody is at
                this part, or at one of another division.
        """
        return as_part(self.path, f"{number}-of-{of}", wait_seconds, waiting)

    def plan_turn(self) -> AbstractContextManager[None]:
        """Hold the right to add to the plan, which parts do beside each other; wait for it."""
        return plan_turn(self.path)

    def plan_parts(self) -> list[int]:
        """Return the numbers of the plan's parts, in order."""
        return sorted(_numbers(self.path / "plan", _PART))

    def next_part(self) -> int:
        """Return the number that the next plan part will have."""
        return max(self.plan_parts(), default=-1) + 1

    def plan_path(self, part: int) -> Path:
        """Return the file of a plan part."""
        return self.path / "plan" / f"{part:06d}.jsonl"

    def read_plan(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of all plan parts, in order; a line of kind "part" begins each.

        Raises:
            DamagedDataset: a line is not what its kind must be, or the parts are not 0, 1, 2 …
        """
        for _, line in self.placed_plan_lines():
            yield line

    def placed_plan_lines(self, first_part: int = 0) -> Iterator[tuple[PlanPlace, dict[str, Any]]]:
        """Yield the lines of the plan parts from one on, in order, each with its place.

        Raises:
            DamagedDataset: a line is not what its kind must be, or the parts are not 0, 1, 2 …
        """
        for expected, part in enumerate(self.plan_parts()):
            if part != expected:
                raise DamagedDataset(f"{self.plan_path(expected)}: is missing; there is a later plan part")
            if part >= first_part:
                for offset, line in placed_json_lines(self.plan_path(part)):
                    yield (part, offset), _plan_line(line, self.plan_path(part))

    def plan_line(self, place: PlanPlace) -> dict[str, Any]:
        """Return the plan's line at a place.

        Raises:
            DamagedDataset: no line of a plan begins there.
        """
        path = self.plan_path(place[0])
        with open_regular(path) as file:
            file.seek(place[1])
            return _plan_line(parse_json(file.readline(), path), path)

    def write_plan_part(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """Write the next plan part, whole.

        Args:
            lines: the first of kind "part", with the number `next_part()` and format 1.

        Returns:
            The part's number.

        Raises:
            WrongPlan: the first line is another, or a line is not JSON.
        """
        part = self.next_part()
        write_whole(self.plan_path(part), plan_bytes(lines, part))
        return part

    def tasks_done(self) -> set[int]:
        """Return the numbers of the tasks that have a record."""
        return set(self.iter_tasks_done())

    def iter_tasks_done(self) -> Iterator[int]:
        """Yield the numbers of the tasks that have a record, in no order; nothing is kept."""
        return _numbers(self.path / "records", RECORD)

    def record_path(self, task: int) -> Path:
        """Return the file of a task's record."""
        return self.path / "records" / f"{task:06d}.json"

    def write_record(self, task: int, record: Mapping[str, Any]) -> None:
        """Write a task's record, whole. With it the task is done, and its shard exists.

        Raises:
            WrongPlan: the record is of another task, or not JSON.
        """
        if record.get("task") != task:
            raise WrongPlan(f"the record of task {task} says that it is of task {record.get('task')!r}")
        write_whole(self.record_path(task), [json_line(record)])

    def read_record(self, task: int) -> dict[str, Any]:
        """Return a task's record.

        Raises:
            FileNotFoundError: the task is not done.
            DamagedDataset: the record is not what it must be.
        """
        return self.read_record_and_hash(task)[0]

    def read_record_and_hash(self, task: int) -> tuple[dict[str, Any], str]:
        """Return a task's record and the sha256 of its file. Raises what `read_record` does."""
        path = self.record_path(task)
        data = read_regular(path)
        record = parse_json(data, path)
        if what := misfit(record, RECORD_FILE):
            raise DamagedDataset(f"{path}: {what}")
        return record, hashlib.sha256(data).hexdigest()

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Append a line to `run.jsonl`: time, host, process, or whatever else must not be elsewhere."""
        with (self.path / EVENTS).open("a+b") as file, turn_to_append(file):
            size_bytes = file.seek(0, os.SEEK_END)
            if size_bytes:
                file.seek(-1, os.SEEK_END)
            cut_off = bool(size_bytes) and file.read(1) != b"\n"  # by a kill in the middle of a line
            file.write(b"\n" * cut_off + json_line(event))
            file.flush()

    def superseded_tasks(self) -> set[int]:
        """Return the numbers of tasks that a later plan line replaces: they don't exist any more."""
        return {
            number
            for part in self.plan_parts()
            for line in self._plan_lines_that_supersede(part)
            for number in line["supersedes"]
        }

    def _plan_lines_that_supersede(self, part: int) -> Iterator[dict[str, Any]]:
        with open_regular(self.plan_path(part)) as file:
            for text in file:
                if b'"supersedes":' in text:  # hardly any line has it, and a plan may have millions
                    line = parse_json(text, self.plan_path(part))
                    if line.get("kind") == "task" and "supersedes" in line:
                        yield line

    def remove_leftovers(self) -> list[str]:
        """Remove what a stopped run left, and what later plan parts replaced. Hold the lock.

        That is: temporary files; records of superseded tasks; files of shards that no record names.

        Returns:
            What was removed, by its path in the dataset, sorted.
        """
        removed = []
        for folder in (".", *FOLDERS):
            removed += self._remove([path for path in self._files(folder) if is_temporary(path.name)])
        if self.is_dataset():
            removed += self.remove_superseded()
            left = (path for path in self._files("shards") if _SHARD_FILE.fullmatch(path.name))
            removed += self._remove([path for path in left if not self.is_named(path.name)])
        return sorted(removed)

    def remove_superseded(self) -> list[str]:
        """Remove records of superseded tasks, and then their shards. Hold the lock.

        Returns:
            What was removed, by its path in the dataset, sorted.
        """
        superseded = self.superseded_tasks()
        tasks = {task for task in self.iter_tasks_done() if task in superseded} if superseded else set()
        removed = self._remove([self.record_path(task) for task in sorted(tasks)])
        if not tasks:
            return removed
        shards = [path for path in self._files("shards") if task_of(path.name) in tasks]
        return sorted(removed + self._remove(shards))

    def is_named(self, shard_file: str) -> bool:
        """Tell whether a file of this name in `shards/` is of a shard that a record names."""
        match = _SHARD_FILE.fullmatch(shard_file)
        if match is None or not self.record_path(int(match[2])).exists():
            return False
        figures = self.read_record(int(match[2])).get("shard")
        return isinstance(figures, dict) and figures.get("name") == f"{match[1]}-{match[2]}"

    def _remove(self, paths: list[Path]) -> list[str]:
        for path in paths:
            path.unlink(missing_ok=True)  # a worker that outlived its run may have renamed it
        return [path.relative_to(self.path).as_posix() for path in paths]

    def _files(self, folder: str) -> Iterator[Path]:
        if (self.path / folder).is_dir():
            for entry in os.scandir(self.path / folder):
                if entry.is_file(follow_symlinks=False):
                    yield self.path / folder / entry.name

    def check(self) -> None:
        """Raise unless a dataset is here, finished or not.

        Raises:
            FileNotFoundError: no such folder.
            NotADataset: no dataset is there.
        """
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: no such folder")
        if not self.is_dataset():
            raise NotADataset(f"{self.path}: no dataset (it has neither {MANIFEST} nor a plan)")

    def finish(self) -> dict[str, Any]:
        """Write the tables, the dataset card, Energon's files and the manifest, from plan and records.

        Nothing else flows into them: the same plan and records give the same bytes. What superseded tasks
        left is removed. Hold the lock.

        Returns:
            The manifest.

        Raises:
            DamagedDataset: plan and records do not fit each other.
        """
        from shards.finishing import finish  # it needs this module

        self.check()
        self.remove_superseded()
        return finish(self)


def _plan_line(line: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a plan's line that is what its kind must be."""
    kind = line.get("kind")
    if not isinstance(kind, str) or kind not in PLAN_LINES:
        raise DamagedDataset(f"{path}: a line is of unknown kind {kind!r:.100}")
    if what := misfit(line, PLAN_LINES[kind]):
        raise DamagedDataset(f"{path}: a line of kind {kind!r}: {what}")
    return line


def _numbers(folder: Path, pattern: re.Pattern[str]) -> Iterator[int]:
    if folder.is_dir():
        for entry in os.scandir(folder):
            if match := pattern.fullmatch(entry.name):
                yield int(match[1])


def task_of(shard_file: str) -> int | None:
    """Return the task whose shard a file in `shards/` is of, by its name; None for anything else."""
    match = _SHARD_FILE.fullmatch(shard_file)
    return int(match[2]) if match else None


def plan_bytes(lines: Iterable[Mapping[str, Any]], part: int) -> Iterator[bytes]:
    """Yield the lines of a plan part as they are written.

    Raises:
        WrongPlan: the first line is not the one that such a part begins with, or a line is not JSON.
    """
    first = True
    for line in lines:
        if first and (line.get("kind"), line.get("part"), line.get("format")) != ("part", part, FORMAT):
            raise WrongPlan(
                f"a plan part begins with kind 'part', part {part}, format {FORMAT}, not {dict(line)}"
            )
        first = False
        yield json_line(line)
    if first:
        raise WrongPlan(f"plan part {part} has no lines")
