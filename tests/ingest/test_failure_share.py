"""A rising share of recordings with failures ends a run, and costs nothing that was done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_damage import text_named_mp4
from made_runs import SOUND_ONLY
from made_sound import tone, write_sound

import ingest.failure_share
import ingest.task
from ingest.errors import WrongUse
from ingest.failure_share import LEAST_RECORDINGS, FailureShare, PlanningStopped, judged
from ingest.pipeline import Choice, Run, shard_recordings
from shards import DatasetFolder, dataset_info, verify_dataset


def shard(folder: Path, out: Path, most: float) -> Run:
    return shard_recordings([folder], out, SOUND_ONLY, choice=Choice(max_failure_share=most), workers=0)


def test_few_recordings_prove_nothing() -> None:
    """Below 20 recordings there is no verdict; at the share there is none, above it there is."""
    share = FailureShare(0.25)
    for number in range(LEAST_RECORDINGS - 1):
        share.count(str(number), failed=True)
        assert share.verdict == ""
    exact = FailureShare(0.25)
    for number in range(20):
        exact.count(str(number), failed=number < 5)
    assert exact.verdict == ""
    exact.count("19", failed=True)
    assert "6 of 20 recordings have failures (30.0%), more than --max-failure-share 0.25" in exact.verdict


def test_a_recording_counts_once() -> None:
    """Many tasks of one recording are one recording, with a failure if any of them has one."""
    share = FailureShare(0.5)
    for failed in (False, True, True, False):
        share.count_task({"recordings": ["a", "b"], "failed": ["a"] if failed else []})
    assert (share.finished, share.failed) == (2, 1)


def test_nothing_is_counted_where_all_may_fail() -> None:
    """The default accepts every share; shares beyond 0 to 1 are refused."""
    share = FailureShare(1.0)
    for number in range(50):
        share.count(str(number), failed=True)
    assert (share.finished, share.verdict) == (0, "")
    with pytest.raises(WrongUse, match="from 0 to 1"):
        FailureShare(1.5)


def plan_lines(failed: set[int], count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        status = "failed" if number in failed else "planned"
        yield {"kind": "recording", "recording": f"{number}.mp4", "id": str(number), "status": status}
        if status == "failed":
            yield {"kind": "failure", "recording": f"{number}.mp4", "id": str(number), "cause": "empty"}


def test_planning_is_judged_line_by_line() -> None:
    """A recording that failed counts once, with its line or with its failure; the rest passes through."""
    few = list(plan_lines({1, 2}, 40))
    assert list(judged(few, False, 0.1)) == few
    with pytest.raises(PlanningStopped, match=r"3 of 20 .*nothing was planned"):
        list(judged(plan_lines({1, 2, 3}, 40), False, 0.1))
    with pytest.raises(PlanningStopped, match=r"1\.mp4: empty"):
        list(judged(few, True, 1.0))


def test_a_folder_of_nonsense_plans_nothing(tmp_path: Path) -> None:
    """Where every recording fails, nothing is planned, and the same command goes on when that is mended."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(LEAST_RECORDINGS):
        text_named_mp4(folder / f"{number:02}.mp4")
        (folder / f"{number:02}.mp4").write_text(f"words, words {number}")
    run = shard(folder, out, 0.05)
    assert "20 of 20 recordings have failures (100.0%)" in run.stopped_by
    assert not DatasetFolder(out).is_dataset()
    shutil.rmtree(folder)
    folder.mkdir()
    write_sound(folder / "00.wav", tone(300, 1))
    assert shard(folder, out, 0.05).stopped_by == ""
    assert dataset_info(out)["failures"] == []


def test_tasks_that_fail_end_the_run_and_what_is_done_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops after the tasks that prove it; what they made can be read; running again goes on."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(4):
        write_sound(folder / f"{number}.wav", tone(200 + 100 * number, 1))
    run_task = ingest.task.run_task

    def failing(argument: dict[str, Any], progress: Any) -> dict[str, Any]:
        result = run_task(argument, progress)
        return {**result, "failed": result["recordings"]}

    monkeypatch.setattr(ingest.failure_share, "LEAST_RECORDINGS", 2)
    with monkeypatch.context() as patch:
        patch.setattr("ingest.task.run_task", failing)
        run = shard(folder, out, 0.5)
    assert run.stopped_by.startswith("2 of 2 recordings have failures")
    assert run.tasks_run == 2
    assert verify_dataset(out) == []
    assert dataset_info(out)["samples"] == 2
    again = shard(folder, out, 0.5)
    assert (again.stopped_by, again.tasks_run, dataset_info(out)["samples"]) == ("", 2, 4)
