"""A run that is killed anywhere, and run again, ends in the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_dataset import files_of, resume, write_dataset

from shards import DatasetFolder, NotADataset, Problem, dataset_info, open_dataset, verify_dataset


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests kill processes, not the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def die_at(step: int, after: bool) -> None:
    """Let this process die at the n-th step, before or just after it is taken. No clean-up runs.

    A step is what matters to the disk: forcing bytes to it, and renaming.
    """
    taken = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == step and not after:
                os._exit(9)
            result = real(*arguments)
            if taken == step:
                os._exit(9)
            return result

        return take

    os.fsync = dying(os.fsync)
    Path.replace = dying(Path.replace)  # type: ignore[method-assign]


def killed(path: Path, step: int, after: bool) -> bool:
    """Go on with a dataset in a process that dies at a step; tell whether it came so far."""
    child = os.fork()
    if child == 0:
        die_at(step, after)
        resume(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def check_what_is_there(path: Path) -> None:
    """Whatever a killed run left: what looks finished is, and nothing half is read."""
    for problem in verify_dataset(path) if DatasetFolder(path).is_dataset() else []:
        assert is_of_a_stopped_run(problem), problem
    try:
        samples = [sample.key for sample in open_dataset(path).samples()]
    except (FileNotFoundError, NotADataset):
        return
    assert samples == [sample.key for sample in open_dataset(path).samples()]


def is_of_a_stopped_run(problem: Problem) -> bool:
    words = ("left by a stopped run", "not finished", "no shard that a record names", "is missing")
    return any(word in problem.what for word in words) or problem.file in (
        "fifth.json",
        ".nv-meta/.info.json",
    )


@pytest.mark.parametrize(("after", "stride"), [(False, 1), (True, 5)])
def test_killed_at_every_step(tmp_path: Path, after: bool, stride: int) -> None:
    """At each step of a run in turn: what is left is whole or plainly left over, and the next run gives
    the same files, byte for byte, as one that nobody disturbed.
    """
    whole = files_of(write_dataset(tmp_path / "whole").path)
    step = 1
    while killed(tmp_path / f"{step}", step, after):
        check_what_is_there(tmp_path / f"{step}")
        assert files_of(resume(tmp_path / f"{step}").path) == whole, f"killed at step {step}"
        step += stride
    assert step > 40
    assert files_of(tmp_path / f"{step}") == whole


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Every run dies a task or two after the one before: the last one gets there all the same."""
    whole = files_of(write_dataset(tmp_path / "whole").path)
    for run in range(4):
        assert killed(tmp_path / "dataset", 17, after=bool(run % 2))
        check_what_is_there(tmp_path / "dataset")
    assert files_of(resume(tmp_path / "dataset").path) == whole


def test_a_stopped_run_says_what_it_has(tmp_path: Path) -> None:
    """Without a manifest, `dataset_info` answers from plan and records, and says that it is not finished."""
    folder = write_dataset(tmp_path / "dataset", finish=False)
    folder.record_path(1).unlink()
    info = dataset_info(folder.path)
    assert not info["finished"]
    assert info["tasks"] == {"planned": 4, "done": 3, "superseded": 0}
    assert [shard["name"] for shard in info["shards"]] == ["video-audio-000000", "video-000002"]
    statuses = {line["recording"]: line["status"] for line in info["per_recording"]}
    assert statuses["b.bag"] == "pending"
    assert statuses["a/drive.mp4"] == "ok"
    with pytest.raises(NotADataset, match=r"not finished; run the command that made it again"):
        open_dataset(folder.path)


def test_a_manifest_that_a_later_run_outdated_is_not_believed(dataset: Path) -> None:
    """A second planning that was stopped: what was finished before is no longer all there is."""
    folder = DatasetFolder(dataset)
    folder.record_path(2).unlink()
    info = dataset_info(dataset)
    assert (info["finished"], info["samples"]) == (False, 14)
