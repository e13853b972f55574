"""Power loss: what was not forced to the disk may be gone, and the next run ends in the same bytes.

A model of a disk watches a run: a file's bytes are lasting once the file is forced to the disk, a folder's
entries once the folder is. At every such moment the power could fail, and then

    least    only what is lasting is there
    names    all renaming and removing is there (the system may write it early), with lasting bytes only

are the two extremes of what can be found; everything between them has been there or been forgotten.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from made_dataset import LOST, TASKS, files_of, resume, run_task, write_dataset, write_part
from test_kills import check_what_is_there

from shards import DatasetFolder

Tree = dict[str, int]
"""Path in the dataset to inode; folders have 0."""


class Disk:
    """Keeps what is lasting of a folder, and remembers it at each step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bytes: dict[int, bytes] = {}
        """Inode to what was forced to the disk of it."""
        self.lasting: Tree = {}
        self.states: list[tuple[dict[str, bytes | None], dict[str, bytes | None]]] = []
        """Per moment: the least, and names; a folder is None."""

    def forced(self, descriptor: int) -> None:
        """Take note that a file or folder was forced to the disk."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir() and self.root in (path, *path.parents):
            for name in [name for name in self.lasting if (self.root / name).parent == path]:
                del self.lasting[name]
            for entry in path.iterdir():
                name = entry.relative_to(self.root).as_posix()
                self.lasting[name] = 0 if entry.is_dir() else entry.stat().st_ino
        elif self.root in path.parents:
            self.bytes[os.fstat(descriptor).st_ino] = path.read_bytes()
        self.failing_now()

    def failing_now(self) -> None:
        """Remember what would be found if the power failed now."""
        now = {
            path.relative_to(self.root).as_posix(): 0 if path.is_dir() else path.stat().st_ino
            for path in sorted(self.root.rglob("*"))
        }
        self.states.append((self._found(self.lasting), self._found(now)))

    def _found(self, tree: Tree) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        for name, inode in sorted(tree.items()):
            parents = [parent.as_posix() for parent in Path(name).parents if parent.name]
            if all(parent in tree for parent in parents):
                found[name] = None if inode == 0 else self.bytes.get(inode, b"")
        return found


def put(state: dict[str, bytes | None], path: Path) -> None:
    """Make a folder as it is found after the power failed."""
    path.mkdir()
    for name, data in state.items():
        if data is None:
            (path / name).mkdir()
        else:
            (path / name).write_bytes(data)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The model; it watches the folder `dataset`."""
    disk = Disk(tmp_path / "dataset")
    monkeypatch.setattr(os, "fsync", disk.forced)
    real_replace, real_unlink = Path.replace, Path.unlink

    def replace(self: Path, target: Any) -> Path:
        result = real_replace(self, target)
        disk.failing_now()
        return result

    def unlink(self: Path, missing_ok: bool = False) -> None:
        real_unlink(self, missing_ok)
        disk.failing_now()

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    return disk


def test_the_power_may_fail_at_any_step(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks finished afterwards is whole, and running again gives the bytes of an undisturbed run."""
    folder = write_dataset(tmp_path / "dataset")
    folder.finish()  # again: now there is something to lose
    whole = files_of(folder.path)
    states = disk.states
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert len(states) > 100
    seen = set()
    for step, pair in enumerate(states):
        for extreme, state in zip(("least", "names"), pair, strict=True):
            if repr(state) in seen:
                continue
            seen.add(repr(state))
            path = tmp_path / f"{step}-{extreme}"
            put(state, path)
            check_what_is_there(path)
            assert files_of(resume(path).path) == whole, f"{extreme} of step {step}"
    assert len(seen) > 50


def test_what_is_done_stays_done(tmp_path: Path, disk: Disk) -> None:
    """When a call returns, what it made is lasting: a plan, a task's shard and record, a finished dataset."""

    def lasting() -> dict[str, bytes]:
        disk.failing_now()
        return {name: data for name, data in disk.states[-1][0].items() if data is not None}

    folder = DatasetFolder(tmp_path / "dataset")
    folder.create()
    write_part(folder, TASKS, LOST)
    assert lasting() == files_of(folder.path)
    for number, task in TASKS.items():
        run_task(folder, number, task)
        assert lasting() == files_of(folder.path)
    folder.finish()
    assert lasting() == files_of(folder.path)
