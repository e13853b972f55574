"""Make again what is damaged in a dataset, and touch nothing else.

In this order, as one needs the other:

    plan parts      found again by trying where one byte changed, or planned again; nothing else gives them
    records         by trying; from plan, tables and rows; by running their tasks again
    shards          index and rows from the tar, the tar around its data; by running their tasks again
    the rest        from plan and records

A file is replaced, atomically, by one that has the hash of the one that was written, and by no other. What
makes tasks again from recordings is not known here: `Again` does.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from shards import mending
from shards.atomic import FileFacts, measure, sync_folder, write_whole
from shards.canonical_json import json_page
from shards.errors import DamagedDataset, ShardsError
from shards.finishing import derive, finish
from shards.flips import unflipped
from shards.folder import MANIFEST, DatasetFolder
from shards.joined import ADDED, addition_folders
from shards.layout import Layout
from shards.ledger import Ledger
from shards.manifest import file_facts, hash_line
from shards.npy import npy_view
from shards.problem import Problem
from shards.regular_file import bytes_of_regular
from shards.verify import KnownShards, Progress, known_shards, origins, verify_shards
from shards.verify_files import (
    CARD,
    HASH_FILE,
    SmallFiles,
    chain_sha256,
    check_small_files,
    read_ledger,
    readable_shard_lines,
)

Json = dict[str, Any]
SCRATCH = ".repair"
ENDINGS = {".tar": "sha256", ".tar.idx": "idx_sha256", ".samples.npy": "samples_sha256"}
"""A shard's files, and what a record calls their hashes."""


@dataclass(frozen=True)
class Mended:
    """A file that was made again, or would be."""

    file: str
    how: str

    def __str__(self) -> str:
        return f"{self.file}: {self.how}"


@dataclass(frozen=True)
class Left:
    """Something that is not as it should be, and stays so."""

    file: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


@dataclass
class Repair:
    """What a repair did, or would do."""

    mended: list[Mended] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


class Again(Protocol):
    """Makes tasks and plan parts of one dataset again from what they were made from."""

    def lacking(self, tasks: Sequence[int]) -> dict[int, str]:
        """Return the tasks that can't be run, and what is lacking."""

    def run(self, scratch: DatasetFolder, tasks: Sequence[int]) -> dict[int, str]:
        """Run tasks; shards and records go to `scratch`, which has the dataset's plan.

        Returns:
            The tasks that could not be done, and why.
        """

    def plan_part(self, part: int) -> Iterable[bytes] | None:
        """Plan a part again; None where that can't be done."""

    def differs(self) -> str:
        """Say what is other here than where the dataset was made; empty: nothing that is known."""


class _Nothing:
    """No recordings."""

    def lacking(self, tasks: Sequence[int]) -> dict[int, str]:
        return dict.fromkeys(
            tasks, "nothing in the dataset gives it: it must be made again from its recordings"
        )

    def run(self, scratch: DatasetFolder, tasks: Sequence[int]) -> dict[int, str]:
        return self.lacking(tasks)

    def plan_part(self, part: int) -> Iterable[bytes] | None:
        return None

    def differs(self) -> str:
        return ""


def repair_dataset(
    path: Path | str,
    again: Callable[[DatasetFolder], Again] | None = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Repair:
    """Make again what is damaged in a dataset, and in what was added to it.

    Args:
        path: the dataset's folder.
        again: given a folder (the dataset's, or an addition's), what makes its tasks again; None: only what
            the dataset itself still tells is made again.
        dry_run: say what would be done, and do nothing.
        progress: told after each shard how many bytes are read, and of how many.

    Raises:
        FileNotFoundError: no such folder.
        NotADataset: no dataset is there.
        DatasetLocked: a run is writing it.
    """
    folder = DatasetFolder(path)
    folder.check()
    done = Repair()
    with nullcontext() if dry_run else folder.lock():
        _Repairing(folder, again(folder) if again else _Nothing(), dry_run, done).run(progress)
        for addition in addition_folders(folder.path):
            inside = repair_dataset(addition, again, dry_run=dry_run, progress=progress)
            where = f"{ADDED}/{addition.name}"
            done.mended += [Mended(f"{where}/{entry.file}", entry.how) for entry in inside.mended]
            done.left += [Left(f"{where}/{entry.file}", entry.why) for entry in inside.left]
    return done


class _Repairing:
    """One repair of one folder."""

    def __init__(self, folder: DatasetFolder, again: Again, dry_run: bool, done: Repair) -> None:
        self.folder, self.again, self.dry_run, self.done = folder, again, dry_run, done
        self.lines: dict[int, Json] = {}
        """By task, its line in `tables/shards.jsonl`, as far as that can be read."""
        self.to_run: dict[int, list[str]] = {}
        """Tasks to run again: of each, the files that are wanted of it."""
        self.tried: set[int] = set()
        """Tasks of which the record was tried to make again, once: by all means that there are."""

    def run(self, progress: Progress | None) -> None:
        small = self._small()
        if self._plan(small):
            if self.dry_run:
                self._left("records, shards, tables", "are looked at once the plan is as it was")
                return
            small = self._small()
        self.lines = {line["task"]: line for line in readable_shard_lines(self.folder)}
        small = self._all_records(small)
        self._shards(small, progress)
        small = self._run_again(small)
        self._derived(small)
        self._leftovers(small)

    def _small(self) -> SmallFiles:
        ledger, unread = read_ledger(self.folder)
        with ledger or nullcontext():
            return check_small_files(self.folder, ledger, unread)

    # Plan

    def _plan(self, small: SmallFiles) -> bool:
        """Mend plan parts; tell whether one was."""
        mended = False
        stored = {f"plan/{part['part']:06d}.jsonl": part for part in (small.manifest or {}).get("plan", ())}
        for problem in _damaged(small.problems, "plan/"):
            facts = stored[problem.file]
            path = self.folder.path / problem.file
            same_size = path.is_file() and path.stat().st_size == facts["bytes"]
            data = unflipped(path.read_bytes(), facts["sha256"]) if same_size else None
            if data is not None:
                self._put(problem.file, [data], "one byte had changed: found by its hash")
                mended = True
                continue
            pieces = self.again.plan_part(facts["part"])
            if pieces is not None and self._fits(problem.file, pieces, facts["sha256"], "planned again"):
                mended = True
                continue
            self._left(problem.file, _PLAN_IS_LOST)
        return mended

    # Records

    def _all_records(self, small: SmallFiles) -> SmallFiles:
        """Mend records; a second look finds what the first one's damage had hidden."""
        while True:
            before = len(self.done.mended)
            if self._records(small) and not self.dry_run:
                small = self._small()
            small = self._run_again(small)
            if self.dry_run or len(self.done.mended) == before:
                return small

    def _records(self, small: SmallFiles) -> bool:
        """Mend records without running anything; tell whether one was."""
        damaged = _damaged(small.problems, "records")
        lost = self._lost_records(damaged, small.manifest)
        mended = False
        for task in (task for task in lost if task not in self.tried):
            self.tried.add(task)
            name = f"records/{self.folder.record_path(task).name}"
            data, how = self._record_told(task, small, lost)
            if data is not None:
                self._put(name, [data], how)
                mended = True
            else:
                self.to_run.setdefault(task, []).append(name)
        return mended

    def _lost_records(self, damaged: Sequence[Problem], manifest: Json | None) -> list[int]:
        """Return the tasks whose records are damaged, missing, or may be."""
        tasks = {int(Path(problem.file).stem) for problem in damaged if problem.file != "records"}
        if any(problem.file == "records" for problem in damaged):
            done = self.folder.tasks_done()
            tasks |= done - self.lines.keys()
            if manifest is not None and len(done) < manifest["records"]["count"]:
                tasks |= self.planned - done
        return sorted(tasks)

    @cached_property
    def planned(self) -> set[int]:
        """The tasks that are planned, asked for once the plan is mended; none where it can't be read."""
        try:
            lines = [line for line in self.folder.read_plan() if line["kind"] == "task"]
        except (DamagedDataset, KeyError):
            return set()
        return {line["task"] for line in lines} - {
            old for line in lines for old in line.get("supersedes", ())
        }

    def _record_told(self, task: int, small: SmallFiles, lost: Sequence[int]) -> tuple[bytes | None, str]:
        """Return a record that trying, or the rest of the dataset, gives."""
        facts, path = self.lines.get(task), self.folder.record_path(task)
        if facts is not None and path.is_file():
            data = unflipped(path.read_bytes(), facts["record_sha256"])
            if data is not None:
                return data, "one byte had changed: found by its hash"
        if small.manifest is None:
            return None, ""
        try:
            for data in mending.records_from_tables(self.folder, task, small.manifest, facts, lost):
                if self._is_record(task, data, small.manifest):
                    return data, "made again from plan, tables and rows"
        except (*mending.CANNOT, ShardsError):
            pass
        return None, ""

    def _is_record(self, task: int, data: bytes, manifest: Json) -> bool:
        """Tell whether this is the record that was written: the table has its hash, or all records have."""
        facts = self.lines.get(task)
        if facts is not None:
            return bool(hashlib.sha256(data).hexdigest() == facts["record_sha256"])
        return self._complete({task: data}, manifest)

    def _complete(self, anew: dict[int, bytes], manifest: Json) -> bool:
        """Tell whether these records and the others that are there are those that the manifest names."""
        tasks = sorted((self.folder.tasks_done() | anew.keys()) & (self.planned or anew.keys()))
        there = (anew.get(task) or bytes_of_regular(self.folder.record_path(task)) for task in tasks)
        records = ((task, data or b"") for task, data in zip(tasks, there, strict=True))
        return bool(chain_sha256(records) == manifest["records"]["sha256"])

    # Shards

    def _shards(self, small: SmallFiles, progress: Progress | None) -> None:
        """Mend what can be mended of shards without running anything, and note what can't."""
        ledger, _ = read_ledger(self.folder)
        with ledger or nullcontext():
            known = known_shards(self.folder, ledger if small.sound else None, small.manifest)
            problems = list(verify_shards(self.folder, known, progress))
            names = {Path(problem.file).name.partition(".")[0] for problem in _damaged(problems, "shards/")}
            for problem in problems:
                if Path(problem.file).name.partition(".")[0] not in names:
                    so = "" if problem.file == "shards" else ": it was written so, and would be again"
                    self._left(problem.file, problem.what + so)
            if names:
                self._mend_shards(known, names, problems)

    def _mend_shards(self, known: KnownShards, names: set[str], problems: Sequence[Problem]) -> None:
        origin_of = origins(known.recordings())
        layouts = {entry["name"]: Layout.from_json(entry) for entry in known.layouts}
        for facts in known.shards():
            if facts["name"] not in names:
                continue
            layout, path = layouts[facts["layout"]], self.folder.shards_folder / f"{facts['name']}.tar"
            files = [f"shards/{facts['name']}{ending}" for ending in ENDINGS]
            broken = [name for name in files if any(name == p.file for p in _damaged(problems, name))]
            tar, index, rows = files
            if tar in broken and rows not in broken:
                there = npy_view((self.folder.path / rows).read_bytes())
                how = "made again around its data, by its rows"
                if self._fits(tar, mending.tar_around(path, there, layout, origin_of), facts["sha256"], how):
                    broken.remove(tar)
            if tar not in broken and path.is_file():
                for name, make, wanted in (
                    (index, partial(mending.index_of, path), "idx_sha256"),
                    (rows, partial(mending.rows_of, path, layout), "samples_sha256"),
                ):
                    if name in broken and self._made(name, make, facts[wanted], "made again from its tar"):
                        broken.remove(name)
            if broken:
                self.lines.setdefault(facts["task"], facts)
                self.to_run.setdefault(facts["task"], []).extend(broken)

    # Tasks

    def _run_again(self, small: SmallFiles) -> SmallFiles:
        """Run tasks again, aside, take of what they make the files that are damaged, and look anew."""
        if self.to_run:
            self._run_tasks(small)
            self.to_run.clear()
            return small if self.dry_run else self._small()
        return small

    def _run_tasks(self, small: SmallFiles) -> None:
        lacking = self.again.lacking(sorted(self.to_run)) if self.planned else {}
        if not self.planned:
            lacking = dict.fromkeys(self.to_run, "it can only be made again by the plan, which is damaged")
        for task, why in lacking.items():
            self._all_left(task, why)
        tasks = [task for task in sorted(self.to_run) if task not in lacking]
        if self.dry_run:
            for task in tasks:
                for name in self.to_run[task]:
                    self.done.mended.append(Mended(name, f"would be made again by running task {task}"))
            return
        if not tasks:
            return
        scratch = self._scratch()
        try:
            not_done = self.again.run(scratch, tasks)
            for task, why in not_done.items():
                self._all_left(task, why)
            self._take(scratch, [task for task in tasks if task not in not_done], small.manifest)
        finally:
            shutil.rmtree(scratch.path)

    def _scratch(self) -> DatasetFolder:
        """Make a folder for shards and records that has the dataset's plan."""
        path = self.folder.path / SCRATCH
        if path.exists():
            shutil.rmtree(path)
        for name in ("shards", "records"):
            (path / name).mkdir(parents=True)
        (path / "plan").symlink_to(Path("..") / "plan", target_is_directory=True)
        return DatasetFolder(path)

    def _take(self, scratch: DatasetFolder, tasks: Sequence[int], manifest: Json | None) -> None:
        anew = {task: scratch.record_path(task).read_bytes() for task in tasks}
        untold = {task: data for task, data in anew.items() if task not in self.lines}
        proven = manifest is not None and bool(untold) and self._complete(self._wanted(anew), manifest)
        for task in tasks:
            for name in self.to_run[task]:
                if name.startswith("shards/"):
                    self._take_file(scratch, task, name)
                elif task in untold and not proven:
                    self._left(
                        name, f"run again, task {task} gives no record that fits the others: {self._why()}"
                    )
                elif task not in untold and not self._is_record(task, anew[task], manifest or {}):
                    self._left(name, self._other(anew[task], self.lines[task]["record_sha256"]))
                else:
                    path = self.folder.path / name
                    if not path.is_file() or path.read_bytes() != anew[task]:
                        self._put(name, [anew[task]], f"made again by running task {task}")

    def _wanted(self, anew: dict[int, bytes]) -> dict[int, bytes]:
        """Return those records of tasks that were run again which are to be put in place."""
        return {
            task: data
            for task, data in anew.items()
            if any(n.startswith("records/") for n in self.to_run[task])
        }

    def _take_file(self, scratch: DatasetFolder, task: int, name: str) -> None:
        made, facts = scratch.path / name, self.lines[task]
        ending = next(ending for ending in reversed(ENDINGS) if name.endswith(ending))
        wanted = facts[ENDINGS[ending]]
        if not made.is_file():
            self._left(name, f"run again, task {task} makes no such file: {self._why()}")
            return
        found = file_facts(made)
        if found.sha256 != wanted:
            self._left(name, self._other(found.sha256, wanted))
            return
        made.replace(self.folder.path / name)
        sync_folder((self.folder.path / name).parent)
        self.done.mended.append(Mended(name, f"made again by running task {task}"))

    def _other(self, made: bytes | str, wanted: str) -> str:
        got = made if isinstance(made, str) else hashlib.sha256(made).hexdigest()
        return f"made again it has other bytes (sha256 {got[:12]}…, not {wanted[:12]}…): {self._why()}"

    def _why(self) -> str:
        return self.again.differs() or "nothing that is known here differs from where it was made"

    def _all_left(self, task: int, why: str) -> None:
        for name in self.to_run[task]:
            self._left(name, why)

    # The rest

    def _derived(self, small: SmallFiles) -> None:
        """Make tables, card, Energon's files and manifest again where they are damaged."""
        damaged = {p.file for p in _damaged(small.problems, "") if not p.file.startswith(("plan", "records"))}
        sound = small.sound or (self.dry_run and not self._lacks_plan_or_records(small))
        others = [p for p in small.problems if p.kind not in ("missing", "changed")]
        if small.sound and not small.proven and not self.dry_run:
            self._keep_card(damaged)
            damaged |= self._finish()
        elif small.sound and damaged and not self.dry_run:
            self._keep_card(damaged)
            self._derive(damaged)
        how = "made again from plan and records"
        for name in sorted(damaged):
            if sound:
                self.done.mended.append(Mended(name, f"would be {how}" if self.dry_run else how))
            else:
                self._left(name, "is made from plan and records, once these are as they were")
        for problem in others:
            if small.proven or problem.file != MANIFEST:
                self._left(problem.file, problem.what)

    def _lacks_plan_or_records(self, small: SmallFiles) -> bool:
        """Tell whether plan or records stay damaged."""
        files = [left.file for left in self.done.left]
        files += [problem.file for problem in small.problems if problem.kind == "wrong"]
        return any(name.startswith(("plan", "records")) for name in files)

    def _finish(self) -> set[str]:
        """Write all that plan and records determine; return which files are other than they were."""
        changed = set()

        def put(path: Path, pieces: Iterable[bytes]) -> FileFacts:
            before = file_facts(path) if path.is_file() else None
            facts = write_whole(path, pieces)
            if facts != before:
                changed.add(path.relative_to(self.folder.path).as_posix())
            return facts

        self.folder.remove_superseded()
        finish(self.folder, put)
        return changed

    def _derive(self, damaged: set[str]) -> None:
        def put(path: Path, pieces: Iterable[bytes]) -> FileFacts:
            name = path.relative_to(self.folder.path).as_posix()
            if name in damaged:
                return write_whole(path, pieces)
            measure(path, pieces)  # `derive` counts what it hands out
            return file_facts(path)

        with Ledger(self.folder) as ledger:
            page = json_page(derive(self.folder, ledger, put))
        line = hash_line(hashlib.sha256(page).hexdigest())
        for name, data in ((MANIFEST, page), (HASH_FILE, line)):
            path = self.folder.path / name
            if name in damaged or path.read_bytes() != data:
                write_whole(path, [data])

    def _keep_card(self, damaged: set[str]) -> None:
        """Keep a card that someone may have written to, under another name."""
        path = self.folder.path / CARD
        if CARD in damaged and path.is_file():
            path.rename(path.with_name("README.before-repair.md"))

    def _leftovers(self, small: SmallFiles) -> None:
        """Remove what stopped runs left, as the next run would; only where nothing else is in doubt."""
        scratch = self.folder.path / SCRATCH
        if self.dry_run or self.done.left or not small.proven:
            return
        if scratch.exists():
            shutil.rmtree(scratch)
        for name in self.folder.remove_leftovers():
            self.done.mended.append(Mended(name, "removed: a stopped run left it"))

    # How files are put in place

    def _put(self, name: str, pieces: Iterable[bytes], how: str) -> None:
        """Replace a file by what is known to be right."""
        if not self.dry_run:
            write_whole(self.folder.path / name, pieces)
        self.done.mended.append(Mended(name, f"would be mended: {how}" if self.dry_run else how))

    def _made(self, name: str, make: Callable[[], bytes], sha256: str, how: str) -> bool:
        try:
            return self._fits(name, [make()], sha256, how)
        except mending.CANNOT:
            return False

    def _fits(self, name: str, pieces: Iterable[bytes], sha256: str, how: str) -> bool:
        """Replace a file by these bytes if they have this hash, and tell whether they have."""
        path = self.folder.path / name
        try:
            if self.dry_run:
                fits = measure(path, pieces).sha256 == sha256
            else:
                fits = write_whole(path, pieces, sha256).sha256 == sha256
        except mending.CANNOT:
            return False
        if fits:
            self.done.mended.append(Mended(name, f"would be {how}" if self.dry_run else how))
        return fits

    def _left(self, name: str, why: str) -> None:
        self.done.left.append(Left(name, why))


_PLAN_IS_LOST = (
    "more than one byte of it changed, and nothing else tells what stood there. What can be done: put it "
    "back from a backup; or make the dataset anew in another folder. The shards can be read as they are"
)


def _damaged(problems: Iterable[Problem], beginning: str) -> list[Problem]:
    return [p for p in problems if p.kind in ("missing", "changed") and p.file.startswith(beginning)]
