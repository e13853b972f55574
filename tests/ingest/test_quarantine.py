"""Recordings that end the process that reads them cost themselves, and nothing else.

Workers are told by their files' names what to do: a `sitecustomize` that all of them import ends, stops or
fills the process when a file such as `task_crash.mp4` is opened there.
"""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from made_runs import Ear, hashes
from made_video import Pictures, write_video
from test_pipeline import statuses

from ingest.configuration import Settings
from ingest.engine.watch import Limits
from ingest.pipeline import Choice, Listener, Run, shard_recordings
from shards import dataset_info, verify_dataset

FAULTS = """
import os, signal, sys, time

FUNCTIONS = {"task": ("run_task", "rehearse"), "examine": ("examine",), "fit": ("fit_layout",)}

def ends(event, arguments):
    if event != "open" or not isinstance(arguments[0], str):
        return
    where, _, how = os.path.basename(arguments[0]).partition(".")[0].partition("_")
    if where not in FUNCTIONS or os.path.exists(os.path.join(os.path.dirname(arguments[0]), "healed")):
        return
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name not in FUNCTIONS[where]:
        frame = frame.f_back
    if frame is None:
        return
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "grow":
        taken = b"1" * (5 << 29)
    time.sleep(600)

sys.addaudithook(ends)
"""

SETTINGS = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu")
LIMITS, NONE = Limits(stall_seconds=10, memory_bytes=3 << 29), Limits()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card_mp4: Path) -> Path:
    """A good recording, and workers that files can end."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(tmp_path / "faults")
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(card_mp4, folder / "a.mp4")
    return folder


def bad_video(folder: Path, name: str) -> None:
    write_video(folder / name, Pictures(frames=24 + ord(name[-5]) % 20, width=160, height=96))


def shard(folder: Path, out: Path, limits: Limits, ear: Listener | None = None, **choice: Any) -> Run:
    return shard_recordings(
        [folder], out, SETTINGS, choice=Choice(**choice), workers=1, limits=limits, listener=ear
    )


CAUSES = {
    "task_crash.mp4": "the worker process died: Segmentation fault",
    "task_grow.mp4": "the worker process was ended: it took more than the 1.50 GiB of memory that it may use",
    "task_hang.mp4": "the worker process was ended: it read nothing, wrote nothing and told of no progress "
    "for 10 s",
}


def test_what_ends_its_worker_is_found_and_set_apart(folder: Path, tmp_path: Path) -> None:
    """Each recording at fault is named with the reason; the rest of its task is finished.

    The words hold nothing of this one run, so that the same faults make the same bytes. A second run
    touches nothing; --retry-failed lets out what was set apart, and where it is healed, it is made.
    """
    for name in CAUSES:
        bad_video(folder, name)
    out, ear = tmp_path / "out", Ear()
    run = shard(folder, out, LIMITS, ear)
    assert run.unfinished == []
    causes = {failure["recording"]: failure["cause"] for failure in dataset_info(out)["failures"]}
    twice = "in quarantine: reading it ended the process that did, twice"
    assert causes == {name: f"{twice} ({words})" for name, words in CAUSES.items()}
    assert statuses(out) == {"a.mp4": "ok", **dict.fromkeys(CAUSES, "failed")}
    assert sum("--retry-failed" in line for line in ear.lines) == len(CAUSES)
    assert verify_dataset(out) == []
    alone = tmp_path / "alone"
    shard_recordings([folder / "a.mp4"], alone, SETTINGS, workers=0)
    assert samples(out) == samples(alone)

    before, ear = hashes(out), Ear()
    assert shard(folder, out, LIMITS, ear).tasks_run == 0
    assert (hashes(out), ear.lines) == (before, [])
    (folder / "healed").touch()
    assert shard(folder, out, NONE, retry_failed=True).unfinished == []
    assert statuses(out) == {"a.mp4": "ok", **dict.fromkeys(CAUSES, "ok")}
    assert dataset_info(out)["failures"] == []
    assert verify_dataset(out) == []


def samples(dataset: Path) -> dict[str, int]:
    entries = dataset_info(dataset)["per_recording"]
    return {entry["recording"]: entry["samples"] for entry in entries if entry["samples"]}


def test_what_can_t_be_looked_at_is_in_quarantine_too(folder: Path, tmp_path: Path) -> None:
    """A recording that ends the worker that examines it is a failure with its content id, once."""
    bad_video(folder, "examine_crash.mp4")
    shard(folder, tmp_path / "out", NONE)
    (failure,) = dataset_info(tmp_path / "out")["failures"]
    assert failure["recording"] == "examine_crash.mp4"
    assert "in quarantine" in failure["cause"]
    assert len(failure["id"]) == 64
    before = hashes(tmp_path / "out")
    assert shard(folder, tmp_path / "out", NONE).tasks_run == 0
    assert hashes(tmp_path / "out") == before
    (folder / "healed").touch()
    shard(folder, tmp_path / "out", NONE, retry_failed=True)
    assert statuses(tmp_path / "out")["examine_crash.mp4"] == "ok"


def test_what_no_recording_does_alone_is_nobodys_fault(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every recording alone is fine, none is accused: the task is not done, until the next run."""
    bad_video(folder, "task_crash.mp4")
    with monkeypatch.context() as patch:
        patch.setattr("ingest.running.culprits", lambda engine, task: iter(()))
        run = shard(folder, tmp_path / "out", NONE)
    assert len(run.unfinished) == 1
    assert dataset_info(tmp_path / "out")["failures"] == []
    (folder / "healed").touch()
    assert shard(folder, tmp_path / "out", NONE).unfinished == []
    assert statuses(tmp_path / "out")["task_crash.mp4"] == "ok"


def test_what_nobody_foresaw_costs_its_recording(
    tmp_path: Path, card_mp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording on which our own code fails, planned or read, is set apart; the others are made."""
    from ingest.opening import open_recording

    def odd(paths: Any, **options: Any) -> Any:
        if "odd" in Path(paths[0]).name:
            raise TypeError("what is this?")
        return open_recording(paths, **options)

    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(card_mp4, folder / "a.mp4")
    bad_video(folder, "odd.mp4")
    for where in ("task", "examining"):
        with monkeypatch.context() as patch:
            patch.setattr(f"ingest.{where}.open_recording", odd)
            run = shard_recordings([folder], tmp_path / where, SETTINGS, workers=0)
        assert run.unfinished == []
        assert statuses(tmp_path / where) == {"a.mp4": "ok", "odd.mp4": "failed"}
        (failure,) = dataset_info(tmp_path / where)["failures"]
        assert failure["cause"].endswith("in a way that was not foreseen (TypeError: what is this?)")
        assert verify_dataset(tmp_path / where) == []
